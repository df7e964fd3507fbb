"""Read and change the cells of a cached table on the server, by three scripts.

A cell is one string key. The table has one and each of its rows has one:

    G generation                            the table: rows stored under it count
    V generation fingerprint body           a row
    L generation token                      a row leased to the reader with this token
    B token end  token end ...              the barriers of writers, on a row or on the table

A row's value or lease of another generation than the table's doesn't count. Neither does a value
whose fingerprint isn't the reader's: a migration has changed the fields.

A generation is 16 bytes: 8 that are its own, and the name of the server's incarnation in which it
began, so that rows that a server has brought from an earlier incarnation don't count, either. For a
process of a release without incarnations these are any 16 bytes; a generation that such a process
has begun ends in no name that is known here. So both trust the same rows or none.

Every step of every protocol is one script on keys of one slot, and can be repeated without harm: a
token has its effect once, and others' tokens are left alone.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Protocol

from redis.exceptions import NoScriptError, ResponseError

from redisdict.forks import on_fork, own, take_over
from redisdict.mapping.keys import Names, escape_glob
from redisdict.mapping.layouts.base import slices
from redisdict.wire.requests import Batch, Command, Identified, IdentifiedAnew, Operation, Sleep
from redisdict.wire.scripts import Script, check_scripts_run

#: What the server answers about a row that it has no value of.
LEASED = 1  #: it is leased to who asks
BUSY = 2  #: it is leased to somebody else
BLOCKED = 3  #: nothing may be stored now

#: The body of a row, or one of the three above.
Answer = bytes | int

#: RowStore in one call of a script, which blocks the server for about a microsecond for each.
CHUNK = 1000

#: From so many cells on, those that hold values are read by MGET, which costs the server a tenth of
#: what a script does. Those that don't cost a second round trip then.
MANY = 50

#: Scripts in one round trip.
MOST_COMMANDS = 100

#: Before a value's body: its kind, the generation, the fingerprint.
HEAD = 25

#: How the script refuses when the table's generation is of another incarnation of the server.
REFUSAL = "INCARNATION"

#: Unless it is told to begin a generation then, or also when the server doesn't tell its name.
BEGIN = b"BEGIN"
TAUGHT = b"TAUGHT"

#: Before who finds the server ignorant of a script asks again, while another one teaches it.
PAUSE_S = 0.002

FILL = Script("fill", __package__)
BARRIER = Script("barrier", __package__)
VERSION = Script("version", __package__)

_identity = secrets.token_bytes(8)
_numbers = itertools.count()


def new_token() -> bytes:
    """16 bytes that no other call gives, in this process or another."""
    if not own[0]:
        take_over()
    return _identity + next(_numbers).to_bytes(8, "big")


def _take_another_identity() -> None:
    global _identity
    _identity = secrets.token_bytes(8)


on_fork(_take_another_identity)


class Memory(Protocol):
    """A process's memory for a table's rows: `redisdict.modelcache.near.NearRows`."""

    @property
    def is_on(self) -> bool: ...

    def read(
        self,
        cells: Sequence[bytes],
        operation: Operation[list[Any]],
        keep: Callable[[bytes], Any] | None,
        owner: object,
    ) -> Operation[list[Any]]: ...


class RowStore:
    """Reads, fills, bars and clears the cells of one table.

    Args:
        names: make its keys.
        fingerprint: 8 bytes that stand for the fields and the form of a body.
        near: the process's memory for the table.
        keep: returns what to keep of a body, None for nothing.
        owner: the only one that the kept values are given to; None is this store.
    """

    def __init__(
        self,
        names: Names,
        fingerprint: bytes,
        near: Memory | None = None,
        keep: Callable[[bytes], Any] = lambda _body: None,
        owner: object = None,
    ) -> None:
        self.near = near
        self._owner = owner
        self._keep = keep
        self.table_key = names.cached_table
        #: All keys that together stand for all rows.
        self.table_keys = [self.table_key]
        self.prefix = names.cached_row_prefix
        #: What SCAN finds the cells of each slot by, but the table's.
        self.patterns = [escape_glob(self.prefix) + b"*"]
        self.fingerprint = fingerprint
        # A digest of the table's own; see the script.
        script = Script("read", __package__, b"-- %r\n" % self.table_key)
        self._digest, self._text = script.digest, script.text
        self._is_teaching = False
        self._lessons = 0

    def cell(self, encoded: bytes) -> bytes:
        """The key of the cell whose key's part this is."""
        return self.prefix + encoded

    def groups(self, keys: Sequence[bytes]) -> list[Sequence[bytes]]:
        """Keys of cells, those of one slot together."""
        return [keys]

    def read_command(self, keys: Sequence[bytes], token: bytes, lease_ms: int) -> Command:
        """Make the first command of `read()`, for the fast path of a driver."""
        count, table, script = len(keys) + 1, self.table_key, self._digest
        return Identified(
            (b"EVALSHA", script, count, table, *keys, token, lease_ms, self.fingerprint)
        )

    def read(
        self, keys: Sequence[bytes], token: bytes, lease_ms: int, *, keeps: bool = True
    ) -> Operation[list[Answer]]:
        """Read rows. Each that isn't there is leased to `token`, unless `lease_ms` is 0.

        Args:
            keeps: whether the process may keep them in memory, if any handle reads near.
        """
        near = self.near
        if near is not None and near.is_on:
            asking = self._read(keys, token, lease_ms)
            owner = self._owner or self
            return (yield from near.read(keys, asking, self._keep if keeps else None, owner))
        return (yield from self._read(keys, token, lease_ms))

    def _read(self, keys: Sequence[bytes], token: bytes, lease_ms: int) -> Operation[list[Answer]]:
        answers: list[Answer] = []
        for chunk in slices(keys, CHUNK):
            answers += yield from self._read_chunk(chunk, token, lease_ms)
        return answers

    def _read_chunk(
        self, keys: Sequence[bytes], token: bytes, lease_ms: int
    ) -> Operation[list[Answer]]:
        if len(keys) < MANY:
            return (yield from self._read_by_script(keys, token, lease_ms))
        bodies = yield from self._read_values(keys, token, lease_ms)
        others = [key for key, body in zip(keys, bodies, strict=True) if body is None]
        if not others:
            return bodies  # type: ignore[return-value]  # there is no None
        rest = iter((yield from self._read_by_script(others, token, lease_ms)))
        return [next(rest) if body is None else body for body in bodies]

    def _read_values(
        self, keys: Sequence[bytes], token: bytes, lease_ms: int
    ) -> Operation[list[bytes | None]]:
        """The bodies of those rows that have a value to be believed.

        The script is called for no row, in the same transaction: it refuses, or isn't known, on a
        server whose values are of an earlier incarnation and count for nothing.
        """
        try:
            is_known, cells = yield Batch(
                [self.read_command((), token, lease_ms), (b"MGET", self.table_key, *keys)],
                is_atomic=True,
                is_identified=True,
            )
        except ResponseError as error:  # of a command that isn't even taken into a transaction
            check_scripts_run(error)
            raise
        if isinstance(is_known, ResponseError) or not cells[0].startswith(b"G"):
            return [None] * len(keys)
        head = b"V" + cells[0][1:] + self.fingerprint
        return [cell[HEAD:] if cell and cell.startswith(head) else None for cell in cells[1:]]

    def _read_by_script(
        self, keys: Sequence[bytes], token: bytes, lease_ms: int
    ) -> Operation[list[Answer]]:
        command = self.read_command(keys, token, lease_ms)
        arguments = command[2:]
        while True:
            lessons = self._lessons
            try:
                answers: list[Answer] = yield command
                return answers
            except NoScriptError:
                if not self._is_teaching and self._lessons == lessons:
                    break
            except ResponseError as error:
                if not str(error).startswith(REFUSAL):
                    check_scripts_run(error)
                    raise
                command = IdentifiedAnew((b"EVALSHA", self._digest, *arguments, BEGIN))
                continue
            # One of the process is enough: whoever teaches it may begin a generation.
            yield Sleep(PAUSE_S)
        self._is_teaching = True
        try:
            answers = yield IdentifiedAnew((b"EVAL", self._text, *arguments, TAUGHT))
            return answers
        finally:
            self._is_teaching = False
            self._lessons += 1

    def version_in(self, cell: bytes) -> RowStore:
        """Make the store that reads the version in a cell like that of a table."""
        version = copy(self)
        version.near = None
        version.table_key, version.table_keys = cell, [cell]
        version._digest, version._text = VERSION.digest, VERSION.text
        return version

    def read_version(self, token: bytes) -> Operation[list[Answer]]:
        """Read the table's cell, which any change of all rows changes; nothing behind a barrier."""
        return (yield from self._read_by_script((), token, 0))

    def fill(
        self,
        keys: Sequence[bytes],
        token: bytes,
        bodies: Sequence[bytes | None],
        timeout_ms: int | None,
    ) -> Operation[int]:
        """Store rows whose lease `token` still has, and give the lease of None back; how many."""
        values = [b"" if body is None else self.fingerprint + body for body in bodies]
        count = 0
        for some_keys, some in zip(slices(keys, CHUNK), slices(values, CHUNK), strict=True):
            count += yield from FILL.call(some_keys, token, timeout_ms or 0, *some)
        return count

    def block(self, keys: Sequence[bytes], token: bytes, duration_ms: int) -> Operation[None]:
        """Remove rows, or all rows by the table's key, and put up barriers in their place."""
        yield from put_barriers([keys], token, duration_ms)

    def lift(self, keys: Sequence[bytes], token: bytes) -> Operation[None]:
        """Take the barrier of `token` down, and remove whatever isn't a barrier.

        With a token that has no barrier it only removes. Without its cell a table begins a new
        generation.
        """
        yield from put_barriers([keys], token, 0)


def put_barriers(
    tables: Sequence[Sequence[bytes]], token: bytes, duration_ms: int
) -> Operation[None]:
    """Put barriers up, or with a duration of 0 take them down, in one round trip.

    Args:
        tables: keys of cells, those of one table together: they lie in one slot of a Cluster.
    """
    if len(tables) == 1 and 0 < len(tables[0]) <= CHUNK:
        yield from BARRIER.call(tables[0], token, duration_ms)
        return
    chunks = [chunk for keys in tables for chunk in slices(keys, CHUNK)]
    for some in slices(chunks, MOST_COMMANDS):
        commands: list[Command] = [
            (b"EVALSHA", BARRIER.digest, len(chunk), *chunk, token, duration_ms) for chunk in some
        ]
        answers = yield Batch(commands, is_spread=True)
        for chunk, answer in zip(some, answers, strict=True):
            if isinstance(answer, NoScriptError):
                yield from BARRIER.call(chunk, token, duration_ms)
            elif isinstance(answer, Exception):
                if isinstance(answer, ResponseError):
                    check_scripts_run(answer)
                raise answer
