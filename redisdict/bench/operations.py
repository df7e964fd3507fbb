"""List the operations that are measured, one row with all properties of each.

A further workload is a row here and a class in `workloads/`; plan, time budget, blocks, latency
pass, report and charts read the row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from enum import Enum

from redisdict.bench.choices import Table
from redisdict.bench.spec import BenchmarkSpec
from redisdict.bench.workloads import commands, dicts
from redisdict.bench.workloads.calls import Workload


class Kind(Enum):
    """The amount of data that one call of an operation moves."""

    #: One item.
    PLAIN = "plain"

    #: A batch, which is the whole of a block.
    BULK = "bulk"

    #: All items of a dict, once.
    ITERATION = "iteration"


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        name: as columns and rows of the report have it.
        table: which table of the report it belongs to.
        workload: what makes its calls and checks the replies.
        counterpart: the reference's command that it is compared with; if empty, the same one.
        is_open_loop: whether the latency pass can make its calls at a rate.
        value_bytes: sizes of its values, in place of the specification's.
        blocks: the duration of one of its blocks, in blocks of ten plain calls.
    """

    name: str
    table: Table
    workload: Callable[..., Workload]
    counterpart: str = ""
    _: KW_ONLY
    kind: Kind = Kind.PLAIN
    is_open_loop: bool = False
    value_bytes: tuple[int, ...] = ()
    blocks: Callable[[BenchmarkSpec], float] = lambda spec: 1.0

    @property
    def reference(self) -> str:
        return self.counterpart or self.name


#: Sizes of values that further workloads name.
SIZES = {"10 B": 10, "1 kB": 1000, "10 kB": 10_000, "100 kB": 100_000}


def _sized(command: str, workload: type[commands.StringCommands]) -> Iterable[Operation]:
    sizes = {name: (size,) for name, size in SIZES.items()} | {"mixed": tuple(SIZES.values())}
    for name, value_bytes in sizes.items():
        row = f"{command} {name}"
        yield Operation(row, Table.WORKLOADS, workload, command, value_bytes=value_bytes)


def _batch(workload: type[commands.Pipeline], name: str, table: Table) -> Operation:
    return Operation(
        name, table, workload, "PIPE", kind=Kind.BULK, blocks=lambda spec: 1 + spec.batch_size / 60
    )


def _iteration(workload: type[dicts.DictIter], name: str, items_a_block: int) -> Operation:
    return Operation(
        name,
        Table.DICT,
        workload,
        kind=Kind.ITERATION,
        blocks=lambda spec: spec.iteration_items / items_a_block,
    )


#: In the order of the report's columns and rows.
_ROWS = (
    Operation("SET", Table.POOLS, commands.Set, is_open_loop=True),
    Operation("GET", Table.POOLS, commands.Get, is_open_loop=True),
    Operation("DEL", Table.POOLS, commands.Delete),
    _batch(commands.Pipeline, "PIPE", Table.POOLS),
    Operation("Set", Table.DICT, dicts.DictSet, "SET", is_open_loop=True),
    Operation("Get", Table.DICT, dicts.DictGet, "GET", is_open_loop=True),
    Operation("Del", Table.DICT, dicts.DictDelete, "DEL"),
    # It counts keys, and the next one keys together with their decoded values.
    _iteration(dicts.DictIter, "Iter", 300),
    _iteration(dicts.DictItems, "Items", 150),
    *_sized("SET", commands.Set),
    *_sized("GET", commands.Get),
    Operation("GET zipf", Table.WORKLOADS, commands.ZipfGet, "GET"),
    Operation("MIX 80/20", Table.WORKLOADS, commands.Mixed, "GET"),
    _batch(commands.Transaction, "PIPE MULTI", Table.WORKLOADS),
    Operation("CONNECT", Table.WORKLOADS, commands.Connect, "GET", blocks=lambda spec: 30.0),
)

OPERATIONS = {row.name: row for row in _ROWS}


def _names(table: Table) -> tuple[str, ...]:
    return tuple(row.name for row in _ROWS if row.table == table)


POOL_OPERATIONS, DICT_OPERATIONS = _names(Table.POOLS), _names(Table.DICT)
WORKLOADS = _names(Table.WORKLOADS)
ITERATIONS = tuple(row.name for row in _ROWS if row.kind is Kind.ITERATION)

#: What `--operation` accepts. The first ones select an operation of commands and dicts alike.
OPERATION_NAMES = tuple(
    dict.fromkeys([*(name.upper() for name in POOL_OPERATIONS + DICT_OPERATIONS), *WORKLOADS])
)


def chosen(names: Iterable[str], spec: BenchmarkSpec) -> list[str]:
    """List those that the specification selects, all without a selection."""
    return [name for name in names if not spec.operations or name.upper() in spec.operations]


def is_plain(name: str) -> bool:
    """Return whether one call moves one item; an imported run may have unknown operations."""
    return name not in OPERATIONS or OPERATIONS[name].kind is Kind.PLAIN


def process_variance(operation: str) -> float:
    """Bound by how much one process is faster than another at this: 0.01 is 1 %.

    Of two processes of the same program, one is a little faster for as long as both live, because
    of the layout of its memory and the seed of its hash function. Rounds of one start can't
    distinguish this from a real difference, so it is averaged over several starts, and a
    difference no larger than what may remain of it is never reported.

    Twice the standard deviation of the ratio, over 40 pairs of Valkey processes; for iterations
    over 1000 items, whose order depends on the memory's layout and on the hash function's seed,
    over 26 pairs of Redis and Valkey processes.
    """
    return 0.15 if operation in ITERATIONS else 0.01


def least_difference(operation: str, floor: float, server_starts: int) -> float:
    """Compute the least difference that a run may call one, on the log scale.

    Args:
        floor: what two truly equal things differed by in the run, at this operation.
        server_starts: over how many processes of each server the rounds were shared out.
    """
    return max(floor, process_variance(operation) / math.sqrt(server_starts))
