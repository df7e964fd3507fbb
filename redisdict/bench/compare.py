"""Compare two runs: what became faster or slower, and what can't be said.

Across runs the ratios to the reference are compared, never ops/s: those of one and the same server
differ from run to run by far more than any change worth finding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from redisdict.bench.choices import CellStatus, Comparison
from redisdict.bench.measure.statistics import Ratio, Verdict, judge, quotient
from redisdict.bench.operations import least_difference
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

    `reason` says why it isn't comparable.
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
    changes = []
    for result in after.cells:
        other = earlier.get(result.key)
        if other is None or CellStatus.MEASURED not in (result.status, other.status):
            continue
        reason = general[0] if general else _obstacle(other, result)
        was, now = speed_of(other), speed_of(result)
        if reason or was is None or now is None:
            reason = reason or "without an interval"
            changes.append(Change(other, result, None, Verdict.NOT_COMPARABLE, reason))
        else:
            ratio = quotient(now, was)
            least = math.hypot(_least(before, result.operation), _least(after, result.operation))
            changes.append(Change(other, result, ratio, judge(ratio, least)))
    return changes


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


def _least(run: BenchmarkRun, operation: str) -> float:
    """Compute the least difference that the run may call one at this operation."""
    starts: int = run.spec.get("precision", {}).get("server_starts", 1)
    floors = [
        abs(math.log(one["ratio"]))
        for one in run.comparisons
        if one["kind"] == Comparison.TWIN and one["operation"] == operation
    ]
    return least_difference(operation, max(floors, default=run.noise_floor or 0.0), starts)


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
