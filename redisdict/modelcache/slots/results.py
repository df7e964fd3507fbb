"""Read and fill the cells of results that were computed of whole tables.

A table's cell is its *version*: a writer's barrier removes it, and when that is down the next
reader begins another, whose name was never used before. So a result counts that is stored with the
versions of all tables it was computed of, if these were read before the computation and are the
same when it is read. No step has to be atomic over several cells, so they may lie anywhere in a
Cluster. A cell has the form of a row's; in place of the generation there is a digest of versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from redis.exceptions import NoScriptError, ResponseError

from redisdict.modelcache.slots.store import (
    BLOCKED,
    HEAD,
    REFUSAL,
    Answer,
    RowStore,
    put_barriers,
)
from redisdict.wire.requests import Batch, Command, Operation
from redisdict.wire.scripts import Script

RESULT = Script("result", __package__)

#: Bytes that stand for the versions of all tables, as many as a generation has.
DIGEST_BYTES = 16


class ResultStore:
    """Reads, leases and fills results that are computed of the same tables.

    Args:
        tables: where the versions are, each on the server that has the results.
        cells: names the results, and has the fingerprint of their form.
    """

    def __init__(self, tables: Sequence[RowStore], cells: RowStore) -> None:
        self._tables = tables
        self._cells = cells
        self.fill = cells.fill

    def read(self, keys: Sequence[bytes], token: bytes, lease_ms: int) -> Operation[list[Answer]]:
        """Read results. Each that doesn't count is leased to `token`, unless `lease_ms` is 0.

        One round trip for those that count, with an EVALSHA for each table and a GET for each
        result; an EVALSHA more for each other one. While a barrier stands on a table none counts.
        """
        commands: list[Command] = [one.read_command((), token, 0) for one in self._tables]
        commands += [(b"GET", key) for key in keys]
        replies = yield Batch(commands, is_spread=True, is_identified=True)
        count = len(self._tables)
        versions = blake2b(digest_size=DIGEST_BYTES)
        for table, reply in zip(self._tables, replies[:count], strict=True):
            if isinstance(reply, Exception):
                reply = yield from _version_again(table, token, reply)
            if not reply:
                return [BLOCKED] * len(keys)
            versions.update(reply[0])
        digest = versions.digest()
        head = b"V" + digest + self._cells.fingerprint
        answers: list[Answer] = []
        for key, cell in zip(keys, replies[count:], strict=True):
            if isinstance(cell, Exception):
                raise cell
            if cell is not None and cell.startswith(head):
                answers.append(cell[HEAD:])
            else:
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
        raise error
    return (yield from table.read_version(token))
