"""Every order in which readers of memory, writers, pushes, PINGs and leases can take their steps.

The operations under test are the real ones: a reader's with the state that keeps rows, a lease's
renewal, a writer's wait. The world is one row, that is its version; a process that reads near, with
the connection over which it is told; writers of another process, or of its own; the server. What a
process asks the server arrives in one step and is answered in another, so a push can come before
or after a reply. Time goes on in ticks, which are seconds of the clock.

Checked when a read ends: under "strict" it gives no version older than what was committed when it
began; under seconds none that was replaced more than BOUND before; and in both nothing older than
what this process has written before, or has read before.

`tests.schedules` has the search.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from redisdict.modelcache.slots import near_leases
from redisdict.modelcache.slots.near_leases import wait_for_readers
from redisdict.modelcache.slots.store import put_barriers
from redisdict.wire.requests import Call, Operation, Sleep
from tests import schedules
from tests.modelcache.near.plans import BOUND, WAIT, Plan
from tests.modelcache.near.processes import Process
from tests.modelcache.near.reading_process import ReadingProcess
from tests.modelcache.near.telling_server import LEASES, NOW, TellingServer
from tests.modelcache.schedules import ROW, STORE, Database, StaleRead
from tests.schedules import Move

__all__ = ["World", "explore"]


class World:
    """One schedule under way."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        NOW[0] = 0.0
        self.server = TellingServer()
        self.database = Database()
        self.committed_at = {0.0: 0}
        self.newest_read = 0
        self.own_written = 0
        self.left = {
            "tick": plan.ticks,
            "ping": plan.pings,
            "renew": plan.renewals,
            "restart": plan.restarts,
            "flush": plan.flushes,
        }
        self.reading = ReadingProcess(plan, self.server, self.database)
        self.renewal: Process | None = None
        self.readers = [
            self._process(f"reader {number}", is_reader=True) for number in range(plan.readers)
        ]
        self.writers = [
            self._writer(f"writer {number}", how) for number, how in enumerate(plan.writers)
        ]

    def _process(self, name: str, *, is_reader: bool = False) -> Process:
        return Process(
            name,
            self.server,
            is_reader=is_reader,
            confirms_at_once=self.plan.confirms_at_once,
        )

    # Moves

    def moves(self) -> Iterator[Move]:
        if all(reader.is_over for reader in self.readers):
            return
        for number, reader in enumerate(self.readers):
            if not reader.is_over and self._may_go_on(reader):
                yield ("reader", number)
                if reader.began_at is None:
                    break  # of several that haven't begun the first begins first
        ping = self.server.ping
        for number, writer in enumerate(self.writers):
            if not writer.is_over and self._may_go_on(writer):
                yield ("writer", number)
                if ping is not None and ping[0] == "sent":
                    yield ("writer", number, "behind a PING of the same turn")
        if self.renewal is not None:
            if self._may_go_on(self.renewal):
                yield ("renewal",)
        elif self.left["renew"]:
            yield ("renew",)
        if self.server.stream:
            yield ("receive",)
        if ping is None and self.left["ping"] and self.server.is_connected:
            yield ("ping",)
        if ping is not None and ping[0] == "sent":
            yield ("ping arrives",)
        if self.left["tick"]:
            yield ("tick",)
        if self.left["restart"]:
            yield ("restart", True)
            yield ("restart", False)
        if self.left["flush"]:
            yield ("flush",)

    def _may_go_on(self, process: Process) -> bool:
        request = process.request
        if isinstance(request, Sleep):  # those of readers are shorter than a tick
            return process.is_reader or NOW[0] >= process.wake_at
        if process.ping_from is not None:
            return self.server.answered > process.ping_from or not self.server.is_connected
        if process in self.writers and isinstance(request, Call):
            return self.database.locked_by in (None, process.name)
        return True

    def make(self, move: Move) -> None:
        kind = move[0]
        if kind == "reader":
            self._step_reader(self.readers[move[1]])
        elif kind == "writer":
            self._step_writer(self.writers[move[1]], ping_first=len(move) > 2)
        elif kind == "renewal":
            assert self.renewal is not None
            self.renewal.step()
            if self.renewal.is_over:
                self.renewal = None
        elif kind == "renew":
            self.left["renew"] -= 1
            self.renewal = self._process("renewal")
            self.renewal.begin(self.reading.lease.renew())
        elif kind == "receive":
            self.reading.receive()
        elif kind == "ping":
            self.left["ping"] -= 1
            self.server.send_ping()
        elif kind == "ping arrives":
            self.server.answer_ping()
        elif kind == "tick":
            self.left["tick"] -= 1
            NOW[0] += 1
            self.committed_at[NOW[0]] = self.database.committed
        elif kind == "restart":
            self._restart(loses_leases=move[1])
        else:
            self.left["flush"] -= 1
            self.server.flush()

    def _restart(self, *, loses_leases: bool) -> None:
        self.left["restart"] -= 1
        self.server.restart(loses_leases=loses_leases)
        for process in (*self.readers, *self.writers):
            process.incarnation = None
        if self.renewal is not None:
            self.renewal.incarnation = None

    def check(self) -> None:
        """Do nothing: each read is judged by the move that ends it."""

    def snapshot(self) -> Any:
        """Whatever decides how things can go on."""
        return (
            NOW[0],
            tuple(self.left.values()),
            self.server.snapshot(),
            self.database.committed,
            self.database.locked_by,
            tuple(self.committed_at.values()),
            self.newest_read,
            self.own_written,
            self.reading.snapshot(self.readers),
            tuple(one.state() for one in (*self.readers, *self.writers)),
            None if self.renewal is None else self.renewal.state(),
        )

    # Readers

    def _step_reader(self, reader: Process) -> None:
        if reader.began_at is None:
            reader.began_at = NOW[0]
            reader.committed_at_begin = self.database.committed
            reader.least = max(self.newest_read, self.own_written)
            return
        if reader in self.readers[: self.plan.database_readers]:
            self._end(reader, self.reading.load([ROW]).found[ROW])
            return
        if reader.operation is None:
            entry = self.reading.find(reader.began_at)
            if entry is not None and entry.owner is self.reading.store:
                self._end(reader, entry.value)
                return
            reader.begin(self.reading.read(reader.name))
            return
        reader.step()
        if reader.is_over:
            self._end(reader, reader.result[ROW])

    def _end(self, reader: Process, version: int) -> None:
        reader.is_over, reader.result = True, version
        assert reader.began_at is not None
        if self.plan.near == "strict":
            least = reader.committed_at_begin
        else:
            least = self.committed_at.get(reader.began_at - BOUND, 0)
        if version < least:
            raise StaleRead(f"{reader.name} got {version}, and {least} is the least it may get")
        if version < reader.least:
            raise StaleRead(f"{reader.name} got {version}, after {reader.least} in this process")
        self.newest_read = max(self.newest_read, version)

    # Writers

    def _writer(self, name: str, how: str) -> Process:
        keys = [STORE.table_key] if how == "all rows" else [ROW]
        is_own = how == "own"
        near, lease = self.reading.near, self.reading.lease
        process = lease.process if is_own else name.encode()
        plan, database = self.plan, self.database

        def write() -> Operation[None]:
            yield Call(database.update, (name,))
            yield from put_barriers([keys], name.encode(), 60_000)
            if is_own and "before" in plan.drops:
                near.drop(keys)
            if plan.near == "strict" and plan.waits:
                yield from wait_for_readers([(LEASES, process)], 1000 * WAIT)
            yield Call(database.commit)
            yield from put_barriers([keys], name.encode(), 0)
            if is_own:
                if "after" in plan.drops:
                    near.drop(keys)
                self.own_written = max(self.own_written, database.committed)

        writer = self._process(name)
        writer.begin(write())
        return writer

    def _step_writer(self, writer: Process, *, ping_first: bool) -> None:
        # Its reply comes at the end of the server's turn, behind what the listener is sent.
        if ping_first:
            self.server.answer_ping()
        writer.step(at_once=True)


@contextmanager
def _in_ticks(plan: Plan) -> Iterator[None]:
    """Let the operations have the schedule's clock, and times in ticks."""

    def now() -> float:
        return NOW[0]

    with (
        mock.patch("redisdict.modelcache.strict.clock", now),
        mock.patch("redisdict.modelcache.near.clock", now),
        mock.patch("redisdict.near.reader.clock", now),
        mock.patch("redisdict.modelcache.strict.LEASE_MS", 1000 * plan.leases_last),
        mock.patch("redisdict.modelcache.strict.OWN_MS", 1000 * plan.own_ticks),
        mock.patch.object(near_leases, "UNKNOWN_MS", 1000 * plan.unknown_ticks),
        mock.patch.object(near_leases, "SHORTEST_PAUSE_S", 1.0),
        mock.patch.object(near_leases, "LONGEST_PAUSE_S", 1.0),
    ):
        yield


def explore(plan: Plan) -> int:
    """Try every schedule; how many states there are.

    Raises:
        StaleRead: with the moves that lead to it.
    """
    with _in_ticks(plan):
        return schedules.explore(lambda: World(plan))
