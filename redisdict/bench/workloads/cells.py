"""Open a cell of the plan, so that it can be timed: its pool, client, workload and driver.

Every service is connected through the same `Backend` that a dict uses, so the client code is the
same for all of them, behind Sentinel as well.
"""

from __future__ import annotations

import asyncio
import random
from array import array
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

from redisdict import PersistentDict
from redisdict.bench.errors import WrongReply
from redisdict.bench.measure.placement import PlacementProbe
from redisdict.bench.measure.rounds import Block, Clock
from redisdict.bench.measure.server_pool import RunningServer
from redisdict.bench.operations import OPERATIONS, Kind, Operation
from redisdict.bench.spec import (
    ASYNC,
    DEFAULT_POOL,
    DICT_POOLS,
    VARIANTS,
    BenchmarkSpec,
    Cell,
    Role,
)
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


class WorkloadCell:
    """A cell that is connected and ready: what the runner times."""

    def __init__(
        self, cell: Cell, workload: Workload, driver: Driver, probe: PlacementProbe
    ) -> None:
        self.cell = cell
        self._workload = workload
        self._driver = driver
        self.placement = probe
        self.facts = workload.facts
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

    def _count(self) -> int:
        return self._workload.count(self._replies[self._workload.lead_in :])


@dataclass
class CellFactory:
    """Opens the cells of one group; cells of one row share a pool, as they would in a program.

    Args:
        hosts: (service, whether it is for A/A twins) -> its server.
        token: random text in the name of every key.
        loop: in which the asynchronous cells live. It runs only during their blocks.
        stack: closes everything that was opened here.
    """

    spec: BenchmarkSpec
    _: KW_ONLY
    hosts: Mapping[tuple[str, bool], RunningServer]
    token: str
    loop: asyncio.AbstractEventLoop
    stack: ExitStack

    def __post_init__(self) -> None:
        self._backends: dict[tuple[str, str, str, int, Role], Backend] = {}
        self._opened = 0

    def open(
        self, cell: Cell, *, block: int | None = None, driver: Driver | None = None
    ) -> WorkloadCell:
        """Connect the cell and store what it needs to find.

        Args:
            block: timed operations in one block, when it isn't to be `block_size()`.
            driver: makes the calls, when it isn't to be the usual one.

        Raises:
            redis.exceptions.RedisError, RedisDictError, OSError: the server can't be used.
        """
        operation = OPERATIONS[cell.operation]
        workload = operation.workload(*self._client(cell), **self._data(cell, operation, block))
        workload.open()
        driver = driver or self._driver(cell)
        self.stack.callback(driver.close)
        return WorkloadCell(cell, workload, driver, self.host(cell).probe)

    def host(self, cell: Cell) -> RunningServer:
        """Find the server of this cell."""
        return self.hosts[cell.service, cell.role is Role.TWIN]

    def _client(self, cell: Cell) -> tuple[Any, ...]:
        """Make the target of the calls: a dict, or redis-py's client with its pool."""
        backend = self.backend(cell)
        self._opened += 1
        # As many digits for each, so that no cell sends longer keys than another.
        name = f"{self._opened:03d}"
        if not cell.variant:
            # A client of its own for everything that is not timed.
            inspector = self.backend(replace(cell, mode="", pool="", connections=0)).client()
            client = self._async_client(backend) if cell.mode == ASYNC else backend.client()
            return client, inspector, f"redisbench:{self.token}:{name}"
        if OPERATIONS[cell.operation].kind is Kind.ITERATION:
            # All iterations of one layout read one dict: SCAN walks over every key of the database,
            # so further copies of the items would slow the others down.
            name = "iteration"
        _, is_hash = VARIANTS[cell.variant]
        mapping = PersistentDict[str, Any](name, using=backend, hset_enabled=is_hash)
        return mapping, cell.mode == ASYNC

    def _data(self, cell: Cell, operation: Operation, block: int | None) -> dict[str, Any]:
        """Size keys, values and blocks; all but a batch and an iteration has a lead-in."""
        spec = self.spec
        block = block or block_size(cell, spec)
        lead_in = 0
        if operation.kind is Kind.PLAIN:
            lead_in = cell.concurrency if cell.concurrency > 1 else spec.lead_in_operations
        is_iteration = operation.kind is Kind.ITERATION
        return {
            "rng": random.Random(spec.seed),  # noqa: S311 - data, not secrets
            "key_count": spec.iteration_items if is_iteration else spec.key_count,
            "value_bytes": operation.value_bytes or spec.value_bytes,
            "block": block + lead_in,
            "lead_in": lead_in,
        }

    def backend(self, cell: Cell) -> Backend:
        """Find or make the pool of the cell's row."""
        key = (cell.service, cell.mode, cell.pool, cell.connections, cell.role)
        if key not in self._backends:
            options = {"max_connections": cell.connections} if cell.connections else {}
            values: dict[str, Any] = {
                "LOCATION": self.host(cell).location,
                "OPTIONS": options,
                "KEY_PREFIX": f"redisbench:{self.token}",
            }
            if cell.mode:
                name = DICT_POOLS[cell.mode] if cell.pool == DEFAULT_POOL else cell.pool
                setting = "ASYNC_POOL_CLASS" if cell.mode == ASYNC else "POOL_CLASS"
                values[setting] = f"redisdict.pools.{name}"
            backend = Backend(parse_alias(f"redisbench {cell.service}", values))
            self._backends[key] = backend
            self.stack.callback(self._close, backend)
        return self._backends[key]

    def _async_client(self, backend: Backend) -> Any:
        async def make() -> Any:
            return backend.async_client()

        return self.loop.run_until_complete(make())

    def _close(self, backend: Backend) -> None:
        self.loop.run_until_complete(backend.aclose())
        backend.close()

    def _driver(self, cell: Cell) -> Driver:
        if cell.mode == ASYNC:
            if cell.concurrency > 1:
                return TaskDriver(self.loop, cell.concurrency)
            return AsyncDriver(self.loop)
        return ThreadDriver(cell.concurrency) if cell.concurrency > 1 else SyncDriver()


def _lost(error: KeyError) -> WrongReply:
    """Translate a dict's missing key; every key that is asked for was stored before."""
    return WrongReply(f"The item {error} was stored, and is not there any more.")


def block_size(cell: Cell, spec: BenchmarkSpec) -> int:
    """Count the timed operations in one block of this cell."""
    kind = OPERATIONS[cell.operation].kind
    if kind is not Kind.PLAIN:
        return spec.batch_size if kind is Kind.BULK else 1
    if cell.concurrency > 1:
        return max(spec.block_operations, 4 * cell.concurrency)
    return spec.block_operations
