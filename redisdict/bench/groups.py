"""One group from its cells to its figures: open, rounds, latencies, analysis, close."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from redisdict.bench.analysis import cell_result, comparisons, group_noise_floor
from redisdict.bench.errors import CELL_ERRORS, WrongReply, describe
from redisdict.bench.latency import Latencies, measure_latencies
from redisdict.bench.plan import Group
from redisdict.bench.results import CellResult, CellStatus
from redisdict.bench.runner import Clock, Rounds
from redisdict.bench.series import Failure, Series
from redisdict.bench.spec import BenchmarkSpec, Cell, Precision, Role
from redisdict.bench.workloads.cells import CellFactory, WorkloadCell

__all__ = ["GroupOutcome", "measure_group"]

#: Calls of the latency pass that are batches or whole iterations, for each hundred plain ones.
LONG_CALLS_PER_HUNDRED = 5
LEAST_LONG_CALLS = 20

#: The open loop is for single commands.
OPEN_LOOP_OPERATIONS = ("SET", "GET", "Set", "Get")


@dataclass(frozen=True, kw_only=True)
class GroupOutcome:
    """What a group gave."""

    results: list[CellResult]
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
                on_round=_share_of(on_round, number, precision.server_starts),
                should_stop=should_stop,
            )
            _extend(series, rounds.run())
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
                        series[cell].failure = _failure(error)
        if should_stop():
            break
    return GroupOutcome(
        results=[
            CellResult.without_figures(cell, CellStatus.UNAVAILABLE, group.left_out[cell])
            if cell in group.left_out
            else cell_result(group, cell, series, latencies.get(cell), facts.get(cell, {}))
            for cell in group.rows
        ],
        comparisons=comparisons(group, series, precision.server_starts),
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
                own.failure = _failure(error)
    return opened


def _extend(series: Mapping[Cell, Series], part: Mapping[Cell, Series]) -> None:
    absent = Series()
    absent.skip(max((len(one.times) for one in part.values()), default=0))
    for cell, own in series.items():
        if cell in part:
            own.extend(part[cell])
        else:
            own.extend(absent)


def _share_of(
    on_round: Callable[[float], None], number: int, count: int
) -> Callable[[float], None]:
    return lambda fraction: on_round((number + fraction) / count)


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
    if cell.operation.startswith("PIPE") or cell.operation in ("Iter", "Items"):
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
    """Calls a second in the latency pass; 0 for a closed loop."""
    is_single = cell.operation in OPEN_LOOP_OPERATIONS and cell.concurrency == 1
    return spec.rate if is_single else 0.0


def _failure(error: BaseException) -> Failure:
    return Failure(describe(error), is_wrong_reply=isinstance(error, WrongReply))
