"""Every order in which readers and writers of a query over two tables can take their steps.

As in `schedules`, a step is one request; of a batch, which no server carries out as a whole, each
command is a step of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

from redis.exceptions import ResponseError

from redisdict.mapping.keys import Names
from redisdict.modelcache.slots.barrier import change_behind_barriers
from redisdict.modelcache.slots.lease import Loaded, Reader
from redisdict.modelcache.slots.results import ResultStore
from redisdict.modelcache.slots.store import Answer, RowStore
from redisdict.wire.requests import Batch, Call, Identified, Operation, Sleep
from redisdict.wire.server_state import is_asked_anew, named
from tests import schedules
from tests.modelcache.schedules import NeverDue, StaleRead
from tests.modelcache.server_model import Barriers, Lease, ServerModel
from tests.schedules import Move

NAMES = Names("test", ("result",))
TABLES = [RowStore(Names("test", (name, "default")), b"8 bytes!") for name in "AB"]
RESULT = NAMES.cached_table

#: Names and writes results; to make one takes a script that is read from its file.
CELLS = RowStore(NAMES, b"the form")

#: What the query gives: of each table the number of its commits.
Result = tuple[int, ...]


@dataclass
class Database:
    """Two tables at READ COMMITTED, each locked by the writer who has changed it."""

    committed: Result = (0, 0)
    locks: list[str | None] = field(default_factory=lambda: [None, None])

    def select(self, keys: Sequence[bytes]) -> Loaded[Result]:
        return Loaded(dict.fromkeys(keys, self.committed), may_be_kept=True)

    def update(self, tables: Sequence[int], writer: str) -> None:
        for table in tables:
            assert self.locks[table] is None
            self.locks[table] = writer

    def commit(self, tables: Sequence[int]) -> None:
        self.committed = tuple(n + (at in tables) for at, n in enumerate(self.committed))
        for table in tables:
            self.locks[table] = None


@dataclass
class TablesServer(ServerModel):
    """Numbers the generations of each table, so that it doesn't matter which one began first."""

    numbers: dict[bytes, int] = field(default_factory=dict)

    def read(self, keys: list[bytes], *arguments: Any) -> list[Any]:
        self.generations = self.numbers.get(keys[0], 0)
        answers = super().read(keys, *arguments)
        self.numbers[keys[0]] = self.generations
        return answers

    def copied(self) -> TablesServer:
        return replace(self, cells=dict(self.cells), numbers=dict(self.numbers))


@dataclass
class Process:
    name: str
    kind: Any
    operation: Operation[Any]
    tables: Sequence[int] = ()
    committed_at_begin: Result | None = None
    request: Any = None
    #: The replies to the commands of the batch under way.
    replies: list[Any] = field(default_factory=list)
    history: list[Any] = field(default_factory=list)
    result: Any = None
    is_over: bool = False
    is_dead: bool = False
    incarnation: bytes | None = None

    @property
    def is_done(self) -> bool:
        return self.is_over or self.is_dead

    @property
    def is_reader(self) -> bool:
        return isinstance(self.kind, str)


class World:
    """One schedule under way."""

    #: What results depend on, and the results.
    versions: Sequence[RowStore] = TABLES
    results: Sequence[bytes] = (RESULT,)

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.database = self._make_database()
        self.server = self._make_server()
        self.saved = [dict(self.server.cells)]
        self.left = {"crash": plan.crashes, "expire": plan.expiries, "restart": plan.restarts}
        self.processes = {
            **self._readers(),
            **{
                name: Process(name, tables, self._write(name, tables), tables)
                for name, tables in ((f"writer {n}", of) for n, of in enumerate(plan.writers))
            },
        }
        for process in self.processes.values():
            process.request = process.operation.send(None)

    def _make_database(self) -> Database:
        return Database()

    def _make_server(self) -> TablesServer:
        """Make one that nobody has asked yet, or one that readers have; that is done once a plan.

        A world is begun for each state.
        """
        kept = self.plan.begun_servers
        if not kept:
            self.server = self.plan.make_server()
            for reader in self._readers().values() if self.plan.is_warm else ():
                reader.request = reader.operation.send(None)
                while not reader.is_over:
                    self._step(reader)
            kept.append(self.server)
        return kept[0].copied()

    def _readers(self) -> dict[str, Process]:
        names = [f"reader {n}" for n in range(self.plan.readers)]
        return {name: Process(name, "reader", self._read(name.encode())) for name in names}

    def moves(self) -> Iterator[Move]:
        waiting_kinds = []
        for name, process in self.processes.items():
            if process.is_done:
                continue
            if process.committed_at_begin is None:
                if process.kind in waiting_kinds:  # see `schedules`
                    continue
                waiting_kinds.append(process.kind)
            elif self.left["crash"] and not process.is_reader:
                # Nobody waits for a reader: to crash is to take no further step.
                yield ("crash", name)
            if not self._waits_for_lock(process):
                yield ("step", name)
        for result in self.results:
            if isinstance(self.server.cells.get(result), Lease) and self.left["expire"]:
                yield ("expire", result, None)
        for table in self.versions:
            cell = self.server.cells.get(table.table_key)
            if isinstance(cell, Barriers):
                for token in cell.tokens:
                    if self.processes[token.decode()].is_dead:
                        yield ("expire", table.table_key, token)
        if self.left["restart"] and not any(self.database.locks):
            for number in range(len(self.saved)):
                yield ("restart", number)

    def make(self, move: Move) -> None:
        if move[0] == "step":
            self._step(self.processes[move[1]])
        elif move[0] == "crash":
            self.left["crash"] -= 1
            self._crash(self.processes[move[1]])
        elif move[0] == "expire":
            self.left["expire"] -= move[2] is None
            self.server.expire(move[1], move[2])
        else:
            self.left["restart"] -= 1
            self.server.restart(self.saved[move[1]])
            for process in self.processes.values():
                process.incarnation = None
        if self.plan.restarts and self.server.cells not in self.saved:
            self.saved.append(dict(self.server.cells))

    def snapshot(self) -> Any:
        """Whatever decides how things can go on."""
        return (
            frozenset(self.server.cells.items()),
            self.server.knows_read_script,
            tuple(sorted(self.server.numbers.items())),
            self.server.incarnations,
            self.database.committed,
            tuple(self.database.locks),
            tuple(self.left.values()),
            tuple(frozenset(cells.items()) for cells in self.saved) if self.left["restart"] else (),
            tuple(
                (one.is_over, one.is_dead)
                if one.is_done
                else (
                    one.is_reader and one.committed_at_begin,
                    one.incarnation,
                    *one.history,
                )
                for one in self.processes.values()
            ),
        )

    def _read(self, token: bytes) -> Operation[Any]:
        reader: Reader[Result] = Reader(
            self.plan.make_store([copy(table) for table in TABLES], CELLS),
            NeverDue(NAMES.counts),
            encode=lambda versions: b"%d %d" % versions,
            decode=lambda body: tuple(map(int, body.split())),
            lease_ms=10**9,
            timeout_ms=None,
            absent_ms=None,
        )
        return reader.read([RESULT], self.database.select, token)

    def _write(self, name: str, tables: Sequence[int]) -> Operation[None]:
        yield Call(self.database.update, (tables, name))
        keys = [[TABLES[table].table_key] for table in tables]
        yield from self.plan.change(
            keys, name.encode(), 60_000, lambda: self.database.commit(tables)
        )

    def _waits_for_lock(self, process: Process) -> bool:
        holders = {self.database.locks[table] for table in process.tables} - {None, process.name}
        return bool(holders) and isinstance(process.request, Call)

    def _step(self, process: Process) -> None:
        if process.committed_at_begin is None:
            process.committed_at_begin = self.database.committed
        request = process.request
        if isinstance(request, Batch):
            command = request.commands[len(process.replies)]
            try:
                process.replies.append(self._execute(process, command))
            except ResponseError as error:
                process.replies.append(error)
            process.history.append(repr(process.replies[-1]))
            if len(process.replies) < len(request.commands):
                return
            answer, process.replies = process.replies, []
            self._go_on(process, lambda: process.operation.send(answer))
            return
        try:
            if isinstance(request, Call):
                answer = request.function(*request.arguments)
            else:
                answer = None if isinstance(request, Sleep) else self._execute(process, request)
        except ResponseError as error:
            refusal = error
            process.history.append(repr(error))
            self._go_on(process, lambda: process.operation.throw(refusal))
            return
        if isinstance(request, Sleep):
            process.history = ["waited"]
        else:
            process.history.append(repr(answer))
        self._go_on(process, lambda: process.operation.send(answer))

    def _go_on(self, process: Process, send: Callable[[], Any]) -> None:
        try:
            process.request = send()
        except StopIteration as stop:
            process.is_over = True
            process.result = stop.value

    def _execute(self, process: Process, command: Any) -> Any:
        if isinstance(command, Identified):
            if process.incarnation is None or is_asked_anew(command):
                process.incarnation = self.server.incarnation
            command = named(command, process.incarnation)
        return self.server.execute(command)

    def _crash(self, process: Process) -> None:
        process.is_dead = True
        process.operation.close()
        locks = self.database.locks
        self.database.locks = [None if one == process.name else one for one in locks]

    def check(self) -> None:
        for process in self.processes.values():
            if process.is_over and process.is_reader:
                assert process.committed_at_begin is not None
                got = process.result[RESULT]
                if any(map(int.__lt__, got, process.committed_at_begin)):
                    raise StaleRead(f"{process.name} got {got}, {process.committed_at_begin=}")
        self._look()

    def _look(self) -> None:
        """Read as a hit is read, by one MGET at this moment."""
        tables = [copy(table) for table in TABLES]
        store = self.plan.make_store(tables, CELLS)
        command: Any = store.look(RESULT).command
        body = store.body([*self.server.execute(command), self.server.incarnation])
        if body is not None:
            got = tuple(map(int, body.split()))
            if any(map(int.__lt__, got, self.database.committed)):
                raise StaleRead(f"who looks now gets {got}, {self.database.committed=}")


@dataclass(frozen=True)
class Plan:
    """Who takes part.

    Attributes:
        writers: the tables, 0 or 1 or both, that each of them changes in a transaction.
        is_warm: whether the result is on the server at the beginning.
    """

    readers: int
    writers: tuple[tuple[int, ...], ...]
    crashes: int = 0
    expiries: int = 0
    restarts: int = 0
    is_warm: bool = True
    make_server: Callable[[], TablesServer] = TablesServer
    make_store: Callable[[Sequence[RowStore], RowStore], Any] = ResultStore
    change: Callable[..., Operation[None]] = change_behind_barriers
    #: Of each of its worlds the server at the beginning, once it is known.
    begun_servers: list[TablesServer] = field(default_factory=list, compare=False)


def explore(plan: Plan, world_of: Callable[[Any], Any] = World) -> int:
    """Try every schedule; how many states there are.

    Raises:
        StaleRead: with the moves that lead to it.
    """
    return schedules.explore(lambda: world_of(plan))


class BelievesAnyVersion(ResultStore):
    """A result counts whatever has become of its tables."""

    def read(self, keys: Sequence[bytes], token: bytes, lease_ms: int) -> Operation[list[Answer]]:
        cell = yield (b"GET", keys[0])
        if isinstance(cell, bytes) and cell.startswith(b"V"):
            return [cell[25:]]
        return (yield from super().read(keys, token, lease_ms))


class ForgetsIncarnations(ResultStore):
    """Whoever looks believes versions of any incarnation of the server."""

    def body(self, found: Any) -> bytes | None:
        return super().body(found[:-1] if all(found) else None)


class ReadsOneVersion(ResultStore):
    """Of two tables it looks at the first."""

    def __init__(self, tables: Sequence[RowStore], cells: RowStore) -> None:
        super().__init__(tables[:1], cells)
