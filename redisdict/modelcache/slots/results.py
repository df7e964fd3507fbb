"""Read and fill the cells of results that were computed from whole tables.

A table's cell is its *version*: a writer's barrier removes it, and when that is down the next
reader begins another, whose name was never used before. A result is stored with the versions of all
its tables, which were read before the computation; it counts if they are the same when it is read.
No step has to be atomic over several cells, so they may lie anywhere in a Cluster. A cell has the
form of a row's; in place of the generation there is a digest of versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from redisdict.modelcache.heat import Heat
from redisdict.modelcache.slots.store import (
    BLOCKED,
    HEAD,
    REFUSAL,
    Answer,
    RowStore,
    put_barriers,
)
from redisdict.wire.requests import Batch, Command, Identified, Operation, Step, Witnessed
from redisdict.wire.scripts import Script, check_scripts_run

RESULT = Script("result", __package__)
HIT = Script("hit", __package__)

#: Bytes that stand for the versions of all tables, as many as a generation has.
DIGEST_BYTES = 16


class ResultStore:
    """Reads, leases and fills results that are computed of the same tables.

    Args:
        tables: where the versions are, each on the server that has the results.
        cells: names the results, and has the fingerprint of their form.
        heats: of the tables, in the same order.
    """

    def __init__(
        self, tables: Sequence[RowStore], cells: RowStore, heats: Sequence[Heat] = ()
    ) -> None:
        self._tables = tables
        self._heats = heats or [Heat() for _ in tables]
        #: The versions of the tables when they were read last.
        self._seen: list[bytes | None] = [None] * len(tables)
        self._cells = cells
        self.fill = cells.fill
        self._hit: Command = (
            b"EVALSHA",
            HIT.digest,
            len(tables) + 1,
            *(one.table_key for one in tables),
        )

    def depending_on(self, versions: Sequence[RowStore], heats: Sequence[Heat]) -> ResultStore:
        """Make the store of the results that depend on further versions."""
        return ResultStore([*self._tables, *versions], self._cells, [*self._heats, *heats])

    def peek(self, key: bytes, *, with_time_left: bool = False) -> Step[Any]:
        """Make the step that reads a result which is there: one EVALSHA. Not for a Cluster.

        What it gives is for `body()`, but for the milliseconds that it lives, which come last. It
        takes no lease, and begins no version.
        """
        command = (*self._hit, key, b"TIME") if with_time_left else (*self._hit, key)
        return Step(Identified(command), self._peek, (command,))

    def look(self, key: bytes) -> Step[Any]:
        """As `peek()`, by one MGET, for threads: the server's script costs more.

        The reader of the reply compares the name of the incarnation, as the script does.
        """
        tables = self._hit[3:]
        return Step(Witnessed((b"MGET", *tables, key)), self._peek, ((*self._hit, key),))

    def _peek(self, command: Command) -> Operation[Any]:
        try:
            try:
                return (yield Identified(command))
            except NoScriptError:
                return (yield Identified((b"EVAL", HIT.text, *command[2:])))
        except ResponseError as error:
            check_scripts_run(error)
            raise

    def body(self, found: Sequence[bytes | None] | None) -> bytes | None:
        """The body of the result that was found; None when it was none to be had.

        Args:
            found: what `peek()` or `look()` gives.
        """
        if not found:
            return None
        count = len(self._tables)
        versions, cell = found[:count], found[count]
        if cell is None:
            return None
        if len(found) > count + 1:
            incarnation = found[-1]
            for version in versions:
                if version is None or version[:1] != b"G" or version[9:] != incarnation:
                    return None
            if not incarnation:
                return None
        digest = blake2b(b"".join(versions), digest_size=DIGEST_BYTES).digest()  # type: ignore[arg-type]  # each table has a cell
        if not cell.startswith(b"V" + digest + self._cells.fingerprint):
            return None
        for heat in self._heats:
            heat.useful += 1
        return cell[HEAD:]

    def read(self, keys: Sequence[bytes], token: bytes, lease_ms: int) -> Operation[list[Answer]]:
        """Read results. Each that doesn't count is leased to `token`, unless `lease_ms` is 0.

        One round trip for those that count, with an EVALSHA for each table and a GET for each
        result; an EVALSHA more for each other one. While a barrier stands on a table none counts.
        """
        commands: list[Command] = [one.read_command((), token, 0) for one in self._tables]
        commands += [(b"GET", key) for key in keys]
        replies = yield Batch(commands, is_spread=True, is_identified=True)
        count = len(self._tables)
        versions: list[bytes] = []
        for table, heat, reply in zip(self._tables, self._heats, replies[:count], strict=True):
            if isinstance(reply, Exception):
                reply = yield from _version_again(table, token, reply)
            if not reply:
                heat.note_in_vain()
                return [BLOCKED] * len(keys)
            versions.append(reply[0])
        changed = [
            heat
            for heat, seen, version in zip(self._heats, self._seen, versions, strict=True)
            if seen is not None and seen != version
        ]
        self._seen = list(versions)
        digest = blake2b(b"".join(versions), digest_size=DIGEST_BYTES).digest()
        head = b"V" + digest + self._cells.fingerprint
        answers: list[Answer] = []
        for key, cell in zip(keys, replies[count:], strict=True):
            if isinstance(cell, Exception):
                raise cell
            if cell is not None and cell.startswith(head):
                for heat in self._heats:
                    heat.useful += 1
                answers.append(cell[HEAD:])
            else:
                if cell is not None:
                    for heat in changed:
                        heat.note_in_vain()
                fingerprint = self._cells.fingerprint
                answers.append(
                    (yield from RESULT.call([key], token, lease_ms, digest, fingerprint))
                )
        return answers

    def lift(self, keys: Sequence[bytes], token: bytes) -> Operation[None]:
        """Remove results, and the leases of those who compute them. An EVALSHA for each."""
        yield from put_barriers([[key] for key in keys], token, 0)


def _version_again(table: RowStore, token: bytes, error: Exception) -> Operation[Sequence[Answer]]:
    """Read a version that the server has refused: it has to be taught, or has started again."""
    is_expected = isinstance(error, NoScriptError) or (
        isinstance(error, ResponseError) and str(error).startswith(REFUSAL)
    )
    if not is_expected:
        if isinstance(error, ResponseError):
            check_scripts_run(error)
        raise error
    return (yield from table.read_version(token))
