"""Specify what a run measures: cells, and the presets that say how long and how precisely."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from redisdict.bench.choices import NamedCell, Table

ASYNC, SYNC = "ASYNC", "SYNC"

#: In the order of the report's rows.
MODES = (ASYNC, SYNC)

#: The pool classes of `redisdict.pools`, by mode, in the order of the report's rows.
POOLS = {
    ASYNC: ("AsyncConnectionPool", "AsyncBlockingConnectionPool", "OptimizedAsyncConnectionPool"),
    SYNC: ("ConnectionPool", "BlockingConnectionPool"),
}

#: The one pool of a service that brings its own, such as Sentinel's.
DEFAULT_POOL = "Default"

#: The pools a dict has when its settings name none.
DICT_POOLS = {ASYNC: "OptimizedAsyncConnectionPool", SYNC: "BlockingConnectionPool"}

#: The packages whose event loop the asynchronous cells can run in.
EVENT_LOOPS = ("asyncio", "uvloop")

#: The dict's variants: name -> (mode, hset_enabled).
VARIANTS = {
    "Sync (HSET)": (SYNC, True),
    "Sync (No HSET)": (SYNC, False),
    "Async (HSET)": (ASYNC, True),
    "Async (No HSET)": (ASYNC, False),
}


class Role(StrEnum):
    """Why a cell is in the rotation."""

    MEASURED = "measured"
    REFERENCE = "reference"
    TWIN = "twin"


@dataclass(frozen=True, kw_only=True)
class Cell(NamedCell):
    """One thing that is timed. Two cells that are equal are the same row and column."""

    table: Table
    service: str
    mode: str
    operation: str
    pool: str = ""
    variant: str = ""
    concurrency: int = 1
    connections: int = 0
    role: Role = Role.MEASURED


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """When enough rounds are measured.

    They are shared out over `server_starts` processes of every server that the run starts, one
    after the other: two processes of one program differ by up to 1 % for as long as they live (the
    layout of their memory), and such variance shall not decide.

    Every cell's interval is within `half_width` of its ratio (0.01 is ±1 %), or `max_rounds` are
    done, or the share of the run's `seconds` is used up. It is never before `min_rounds`, except
    that a group of cells that has had twice its share ends with however many it has, if these are
    enough for a figure at all.
    """

    min_rounds: int
    max_rounds: int
    seconds: float
    half_width: float = 0.01
    server_starts: int = 1

    @property
    def of_one_start(self) -> Precision:
        """The share of one server process. Independent shares make the whole more precise."""
        return replace(
            self,
            min_rounds=-(-self.min_rounds // self.server_starts),
            max_rounds=-(-self.max_rounds // self.server_starts),
            seconds=self.seconds / self.server_starts,
            half_width=self.half_width * math.sqrt(self.server_starts),
            server_starts=1,
        )


@dataclass(frozen=True, kw_only=True)
class BenchmarkSpec:
    """Everything that decides what a run does; two runs of equal specs are comparable.

    An empty tuple of names selects all of them.
    """

    preset: str = "standard"
    precision: Precision
    seed: int = 1
    services: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    tables: tuple[Table, ...] = (Table.POOLS, Table.DICT)
    placement: str = "auto"
    event_loop: str = "asyncio"
    #: Operations a block times: calls, or one batch, or one iteration.
    block_operations: int = 10
    #: Calls of the same kind right before them, which aren't timed: the first call after another
    #: server's turn takes a tenth longer, the second 3 %, the fifth as long as any other.
    lead_in_operations: int = 4
    batch_size: int = 100
    is_transaction: bool = False
    #: The size of all values, or several of which each value has one.
    value_bytes: tuple[int, ...] = (100,)
    key_count: int = 100
    iteration_items: int = 5000
    #: Threads or tasks that call at once, and pool sizes, in the table of that name.
    concurrency: tuple[int, ...] = (10, 50)
    connections: tuple[int, ...] = (5, 64)
    #: Calls of the latency pass of every cell; 0 leaves the pass out.
    latency_operations: int = 2000
    #: Calls a second in the latency pass, each timed from its intended start; 0 calls at once.
    rate: float = 0.0


PRESETS = {
    "quick": BenchmarkSpec(
        preset="quick",
        precision=Precision(
            min_rounds=30, max_rounds=300, seconds=25, half_width=0.02, server_starts=2
        ),
        iteration_items=1000,
        latency_operations=200,
    ),
    "standard": BenchmarkSpec(
        preset="standard",
        precision=Precision(min_rounds=200, max_rounds=1000, seconds=200, server_starts=8),
        tables=(Table.POOLS, Table.DICT, Table.CONCURRENCY),
    ),
    "rigorous": BenchmarkSpec(
        preset="rigorous",
        precision=Precision(
            min_rounds=500, max_rounds=5000, seconds=780, half_width=0.005, server_starts=10
        ),
        tables=(Table.POOLS, Table.DICT, Table.CONCURRENCY, Table.WORKLOADS),
        latency_operations=10_000,
    ),
}
