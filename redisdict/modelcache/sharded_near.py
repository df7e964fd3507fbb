"""Keep rows of a sharded table in this process's memory, each shard like a table of its own.

Each shard lies in a slot of its own, and its node sends the messages about its changes. So rows of
a shard are dropped with that node's connection, and are as new as its last PING.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from redisdict.connections.backend import Backend
from redisdict.mapping.keys import Names, shard_of
from redisdict.modelcache.near import NearRows
from redisdict.near.eviction import Entry
from redisdict.near.reader import RequestReader, Teller
from redisdict.near.space import NearSpace, Reader
from redisdict.near.state import NearState


def make_near(backend: Backend, names: Names, shards: int | None) -> NearRows:
    """Make the memory for the cells of a table, with this number of shards, or none."""
    return NearRows(backend, names) if shards is None else ShardedNearRows(backend, names, shards)


class ShardedNearRows(NearRows):
    """This process's memory for the cells of one sharded table, for all of its handles."""

    def __init__(self, backend: Backend, names: Names, count: int) -> None:
        super().__init__(backend, names)
        self.shards = [NearRows(backend, one, share=count) for one in names.of_shards(count)]
        self._number_of_table = {
            one.cached_table: at for at, one in enumerate(names.of_shards(count))
        }

    def begin(self, near: float | str) -> Reader:
        """Start the memory, and make the reader of a handle with this promise.

        Raises:
            ConfigurationError: the alias reads from replicas.
        """
        readers = [shard.begin(near) for shard in self.shards]
        parts = [part for shard in self.shards if shard.space for part in shard.space.parts]
        self.space = NearSpace(parts)
        self.is_on = True
        return ShardedReader(readers)

    def drop(self, cells: Collection[bytes]) -> None:
        """Drop rows, or all of a shard by its table's key; see `NearRows`."""
        for state in self.results:
            state.drop_all()
        if not self.is_on:
            return
        by_shard: dict[int, list[bytes]] = {}
        for cell in cells:
            by_shard.setdefault(self._number(cell), []).append(cell)
        for at, some in by_shard.items():
            self.shards[at].drop(some)

    def _number(self, cell: bytes) -> int:
        at = self._number_of_table.get(cell)
        # A brace in a name is written otherwise.
        return shard_of(cell.partition(b"}:")[2], len(self.shards)) if at is None else at


class ShardedReader:
    """Finds the entries that may be served under its promise, in their shards."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self._readers = readers

    @property
    def state(self) -> NearState:
        """That of the first shard."""
        return self._readers[0].state

    @property
    def listener(self) -> Teller:
        """That of the first shard."""
        return self._readers[0].listener

    def find(self, key: object) -> Entry | None:
        """Find the entry that may be served now, without a request."""
        return self._of(key).find(key)

    def who_pings(self, key: object) -> RequestReader | None:
        """Return the reader that could wait for a PING that makes an entry servable, or None."""
        return self._of(key).who_pings(key)

    def _of(self, key: object) -> Reader:
        assert isinstance(key, bytes)  # what the key's form has encoded
        return self._readers[shard_of(key, len(self._readers))]
