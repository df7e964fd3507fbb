"""From a cell of the plan to one that can be timed: its pool, its client, its workload, its driver.

Every service is reached through the same `Backend` that a dict uses, so the client code is the same
for all of them, behind Sentinel as well.
"""

from __future__ import annotations

import asyncio
import random
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol

from redisdict import PersistentDict
from redisdict.bench.errors import WrongReply
from redisdict.bench.measure.placement import PlacementProbe
from redisdict.bench.measure.rounds import Block, Clock
from redisdict.bench.spec import (
    ASYNC,
    DEFAULT_POOL,
    DICT_POOLS,
    VARIANTS,
    BenchmarkSpec,
    Cell,
    Role,
)
from redisdict.bench.workloads import commands, dicts
from redisdict.bench.workloads.calls import Calls, Workload
from redisdict.bench.workloads.drivers import (
    AsyncDriver,
    Driver,
    Starts,
    SyncDriver,
    TaskDriver,
    ThreadDriver,
)
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend

__all__ = ["CellFactory", "Host", "WorkloadCell", "block_size"]

#: Sizes of values that further workloads name.
SIZES = {"10 B": 10, "1 kB": 1000, "10 kB": 10_000, "100 kB": 100_000}

COMMANDS: Mapping[str, type[commands.StringCommands]] = {
    "SET": commands.Set,
    "GET": commands.Get,
    "DEL": commands.Delete,
    "PIPE": commands.Pipeline,
    "PIPE MULTI": commands.Transaction,
    "GET zipf": commands.ZipfGet,
    "MIX 80/20": commands.Mixed,
    "CONNECT": commands.Connect,
}

DICT_WORKLOADS: Mapping[str, Callable[..., Workload]] = {
    "Set": dicts.DictSet,
    "Get": dicts.DictGet,
    "Del": dicts.DictDelete,
    "Iter": dicts.DictIter,
    "Items": dicts.DictItems,
}


class Host(Protocol):
    """A server that answers."""

    @property
    def location(self) -> str:
        """As the `LOCATION` setting takes it."""

    @property
    def probe(self) -> PlacementProbe:
        """Where it runs."""

    @property
    def cpu_ns(self) -> Callable[[], int | None]:
        """What CPU time it has had so far."""


class WorkloadCell:
    """A cell that is connected and ready: what the runner times."""

    def __init__(
        self, cell: Cell, workload: Workload, driver: Driver, probe: PlacementProbe
    ) -> None:
        self.cell = cell
        self._workload = workload
        self._driver = driver
        self._probe = probe
        self._calls = Calls(len, ())
        self._replies: list[Any] = []

    def prepare(self) -> None:
        self._calls = self._workload.prepare()

    def run(self, clock: Clock) -> Block:
        try:
            timed = self._driver.run(clock, self._calls, self._workload.lead_in)
        except KeyError as error:
            raise _lost(error) from error
        self._replies = timed.replies
        return Block(timed.duration_ns, self._count())

    def run_each(self, starts: Starts, clock: Clock, out: array[int]) -> int:
        """Time every call of the block by itself; gives back the number of operations."""
        try:
            self._replies = self._driver.latencies(
                starts, clock, self._calls, out, self._workload.lead_in
            )
        except KeyError as error:
            raise _lost(error) from error
        return self._count()

    def check(self) -> None:
        self._workload.check(self._replies)
        # So that the next block's replies find their memory free, and in the CPU's cache.
        self._replies = []

    def placement(self) -> str:
        return self._probe()

    def facts(self) -> dict[str, Any]:
        return self._workload.facts()

    def _count(self) -> int:
        return self._workload.count(self._replies[self._workload.lead_in :])


class CellFactory:
    """Opens the cells of one group; cells of one row share a pool, as they would in a program.

    Args:
        hosts: (service, whether it is for A/A twins) -> its server.
        token: random text in the name of every key.
        loop: in which the asynchronous cells live. It runs only during their blocks.
        stack: closes everything that was opened here.
    """

    def __init__(
        self,
        spec: BenchmarkSpec,
        *,
        hosts: Mapping[tuple[str, bool], Host],
        token: str,
        loop: asyncio.AbstractEventLoop,
        stack: ExitStack,
    ) -> None:
        self._spec = spec
        self._hosts = hosts
        self._token = token
        self._loop = loop
        self._stack = stack
        self._backends: dict[tuple[str, str, str, int, Role], Backend] = {}
        self._opened = 0

    def open(self, cell: Cell, *, block: int | None = None) -> WorkloadCell:
        """Connect the cell and store what it needs to find.

        Args:
            block: timed operations in one block, when it isn't to be `block_size()`.

        Raises:
            redis.exceptions.RedisError, RedisDictError, OSError: the server can't be used.
        """
        block = block or block_size(cell, self._spec)
        make = self._dict_workload if cell.variant else self._command_workload
        workload = make(cell, block)
        workload.open()
        driver = self._driver(cell)
        self._stack.callback(driver.close)
        return WorkloadCell(cell, workload, driver, self.host(cell).probe)

    def host(self, cell: Cell) -> Host:
        """The server of this cell."""
        return self._hosts[cell.service, cell.role is Role.TWIN]

    def _command_workload(self, cell: Cell, block: int) -> Workload:
        name = cell.operation
        value_bytes: Sequence[int] = self._spec.value_bytes
        command, _, size = name.partition(" ")
        if size in SIZES:
            name, value_bytes = command, [SIZES[size]]
        elif size == "mixed":
            name, value_bytes = command, list(SIZES.values())
        backend = self._backend(cell)
        # A client of its own for everything that is not timed.
        inspector = self._backend(replace(cell, mode="", pool="", connections=0)).client()
        self._opened += 1
        return COMMANDS[name](
            self._async_client(backend) if cell.mode == ASYNC else backend.client(),
            inspector,
            # As many digits for each, so that no cell sends longer keys than another.
            f"redisbench:{self._token}:{self._opened:03d}",
            rng=random.Random(self._spec.seed),  # noqa: S311 - data, not secrets
            key_count=self._spec.key_count,
            value_bytes=value_bytes,
            **_sizes(cell, block, self._spec),
        )

    def _dict_workload(self, cell: Cell, block: int) -> Workload:
        backend = self._backend(cell)
        is_iteration = cell.operation in ("Iter", "Items")
        _, is_hash = VARIANTS[cell.variant]
        # All iterations of one layout read one dict: SCAN walks over every key of the database, so
        # further copies of the items would slow the others down.
        self._opened += 1
        name = "iteration" if is_iteration else f"{self._opened:03d}"
        return DICT_WORKLOADS[cell.operation](
            PersistentDict[str, Any](name, using=backend, hset_enabled=is_hash),
            is_async=cell.mode == ASYNC,
            rng=random.Random(self._spec.seed),  # noqa: S311 - data, not secrets
            key_count=self._spec.iteration_items if is_iteration else self._spec.key_count,
            value_bytes=self._spec.value_bytes,
            **({"block": 1} if is_iteration else _sizes(cell, block, self._spec)),
        )

    def _backend(self, cell: Cell) -> Backend:
        key = (cell.service, cell.mode, cell.pool, cell.connections, cell.role)
        if key not in self._backends:
            options = {"max_connections": cell.connections} if cell.connections else {}
            values: dict[str, Any] = {
                "LOCATION": self.host(cell).location,
                "OPTIONS": options,
                "KEY_PREFIX": f"redisbench:{self._token}",
            }
            if cell.mode:
                name = DICT_POOLS[cell.mode] if cell.pool == DEFAULT_POOL else cell.pool
                setting = "ASYNC_POOL_CLASS" if cell.mode == ASYNC else "POOL_CLASS"
                values[setting] = f"redisdict.pools.{name}"
            backend = Backend(parse_alias(f"redisbench {cell.service}", values))
            self._backends[key] = backend
            self._stack.callback(self._close, backend)
        return self._backends[key]

    def _async_client(self, backend: Backend) -> Any:
        async def make() -> Any:
            return backend.async_client()

        return self._loop.run_until_complete(make())

    def _close(self, backend: Backend) -> None:
        self._loop.run_until_complete(backend.aclose())
        backend.close()

    def _driver(self, cell: Cell) -> Driver:
        if cell.mode == ASYNC:
            if cell.concurrency > 1:
                return TaskDriver(self._loop, cell.concurrency)
            return AsyncDriver(self._loop)
        return ThreadDriver(cell.concurrency) if cell.concurrency > 1 else SyncDriver()


def _sizes(cell: Cell, block: int, spec: BenchmarkSpec) -> dict[str, int]:
    """How many operations a workload gets, and how many of these come before the timer."""
    if cell.operation.startswith("PIPE"):
        return {"block": block}
    lead_in = cell.concurrency if cell.concurrency > 1 else spec.lead_in_operations
    return {"block": block + lead_in, "lead_in": lead_in}


def _lost(error: KeyError) -> WrongReply:
    """What a dict says of a missing key, and every key that is asked for was stored before."""
    return WrongReply(f"The item {error} was stored, and is not there any more.")


def block_size(cell: Cell, spec: BenchmarkSpec) -> int:
    """Timed operations in one block of this cell."""
    if cell.operation.startswith("PIPE"):
        return spec.batch_size
    if cell.concurrency > 1:
        return max(spec.block_operations, 4 * cell.concurrency)
    return spec.block_operations
