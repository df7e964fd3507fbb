"""A model of the server: what the four scripts do, in Python, to explore every schedule with.

`test_row_store.py` holds it against real servers, reply by reply and cell by cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from redisdict.modelcache.slots.results import RESULT
from redisdict.modelcache.slots.store import (
    BARRIER,
    BLOCKED,
    BUSY,
    FILL,
    LEASED,
    REFUSAL,
    TAUGHT,
)
from redisdict.wire.requests import Batch

#: In place of the name of an incarnation, where the reader had none to give.
NAMELESS = b"nameless"


@dataclass(frozen=True)
class Value:
    generation: bytes
    value: bytes


@dataclass(frozen=True)
class Lease:
    generation: bytes
    token: bytes


@dataclass(frozen=True)
class Barriers:
    tokens: tuple[bytes, ...]


@dataclass(frozen=True)
class Generation:
    name: bytes


Cell = Value | Lease | Barriers | Generation


def as_stored(cell: Cell | None) -> bytes | None:
    """A cell's bytes; of one that isn't a value or a generation only its kind."""
    if isinstance(cell, Value):
        return b"V" + cell.generation + cell.value
    if isinstance(cell, Generation):
        return b"G" + cell.name
    return None if cell is None else type(cell).__name__[:1].encode()


@dataclass
class ServerModel:
    """Cells by key. Time doesn't pass here: `expire()` is a move of the schedule.

    What a driver puts into a command, the name of the incarnation, is there already.
    """

    cells: dict[bytes, Cell] = field(default_factory=dict)
    knows_read_script: bool = True
    generations: int = 0
    incarnations: int = 0

    @property
    def incarnation(self) -> bytes:
        """What the server says when it is asked for it."""
        return b"incarn%02d" % self.incarnations

    def execute(self, command: tuple[Any, ...] | Batch) -> Any:
        if isinstance(command, Batch):
            assert command.is_atomic
            return [self.try_to_execute(one) for one in command.commands]
        if command[0] == b"GET":
            return as_stored(self.cells.get(command[1]))
        if command[0] == b"MGET":
            return [as_stored(self.cells.get(key)) for key in command[1:]]
        name, script, count = command[0], command[1], int(command[2])
        keys = [bytes(key) for key in command[3 : 3 + count]]
        arguments = command[3 + count :]
        if script in (FILL.digest, FILL.text):
            return self.fill(keys, *arguments)
        if script in (BARRIER.digest, BARRIER.text):
            return self.barrier(keys, *arguments)
        if script in (RESULT.digest, RESULT.text):
            return self.result(keys[0], *arguments)
        if name == b"EVALSHA" and not self.knows_read_script:
            raise NoScriptError("NOSCRIPT")
        self.knows_read_script = True
        return self.read(keys, *arguments)

    def try_to_execute(self, command: tuple[Any, ...]) -> Any:
        try:
            return self.execute(command)
        except ResponseError as error:
            return error

    def read(
        self,
        keys: list[bytes],
        token: bytes,
        lease_ms: int,
        fingerprint: bytes,
        *task_and_incarnation: bytes,
    ) -> list[Any]:
        *task, incarnation = task_and_incarnation
        table, *rows = keys
        cell = self.cells.get(table)
        if isinstance(cell, Barriers):
            return [BLOCKED] * len(rows)  # and nothing, when it is asked for the version
        is_new = not isinstance(cell, Generation)
        is_of_another = not is_new and bool(incarnation) and cell.name[8:] != incarnation
        if is_of_another and not task:
            raise ResponseError(REFUSAL)
        if is_new or is_of_another or (task == [TAUGHT] and not incarnation):
            self.generations += 1
            name = b"gen%05d" % self.generations + (incarnation or NAMELESS)
            cell = self.cells[table] = Generation(name)
        if not rows:
            return [b"G" + cell.name]
        return [self.answer(key, cell.name, token, lease_ms, fingerprint) for key in rows]

    def answer(
        self, key: bytes, generation: bytes, token: bytes, lease_ms: int, fingerprint: bytes
    ) -> Any:
        cell = self.cells.get(key)
        if isinstance(cell, Barriers):
            return BLOCKED
        if (
            isinstance(cell, Value)
            and cell.generation == generation
            and cell.value.startswith(fingerprint)
        ):
            return cell.value[len(fingerprint) :]
        if isinstance(cell, Lease) and cell.generation == generation and cell.token != token:
            return BUSY
        if not lease_ms:
            return BLOCKED
        self.cells[key] = Lease(generation, token)
        return LEASED

    def result(
        self, key: bytes, token: bytes, lease_ms: int, versions: bytes, fingerprint: bytes
    ) -> Any:
        return self.answer(key, versions, token, lease_ms, fingerprint)

    def fill(self, keys: list[bytes], token: bytes, timeout_ms: int, *values: bytes) -> int:
        count = 0
        for key, value in zip(keys, values, strict=True):
            cell = self.cells.get(key)
            if isinstance(cell, Lease) and self.is_of(cell, token):
                count += 1
                if value:
                    self.cells[key] = Value(cell.generation, value)
                else:
                    del self.cells[key]
        return count

    def is_of(self, lease: Lease, token: bytes) -> bool:
        return lease.token == token

    def barrier(self, keys: list[bytes], token: bytes, duration_ms: int) -> None:
        for key in keys:
            standing = self.others(self.cells.get(key), token)
            if duration_ms:
                standing = (*standing, token)
            if standing:
                self.cells[key] = Barriers(standing)
            else:
                self.cells.pop(key, None)

    def others(self, cell: Cell | None, token: bytes) -> tuple[bytes, ...]:
        if not isinstance(cell, Barriers):
            return ()
        return tuple(other for other in cell.tokens if other != token)

    def expire(self, key: bytes, token: bytes | None = None) -> None:
        """The end of a lease, or of the barrier of one token, by its time limit."""
        cell = self.cells.pop(key)
        if isinstance(cell, Barriers):
            left = tuple(other for other in cell.tokens if other != token)
            if left:
                self.cells[key] = replace(cell, tokens=left)

    def restart(self, cells: dict[bytes, Cell]) -> None:
        """Killed and started again, with what an earlier moment has left on its disk.

        The same is a replica that takes over and has lagged.
        """
        self.cells = dict(cells)
        self.knows_read_script = False
        self.incarnations += 1
