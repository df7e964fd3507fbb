"""Every order in which readers, writers, crashes and time limits can take their steps.

The operations under test are the real ones. A step is one request of one of them: a script on
the server, a query, a commit. `tests.schedules` has the search.

A process has one connection, which is lost when the server is. What was under way then is sent
again over a new one, whether it had been carried out or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from redisdict.mapping.keys import Names
from redisdict.modelcache.slots.barrier import change_behind_barriers
from redisdict.modelcache.slots.lease import Loaded, Reader
from redisdict.modelcache.slots.store import RowStore
from redisdict.modelcache.stats import Counters
from redisdict.wire.requests import Batch, Call, Operation, Sleep
from redisdict.wire.server_state import is_asked_anew, is_identified, named
from tests import schedules
from tests.modelcache.server_model import Barriers, Generation, Lease, ServerModel, Value
from tests.schedules import Breach, Move

FIRST_GENERATION = b"gen00000" + ServerModel().incarnation

NAMES = Names("test", ("shop.Product", "default"))
STORE = RowStore(NAMES, b"8 bytes!")
ROW = STORE.prefix + b"1"


class StaleRead(Breach):
    """A reader got, or the next one would get, an older version than the committed one."""


@dataclass
class Database:
    """One row, that is its version: READ COMMITTED, and a lock held by who has updated it."""

    committed: int = 0
    locked_by: str | None = None

    def select(self, keys: Sequence[bytes]) -> Loaded[int]:
        return Loaded(dict.fromkeys(keys, self.committed), may_be_kept=True)

    def update(self, writer: str) -> None:
        assert self.locked_by is None
        self.locked_by = writer

    def commit(self) -> None:
        self.committed += 1
        self.locked_by = None


@dataclass
class Process:
    name: str
    kind: str
    operation: Operation[Any]
    committed_at_begin: int | None = None
    request: Any = None
    history: list[Any] = field(default_factory=list)
    result: Any = None
    is_over: bool = False
    is_dead: bool = False
    is_committing: bool = False
    #: The name of the incarnation that its connection leads to, once it was asked.
    incarnation: bytes | None = None

    @property
    def is_writer(self) -> bool:
        return not self.kind.startswith("reader")

    @property
    def is_done(self) -> bool:
        return self.is_over or self.is_dead


class World:
    """One schedule under way."""

    #: What readers read.
    cells: Sequence[bytes] = (ROW,)

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.server = plan.make_server()
        self.server.cells[STORE.table_key] = Generation(FIRST_GENERATION)
        if plan.is_warm:
            self.server.cells[ROW] = Value(FIRST_GENERATION, STORE.fingerprint + b"0")
        self.saved = [dict(self.server.cells)]
        self.database = Database()
        self.left = {
            "crash": plan.crashes,
            "expire": plan.expiries,
            "restart": plan.restarts,
        }
        self.processes = {
            **{f"reader {n}": self._reader(f"reader {n}") for n in range(plan.readers)},
            **{
                f"writer {n}": self._writer(f"writer {n}", how)
                for n, how in enumerate(plan.writers)
            },
        }
        for process in self.processes.values():
            process.request = process.operation.send(None)
            if plan.keeps_connections:  # they were used before
                process.incarnation = self.server.incarnation

    def moves(self) -> Iterator[Move]:
        waiting_kinds = set()
        for name, process in self.processes.items():
            if process.is_done:
                continue
            if not process.history:
                # Of several that do the same, the first begins first: the others' turn to be first
                # would only be the same schedule under other names.
                if process.kind in waiting_kinds:
                    continue
                waiting_kinds.add(process.kind)
            if not self._waits_for_lock(process):
                yield ("step", name)
            if self.left["crash"] and process.history:
                yield ("crash", name)
        for key in self.cells:
            if isinstance(self.server.cells.get(key), Lease) and self.left["expire"]:
                yield ("expire", key, None)
        for key in (*self.cells, STORE.table_key):
            cell = self.server.cells.get(key)
            if isinstance(cell, Barriers):
                for token in cell.tokens:
                    if self.processes[token.decode()].is_dead:
                        yield ("expire", key, token)
        living = [process for process in self.processes.values() if not process.is_done]
        if self.left["restart"] and not any(process.is_committing for process in living):
            for number in range(len(self.saved)):
                yield ("restart", number, None)
            for process in living:
                if process.history and _is_for_server(process.request):
                    yield ("restart", None, process.name)

    def make(self, move: Move) -> None:
        kind = move[0]
        if kind == "step":
            self._step(self.processes[move[1]])
        elif kind == "crash":
            self.left["crash"] -= 1
            self._crash(self.processes[move[1]])
        elif kind == "expire":
            if move[2] is None:
                self.left["expire"] -= 1
            self.server.expire(move[1], move[2])
        else:
            self.left["restart"] -= 1
            self._restart(*move[1:])
        if self.plan.restarts and self.server.cells not in self.saved:
            self.saved.append(dict(self.server.cells))

    def snapshot(self) -> Any:
        """Whatever decides how things can go on."""
        return (
            frozenset(self.server.cells.items()),
            self.server.knows_read_script,
            self.server.generations,
            self.server.incarnations,
            self.database.committed,
            self.database.locked_by,
            tuple(self.left.values()),
            tuple(frozenset(cells.items()) for cells in self.saved) if self.left["restart"] else (),
            tuple(
                (
                    process.is_over,
                    process.is_dead,
                    process.committed_at_begin,
                    process.incarnation,
                    *process.history,
                )
                for process in self.processes.values()
            ),
        )

    def _reader(self, name: str) -> Process:
        reader: Reader[int] = Reader(
            copy(STORE),  # another process: it knows by itself what it has taught the server
            NeverDue(NAMES.counts),
            encode=lambda version: b"%d" % version,
            decode=int,
            lease_ms=10**9,  # time limits are moves of their own
            timeout_ms=None,
            absent_ms=None,
        )
        return Process(name, "reader", reader.read([ROW], self.database.select, name.encode()))

    def _writer(self, name: str, how: str) -> Process:
        keys = [STORE.table_key] if "all rows" in how else [ROW]
        database = self.database

        def autocommit() -> None:
            database.update(name)
            database.commit()

        def write() -> Operation[None]:
            change = autocommit
            if "autocommit" not in how:
                yield Call(database.update, (name,))
                change = database.commit
            yield from change_behind_barriers([keys], name.encode(), 60_000, change)

        return Process(name, how, write())

    def _waits_for_lock(self, process: Process) -> bool:
        holder = self.database.locked_by
        if holder is None or holder == process.name or not isinstance(process.request, Call):
            return False
        return process.is_writer

    def _step(self, process: Process) -> None:
        if process.committed_at_begin is None:
            process.committed_at_begin = self.database.committed
        request = process.request
        try:
            answer = self._answer(process)
        except ResponseError as error:
            process.history.append(repr(error))
            process.request = process.operation.throw(error)
            return
        if process.is_writer:
            # From the barrier to the commit.
            process.is_committing = isinstance(request, tuple) and not process.is_committing
        if isinstance(request, Sleep):
            # However often it has found the row busy: it is where it was before.
            process.history = ["waited"]
        else:
            process.history.append(repr(answer))
        try:
            process.request = process.operation.send(answer)
        except StopIteration as stop:
            process.is_over = True
            process.result = stop.value

    def _answer(self, process: Process) -> Any:
        request = process.request
        if isinstance(request, Sleep):
            return None
        if isinstance(request, Call):
            return request.function(*request.arguments)
        if is_identified(request):
            if process.incarnation is None or is_asked_anew(request):
                process.incarnation = self.server.incarnation
            request = named(request, process.incarnation)
        return self.server.execute(request)

    def _restart(self, number: int | None, unanswered: str | None) -> None:
        """Start the server with what it had at one time.

        Or with what it had at last, when it had just carried out the request of one process.
        """
        if unanswered is not None:
            with suppress(ResponseError):
                self._answer(self.processes[unanswered])
        self.server.restart(self.server.cells if number is None else self.saved[number])
        if not self.plan.keeps_connections:
            for process in self.processes.values():
                process.incarnation = None

    def _crash(self, process: Process) -> None:
        process.is_dead = True
        process.is_committing = False
        process.operation.close()
        if self.database.locked_by == process.name:
            self.database.locked_by = None

    def check(self) -> None:
        for process in self.processes.values():
            if process.is_over and not process.is_writer:
                version = process.result[ROW]
                if version < process.committed_at_begin:
                    raise StaleRead(f"{process.name} began at {process.committed_at_begin}")
        probe = copy(self.server)  # with its faults, if any
        probe.cells = dict(self.server.cells)
        answer = None
        try:
            command = named(STORE.read_command([ROW], b"probe", 0), probe.incarnation)
            answer = probe.execute(command)[0]
        except ResponseError:
            return  # the server has started again and nobody has been there yet
        if isinstance(answer, bytes) and int(answer) != self.database.committed:
            raise StaleRead(f"the server has {answer!r}, committed is {self.database.committed}")


class NeverDue(Counters):
    """Counts that no clock sends, so that the same moves lead to the same requests."""

    def push_if_due(self) -> Operation[None]:
        return
        yield  # a generator all the same


def _is_for_server(request: Any) -> bool:
    """Whether it is about rows: the counts are sent in batches that aren't atomic."""
    return isinstance(request, tuple) or (isinstance(request, Batch) and request.is_atomic)


@dataclass(frozen=True)
class Plan:
    """Who takes part.

    Attributes:
        writers: how each of them writes: "transaction" or "autocommit", which change the row, or
            "all rows" or "all rows in autocommit", which tell of the whole table.
        is_warm: whether the row is on the server at the beginning.
        expiries: how many leases may end by their time limit.
        restarts: how often the server may start again with an earlier state.
        keeps_connections: whether connections outlive that, as none can.
    """

    readers: int
    writers: tuple[str, ...]
    crashes: int = 0
    expiries: int = 0
    restarts: int = 0
    is_warm: bool = True
    keeps_connections: bool = False
    make_server: Callable[[], ServerModel] = ServerModel


def explore(plan: Plan, world_of: Callable[[Any], Any] = World) -> int:
    """Try every schedule; how many states there are.

    Raises:
        StaleRead: with the moves that lead to it.
    """
    return schedules.explore(lambda: world_of(plan))
