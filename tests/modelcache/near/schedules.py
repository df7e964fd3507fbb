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
from copy import copy
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from redis.exceptions import ResponseError

from redisdict.modelcache.near import Kept, NearRows
from redisdict.modelcache.slots import near_leases
from redisdict.modelcache.slots.lease import Loaded, Reader
from redisdict.modelcache.slots.near_leases import NearLeases, wait_for_readers
from redisdict.modelcache.slots.store import put_barriers
from redisdict.modelcache.strict import NearLease, StrictReader
from redisdict.near.reader import SecondsReader
from redisdict.near.state import NearState
from redisdict.wire.requests import Batch, Call, Operation, Sleep, commands_of
from redisdict.wire.server_state import is_asked_anew, is_identified, named
from tests import schedules
from tests.modelcache.near.leases_model import LeasesModel
from tests.modelcache.schedules import (
    FIRST_GENERATION,
    NAMES,
    ROW,
    STORE,
    Database,
    NeverDue,
    StaleRead,
)
from tests.modelcache.server_model import Barriers, Cell, Generation, ServerModel, Value
from tests.schedules import Move

REST = ROW[len(STORE.prefix) :]

#: Ticks that a read under seconds may be behind, and that a strict one may be.
BOUND = 1

#: Ticks that writers wait at most: as much more than BOUND as clocks may differ.
WAIT = 2

#: Ticks of a lease on the server, and for its process.
LEASE, OWN = 4, 2

LEASES = NearLeases(b"leases", b"signal")

#: The clock of all processes.
NOW = [0.0]


#: Whose copies are of a world each.
NEAR = NearRows(None, NAMES)  # type: ignore[arg-type]  # nothing is begun
NEAR.is_on = True


def _keep(body: bytes) -> Kept:
    return Kept(int(body), len(body))


class Silent:
    """In place of the listener and the keeper: the schedule says when there is a PING."""

    is_plain = False

    def keep_within(self, bound: float) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who takes part.

    Attributes:
        near: the promise of the readers: "strict" or "seconds".
        readers: near reads, one after the other or at the same time.
        database_readers: how many of these ask the database alone, as in a transaction.
        writers: "other" writes in another process, "own" in that of the readers, "all rows" in
            another one, of the whole table.
        ticks, pings, renewals: how many there may be.
        restarts: how often the server may start again, with the cells that it has; the leases may
            be lost.
        flushes: how often the server may forget everything.
        lapses: whether the process holds no lease at the beginning.
        remembers_gaps: whether it knows that it wasn't waited for while it held none.
        is_warm: whether the row is in memory at the beginning; else it is on the server.
        waits: whether writers wait.
        confirms_at_once: whether the process confirms without waiting for a PING.
        applies: whether pushes are applied.
        drops: when what is kept is dropped: by an own writer behind its barriers ("before") and at
            its end ("after"), by who has seen a row in the database ("seen").
        own_ticks, leases_last: for how long the process believes in its lease, and the server.
        unknown_ticks: for how long a server that has begun may not know of leases.
    """

    near: str = "strict"
    readers: int = 1
    database_readers: int = 0
    writers: tuple[str, ...] = ("other",)
    ticks: int = 3
    pings: int = 1
    renewals: int = 0
    restarts: int = 0
    flushes: int = 0
    lapses: bool = False
    remembers_gaps: bool = True
    is_warm: bool = True
    waits: bool = True
    confirms_at_once: bool = False
    applies: bool = True
    own_ticks: int = OWN
    leases_last: int = LEASE
    unknown_ticks: int = LEASE
    drops: tuple[str, ...] = ("before", "after", "seen")


@dataclass
class Process:
    """A reader, a writer, or the renewal of the lease."""

    name: str
    operation: Operation[Any] | None = None
    request: Any = None
    reply: Any = None
    has_reply: bool = False
    began_at: float | None = None
    committed_at_begin: int = 0
    least: int = 0
    wake_at: float = 0
    ping_from: int | None = None
    result: Any = None
    is_over: bool = False
    history: list[Any] = field(default_factory=list)
    incarnation: bytes | None = None

    def state(self) -> Any:
        return (
            self.is_over,
            self.began_at,
            self.committed_at_begin,
            self.least,
            self.wake_at if isinstance(self.request, Sleep) else None,
            self.ping_from,
            self.has_reply and repr(self.reply),
            self.incarnation,
            *self.history,
        )


class World:
    """One schedule under way."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        NOW[0] = 0.0
        self.server = ServerModel()
        self.cells: dict[bytes, Cell] = self.server.cells
        self.cells[STORE.table_key] = Generation(FIRST_GENERATION)
        self.cells[ROW] = Value(FIRST_GENERATION, STORE.fingerprint + b"0")
        self.leases = LeasesModel(self.server.incarnation, -(10**6), 0)
        self.database = Database()
        self.committed_at = {0.0: 0}
        self.newest_read = 0
        self.own_written = 0
        self.stream: list[tuple[Any, ...]] = []
        self.pings_sent = 0
        self.ping: tuple[str, float, int] | None = None  # "sent" or "arrived", when, which
        self.answered = 0
        self.is_connected = True
        self.left = {
            "tick": plan.ticks,
            "ping": plan.pings,
            "renew": plan.renewals,
            "restart": plan.restarts,
            "flush": plan.flushes,
        }
        self._make_reading_process()
        self.renewal: Process | None = None
        self.readers = [Process(f"reader {number}") for number in range(plan.readers)]
        self.writers = [
            self._writer(f"writer {number}", how) for number, how in enumerate(plan.writers)
        ]

    def _make_reading_process(self) -> None:
        plan = self.plan
        self.state = NearState(10**6, 10)
        self.state.connect()
        self.state.pong(0.0)
        near = self.near = copy(NEAR)
        near._state = self.state
        self.store = copy(STORE)
        self.store.near, self.store._keep = near, _keep
        if plan.is_warm:
            token = self.state.begin_fill(REST)
            assert self.state.complete_fill(token, 0, hash(b"0"), owner=self.store)
        silent: Any = Silent()
        silent.ping_after = self._ping_after
        near._teller = silent
        self.lease = NearLease(LEASES, self.state, silent, silent, 1000 * BOUND)
        self.lease.process = b"reading process"
        if not plan.remembers_gaps:
            self.lease.take = self._take  # type: ignore[method-assign]
        self.reader: Any
        if plan.near == "strict":
            if not plan.lapses:
                self.lease.since, self.lease.until = -1.0, float(plan.own_ticks)
                self.leases.held[self.lease.process] = (1000 * plan.leases_last, 0, 1000 * WAIT)
            self.reader = StrictReader(self.lease, silent)
            self.reader._bound = BOUND
        else:
            self.reader = SecondsReader(self.state, silent, BOUND)

    def _take(self, sent_at: float, *, was_held: bool) -> None:
        self.lease.until = sent_at + OWN

    # Moves

    def moves(self) -> Iterator[Move]:
        if all(reader.is_over for reader in self.readers):
            return
        for number, reader in enumerate(self.readers):
            if not reader.is_over and self._may_go_on(reader):
                yield ("reader", number)
                if reader.began_at is None:
                    break  # of several that haven't begun the first begins first
        for number, writer in enumerate(self.writers):
            if not writer.is_over and self._may_go_on(writer):
                yield ("writer", number)
                if self.ping is not None and self.ping[0] == "sent":
                    yield ("writer", number, "behind a PING of the same turn")
        if self.renewal is not None:
            if self._may_go_on(self.renewal):
                yield ("renewal",)
        elif self.left["renew"]:
            yield ("renew",)
        if self.stream:
            yield ("receive",)
        if self.ping is None and self.left["ping"] and self.is_connected:
            yield ("ping",)
        if self.ping is not None and self.ping[0] == "sent":
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
            return process in self.readers or NOW[0] >= process.wake_at
        if process.ping_from is not None:
            return self.answered > process.ping_from or not self.is_connected
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
            self._step(self.renewal)
            if self.renewal.is_over:
                self.renewal = None
        elif kind == "renew":
            self.left["renew"] -= 1
            self.renewal = Process("renewal", self.lease.renew())
            self._send(self.renewal, None)
        elif kind == "receive":
            self._receive()
        elif kind == "ping":
            self.left["ping"] -= 1
            self.pings_sent += 1
            self.ping = ("sent", NOW[0], self.pings_sent)
        elif kind == "ping arrives":
            self._answer_ping()
        elif kind == "tick":
            self.left["tick"] -= 1
            NOW[0] += 1
            self.committed_at[NOW[0]] = self.database.committed
        elif kind == "restart":
            self._restart(loses_leases=move[1])
        else:
            self.left["flush"] -= 1
            self.cells.clear()
            self.leases = LeasesModel()
            self._tell("flush")

    def check(self) -> None:
        """Do nothing: each read is judged by the move that ends it."""

    def snapshot(self) -> Any:
        """Whatever decides how things can go on."""
        entry = self.state._entries.get(REST)
        fills = self.state._fills.get(REST)
        leases = self.leases
        return (
            NOW[0],
            tuple(self.left.values()),
            frozenset(self.cells.items()),
            self.server.incarnations,
            self.server.generations,
            (leases.incarnation, leases.begun, leases.number, frozenset(leases.held.items())),
            self.database.committed,
            self.database.locked_by,
            tuple(self.committed_at.values()),
            self.newest_read,
            self.own_written,
            tuple(self.stream),
            self.ping,
            self.answered,
            self.is_connected,
            None if entry is None else entry.value,
            None if fills is None else (fills.count, fills.seen),
            tuple(
                None if one.operation is None else self._token_stands(one) for one in self.readers
            ),
            self.state.watermark,
            self.state.is_connected,
            (self.lease.until, self.lease.since, self.lease.confirmed),
            tuple(one.state() for one in (*self.readers, *self.writers)),
            None if self.renewal is None else self.renewal.state(),
        )

    def _token_stands(self, reader: Process) -> bool:
        """Whether what a reader has asked for could still be kept: see `NearState`."""
        operation: Any = reader.operation
        while operation is not None and operation.gi_frame is not None:
            tokens = operation.gi_frame.f_locals.get("open_tokens")
            if tokens is not None:
                fills = self.state._fills.get(REST)
                return any(token.fills is fills is not None for token in tokens)
            operation = operation.gi_yieldfrom
        return False

    # Readers

    def _step_reader(self, reader: Process) -> None:
        if reader.began_at is None:
            reader.began_at = NOW[0]
            reader.committed_at_begin = self.database.committed
            reader.least = max(self.newest_read, self.own_written)
            return
        if reader in self.readers[: self.plan.database_readers]:
            self._end(reader, self._load([ROW]).found[ROW])
            return
        if reader.operation is None:
            entry = self._find(reader.began_at)
            if entry is not None and entry.owner is self.store:
                self._end(reader, entry.value)
                return
            reader.operation = self._read(reader.name)
            self._send(reader, None)
            return
        self._step(reader)
        if reader.is_over:
            self._end(reader, reader.result[ROW])

    def _find(self, began_at: float) -> Any:
        """As of the time that the reader has read from its clock, whenever it goes on."""
        now, NOW[0] = NOW[0], began_at
        try:
            return self.reader.find(REST)
        finally:
            NOW[0] = now

    def _read(self, name: str) -> Operation[Any]:
        reader: Reader[int] = Reader(
            copy(self.store),
            NeverDue(NAMES.counts),
            encode=lambda version: b"%d" % version,
            decode=int,
            lease_ms=10**9,
            timeout_ms=None,
            absent_ms=None,
        )
        return reader.read([ROW], self._load, name.encode())

    def _load(self, keys: Any) -> Loaded[int]:
        loaded = self.database.select(keys)
        if "seen" in self.plan.drops:
            self.near.drop(keys)
        return loaded

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
        process = self.lease.process if is_own else name.encode()
        plan, database = self.plan, self.database

        def write() -> Operation[None]:
            yield Call(database.update, (name,))
            yield from put_barriers([keys], name.encode(), 60_000)
            if is_own and "before" in plan.drops:
                self.near.drop(keys)
            if plan.near == "strict" and plan.waits:
                yield from wait_for_readers([(LEASES, process)], 1000 * WAIT)
            yield Call(database.commit)
            yield from put_barriers([keys], name.encode(), 0)
            if is_own:
                if "after" in plan.drops:
                    self.near.drop(keys)
                self.own_written = max(self.own_written, database.committed)

        writer = Process(name, write())
        self._send(writer, None)
        return writer

    def _step_writer(self, writer: Process, *, ping_first: bool) -> None:
        # Its reply comes at the end of the server's turn, behind what the listener is sent.
        if ping_first:
            self._answer_ping()
        self._step(writer, at_once=True)

    # Any process

    def _send(self, process: Process, answer: Any) -> None:
        assert process.operation is not None
        try:
            process.request = process.operation.send(answer)
        except StopIteration as stop:
            process.is_over, process.result = True, stop.value
        self._note_request(process)

    def _throw(self, process: Process, error: Exception) -> None:
        assert process.operation is not None
        process.request = process.operation.throw(error)
        self._note_request(process)

    def _note_request(self, process: Process) -> None:
        process.ping_from = None
        request = process.request
        if isinstance(request, Sleep):
            process.wake_at = NOW[0] + request.seconds
        elif isinstance(request, Call) and request.function == self._ping_after:
            process.ping_from = self.pings_sent
            if self.plan.confirms_at_once:
                process.ping_from = -1

    def _ping_after(self, _start: float) -> bool:
        return self.is_connected

    def _step(self, process: Process, *, at_once: bool = False) -> None:
        request = process.request
        if isinstance(request, Sleep):
            if process in self.readers:  # it is where it was before, however often
                process.history = []
            process.history.append("slept")
            self._send(process, None)
        elif isinstance(request, Call):
            answer = request.function(*request.arguments)
            process.history.append(repr(answer))
            self._send(process, answer)
        elif not process.has_reply:
            try:
                process.reply = self._execute(process)
            except ResponseError as error:
                process.reply = error
            process.has_reply = True
            if at_once:
                self._step(process)
        else:
            process.has_reply = False
            reply, process.reply = process.reply, None
            process.history.append(repr(reply))
            if isinstance(reply, Exception):
                self._throw(process, reply)
            else:
                self._send(process, reply)

    # The server

    def _execute(self, process: Process) -> Any:
        request = process.request
        if is_identified(request):
            if process.incarnation is None or is_asked_anew(request):
                process.incarnation = self.server.incarnation
            request = named(request, process.incarnation)
        replies = []
        for command in commands_of(request):
            try:
                replies.append(self._execute_one(command))
            except ResponseError as error:
                if not isinstance(request, Batch):
                    raise
                replies.append(error)
        return replies if isinstance(request, Batch) else replies[0]

    def _execute_one(self, command: Any) -> Any:
        if command[0] == b"PTTL":
            return -1 if command[1] in self.cells else -2
        if command[3] == LEASES.key:
            signals = self.leases.signals
            answer = self.leases.execute(command, round(1000 * NOW[0]))
            if self.leases.signals != signals:
                self._tell("signal")
            return answer
        before = dict(self.cells)
        answer = self.server.execute(command)
        for key in (ROW, STORE.table_key):
            if self.cells.get(key) != before.get(key) or isinstance(self.cells.get(key), Barriers):
                self._tell("push", key)
        return answer

    def _tell(self, *what: Any) -> None:
        if self.is_connected and ("lost",) not in self.stream and self.stream[-1:] != [what]:
            self.stream.append(what)

    def _answer_ping(self) -> None:
        assert self.ping is not None
        self.ping = ("arrived", *self.ping[1:])
        self._tell("pong", *self.ping[1:])

    def _restart(self, *, loses_leases: bool) -> None:
        self.left["restart"] -= 1
        self.server.restart(self.cells)
        self.cells = self.server.cells
        if loses_leases:
            self.leases = LeasesModel()
        self._tell("lost")
        self.ping = None
        for process in (*self.readers, *self.writers):
            process.incarnation = None
        if self.renewal is not None:
            self.renewal.incarnation = None

    # The listener

    def _receive(self) -> None:
        what = self.stream.pop(0)
        if what[0] == "pong":
            self.state.pong(what[1])
            self.answered, self.ping = what[2], None
        elif what[0] == "lost":
            self.state.disconnect()
            self.is_connected = False
        elif what[0] == "flush":
            self.state.flush()
        elif what[0] == "push" and self.plan.applies:
            if what[1] == ROW:
                self.state.invalidate([REST])
            else:
                self.state.flush()


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
