"""Compute the figures: paired ratios, their intervals, and what they prove.

A ratio is a speed: above 1 is faster. It is the median over rounds of the paired log-ratio, so one
stalled round moves nothing, and whatever slowed both cells of a round cancels out.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

CONFIDENCE = 0.95

#: Fewer rounds than this have no interval, and so they are no figure.
LEAST_ROUNDS = 6

#: Two things are called the same only when the whole interval lies this close to 1.
SAME_WITHIN = 0.05


class Verdict(StrEnum):
    """What an interval says about a speed ratio."""

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

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def paired_ratio(times: Sequence[float], reference_times: Sequence[float]) -> Ratio:
    """Compute a speed against the reference, from the times both took in the same rounds.

    Args:
        times: of the cell, one a round, in any unit.
        reference_times: of the reference in the same rounds, in the same unit.

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


def quotient(after: Ratio, before: Ratio) -> Ratio:
    """Divide two independent ratios, such as one cell's in two runs.

    The relative widths add like independent errors do: in quadrature, on the log scale.
    """
    value = after.value / before.value
    rounds = min(after.rounds, before.rounds)
    if after.low == 0 or before.low == 0:
        return Ratio(value, 0.0, math.inf, rounds)
    down = math.hypot(math.log(after.value / after.low), math.log(before.high / before.value))
    up = math.hypot(math.log(after.high / after.value), math.log(before.value / before.low))
    return Ratio(value, value * math.exp(-down), value * math.exp(up), rounds)


def judge(ratio: Ratio, least: float = 0.0) -> Verdict:
    """Decide what the interval proves.

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
