"""Exact figures for the arithmetic; a few simulated runs for what the intervals promise."""

import math
import random
import statistics

import pytest

from redisdict.bench.measure.statistics import (
    Quotient,
    Ratio,
    Verdict,
    drift,
    joint_confidence,
    judge,
    median_interval,
    over_starts,
    paired_ratio,
    percentile,
    relative_spread,
    upper_factor,
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


def within(value: float, deviation: float, rounds: int = 100) -> Ratio:
    """A ratio with the interval of 95 % that a deviation has."""
    reach = math.exp(1.959964 * deviation)
    return Ratio(value, value / reach, value * reach, rounds)


def test_quotient_adds_errors_in_quadrature() -> None:
    change = Quotient.of(within(3.0, 0.04, rounds=80), within(2.0, 0.03), between_runs=0.12)
    assert (change.value, change.rounds) == (1.5, 80)
    assert change.deviation == pytest.approx(0.13)
    interval = change.at(0.95)
    assert math.log(interval.high / 1.5) == pytest.approx(1.96 * 0.13, rel=1e-3)
    assert math.log(1.5 / interval.low) == pytest.approx(1.96 * 0.13, rel=1e-3)


def test_rows_are_known_better_together_but_for_what_shifts_them_all() -> None:
    def rows(shift: float) -> list[Quotient]:
        made = [Quotient.of(within(0.97, 0.03), within(1.0, 0.04), 0.12, shift) for _ in range(4)]
        assert made[0].deviation == pytest.approx(math.hypot(0.13, shift))
        return made

    alone = Quotient.over([[one] for one in rows(0.0)])
    assert alone.deviation == pytest.approx(0.13 / 2)
    assert (alone.value, alone.rounds) == (pytest.approx(0.97), 100)
    # Half of the variance is the reference's, which two and two have in common.
    paired = Quotient.over([rows(0.0)[:2], rows(0.0)[2:]])
    assert paired.deviation == pytest.approx(0.13 * math.sqrt((2 + 4) * 2 / 2 / 16))
    shifted = Quotient.over([[one] for one in rows(0.05)])
    assert shifted.deviation == pytest.approx(math.hypot(0.13 / 2, 0.05))
    assert shifted.shift == pytest.approx(0.05)


def test_quotient_with_an_unbounded_side_is_unbounded() -> None:
    change = Quotient.of(Ratio(1.5, 0.0, math.inf, 3), within(1.0, 0.05))
    assert (change.at(0.95).low, change.at(0.95).high) == (0.0, math.inf)
    assert change.chance == 1


def test_the_chance_of_a_difference_that_is_none() -> None:
    assert Quotient(math.exp(0.0196), 0.01, 100).chance == pytest.approx(0.05, rel=1e-2)
    assert Quotient(math.exp(-0.0258), 0.01, 100).chance == pytest.approx(0.01, rel=2e-2)
    assert Quotient(1.0, 0.0, 100).chance == 1
    assert Quotient(1.1, 0.0, 100).chance == 0


def test_what_intervals_have_to_hold_so_that_all_verdicts_hold_together() -> None:
    assert joint_confidence([]) == 0.99
    assert joint_confidence([0.5]) == 0.99
    assert joint_confidence([0.5] * 50) == pytest.approx(1 - 0.01 / 50)
    # One of a hundred has to be below 1/100 of the rate, the second below 2/100 of it.
    assert joint_confidence([0.00009, *[0.5] * 99]) == pytest.approx(1 - 0.01 / 100)
    assert joint_confidence([0.00009, 0.00019, *[0.5] * 98]) == pytest.approx(1 - 0.02 / 100)
    # The textbook's procedure steps up: the second's chance makes up for the first's.
    assert joint_confidence([0.00019, 0.00019, *[0.5] * 98]) == pytest.approx(1 - 0.02 / 100)


def test_an_interval_excludes_1_just_where_the_procedure_finds_a_difference() -> None:
    rng = random.Random(3)
    for _ in range(50):
        logs = [rng.gauss(0, 1) + (4 if rng.random() < 0.2 else 0) for _ in range(40)]
        quotients = [Quotient(math.exp(log / 100), 0.01, 100) for log in logs]
        ordered = sorted(one.chance for one in quotients)
        limit = max((c for rank, c in enumerate(ordered, 1) if c <= rank * 0.01 / 40), default=-1)
        confidence = joint_confidence([one.chance for one in quotients])
        for one in quotients:
            interval = one.at(confidence)
            assert (interval.low > 1 or interval.high < 1) is (one.chance <= limit)


def test_no_estimate_of_a_deviation_is_trusted_too_far() -> None:
    # The tenth percentile of chi-square, of tables.
    for degrees, percentile_of_ten in ((4, 1.064), (9, 4.168), (20, 12.44), (60, 46.46)):
        expected = math.sqrt(degrees / percentile_of_ten)
        assert upper_factor(degrees) == pytest.approx(expected, rel=0.01)
    assert upper_factor(1) > upper_factor(2) > 3


def test_an_interval_covers_what_the_starts_leave_open() -> None:
    ratio = Ratio(1.1, 1.09, 1.11, 500)
    assert over_starts(ratio, [0.1, 0.2]) == ratio
    assert over_starts(ratio, [0.1] * 5) == ratio
    logs = [0.0, 0.1, 0.2, 0.1, 0.1]
    wide = over_starts(ratio, logs)
    # As the textbook has it: 2.776 standard errors for five values.
    assert math.log(wide.high / 1.1) == pytest.approx(2.776 * statistics.stdev(logs) / 5**0.5)
    assert wide.low * wide.high == pytest.approx(1.1**2)
    assert over_starts(ratio, logs * 5).high < wide.high


def test_how_far_from_1_a_ratio_may_be() -> None:
    assert Ratio(0.99, 0.9, 1.02, 50).farthest == pytest.approx(-math.log(0.9))
    assert Ratio(1.0, 0.0, math.inf, 3).farthest == math.inf
    assert within(2.0, 0.03).deviation == pytest.approx(0.03)
    assert Ratio(1.0, 0.0, math.inf, 3).deviation == math.inf


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
