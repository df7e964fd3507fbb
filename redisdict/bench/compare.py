"""Compare two runs: what became faster or slower, and what can't be said.

Across runs the ratios to the reference are compared, never ops/s: those of one and the same server
differ from run to run by far more than any change worth finding.

What truly equal runs differ by is a part of every interval (`noise.between_runs()`), and the
verdicts of one comparison are controlled together (`statistics.joint_confidence()`): of a hundred
comparisons of equal runs, one says anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from redisdict.bench.choices import CellStatus
from redisdict.bench.measure.statistics import (
    Quotient,
    Ratio,
    Verdict,
    joint_confidence,
    judge,
)
from redisdict.bench.noise import between_runs, conditions
from redisdict.bench.records import speed_of
from redisdict.models import BenchmarkResult, BenchmarkRun

#: What must be equal in two specifications, or their figures stand for different things.
COMPARABLE_SPEC = (
    "event_loop", "batch_size", "is_transaction", "value_bytes", "key_count", "iteration_items",
    "block_operations", "lead_in_operations",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One cell in two runs. `ratio` is its speed now against its speed before.

    The interval is as wide as the verdicts of the whole comparison demand, so the verdict can be
    read off it. `reason` says why a cell isn't comparable.
    """

    before: BenchmarkResult
    after: BenchmarkResult
    ratio: Ratio | None
    verdict: Verdict
    reason: str = ""


def compare(before: BenchmarkRun, after: BenchmarkRun) -> list[Change]:
    """Compare every cell that both runs measured, in the order of the later one."""
    general = obstacles(before, after)
    earlier = {result.key: result for result in before.cells}
    changes: list[Change] = []
    quotients: list[Quotient | None] = []
    for result in after.cells:
        other = earlier.get(result.key)
        if other is None or CellStatus.MEASURED not in (result.status, other.status):
            continue
        reason = general[0] if general else _obstacle(other, result)
        was, now = speed_of(other), speed_of(result)
        if reason or was is None or now is None:
            quotients.append(None)
            reason = reason or "without an interval"
        else:
            noise = math.hypot(
                between_runs(before, other),
                between_runs(after, result),
                conditions(other, result),
            )
            quotients.append(Quotient.of(now, was, noise))
        changes.append(Change(other, result, None, Verdict.NOT_COMPARABLE, reason))
    confidence = joint_confidence([one.chance for one in quotients if one is not None])
    return [
        change if one is None else _judged(change, one.at(confidence))
        for change, one in zip(changes, quotients, strict=True)
    ]


def _judged(change: Change, ratio: Ratio) -> Change:
    return replace(change, ratio=ratio, verdict=judge(ratio))


def obstacles(before: BenchmarkRun, after: BenchmarkRun) -> list[str]:
    """List why no figure of these two runs can be compared; nothing when they can."""
    found = []
    if before.environment.get("machine_hash") != after.environment.get("machine_hash"):
        found.append("another machine")
    for name in COMPARABLE_SPEC:
        was, now = before.spec.get(name), after.spec.get(name)
        if was != now:
            found += [f"another specification ({name} {was} and {now})"]
    return found


def regressions(changes: list[Change], threshold_percent: float) -> list[Change]:
    """List the cells that are proven to be slower, and by more than the threshold."""
    limit = 1 - threshold_percent / 100
    return [
        change
        for change in changes
        if change.verdict is Verdict.SLOWER and change.ratio and change.ratio.value < limit
    ]


def _obstacle(before: BenchmarkResult, after: BenchmarkResult) -> str:
    if CellStatus.MEASURED not in (before.status, after.status) or before.status != after.status:
        return f"it {before.status} before and {after.status} now"
    if before.placement != after.placement:
        return f"another placement ({before.placement} and {after.placement})"
    if before.details.get("reference") != after.details.get("reference"):
        return "another reference"
    if before.ratio_low == before.ratio_high == after.ratio_low == 1:
        return "it is the reference"
    return ""
