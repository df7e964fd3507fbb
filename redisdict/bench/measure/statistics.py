"""Compute the figures: paired ratios, their intervals, and what they prove.

A ratio is a speed: above 1 is faster. It is the median over rounds of the paired log-ratio, so one
stalled round changes nothing, and whatever slowed both cells of a round cancels out.

Deviations are standard deviations on the log scale: 0.01 is 1 %.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Self

CONFIDENCE = 0.95

#: The accepted share of false ones among the differences that a comparison of two runs calls real:
#: 0.01 is 1 %. When there is no difference at all, this share of comparisons reports one (Benjamini
#: and Hochberg, 1995).
FALSE_DISCOVERIES = 0.01

_NORMAL = statistics.NormalDist()
_SQRT2 = math.sqrt(2)

#: Fewer rounds than this give no interval, and so no figure.
LEAST_ROUNDS = 6

#: Two cells are called the same only when the whole interval lies this close to 1.
SAME_WITHIN = 0.05


class Verdict(StrEnum):
    """The conclusion from the interval of a speed ratio."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "same"
    UNSURE = "unsure"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True)
class Ratio:
    """A speed ratio with the interval that holds the true one with `CONFIDENCE`.

    `low` is 0 and `high` infinite while there are too few rounds to say anything.
    """

    value: float
    low: float
    high: float
    rounds: int

    @property
    def half_width(self) -> float:
        """Half the interval's width, relative: 0.01 is ±1 %."""
        if self.low == 0:
            return math.inf
        return math.sqrt(self.high / self.low) - 1

    @property
    def deviation(self) -> float:
        """The standard deviation that the interval stands for; infinite without a bound."""
        if self.low == 0 or math.isinf(self.high):
            return math.inf
        return math.log(self.high / self.low) / (2 * _normal_quantile(CONFIDENCE))

    @property
    def farthest(self) -> float:
        """The greatest distance of the true ratio from 1, on the log scale."""
        if self.low == 0 or math.isinf(self.high):
            return math.inf
        return max(abs(math.log(self.low)), abs(math.log(self.high)))

    @property
    def nearest(self) -> float:
        """The least distance of the true ratio from 1, on the log scale."""
        if self.low == 0 or self.low <= 1 <= self.high:
            return 0.0
        return min(abs(math.log(self.low)), abs(math.log(self.high)))

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def paired_ratio(times: Sequence[float], reference_times: Sequence[float]) -> Ratio:
    """Compute a speed against the reference, from the times both took in the same rounds.

    Args:
        times: the cell's times, one a round, in any unit.
        reference_times: the reference's times in the same rounds and the same unit.

    Raises:
        ValueError: no rounds, or not the same number of them.
    """
    logs = [
        math.log(reference / own) for own, reference in zip(times, reference_times, strict=True)
    ]
    if not logs:
        raise ValueError("A ratio needs at least one round.")
    low, high = median_interval(logs)
    return Ratio(math.exp(statistics.median(logs)), math.exp(low), math.exp(high), len(logs))


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Bound the true median with at least `confidence`, by order statistics.

    It assumes nothing about the distribution, needs no resampling, and is exact (Hahn and Meeker,
    Statistical Intervals, section 5.2). With too few values for the confidence asked it is
    unbounded, for instance below 6 values for 95 %.
    """
    rank = _interval_rank(len(values), confidence)
    if rank == 0:
        return -math.inf, math.inf
    ordered = sorted(values)
    return ordered[rank - 1], ordered[-rank]


@lru_cache(maxsize=4096)
def _interval_rank(count: int, confidence: float) -> int:
    """Find the greatest k for which the k-th smallest and k-th largest bound the median.

    They fail to when fewer than k of `count` fair coin tosses fall on one side.
    """
    allowed_per_side = (1 - confidence) / 2
    log_total = count * math.log(2)
    tail = 0.0
    for successes in range(count // 2 + 1):
        log_ways = (
            math.lgamma(count + 1) - math.lgamma(successes + 1) - math.lgamma(count - successes + 1)
        )
        tail += math.exp(log_ways - log_total)
        if tail > allowed_per_side:
            return successes
    return count // 2


@dataclass(frozen=True, slots=True)
class Quotient:
    """The speed of a cell in one run against its speed in another, and how far that may be off.

    Attributes:
        value: the quotient of the two ratios.
        deviation: the standard deviation of its logarithm: within both runs, and between runs.
        rounds: the number of rounds of the run that had fewer.
        shift: the part of the deviation that all rows of a service have in common.
    """

    value: float
    deviation: float
    rounds: int
    shift: float = 0.0

    @classmethod
    def of(cls, after: Ratio, before: Ratio, between_runs: float = 0.0, shift: float = 0.0) -> Self:
        """Divide two ratios of independent runs.

        Args:
            between_runs: by how much equal runs differ beyond that, as a deviation.
            shift: by how much the ratios of one of the runs are shifted together, likewise.
        """
        deviation = math.hypot(after.deviation, before.deviation, between_runs, shift)
        value, rounds = after.value / before.value, min(after.rounds, before.rounds)
        return cls(value, deviation, rounds, shift)

    @classmethod
    def over(cls, rows: Sequence[Sequence[Self]]) -> Self:
        """Take the mean of the rows of one service, which is known better than any of them.

        Half of the variance of a ratio is its reference's, and all rows with that reference have
        it; the other half is a row's own and averages out. That holds for what runs differ by, too:
        in 190 pairs of equal runs the rows of a service hardly differed together (correlations of
        -0.1 to 0.2). But a shift of the machine is taken to be the same in all of them.

        Args:
            rows: those with the same reference together.
        """
        every = [one for group in rows for one in group]
        shift = math.sqrt(statistics.fmean(one.shift**2 for one in every))
        chance = statistics.fmean(one.deviation**2 - one.shift**2 for one in every)
        times = sum(len(group) + len(group) ** 2 for group in rows) / 2 / len(every) ** 2
        return cls(
            statistics.geometric_mean(one.value for one in every),
            math.hypot(math.sqrt(max(chance, 0.0) * times), shift),
            min(one.rounds for one in every),
            shift,
        )

    @property
    def chance(self) -> float:
        """The probability of so great a difference between equal things, from 0 to 1."""
        if not self.deviation:
            return float(self.value == 1)
        return math.erfc(abs(math.log(self.value)) / self.deviation / _SQRT2)

    def at(self, confidence: float) -> Ratio:
        """Bound the true quotient with this confidence."""
        if math.isinf(self.deviation):
            return Ratio(self.value, 0.0, math.inf, self.rounds)
        reach = math.exp(_normal_quantile(confidence) * self.deviation)
        return Ratio(self.value, self.value / reach, self.value * reach, self.rounds)


#: The half-width of a mean's interval of `CONFIDENCE` in standard errors, by degrees of freedom
#: (Student).
STUDENT = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def over_starts(ratio: Ratio, logs: Sequence[float]) -> Ratio:
    """Widen an interval by the differences between the starts of servers or processes.

    Rounds of one start share whatever that start has of its own, so many rounds alone prove little.

    Args:
        ratio: over all rounds.
        logs: the ratio's logarithm for each start; fewer than three change nothing.
    """
    degrees = len(logs) - 1
    if degrees < min(STUDENT):
        return ratio
    times = STUDENT.get(degrees, _normal_quantile(CONFIDENCE) * 1.15)
    reach = math.exp(times * statistics.stdev(logs) / math.sqrt(len(logs)))
    low, high = min(ratio.low, ratio.value / reach), max(ratio.high, ratio.value * reach)
    return Ratio(ratio.value, low, high, ratio.rounds)


def joint_confidence(chances: Sequence[float], rate: float = FALSE_DISCOVERIES) -> float:
    """Choose the confidence of each interval so that all verdicts of a comparison hold together.

    An interval of this confidence excludes 1 just where the procedure of Benjamini and Hochberg
    finds a difference; so a verdict can be read off the interval that is shown. (These are the
    intervals of Benjamini and Yekutieli, 2005, for what was selected.)

    Args:
        chances: one for each cell, see `Quotient.chance`.
        rate: the accepted share of false ones among the differences found.
    """
    ordered = sorted(chances)
    found = [rank for rank, chance in enumerate(ordered, 1) if chance <= rank * rate / len(ordered)]
    return 1 - max(found, default=1) * rate / max(len(ordered), 1)


@lru_cache(maxsize=4096)
def _normal_quantile(confidence: float) -> float:
    """Find how many deviations on either side hold so much of a normal distribution."""
    return _NORMAL.inv_cdf((1 + confidence) / 2)


def upper_factor(degrees: int) -> float:
    """Compute the factor by which an estimated deviation becomes an upper bound in 9 of 10 cases.

    By the approximation of Wilson and Hilferty to the tenth percentile of chi-square.

    Args:
        degrees: the estimate's degrees of freedom, at least 1.
    """
    spread = 2 / (9 * degrees)
    share = max(1 - spread + _NORMAL.inv_cdf(0.1) * math.sqrt(spread), 0.2) ** 3
    return 1 / math.sqrt(share)


def judge(ratio: Ratio, least: float = 0.0) -> Verdict:
    """Return the verdict that the interval proves.

    Args:
        least: the least difference, on the log scale, that may be called one; see
            `operations.least_difference()`. So much may be missing from a ratio near 1 as well.
    """
    beyond = math.exp(least)
    if ratio.low > beyond:
        return Verdict.FASTER
    if ratio.high < 1 / beyond:
        return Verdict.SLOWER
    if ratio.low / beyond >= 1 - SAME_WITHIN and ratio.high * beyond <= 1 + SAME_WITHIN:
        return Verdict.SAME
    return Verdict.UNSURE


def relative_spread(values: Sequence[float]) -> float:
    """Compute the median absolute deviation relative to the median: 0.1 is 10 %."""
    middle = statistics.median(values)
    return statistics.median(abs(value - middle) for value in values) / middle


def drift(values: Sequence[float]) -> float:
    """Compute how much the last third's median lies above the first third's: 0.1 is 10 % more."""
    third = len(values) // 3
    if third == 0:
        return 0.0
    return statistics.median(values[-third:]) / statistics.median(values[:third]) - 1


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Find the smallest value that at least `percent` don't exceed (nearest rank)."""
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]
