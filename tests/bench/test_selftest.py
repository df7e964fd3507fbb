"""When a self-test is passed."""

from __future__ import annotations

import pytest

from redisdict.bench.measure.statistics import Ratio, Verdict
from redisdict.bench.selftest import Finding, broken_promises


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
    assert (not [*broken_promises([*RIGHT, *last])]) is expected


def test_in_a_single_run_nothing_may_be_wrong() -> None:
    found = [*findings(0, 1, Verdict.SLOWER), *findings(0.02, 1, Verdict.SLOWER)]
    assert [*broken_promises([*found, *findings(0.05, 1, Verdict.SLOWER)])] == [
        "equal servers: 0 of 1 verdicts may be wrong, and 1 are: GET slower"
    ]


def test_a_ratio_that_is_off_is_named_with_its_bound() -> None:
    found = [*findings(0.02, 1, Verdict.SLOWER), *findings(0.05, 1, Verdict.SLOWER)]
    assert [*broken_promises([*findings(0, 2, Verdict.SAME, error=0.0312), *found])] == [
        "equal servers: 0 of 2 ratios may be off by more than 1%, and 2 are:"
        " GET +3.120%, GET +3.120%"
    ]
    assert [*broken_promises([*findings(0, 1, Verdict.UNSURE, error=-0.06), *found])] == [
        "equal servers: 0 of 1 ratios may be off by more than 1%, and 1 are: GET -6.000%",
        "equal servers: 0 of 1 ratios may be off by more than 5%, and 1 are: GET -6.000%",
    ]


def test_nothing_measured_is_nothing_promised() -> None:
    assert [
        *broken_promises([*findings(0, 1, Verdict.SAME), *findings(0.02, 1, Verdict.SLOWER)])
    ] == ["a delay of 5%: there is no ratio, because no round measured both servers"]
