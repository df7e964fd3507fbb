"""Spread the cells of a cached table over several slots of a Cluster.

Each shard is a `RowStore` with a table's cell of its own, whose generation its rows carry. So every
step of the protocol is one script in one slot, as without shards, and each shard works like a table
of its own. A change of all rows puts a barrier on the table's cells of all shards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redisdict.mapping.keys import Names, shard_of
from redisdict.mapping.layouts.base import slices
from redisdict.modelcache.slots.store import CHUNK, Answer, Memory, RowStore, put_barriers
from redisdict.wire.combinators import run_concurrently
from redisdict.wire.requests import Command, Operation


class ShardedStore(RowStore):
    """Reads, fills, bars and clears the cells of a table in shards, as `RowStore` does.

    Requests to several shards are sent to all of them at once.

    Args:
        names: make the keys of all shards.
        near: the process's memory for each shard.
        keep: see `RowStore`.
        count: the number of shards.
    """

    def __init__(
        self,
        names: Names,
        fingerprint: bytes,
        near: Sequence[Memory] = (),
        keep: Callable[[bytes], Any] = lambda _body: None,
        *,
        count: int,
    ) -> None:
        super().__init__(names, fingerprint)
        self.shards = [
            RowStore(one, fingerprint, near[at] if near else None, keep, owner=self)
            for at, one in enumerate(names.of_shards(count))
        ]
        self.table_keys = [shard.table_key for shard in self.shards]
        self.table_key = self.table_keys[0]
        self._number_of_table = {key: at for at, key in enumerate(self.table_keys)}
        self.patterns = [pattern for shard in self.shards for pattern in shard.patterns]

    def cell(self, encoded: bytes) -> bytes:
        """The key of the cell whose key's part this is."""
        return self.shards[shard_of(encoded, len(self.shards))].prefix + encoded

    def groups(self, keys: Sequence[bytes]) -> list[Sequence[bytes]]:
        """Keys of cells, those of one slot together."""
        parts: dict[int, list[bytes]] = {}
        for key in keys:
            parts.setdefault(self._number(key), []).append(key)
        return list(parts.values())

    def _number(self, key: bytes) -> int:
        at = self._number_of_table.get(key)
        if at is not None:
            return at
        # A brace in a name is written otherwise.
        return shard_of(key.partition(b"}:")[2], len(self.shards))

    def read_command(self, keys: Sequence[bytes], token: bytes, lease_ms: int) -> Command:
        """Make the command that `read()` of a single cell begins with."""
        [key] = keys
        return self.shards[self._number(key)].read_command(keys, token, lease_ms)

    def read(
        self, keys: Sequence[bytes], token: bytes, lease_ms: int, *, keeps: bool = True
    ) -> Operation[list[Answer]]:
        """Read rows of any shards; see `RowStore`."""
        near = self.shards[0].near
        if near is None or not near.is_on:
            return (yield from self._read(keys, token, lease_ms))
        groups = self.groups(keys)
        answers = yield from run_concurrently(
            [
                self.shards[self._number(some[0])].read(some, token, lease_ms, keeps=keeps)
                for some in groups
            ]
        )
        return _in_order(keys, groups, answers)

    def _read(self, keys: Sequence[bytes], token: bytes, lease_ms: int) -> Operation[list[Answer]]:
        groups = self.groups(keys)
        if len(groups) == 1:
            return (yield from self.shards[self._number(keys[0])]._read(keys, token, lease_ms))
        answers = yield from run_concurrently(
            [self._read_of_one(some, token, lease_ms) for some in groups]
        )
        return _in_order(keys, groups, answers)

    def _read_of_one(
        self, keys: Sequence[bytes], token: bytes, lease_ms: int
    ) -> Operation[list[Answer]]:
        """Read by scripts alone: a transaction with MGET excludes other shards' ones."""
        shard = self.shards[self._number(keys[0])]
        answers: list[Answer] = []
        for chunk in slices(keys, CHUNK):
            answers += yield from shard._read_by_script(chunk, token, lease_ms)
        return answers

    def read_version(self, token: bytes) -> Operation[list[Answer]]:
        """Read the cell of the first shard, which any change of all rows changes as well."""
        return (yield from self.shards[0].read_version(token))

    def fill(
        self,
        keys: Sequence[bytes],
        token: bytes,
        bodies: Sequence[bytes | None],
        timeout_ms: int | None,
    ) -> Operation[int]:
        """Store rows whose lease `token` still has, and give the lease of None back; how many."""
        body_of = dict(zip(keys, bodies, strict=True))
        counts = yield from run_concurrently(
            [
                RowStore.fill(self, some, token, [body_of[key] for key in some], timeout_ms)
                for some in self.groups(keys)
            ]
        )
        return sum(counts)

    def block(self, keys: Sequence[bytes], token: bytes, duration_ms: int) -> Operation[None]:
        """Remove rows, or all rows by the tables' keys, and put up barriers in their place."""
        yield from put_barriers(self.groups(keys), token, duration_ms)

    def lift(self, keys: Sequence[bytes], token: bytes) -> Operation[None]:
        """Take the barrier of `token` down, and remove whatever isn't a barrier."""
        yield from put_barriers(self.groups(keys), token, 0)


def _in_order(
    keys: Sequence[bytes], groups: Sequence[Sequence[bytes]], answers: Sequence[Sequence[Answer]]
) -> list[Answer]:
    """The answers about these keys, which were asked for in groups."""
    found = {
        key: answer
        for some, of_some in zip(groups, answers, strict=True)
        for key, answer in zip(some, of_some, strict=True)
    }
    return [found[key] for key in keys]
