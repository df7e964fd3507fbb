"""Every order in which readers, writers, crashes and time limits can take their steps.

The operations under test are the real ones. A step is one request of one of them: a script on
the server, a query, a commit. The search is depth-first over states; a state that was seen
before, by whatever way, is not searched again. Generators can't be copied, so a state is reached
anew by taking all steps that lead to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from redisdict.connections.requests import Batch, Call, Operation, Sleep
from redisdict.mapping.names import Names
from redisdict.modelcache.cells import Cells
from redisdict.modelcache.committing import change_behind_barriers
from redisdict.modelcache.reading import Loaded, Reader
from redisdict.modelcache.tally import Tally
from tests.modelcache.server_model import Barriers, Generation, Lease, ServerModel, Value

NAMES = Names("test", ("shop.Product", "default"))
CELLS = Cells(NAMES, b"8 bytes!")
ROW = CELLS.prefix + b"1"

Move = tuple[Any, ...]


class StaleRead(AssertionError):
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

    @property
    def is_writer(self) -> bool:
        return self.kind != "reader"

    @property
    def is_done(self) -> bool:
        return self.is_over or self.is_dead


class World:
    """One schedule under way."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.server = plan.make_server()
        self.server.cells[CELLS.table] = Generation(b"first generation")
        if plan.is_warm:
            self.server.cells[ROW] = Value(b"first generation", CELLS.fingerprint + b"0")
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
        cell = self.server.cells.get(ROW)
        if isinstance(cell, Lease) and self.left["expire"]:
            yield ("expire", ROW, None)
        for key in (ROW, CELLS.table):
            cell = self.server.cells.get(key)
            if isinstance(cell, Barriers):
                for token in cell.tokens:
                    if self.processes[token.decode()].is_dead:
                        yield ("expire", key, token)
        if self.left["restart"] and not any(p.is_committing for p in self.processes.values()):
            for number in range(len(self.saved)):
                yield ("restart", number)

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
            self.server.restart(self.saved[move[1]])
        if self.plan.restarts and self.server.cells not in self.saved:
            self.saved.append(dict(self.server.cells))
        self._check()

    def state(self) -> Any:
        """Whatever decides how things can go on."""
        return (
            frozenset(self.server.cells.items()),
            self.server.knows_read_script,
            self.server.generations,
            self.database.committed,
            self.database.locked_by,
            tuple(self.left.values()),
            tuple(frozenset(cells.items()) for cells in self.saved) if self.left["restart"] else (),
            tuple(
                (process.is_over, process.is_dead, process.committed_at_begin, *process.history)
                for process in self.processes.values()
            ),
        )

    def _reader(self, name: str) -> Process:
        reader: Reader[int] = Reader(
            copy(CELLS),  # another process: it knows by itself what it has taught the server
            Tally(NAMES.counts),
            encode=lambda version: b"%d" % version,
            decode=int,
            lease_ms=10**9,  # time limits are moves of their own
            timeout_ms=None,
            absent_ms=None,
        )
        return Process(name, "reader", reader.read([ROW], self.database.select, name.encode()))

    def _writer(self, name: str, how: str) -> Process:
        keys = [CELLS.table] if how == "all rows" else [ROW]
        database = self.database

        def autocommit() -> None:
            database.update(name)
            database.commit()

        def write() -> Operation[None]:
            change = autocommit
            if how != "autocommit":
                yield Call(database.update, (name,))
                change = database.commit
            yield from change_behind_barriers([(CELLS, keys)], name.encode(), 60_000, change)

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
            answer = self._answer(request)
        except ResponseError as error:
            process.history.append("refused")
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

    def _answer(self, request: Any) -> Any:
        if isinstance(request, Sleep):
            return None
        if isinstance(request, Call):
            return request.function(*request.arguments)
        if isinstance(request, Batch) and not request.is_atomic:  # of what is counted
            return []
        return self.server.execute(request)

    def _crash(self, process: Process) -> None:
        process.is_dead = True
        process.is_committing = False
        process.operation.close()
        if self.database.locked_by == process.name:
            self.database.locked_by = None

    def _check(self) -> None:
        for process in self.processes.values():
            if process.is_over and not process.is_writer:
                version = process.result[ROW]
                if version < process.committed_at_begin:
                    raise StaleRead(f"{process.name} began at {process.committed_at_begin}")
        probe = ServerModel(dict(self.server.cells), self.server.knows_read_script)
        probe.answer = self.server.answer  # type: ignore[method-assign]  # its faults, if any
        answer = None
        try:
            command = CELLS.read_command([ROW], b"probe", 0)
            answer = probe.execute(command)[0]
        except ResponseError:
            return  # the server has started again and nobody has been there yet
        if isinstance(answer, bytes) and int(answer) != self.database.committed:
            raise StaleRead(f"the server has {answer!r}, committed is {self.database.committed}")


@dataclass(frozen=True)
class Plan:
    """Who takes part.

    Attributes:
        writers: how each of them writes: "transaction", "autocommit", "all rows".
        is_warm: whether the row is on the server at the beginning.
        expiries: how many leases may end by their time limit.
    """

    readers: int
    writers: tuple[str, ...]
    crashes: int = 0
    expiries: int = 0
    restarts: int = 0
    is_warm: bool = True
    make_server: Callable[[], ServerModel] = ServerModel


def explore(plan: Plan) -> int:
    """Try every schedule; how many states there are.

    Raises:
        StaleRead: with the moves that lead to it.
    """
    seen = set()
    paths: list[tuple[Move, ...]] = [()]
    while paths:
        path = paths.pop()
        world = World(plan)
        try:
            for move in path:
                world.make(move)
        except StaleRead as error:
            error.add_note("after " + ", ".join(" ".join(map(str, move)) for move in path))
            raise
        state = world.state()
        if state in seen:
            continue
        seen.add(state)
        paths += [(*path, move) for move in world.moves()]
    return len(seen)
