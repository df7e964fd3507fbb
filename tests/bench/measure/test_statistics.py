"""Exact figures for the arithmetic; a few simulated runs for what the intervals promise."""

import math
import random
import statistics

import pytest

from redisdict.bench.measure.statistics import (
    Ratio,
    Verdict,
    drift,
    judge,
    median_interval,
    paired_ratio,
    percentile,
    quotient,
    relative_spread,
)


def binomial_rank(count: int, confidence: float) -> int:
    """The rank by exact integers, as the textbook defines it."""
    allowed = (1 - confidence) / 2
    tail, rank = 0, 0
    for successes in range(count):
        tail += math.comb(count, successes)
        if tail / 2**count > allowed:
            break
        rank += 1
    return rank


def test_ratio_is_the_median_of_paired_quotients() -> None:
    ratio = paired_ratio([2.0, 4.0, 8.0], [4.0, 4.0, 4.0])
    assert ratio.value == 1.0
    assert ratio.rounds == 3


def test_shared_slowness_cancels() -> None:
    reference = [1.0, 50.0, 3.0, 7.0, 1.0, 90.0, 2.0]
    ratio = paired_ratio([time * 2 for time in reference], reference)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5))


def test_one_stalled_round_moves_nothing() -> None:
    ratio = paired_ratio([1.0] * 20 + [1e6], [1.0] * 21)
    assert (ratio.value, ratio.low, ratio.high) == (1.0, 1.0, 1.0)


def test_too_few_rounds_prove_nothing() -> None:
    ratio = paired_ratio([1.0] * 5, [3.0] * 5)
    assert (ratio.low, ratio.high) == (0.0, math.inf)
    assert ratio.half_width == math.inf
    assert judge(ratio) is Verdict.UNSURE


@pytest.mark.parametrize("times", [[], [1.0, 2.0]])
def test_rounds_must_pair(times: list[float]) -> None:
    with pytest.raises(ValueError):
        paired_ratio(times, times[1:])


@pytest.mark.parametrize(
    ("count", "expected"), [(5, None), (6, (1, 6)), (10, (2, 9)), (25, (8, 18)), (100, (40, 61))]
)
def test_median_interval_ranks(count: int, expected: tuple[int, int] | None) -> None:
    # The ranks printed in tables of the sign test's 95 % interval.
    values = [float(value) for value in range(count, 0, -1)]
    assert median_interval(values) == (expected or (-math.inf, math.inf))


@pytest.mark.parametrize("count", [6, 7, 50, 199, 1000, 3001])
def test_median_interval_equals_exact_integers(count: int) -> None:
    rank = binomial_rank(count, 0.95)
    assert median_interval(range(1, count + 1)) == (rank, count + 1 - rank)


def test_interval_holds_the_true_median_as_often_as_promised() -> None:
    rng = random.Random(7)
    held = 0
    for _ in range(400):
        low, high = median_interval([rng.lognormvariate(0, 1) for _ in range(60)])
        held += low <= 1 <= high
    assert held / 400 >= 0.94


def test_half_width_is_relative() -> None:
    assert Ratio(1.0, 1 / 1.01, 1.01, 10).half_width == pytest.approx(0.01)


def test_quotient_adds_errors_in_quadrature() -> None:
    before = Ratio(2.0, 2.0 / math.exp(0.03), 2.0 * math.exp(0.03), 100)
    after = Ratio(3.0, 3.0 / math.exp(0.04), 3.0 * math.exp(0.04), 80)
    change = quotient(after, before)
    assert change.value == 1.5
    assert change.rounds == 80
    assert math.log(change.high / change.value) == pytest.approx(0.05)
    assert math.log(change.value / change.low) == pytest.approx(0.05)


def test_quotient_with_an_unbounded_side_is_unbounded() -> None:
    change = quotient(Ratio(1.0, 0.0, math.inf, 3), Ratio(1.0, 0.9, 1.1, 50))
    assert (change.low, change.high) == (0.0, math.inf)


@pytest.mark.parametrize(
    ("low", "high", "floor", "expected"),
    [
        (1.01, 1.03, 0.0, Verdict.FASTER),
        (1.005, 1.02, 0.01, Verdict.SAME),
        (0.99, 1.01, 0.07, Verdict.UNSURE),
        (0.97, 0.99, 0.0, Verdict.SLOWER),
        (0.80, 0.90, 0.02, Verdict.SLOWER),
        (0.96, 1.04, 0.0, Verdict.SAME),
        (0.94, 1.04, 0.0, Verdict.UNSURE),
        (0.96, 1.06, 0.0, Verdict.UNSURE),
        (1.01, 1.20, 0.05, Verdict.UNSURE),
    ],
)
def test_verdicts(low: float, high: float, floor: float, expected: Verdict) -> None:
    assert judge(Ratio((low + high) / 2, low, high, 100), floor) is expected


def test_relative_spread_and_drift() -> None:
    assert relative_spread([8.0, 9.0, 10.0, 11.0, 12.0]) == 0.1
    assert drift([10.0] * 10 + [10.5] * 10 + [11.0] * 10) == pytest.approx(0.1)
    assert drift([1.0, 9.0]) == 0


def test_percentile_by_nearest_rank() -> None:
    values = [float(value) for value in range(1, 1001)]
    assert [percentile(values, p) for p in (0, 50, 90, 99, 99.9, 100)] == [
        1, 500, 900, 990, 999, 1000,
    ]  # fmt: skip
    assert percentile([3.0], 50) == 3.0


def test_injected_two_percent_is_found_and_equality_is_not_accused() -> None:
    rng = random.Random(3)
    noise = [rng.lognormvariate(0, 0.04) for _ in range(4000)]
    reference, same = noise[:1000], noise[1000:2000]
    slower = [time * 1.02 for time in noise[2000:3000]]
    assert judge(paired_ratio(slower, reference), 0.003) is Verdict.SLOWER
    assert judge(paired_ratio(same, reference), 0.003) is Verdict.SAME
    assert statistics.median(noise) == pytest.approx(1, abs=0.01)
