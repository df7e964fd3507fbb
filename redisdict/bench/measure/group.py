"""Measure one group: open its cells, run rounds, take latencies, compute the figures."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from redisdict.bench.choices import CellStatus, Comparison, Table
from redisdict.bench.errors import CELL_ERRORS
from redisdict.bench.measure.latency import Latencies, measure_latencies
from redisdict.bench.measure.rounds import Clock, Failure, Rounds, Series, ratio_between
from redisdict.bench.measure.statistics import (
    LEAST_ROUNDS,
    Ratio,
    drift,
    judge,
    over_starts,
    relative_spread,
)
from redisdict.bench.operations import ITERATIONS, OPERATIONS, is_plain, least_difference
from redisdict.bench.plan import Group
from redisdict.bench.records import result_of
from redisdict.bench.spec import ASYNC, DEFAULT_POOL, POOLS, BenchmarkSpec, Cell, Precision, Role
from redisdict.bench.workloads.cells import CellFactory, WorkloadCell
from redisdict.models import BenchmarkResult

#: Calls of the latency pass that are batches or whole iterations, for each hundred plain ones.
LONG_CALLS_PER_HUNDRED = 5
LEAST_LONG_CALLS = 20


@dataclass(frozen=True, kw_only=True)
class GroupOutcome:
    """The outcome of a group."""

    results: list[BenchmarkResult]
    comparisons: list[dict[str, Any]]
    noise_floor: float | None
    has_wrong_reply: bool


def measure_group(
    group: Group,
    spec: BenchmarkSpec,
    precision: Precision,
    start: Callable[[ExitStack], CellFactory],
    *,
    clock: Clock,
    on_round: Callable[[float], None],
    should_stop: Callable[[], bool],
) -> GroupOutcome:
    """Measure all cells of the group, as far as they can be; a cell's failure is its own.

    Args:
        start: starts the servers and gives what opens cells on them; called once for each of the
            precision's server starts. All that it opens is closed through the stack.

    Raises:
        RedisDictError, redis.exceptions.RedisError, OSError: from `start`.
    """
    series = {cell: Series() for cell in group.cells}
    latencies: dict[Cell, Latencies | None] = {}
    facts: dict[Cell, dict[str, Any]] = {}
    starts: dict[Cell, list[float]] = {}
    for number in range(precision.server_starts):
        with ExitStack() as stack:
            factory = start(stack)
            opened = _open(factory, series)
            rounds = Rounds(
                list(opened.values()),
                group.references,
                precision.of_one_start,
                rng=random.Random(f"{spec.seed} {group.name} {number}"),  # noqa: S311 - an order
                clock=clock,
                on_round=partial(_pass_on, on_round, number, precision.server_starts),
                should_stop=should_stop,
            )
            part = rounds.run()
            _extend(series, part)
            note_start(starts, group, part)
            if number == precision.server_starts - 1:
                for cell, open_cell in opened.items():
                    if cell.role is not Role.MEASURED or series[cell].failure or should_stop():
                        continue
                    try:
                        latencies[cell] = _latencies(
                            cell, open_cell, factory, spec, clock, should_stop
                        )
                        facts[cell] = {**open_cell.facts(), "rate_per_second": _rate_of(cell, spec)}
                    except CELL_ERRORS as error:
                        series[cell].failure = Failure.of(error)
        if should_stop():
            break
    return GroupOutcome(
        results=[
            result_of(cell, CellStatus.UNAVAILABLE, group.left_out[cell])
            if cell in group.left_out
            else cell_result(
                group,
                cell,
                series,
                latencies.get(cell),
                {"starts": starts.get(cell, []), **facts.get(cell, {})},
            )
            for cell in group.rows
        ],
        comparisons=comparisons(group, series, precision.server_starts, starts),
        noise_floor=group_noise_floor(group, series),
        has_wrong_reply=any(
            one.failure is not None and one.failure.is_wrong_reply for one in series.values()
        ),
    )


def _open(factory: CellFactory, series: Mapping[Cell, Series]) -> dict[Cell, WorkloadCell]:
    """Open every cell that hasn't failed; one that can't be opened fails."""
    opened: dict[Cell, WorkloadCell] = {}
    for cell, own in series.items():
        if own.failure is None:
            try:
                opened[cell] = factory.open(cell)
            except CELL_ERRORS as error:
                own.failure = Failure.of(error)
    return opened


def _extend(series: Mapping[Cell, Series], part: Mapping[Cell, Series]) -> None:
    absent = Series()
    absent.skip(max((len(one.times) for one in part.values()), default=0))
    for cell, own in series.items():
        if cell in part:
            own.extend(part[cell])
        else:
            own.extend(absent)


def note_start(starts: dict[Cell, list[float]], group: Group, part: Mapping[Cell, Series]) -> None:
    """Keep the ratio that each cell had with these processes of the servers."""
    for cell, reference in group.references.items():
        if cell in part and reference in part and cell != reference:
            ratio = _ratio(part, cell, reference)
            if ratio is not None:
                starts.setdefault(cell, []).append(ratio.value)


def _pass_on(on_round: Callable[[float], None], start: int, starts: int, fraction: float) -> None:
    """Report the progress over all starts."""
    on_round((start + fraction) / starts)


def _latencies(
    cell: Cell,
    open_cell: WorkloadCell,
    factory: CellFactory,
    spec: BenchmarkSpec,
    clock: Clock,
    should_stop: Callable[[], bool],
) -> Latencies | None:
    calls = spec.latency_operations
    if not calls:
        return None
    rate = _rate_of(cell, spec)
    if rate:
        # All calls in one block: between blocks a schedule would start anew and forget its delay.
        open_cell = factory.open(cell, block=calls)
    if not is_plain(cell.operation):
        calls = max(calls * LONG_CALLS_PER_HUNDRED // 100, LEAST_LONG_CALLS)
    return measure_latencies(
        open_cell,
        calls,
        clock=clock,
        per_second=rate,
        server_cpu_ns=factory.host(cell).cpu_ns,
        should_stop=should_stop,
    )


def _rate_of(cell: Cell, spec: BenchmarkSpec) -> float:
    """Choose the calls a second in the latency pass; 0 for a closed loop."""
    is_single = OPERATIONS[cell.operation].is_open_loop and cell.concurrency == 1
    return spec.rate if is_single else 0.0


#: What kind of comparison, the left cell, and the right one if it was measured.
_Pair = tuple[Comparison, Cell, Cell | None]


def cell_result(
    group: Group,
    cell: Cell,
    series: Mapping[Cell, Series],
    latencies: Latencies | None,
    details: Mapping[str, Any],
) -> BenchmarkResult:
    """Make the row of one cell: its figures, or the reason why it has none."""
    own = series[cell]
    if own.failure is not None:
        return result_of(cell, CellStatus.FAILED, own.failure.reason)
    placement = own.placement
    times = own.times_at(placement)
    if len(times) < LEAST_ROUNDS:
        reason = f"ended after {len(times)} rounds; at least {LEAST_ROUNDS} are needed for a figure"
        return result_of(cell, CellStatus.UNAVAILABLE, reason)
    reference = group.references.get(cell)
    ratio = _ratio(series, cell, reference)
    floor = noise_floors(group, series).get(reference) if reference else None
    least = _least_noise(group, series).get(reference) if reference else None
    figures = dict(vars(latencies)) if latencies else {}
    calls = figures.pop("calls", 0)
    return result_of(
        cell,
        CellStatus.MEASURED,
        placement=placement,
        rounds=len(times),
        operations=own.operations,
        ops_per_second=1e9 / statistics.median(times),
        ratio=ratio.value if ratio else None,
        ratio_low=ratio.low if ratio and ratio.low > 0 else None,
        ratio_high=ratio.high if ratio and math.isfinite(ratio.high) else None,
        details={
            "reference": str(reference) if reference else None,
            "noise_floor": floor,
            "least_noise": least,
            **_alike(group, cell, series),
            "total_ops_per_second": own.operations * 1e9 / own.duration_ns,
            "spread": relative_spread(times),
            "drift": drift(times),
            "latency_calls": calls,
            **details,
        },
        **figures,
    )


def _alike(
    group: Group, cell: Cell, series: Mapping[Cell, Series]
) -> dict[str, dict[str, float | str]]:
    """Compute the ratio to a call of the same mode, for comparisons across runs.

    That of an asynchronous call to a blocking one depends on how busy the machine is.
    """
    ratio = _ratio(series, cell, group.alike.get(cell))
    if ratio is None or not math.isfinite(ratio.high):
        return {}
    return {"alike": {"reference": str(group.alike[cell]), **asdict(ratio)}}


def noise_floors(group: Group, series: Mapping[Cell, Series]) -> dict[Cell, float]:
    """Compute for each reference how far from 1 its twin's true ratio may be, on the log scale.

    The twin is the reference once more, so whatever is found of it is noise.
    """
    floors = {}
    for twin in group.twins:
        reference = group.references[twin]
        ratio = _ratio(series, twin, reference)
        if ratio is not None and math.isfinite(ratio.farthest):
            floors[reference] = ratio.farthest
    return floors


def _least_noise(group: Group, series: Mapping[Cell, Series]) -> dict[Cell, float]:
    """Compute for each reference how far from 1 its twin's true ratio is at least, likewise.

    What is beyond this end of the interval may be chance, and each cell's own interval has that.
    """
    least = {}
    for twin in group.twins:
        reference = group.references[twin]
        ratio = _ratio(series, twin, reference)
        if ratio is not None and math.isfinite(ratio.farthest):
            least[reference] = ratio.nearest
    return least


def group_noise_floor(group: Group, series: Mapping[Cell, Series]) -> float | None:
    """Find the greatest noise floor of single calls; None without any.

    Iterations are left out: they depend so much on a server process's variance that they would hide
    how well everything else is known.
    """
    floors = [
        floor
        for reference, floor in noise_floors(group, series).items()
        if reference.operation not in ITERATIONS
    ]
    return max(floors, default=None)


def comparisons(
    group: Group,
    series: Mapping[Cell, Series],
    server_starts: int,
    starts: Mapping[Cell, Sequence[float]] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Compare every pair that a reader may ask about, over the rounds of this group.

    Each says: `left` is `ratio` times as fast as `right`, and what that proves.

    Args:
        starts: the ratio of each cell to its reference with each start of the servers.
    """
    floors = noise_floors(group, series)
    found = []
    for kind, left, right in _pairs(group):
        ratio = _ratio(series, left, right)
        if ratio is None or right is None or not math.isfinite(ratio.high):
            continue
        ratio = over_starts(ratio, _start_logs(group, starts, left, right))
        if kind is Comparison.MODE and left.operation in ITERATIONS:
            # Both walk over one dict in one process, so that neither varies from the other.
            least = 0.0
        else:
            floor = floors.get(group.references[left], 0.0)
            least = least_difference(left.operation, floor, server_starts)
        found.append(
            {
                "kind": kind.value,
                "group": group.name,
                "table": left.table.value,
                "service": left.service,
                "operation": left.operation,
                "concurrency": left.concurrency,
                "connections": left.connections,
                "left": left.service if kind is Comparison.SERVICE else _short_name(left),
                "right": right.service if kind is Comparison.SERVICE else _short_name(right),
                "ratio": ratio.value,
                "low": ratio.low,
                "high": ratio.high,
                "rounds": ratio.rounds,
                "least_difference": least,
                "verdict": judge(ratio, least).value,
            }
        )
    return found


def _start_logs(
    group: Group, starts: Mapping[Cell, Sequence[float]], left: Cell, right: Cell
) -> list[float]:
    """List the logarithms of two cells' ratio with each start; none where they are unknown."""
    own = starts.get(left, ())
    if right == group.references.get(left):
        return [math.log(ratio) for ratio in own]
    other = starts.get(right, ())
    if left == group.references.get(right):
        return [-math.log(ratio) for ratio in other]
    if group.references.get(left) != group.references.get(right) or len(own) != len(other):
        return []
    return [math.log(one / two) for one, two in zip(own, other, strict=True)]


def _ratio(series: Mapping[Cell, Series], cell: Cell, reference: Cell | None) -> Ratio | None:
    if reference is None or series[cell].failure or series[reference].failure:
        return None
    return ratio_between(series[cell], series[reference])


def _pairs(group: Group) -> Iterator[_Pair]:
    """Pair twins, then service with service, pool with the mode's plain pool, dict with dict."""
    for twin in group.twins:
        yield Comparison.TWIN, twin, group.references[twin]
    cells = group.measured
    by_variant = {(cell.variant, cell.operation): cell for cell in cells}
    for cell in cells:
        if cell.table is Table.DICT:
            if "(HSET)" in cell.variant:
                direct = cell.variant.replace("(HSET)", "(No HSET)")
                yield Comparison.LAYOUT, cell, by_variant.get((direct, cell.operation))
            if cell.mode == ASYNC:
                blocking = cell.variant.replace("Async", "Sync")
                yield Comparison.MODE, cell, by_variant.get((blocking, cell.operation))
            continue
        reference = group.references[cell]
        is_same_row = cell.mode == reference.mode and cell.pool in (reference.pool, DEFAULT_POOL)
        if is_same_row and cell.service != reference.service:
            yield Comparison.SERVICE, cell, reference
        plain = replace(cell, pool=POOLS[cell.mode][0])
        if plain != cell and plain in cells:
            yield Comparison.POOL, cell, plain


def _short_name(cell: Cell) -> str:
    if cell.table is Table.DICT:
        return cell.variant
    through = " under a dict" if cell.variant else ""
    return f"{cell.mode} {cell.pool}{through}"
