"""Compare two runs: which cells became faster or slower, and which stay undecided.

Between runs the ratios to the reference are compared, never ops/s: even for the same server these
differ from run to run by far more than any change worth finding.

Every interval includes the usual difference between equal runs (`noise.between_runs()`), and the
verdicts of one comparison are controlled together (`statistics.joint_confidence()`): of a hundred
comparisons of equal runs, one reports a difference.

A command that became slower did so in all rows that send it. So the rows of one service are also
judged together (`_over_rows()`), which finds half as great a difference as a single row does.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from redisdict.bench.choices import CellStatus, Table
from redisdict.bench.measure.statistics import (
    FALSE_DISCOVERIES,
    Quotient,
    Ratio,
    Verdict,
    joint_confidence,
    judge,
)
from redisdict.bench.noise import between_runs, conditions, disturbance
from redisdict.bench.records import speeds_across
from redisdict.models import BenchmarkResult, BenchmarkRun

#: The keys that must be equal in two specifications for their figures to be comparable.
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
    disturbed = disturbance(before, after)
    earlier = {result.key: result for result in before.cells}
    changes: list[Change] = []
    quotients: list[Quotient | None] = []
    for result in after.cells:
        other = earlier.get(result.key)
        if other is None or CellStatus.MEASURED not in (result.status, other.status):
            continue
        reason = general[0] if general else _obstacle(other, result)
        speeds = speeds_across(other, result)
        if reason or speeds is None:
            quotients.append(None)
            reason = reason or "without an interval"
        else:
            was, now = speeds
            usual = math.hypot(between_runs(before, other), between_runs(after, result))
            shift = conditions(other, result, disturbed)
            quotients.append(Quotient.of(now, was, usual, shift))
        changes.append(Change(other, result, None, Verdict.NOT_COMPARABLE, reason))
    over_rows = list(_over_rows(changes, quotients))
    # Two questions, each of which may be answered wrongly half as often.
    rate = FALSE_DISCOVERIES / 2 if over_rows else FALSE_DISCOVERIES
    return [
        *_judged(changes, quotients, rate),
        *_judged([change for change, _ in over_rows], [one for _, one in over_rows], rate),
    ]


def _judged(
    changes: Sequence[Change], quotients: Sequence[Quotient | None], rate: float
) -> Iterator[Change]:
    confidence = joint_confidence([one.chance for one in quotients if one is not None], rate)
    for change, quotient in zip(changes, quotients, strict=True):
        if quotient is None:
            yield change
        else:
            ratio = quotient.at(confidence)
            yield replace(change, ratio=ratio, verdict=judge(ratio))


#: The name of a row that stands for all rows of its service in a table.
ALL_ROWS = "all {count} rows"


def _over_rows(
    changes: Sequence[Change], quotients: Sequence[Quotient | None]
) -> Iterator[tuple[Change, Quotient]]:
    """Yield one verdict for all rows of each service and operation that has several rows."""
    together: dict[tuple[str, ...], list[tuple[Change, Quotient]]] = {}
    for change, quotient in zip(changes, quotients, strict=True):
        cell = change.after
        if quotient is not None and cell.table in (Table.POOLS, Table.DICT):
            place = (cell.table, cell.service, cell.operation)
            together.setdefault(place, []).append((change, quotient))
    for members in together.values():
        if len(members) > 1:
            rows = [change for change, _ in members]
            yield (
                Change(
                    _over([one.before for one in rows]),
                    _over([one.after for one in rows]),
                    None,
                    Verdict.UNSURE,
                ),
                Quotient.over(_by_reference(members)),
            )


def _by_reference(members: Sequence[tuple[Change, Quotient]]) -> list[list[Quotient]]:
    """Gather rows of one mode, which have their reference in common."""
    groups: dict[str, list[Quotient]] = {}
    for change, quotient in members:
        groups.setdefault(change.after.mode, []).append(quotient)
    return list(groups.values())


def _over(cells: Sequence[BenchmarkResult]) -> BenchmarkResult:
    """Make the result that stands for these rows: their mean speed, as far as it goes."""
    first = cells[0]
    speeds = [cell.ops_per_second for cell in cells if cell.ops_per_second]
    return BenchmarkResult(
        table=first.table,
        service=first.service,
        pool=ALL_ROWS.format(count=len(cells)),
        operation=first.operation,
        status=first.status,
        placement=first.placement,
        rounds=min(cell.rounds for cell in cells),
        ops_per_second=statistics.geometric_mean(speeds) if len(speeds) == len(cells) else None,
    )


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
