"""One table from its clients to its figures: open, rounds for every column, close."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.peers.plan import Column, Table, precision
from benchmarks.peers.results import TWIN, Measured
from benchmarks.peers.roster import REFERENCE
from benchmarks.peers.stores.store import Store
from benchmarks.peers.target import Server
from redisdict.bench.choices import Table as CellTable
from redisdict.bench.errors import CELL_ERRORS, describe
from redisdict.bench.measure.placement import PlacementProbe
from redisdict.bench.measure.rounds import Block, Clock, Failure, Rounds, Series
from redisdict.bench.spec import SYNC, Cell, Role
from redisdict.bench.workloads.calls import Calls
from redisdict.bench.workloads.cells import WorkloadCell
from redisdict.bench.workloads.drivers import AsyncDriver, Driver, SyncDriver, TaskDriver
from redisdict.exceptions import RedisDictError

__all__ = ["PeerError", "Scale", "measure"]

#: What a client that works item by item gets of the items.
ITEM_BY_ITEM_SHARE = 10


class PeerError(RedisDictError):
    """A client raised an error of a kind of its own."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured."""

    rounds: int
    seed: int
    is_quick: bool


def measure(
    table: Table,
    server: Server,
    scale: Scale,
    on_column: Callable[[Measured, Column, float], None] = lambda *_: None,
) -> Measured:
    """All columns of a table; a client that fails keeps no other from its figures.

    Args:
        on_column: called after each column with the seconds that it took.
    """
    measured = Measured(table)
    with ExitStack() as stack:
        loop = stack.enter_context(asyncio.Runner(loop_factory=_loop_factory(table))).get_loop()
        stores = _open_all(table, server, loop, stack, measured)
        probe = PlacementProbe(server.pid)
        stack.callback(probe.close)
        for column in table.columns:
            started_s = time.monotonic()
            server.empty()
            rotation = _Rotation(table, column, loop, probe, scale)
            measured.series[column.name] = rotation.run(stores)
            on_column(measured, column, time.monotonic() - started_s)
    return measured


def _open_all(
    table: Table,
    server: Server,
    loop: asyncio.AbstractEventLoop,
    stack: ExitStack,
    measured: Measured,
) -> dict[str, Store]:
    stores: dict[str, Store] = {}
    reference = next(client for client in table.clients if client.name == REFERENCE)
    for client in [*table.clients, replace(reference, name=TWIN)]:
        try:
            with _peer_errors():
                store = _finished(client.open(server.new_target()), loop)
        except CELL_ERRORS as error:
            measured.failures[client.name] = describe(error)
            continue
        stores[client.name] = store
        stack.callback(_close, store, loop)
        if not store.stores_text:
            measured.without_serializer.add(client.name)
        if store.is_item_by_item:
            measured.item_by_item.add(client.name)
    return stores


class _Rotation:
    """The rounds of one column."""

    def __init__(
        self,
        table: Table,
        column: Column,
        loop: asyncio.AbstractEventLoop,
        probe: PlacementProbe,
        scale: Scale,
    ) -> None:
        self._table = table
        self._column = column
        self._probe = probe
        self._scale = scale
        self._driver = _driver(table.mode, column.tasks, loop)

    def run(self, stores: dict[str, Store]) -> dict[str, Series]:
        """Client -> its rounds. One that has no such operation is left out."""
        cells: list[_PeerCell] = []
        failed: dict[str, Series] = {}
        for name, store in stores.items():
            try:
                with _peer_errors():
                    cells.append(self._open(name, store))
            except NotImplementedError:
                continue
            except CELL_ERRORS as error:
                failed[name] = Series(failure=Failure(describe(error)))
        rounds = Rounds(
            cells,
            {},
            precision(self._column, self._scale.rounds, is_quick=self._scale.is_quick),
            rng=random.Random(f"{self._scale.seed} {self._column.name}"),  # noqa: S311 - an order
            clock=time.perf_counter_ns,
        )
        return failed | {cell.service: series for cell, series in rounds.run().items()}

    def _open(self, name: str, store: Store) -> _PeerCell:
        column = self._column
        is_fraction = column.is_bulk and store.is_item_by_item
        workload = column.workload(
            store,
            self._perform,
            count=column.items // ITEM_BY_ITEM_SHARE if is_fraction else column.items,
            block=column.block,
            lead_in=column.lead_in,
            seed=self._scale.seed,
        )
        workload.open()
        cell = Cell(
            table=CellTable.WORKLOADS,
            service=name,
            mode=self._table.mode,
            operation=column.name,
            concurrency=column.tasks,
            role=Role.TWIN if name == TWIN else Role.MEASURED,
        )
        return _PeerCell(WorkloadCell(cell, workload, self._driver, self._probe))

    def _perform(self, calls: Calls) -> list[Any]:
        return self._driver.run(time.perf_counter_ns, calls).replies


class _PeerCell:
    """A cell whose client's errors, of whatever kind, are its own failure."""

    def __init__(self, inner: WorkloadCell) -> None:
        self._inner = inner
        self.cell = inner.cell

    def prepare(self) -> None:
        with _peer_errors():
            self._inner.prepare()

    def run(self, clock: Clock) -> Block:
        with _peer_errors():
            return self._inner.run(clock)

    def check(self) -> None:
        with _peer_errors():
            self._inner.check()

    def placement(self) -> str:
        return self._inner.placement()


@contextmanager
def _peer_errors() -> Iterator[None]:
    try:
        yield
    except (*CELL_ERRORS, NotImplementedError):
        raise
    except Exception as error:  # nobody knows what all the peers may raise
        raise PeerError(f"{type(error).__name__}: {error}") from error


def _driver(mode: str, tasks: int, loop: asyncio.AbstractEventLoop) -> Driver:
    if mode == SYNC:
        return SyncDriver()
    return TaskDriver(loop, tasks) if tasks > 1 else AsyncDriver(loop)


def _loop_factory(table: Table) -> Callable[[], asyncio.AbstractEventLoop]:
    if table.loop == "uvloop":
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        return factory
    return asyncio.new_event_loop


def _finished(result: Any, loop: asyncio.AbstractEventLoop) -> Any:
    """The result itself, or what it gives when it is awaited."""
    if not inspect.isawaitable(result):
        return result

    async def wait() -> Any:
        return await result

    return loop.run_until_complete(wait())


def _close(store: Store, loop: asyncio.AbstractEventLoop) -> None:
    # A connection that is broken already can't be closed; its figures have their reason by now.
    with suppress(*CELL_ERRORS), _peer_errors():
        _finished(store.close(), loop)
