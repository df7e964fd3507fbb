"""From the rounds of a group to the figures of its cells and to comparisons between them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from redisdict.bench.latency import Latencies
from redisdict.bench.luck import least_difference
from redisdict.bench.plan import Group
from redisdict.bench.results import CellResult, CellStatus
from redisdict.bench.series import Series, ratio_between
from redisdict.bench.spec import ASYNC, DEFAULT_POOL, ITERATIONS, POOLS, Cell, Table
from redisdict.bench.statistics import LEAST_ROUNDS, Ratio, drift, judge, relative_spread

__all__ = ["cell_result", "comparisons", "group_noise_floor"]

#: What kind of comparison, the left cell, and the right one if it was measured.
_Pair = tuple[str, Cell, Cell | None]


def cell_result(
    group: Group,
    cell: Cell,
    series: Mapping[Cell, Series],
    latencies: Latencies | None,
    details: Mapping[str, Any],
) -> CellResult:
    """The row of one cell: what was measured, or why there is nothing."""
    own = series[cell]
    if own.failure is not None:
        return CellResult.without_figures(cell, CellStatus.FAILED, own.failure.reason)
    placement = own.placement
    times = own.times_at(placement)
    if len(times) < LEAST_ROUNDS:
        reason = f"ended after {len(times)} rounds; at least {LEAST_ROUNDS} make a figure"
        return CellResult.without_figures(cell, CellStatus.UNAVAILABLE, reason)
    reference = group.references.get(cell)
    ratio = _ratio(series, cell, reference)
    return CellResult(
        table=cell.table,
        status=CellStatus.MEASURED,
        service=cell.service,
        mode=cell.mode,
        pool=cell.pool,
        variant=cell.variant,
        operation=cell.operation,
        concurrency=cell.concurrency,
        connections=cell.connections,
        placement=placement,
        rounds=len(times),
        operations=own.operations,
        ops_per_second=1e9 / statistics.median(times),
        ratio=ratio.value if ratio else None,
        ratio_low=ratio.low if ratio and ratio.low > 0 else None,
        ratio_high=ratio.high if ratio and math.isfinite(ratio.high) else None,
        p50_us=latencies.p50_us if latencies else None,
        p90_us=latencies.p90_us if latencies else None,
        p99_us=latencies.p99_us if latencies else None,
        p999_us=latencies.p999_us if latencies else None,
        max_us=latencies.max_us if latencies else None,
        client_cpu_us=latencies.client_cpu_us if latencies else None,
        server_cpu_us=latencies.server_cpu_us if latencies else None,
        details={
            "reference": str(reference) if reference else None,
            "total_ops_per_second": own.operations * 1e9 / own.duration_ns,
            "spread": relative_spread(times),
            "drift": drift(times),
            "latency_calls": latencies.calls if latencies else 0,
            "latency_histogram_ns": latencies.histogram if latencies else "",
            **details,
        },
    )


def group_noise_floor(group: Group, series: Mapping[Cell, Series]) -> float | None:
    """What the A/A twins of single calls differ by at most; None when none could be measured.

    Iterations are left out: they depend so much on a server process's luck that they would hide
    how well everything else is known.
    """
    floors = [
        floor
        for reference, floor in _floors(group, series).items()
        if reference.operation not in ITERATIONS
    ]
    return max(floors, default=None)


def comparisons(
    group: Group, series: Mapping[Cell, Series], server_starts: int
) -> list[dict[str, Any]]:
    """Every pair that a reader may ask about, over the rounds of this group.

    Each says: `left` is `ratio` times as fast as `right`, and what that proves.
    """
    floors = _floors(group, series)
    found = []
    for kind, left, right in [*_twins(group), *_pairs(group.measured, group.references)]:
        ratio = _ratio(series, left, right)
        if ratio is None or right is None or not math.isfinite(ratio.high):
            continue
        if kind == "mode" and left.operation in ITERATIONS:
            # Both walk over one dict in one process, so that neither can be the luckier one.
            least = 0.0
        else:
            floor = floors.get(group.references[left], 0.0)
            least = least_difference(left.operation, floor, server_starts)
        found.append(
            {
                "kind": kind,
                "group": group.name,
                "table": left.table.value,
                "service": left.service,
                "operation": left.operation,
                "concurrency": left.concurrency,
                "connections": left.connections,
                "left": left.service if kind == "service" else _short_name(left),
                "right": right.service if kind == "service" else _short_name(right),
                "ratio": ratio.value,
                "low": ratio.low,
                "high": ratio.high,
                "rounds": ratio.rounds,
                "least_difference": least,
                "verdict": judge(ratio, least).value,
            }
        )
    return found


def _floors(group: Group, series: Mapping[Cell, Series]) -> dict[Cell, float]:
    """For each reference, how far from 1 its second copy came out, on the log scale."""
    floors = {}
    for twin in group.twins:
        ratio = _ratio(series, twin, group.references[twin])
        if ratio is not None:
            floors[group.references[twin]] = abs(math.log(ratio.value))
    return floors


def _ratio(series: Mapping[Cell, Series], cell: Cell, reference: Cell | None) -> Ratio | None:
    if reference is None or series[cell].failure or series[reference].failure:
        return None
    return ratio_between(series[cell], series[reference])


def _twins(group: Group) -> Iterator[_Pair]:
    for twin in group.twins:
        yield "A/A", twin, group.references[twin]


def _pairs(cells: Sequence[Cell], references: Mapping[Cell, Cell]) -> Iterator[_Pair]:
    """Service against service, pool against the mode's plain pool, dict against dict."""
    by_variant = {(cell.variant, cell.operation): cell for cell in cells}
    for cell in cells:
        if cell.table is Table.DICT:
            if "(HSET)" in cell.variant:
                direct = cell.variant.replace("(HSET)", "(No HSET)")
                yield "layout", cell, by_variant.get((direct, cell.operation))
            if cell.mode == ASYNC:
                blocking = cell.variant.replace("Async", "Sync")
                yield "mode", cell, by_variant.get((blocking, cell.operation))
            continue
        reference = references[cell]
        is_same_row = cell.mode == reference.mode and cell.pool in (reference.pool, DEFAULT_POOL)
        if is_same_row and cell.service != reference.service:
            yield "service", cell, reference
        plain = replace(cell, pool=POOLS[cell.mode][0])
        if plain != cell and plain in cells:
            yield "pool", cell, plain


def _short_name(cell: Cell) -> str:
    if cell.table is Table.DICT:
        return cell.variant
    through = " under a dict" if cell.variant else ""
    return f"{cell.mode} {cell.pool}{through}"
