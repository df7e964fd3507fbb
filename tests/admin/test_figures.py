"""Figures are rounded, as in the reports of the command line, and not cut."""

from __future__ import annotations

import pytest
from django.utils import translation

from redisdict.bench.report.tables import speed_text
from redisdict.models import BenchmarkResult
from redisdict.templatetags import redisdict_figures as figures


@pytest.mark.parametrize(
    ("value", "text"),
    [(9_515.95, "9,516"), (0.4, "0"), (999_999.4, "999,999"), (999_999.7, "1.00 M"),
     (4_405_999, "4.41 M"), (None, figures.NOTHING)],
)  # fmt: skip
def test_operations_a_second(value: float | None, text: str) -> None:
    assert figures.ops_per_second(value) == text


@pytest.mark.parametrize("value", [9_515.95, 31_234.5001, 99.99, 1_999_999.0])
def test_they_are_those_of_the_report(value: float) -> None:
    reported = speed_text(BenchmarkResult(ops_per_second=value), ",")
    assert figures.ops_per_second(value).replace(" ", "") == reported


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("ratio", 0.3367, "0.337"), ("ratio", 0.9996, "1.000"), ("ratio", float("inf"), "∞"),
     ("percent", 0.01268, "1.3 %"), ("significant", 123.456, "123.5"),
     ("significant", 0.00123456, "0.001235"), ("significant", 54_321.9, "54,322"),
     ("whole", 7_094, "7,094"), ("whole", None, figures.NOTHING)],
)  # fmt: skip
def test_other_figures(name: str, value: float | None, text: str) -> None:
    assert getattr(figures, name)(value) == text


def test_language_decides_on_the_signs() -> None:
    with translation.override("de"):
        assert figures.ops_per_second(9_515.95) == "9.516"
        assert figures.ratio(0.3367) == "0,337"
