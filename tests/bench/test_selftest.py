"""When a self-test is passed."""

from __future__ import annotations

import pytest

from redisdict.bench.measure.statistics import Ratio, Verdict
from redisdict.bench.selftest import Finding, is_trustworthy


def findings(delay: float, count: int, verdict: Verdict, error: float = 0.0) -> list[Finding]:
    value = (1 + error) / (1 + delay)
    return [Finding("GET", delay, Ratio(value, value, value, 1000), verdict)] * count


RIGHT = [
    *findings(0, 19, Verdict.SAME),
    *findings(0.02, 19, Verdict.SLOWER),
    *findings(0.05, 20, Verdict.SLOWER),
]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ([*findings(0, 1, Verdict.SAME), *findings(0.02, 1, Verdict.SLOWER)], True),
        ([*findings(0, 1, Verdict.FASTER), *findings(0.02, 1, Verdict.UNSURE)], True),
        (findings(0, 2, Verdict.FASTER), False),
        (findings(0.02, 2, Verdict.UNSURE), False),
        (findings(0.05, 1, Verdict.UNSURE), False),
        (findings(0, 1, Verdict.UNSURE, error=0.03), True),
        (findings(0, 2, Verdict.UNSURE, error=0.03), False),
        (findings(0, 1, Verdict.UNSURE, error=-0.06), False),
    ],
)
def test_one_of_twenty_may_be_wrong(last: list[Finding], expected: bool) -> None:
    assert is_trustworthy([*RIGHT, *last]) is expected


def test_in_a_single_run_nothing_may_be_wrong() -> None:
    assert not is_trustworthy(findings(0, 1, Verdict.SLOWER))
