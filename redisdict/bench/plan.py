"""Plan the groups of cells of a run from a specification and the services that are there.

Cells of one group take turns, so only they can be paired. Each group has the run's reference row
and a second copy of it, the A/A twin, whose distance from the first is the noise floor. So groups
can be small, results arrive one group after the other, and ratios hold across all groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from types import MappingProxyType

from redisdict.bench.choices import Table
from redisdict.bench.measure.services import Service
from redisdict.bench.operations import (
    DICT_OPERATIONS,
    ITERATIONS,
    OPERATIONS,
    POOL_OPERATIONS,
    WORKLOADS,
    chosen,
)
from redisdict.bench.spec import (
    ASYNC,
    DEFAULT_POOL,
    DICT_POOLS,
    MODES,
    POOLS,
    SYNC,
    VARIANTS,
    BenchmarkSpec,
    Cell,
    Role,
)

#: The reference row: redis-py's client over this pool, of the first service that is there.
REFERENCE_MODE, REFERENCE_POOL = SYNC, "ConnectionPool"

#: Pools that raise instead of waiting when all their connections are in use.
REFUSING_POOLS = ("AsyncConnectionPool", "ConnectionPool")
REFUSES = "this pool raises when all its connections are in use; give it one for each worker"

#: The dict that is measured under many workers.
CROWDED_VARIANTS = {ASYNC: "Async (HSET)", SYNC: "Sync (HSET)"}


@dataclass(frozen=True)
class Group:
    """Cells that take turns.

    Attributes:
        rows: the cells of the tables, in the order of their rows.
        extra: references that are no rows here, and A/A twins.
        references: which cell each is compared with.
        left_out: rows that can't be measured, with the reason.
        alike: of asynchronous rows, the asynchronous call that other runs are compared through.
    """

    name: str
    rows: tuple[Cell, ...]
    extra: tuple[Cell, ...]
    references: Mapping[Cell, Cell]
    left_out: Mapping[Cell, str]
    alike: Mapping[Cell, Cell] = field(default_factory=dict)

    @property
    def measured(self) -> tuple[Cell, ...]:
        """The rows that get figures."""
        return tuple(cell for cell in self.rows if cell not in self.left_out)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All that take turns."""
        return (*self.measured, *self.extra)

    @property
    def twins(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.extra if cell.role is Role.TWIN)


def plan(spec: BenchmarkSpec, services: Sequence[Service]) -> tuple[Group, ...]:
    """Plan the groups of a run, in the order in which they are measured.

    Args:
        services: those that are there, in the order of the report; the first has the reference.
    """
    if not services:
        return ()
    groups = []
    if Table.POOLS in spec.tables:
        groups += [_pool_group(spec, service, services[0]) for service in services]
    if Table.DICT in spec.tables:
        groups += [_dict_group(spec, services[0]), _iteration_group(spec, services[0])]
    # What follows compares pools, and speaks of single connections and transactions.
    alone = next((service for service in services if not service.is_cluster), None)
    if alone and Table.CONCURRENCY in spec.tables:
        groups += _concurrency_groups(spec, alone)
    if alone and Table.WORKLOADS in spec.tables:
        groups.append(_workload_group(spec, alone))
    return tuple(group for group in groups if group.measured)


def _pools(spec: BenchmarkSpec, mode: str) -> list[str]:
    """List the selected pool classes of a mode, for any service; none of a mode left out."""
    if spec.modes and mode not in spec.modes:
        return []
    return [pool for pool in POOLS[mode] if not spec.pools or pool in spec.pools]


def _own_pool(spec: BenchmarkSpec, service: Service, usual: list[str]) -> list[str]:
    """Replace these pools by the one that the service brings, unless pools are selected."""
    has_own = service.has_own_pool and not spec.pools and usual
    return [DEFAULT_POOL] if has_own else usual


def _dict_pool(spec: BenchmarkSpec, service: Service, mode: str) -> list[str]:
    """Choose the pool under the dict in this mode, if the selection has one."""
    pools = _pools(spec, mode)
    usual = pools[:1] if spec.pools or not pools else [DICT_POOLS[mode]]
    return _own_pool(spec, service, usual)


def _pool_group(spec: BenchmarkSpec, service: Service, reference: Service) -> Group:
    operations = chosen(POOL_OPERATIONS, spec)
    cells = [
        Cell(table=Table.POOLS, service=service.title, mode=mode, pool=pool, operation=operation)
        for mode in MODES
        for pool in _own_pool(spec, service, _pools(spec, mode))
        for operation in operations
    ]
    return _compared(
        f"{service.title}: pools",
        cells,
        [_reference(reference, o) for o in operations],
        alike=[_reference(reference, o, ASYNC) for o in operations],
    )


def _dict_group(spec: BenchmarkSpec, service: Service) -> Group:
    operations = [name for name in DICT_OPERATIONS if name not in ITERATIONS]
    cells = _dict_cells(spec, service, operations)
    commands = [OPERATIONS[operation].reference for operation in chosen(operations, spec)]
    return _compared(
        f"{service.title}: dict",
        cells,
        [_reference(service, command) for command in commands],
        alike=[_reference(service, command, ASYNC) for command in commands],
    )


def _iteration_group(spec: BenchmarkSpec, service: Service) -> Group:
    """Group iterations apart, since each fills the CPU's caches with other data.

    An iteration has no counterpart among the commands; its own first variant is the reference.
    """
    cells = _dict_cells(spec, service, ITERATIONS)
    firsts = {cell.operation: cell for cell in reversed(cells)}
    references = [replace(cell, role=Role.REFERENCE) for cell in reversed(firsts.values())]
    return _compared(f"{service.title}: iterations", cells, references)


def _dict_cells(spec: BenchmarkSpec, service: Service, operations: Sequence[str]) -> list[Cell]:
    return [
        Cell(
            table=Table.DICT,
            service=service.title,
            mode=mode,
            pool=pool,
            variant=variant,
            operation=operation,
        )
        for variant, (mode, _) in VARIANTS.items()
        for pool in _dict_pool(spec, service, mode)
        for operation in chosen(operations, spec)
    ]


def _concurrency_groups(spec: BenchmarkSpec, service: Service) -> list[Group]:
    """Group pools where they differ: many workers, few and many connections.

    Every pool has a row at every size, under redis-py's client and under a dict.
    """
    groups = []
    for workers, mode in product(spec.concurrency, MODES):
        blank = Cell(
            table=Table.CONCURRENCY,
            service=service.title,
            mode=mode,
            operation="",
            concurrency=workers,
        )
        columns = [("SET", ""), ("GET", "")]
        columns += [(name, CROWDED_VARIANTS[mode]) for name in ("Set", "Get")]
        rows = [
            replace(blank, pool=pool, connections=size, operation=operation, variant=variant)
            for pool in _pools(spec, mode)
            for size in spec.connections
            for operation, variant in columns
            if chosen((operation,), spec)
        ]
        roomy = replace(
            blank,
            pool=POOLS[mode][0],
            connections=max((*spec.connections, workers)),
            role=Role.REFERENCE,
        )
        references = [replace(roomy, operation=name) for name in chosen(("SET", "GET"), spec)]
        kind = "task" if mode == ASYNC else "thread"
        name = f"{service.title}: {workers} {kind}{'s' if workers > 1 else ''}"
        # Its workers would find the pool empty, and it doesn't let them wait.
        left_out = {
            cell: REFUSES
            for cell in rows
            if cell.pool in REFUSING_POOLS and cell.connections < workers
        }
        groups.append(_compared(name, rows, references, left_out))
    return groups


def _workload_group(spec: BenchmarkSpec, service: Service) -> Group:
    cells = [
        Cell(
            table=Table.WORKLOADS, service=service.title, mode=mode, pool=pool, operation=operation
        )
        for mode in MODES
        for pool in _pools(spec, mode)[:1]
        for operation in _chosen_workloads(spec)
    ]
    commands = dict.fromkeys(OPERATIONS[cell.operation].reference for cell in cells)
    return _compared(
        f"{service.title}: workloads", cells, [_reference(service, o) for o in commands]
    )


def _reference(service: Service, operation: str, mode: str = REFERENCE_MODE) -> Cell:
    pool = REFERENCE_POOL if mode == REFERENCE_MODE else POOLS[mode][0]
    return Cell(
        table=Table.POOLS,
        service=service.title,
        mode=mode,
        pool=DEFAULT_POOL if service.has_own_pool else pool,
        operation=operation,
        role=Role.REFERENCE,
    )


def _compared(
    name: str,
    rows: Sequence[Cell],
    references: Sequence[Cell],
    left_out: Mapping[Cell, str] = MappingProxyType({}),
    alike: Sequence[Cell] = (),
) -> Group:
    """Add references and twins to rows. A row that is its own reference is that once.

    Args:
        alike: references of the asynchronous rows in comparisons across runs, see `Group.alike`.
    """
    measured = [cell for cell in rows if cell not in left_out]
    by_operation = _by_operation(references, measured)
    twins = [replace(reference, role=Role.TWIN) for reference in references]
    compared = {}
    for cell in [*measured, *twins]:
        compared[cell] = by_operation[OPERATIONS[cell.operation].reference]
    crossing = [cell for cell in measured if cell.mode == ASYNC]
    by_alike = _by_operation(alike, measured) if crossing else {}
    alikes = {
        cell: by_alike[operation]
        for cell in crossing
        if (operation := OPERATIONS[cell.operation].reference) in by_alike
        if by_alike[operation] != cell
    }
    extra = [*by_operation.values(), *by_alike.values()]
    added = [cell for cell in extra if cell.role is Role.REFERENCE]
    return Group(name, tuple(rows), (*added, *twins), compared, left_out, alikes)


def _by_operation(references: Sequence[Cell], measured: Sequence[Cell]) -> dict[str, Cell]:
    """Find the reference of each operation: the row itself where it is one."""
    rows = {reference.operation: replace(reference, role=Role.MEASURED) for reference in references}
    return {
        reference.operation: rows[reference.operation]
        if rows[reference.operation] in measured
        else reference
        for reference in references
    }


def _chosen_workloads(spec: BenchmarkSpec) -> list[str]:
    """List those that are selected by name; without any, those like a selected command."""
    named = [name for name in WORKLOADS if name in spec.operations]
    commands = chosen(POOL_OPERATIONS, spec)
    return named or [name for name in WORKLOADS if OPERATIONS[name].reference in commands]


#: What a block of a cell with many workers gets, for each of them, in the unit of `time_budget()`.
#: It takes twice as much; but those cells differ by more from run to run than more rounds could
#: make up for, and single calls can be known well.
CROWD_BUDGET = {ASYNC: 0.3, SYNC: 0.5}


def time_budget(group: Group, spec: BenchmarkSpec) -> float:
    """Estimate how long a round of the group takes, in blocks of ten plain operations."""
    total = 0.0
    for cell in group.cells:
        if cell.concurrency > 1:
            total += cell.concurrency * CROWD_BUDGET[cell.mode]
            continue
        total += OPERATIONS[cell.operation].blocks(spec) * (2 if cell.mode == ASYNC else 1)
    return total
