"""Describe charts as plain data, which `static/redisdict/charts.js` draws.

Every chart also gives its numbers as rows, for the table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.utils.functional import Promise

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Point:
    """A value with its interval, as far as either is known."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def has_interval(self) -> bool:
        return _finite(self.low) is not None and _finite(self.high) is not None


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis of values."""

    label: Text
    is_logarithmic: bool = False

    def data(self) -> dict[str, Any]:
        return {"label": str(self.label), "logarithmic": self.is_logarithmic}


@dataclass(frozen=True, kw_only=True)
class Series:
    """One value for each label of the chart, in one colour."""

    label: Text
    points: Sequence[Point]
    axis: Literal["main", "second"] = "main"

    def data(self) -> dict[str, Any]:
        return {
            "label": str(self.label),
            "axis": self.axis,
            "values": [_finite(point.value) for point in self.points],
            "low": [_finite(point.low) for point in self.points],
            "high": [_finite(point.high) for point in self.points],
        }


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One picture.

    Args:
        id: of its HTML element; unique on the page.
        kind: "bars" from zero, "dots" without a line, "lines".
        labels: one for each value, and so for each row of the table.
        label_title: the heading of the labels in the table.
    """

    id: str
    title: Text
    kind: Literal["bars", "dots", "lines"]
    label_title: Text
    labels: Sequence[str]
    series: Sequence[Series]
    axis: Axis
    second_axis: Axis | None = None

    def data(self) -> dict[str, Any]:
        """The data for the script: numbers that JSON has, and texts in the reader's language."""
        return {
            "kind": self.kind,
            "horizontal": self.kind != "lines",
            "labels": list(self.labels),
            "series": [series.data() for series in self.series],
            "axis": self.axis.data(),
            "second_axis": self.second_axis.data() if self.second_axis else None,
        }

    def rows(self) -> Iterator[tuple[str, list[tuple[Text, Point]]]]:
        """The same numbers for the table: each label with one point a series, which it names."""
        for position, label in enumerate(self.labels):
            yield label, [(series.label, series.points[position]) for series in self.series]


def _finite(value: float | None) -> float | None:
    """JSON knows neither infinity nor NaN."""
    return value if value is not None and math.isfinite(value) else None
