"""The tables of the report: which operations, with how many items, over which clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.peers.roster import Client, async_clients, bulk_clients, sync_clients
from benchmarks.peers.workloads import (
    Contains,
    Delete,
    Get,
    GetMany,
    Iterate,
    Set,
    SetMany,
    StoreWorkload,
)
from redisdict.bench.spec import ASYNC, PRESETS, SYNC, Precision

__all__ = [
    "BULK",
    "CONCURRENT",
    "ROUNDS",
    "ROUNDS_QUICK",
    "SINGLE",
    "Column",
    "Table",
    "precision",
    "tables",
]

#: Of the single calls.
ROUNDS, ROUNDS_QUICK = 500, 100

#: So many give an interval.
LEAST_ROUNDS = 6

#: Before each block of single calls, as in the package's own benchmarks.
LEAD_IN = PRESETS["standard"].lead_in_operations

#: Blocks before a key comes up again.
BLOCKS = 10

#: A column takes at most twice this, however slow its clients are.
COLUMN_SECONDS, COLUMN_SECONDS_QUICK = 60.0, 30.0


@dataclass(frozen=True)
class Column:
    """One operation.

    Args:
        calls: in a timed block.
        lead_in: calls right before them that aren't timed.
        items_a_call: more than 1 for bulk operations.
        tasks: that call at once.
        rounds_share: of the rounds of the single calls.
    """

    name: str
    workload: type[StoreWorkload]
    calls: int = 10
    lead_in: int = LEAD_IN
    items_a_call: int = 1
    tasks: int = 1
    rounds_share: float = 1.0

    @property
    def is_bulk(self) -> bool:
        return self.items_a_call > 1

    @property
    def items(self) -> int:
        """That exist."""
        return self.items_a_call if self.is_bulk else BLOCKS * self.block

    @property
    def block(self) -> int:
        return self.calls + self.lead_in


@dataclass(frozen=True)
class Table:
    """Clients in rows, operations in columns; every column is a rotation of its own."""

    name: str
    title: str
    mode: str
    columns: Sequence[Column]
    clients: Sequence[Client]
    loop: str = ""


def _at_once(
    name: str, workload: type[StoreWorkload], items: int, *, rounds_share: float
) -> Column:
    """One call for all items; as long as it is, what was before it doesn't matter."""
    return Column(name, workload, calls=1, lead_in=0, items_a_call=items, rounds_share=rounds_share)


SINGLE = (Column("get", Get), Column("set", Set), Column("del", Delete), Column("in", Contains))

BULK = (
    _at_once("set 10,000", SetMany, 10_000, rounds_share=0.2),
    _at_once("get 10,000", GetMany, 10_000, rounds_share=0.2),
    _at_once("iterate 100,000", Iterate, 100_000, rounds_share=0.06),
)

CONCURRENT = (
    Column("get, 1 task", Get),
    Column("set, 1 task", Set),
    Column("get, 50 tasks", Get, calls=200, lead_in=50, tasks=50, rounds_share=0.4),
    Column("set, 50 tasks", Set, calls=200, lead_in=50, tasks=50, rounds_share=0.4),
)


def tables(names: Sequence[str]) -> list[Table]:
    """The tables of these names, as the command line has them; all of them when none is given."""
    every_table = {
        "hash": [Table("hash", "One HASH", SYNC, SINGLE, sync_clients(is_hash=True))],
        "keys": [Table("keys", "String keys", SYNC, SINGLE, sync_clients(is_hash=False))],
        "bulk": [
            Table("bulk hash", "Many items, one HASH", SYNC, BULK, bulk_clients(is_hash=True)),
            Table("bulk keys", "Many items, string keys", SYNC, BULK, bulk_clients(is_hash=False)),
        ],
        "asyncio": _async_tables("asyncio"),
        "uvloop": _async_tables("uvloop"),
    }
    return [table for name in names or every_table for table in every_table[name]]


def precision(column: Column, rounds: int, *, is_quick: bool) -> Precision:
    """When a column is done: after its rounds, unless they take too long."""
    own = max(round(rounds * column.rounds_share), LEAST_ROUNDS)
    seconds = COLUMN_SECONDS_QUICK if is_quick else COLUMN_SECONDS
    return Precision(min_rounds=own, max_rounds=own, seconds=seconds)


def _async_tables(loop: str) -> list[Table]:
    return [
        Table(f"{loop} {layout}", f"{loop}, {title}", ASYNC, CONCURRENT, clients, loop)
        for layout, title, clients in (
            ("hash", "one HASH", async_clients(is_hash=True)),
            ("keys", "string keys", async_clients(is_hash=False)),
        )
    ]
