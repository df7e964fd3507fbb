"""Clients that offer the server's commands under redis-py's names: redis-py, valkey-py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.peers.stores.store import Items, Store
from redisdict.bench.workloads.calls import Call

__all__ = ["NAME", "SCAN_COUNT", "HashCommands", "KeyCommands"]

#: Of the HASH.
NAME = "items"

#: Items in a page of an iteration, as `PersistentDict` has it.
SCAN_COUNT = 1000


class HashCommands(Store):
    """HGET, HSET, HDEL, HEXISTS, HMGET, HSCAN; one HASH holds all items."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def get(self, key: str) -> Call:
        return partial(self.client.hget, NAME, key)

    def set(self, key: str, value: Any) -> Call:
        return partial(self.client.hset, NAME, key, value)

    def delete(self, key: str) -> Call:
        return partial(self.client.hdel, NAME, key)

    def contains(self, key: str) -> Call:
        return partial(self.client.hexists, NAME, key)

    def get_many(self, keys: Sequence[str]) -> Call:
        return partial(self.client.hmget, NAME, keys)

    def set_many(self, items: Mapping[str, Any]) -> Call:
        return partial(self.client.hset, NAME, mapping=items)

    def items(self) -> Items:
        return lambda: self.client.hscan_iter(NAME, count=SCAN_COUNT)

    def close(self) -> Any:
        return self.client.connection_pool.disconnect()


class KeyCommands(Store):
    """GET, SET, DEL, EXISTS, MGET, MSET, SCAN; every item is a string key."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def get(self, key: str) -> Call:
        return partial(self.client.get, key)

    def set(self, key: str, value: Any) -> Call:
        return partial(self.client.set, key, value)

    def delete(self, key: str) -> Call:
        return partial(self.client.delete, key)

    def contains(self, key: str) -> Call:
        return partial(self.client.exists, key)

    def get_many(self, keys: Sequence[str]) -> Call:
        return partial(self.client.mget, keys)

    def set_many(self, items: Mapping[str, Any]) -> Call:
        return partial(self.client.mset, items)

    def items(self) -> Items:
        return self._scan

    def close(self) -> Any:
        return self.client.connection_pool.disconnect()

    def _scan(self) -> Iterator[tuple[Any, Any]]:
        """A page of keys, then their values, as one writes it by hand."""
        cursor = 0
        while True:
            cursor, keys = self.client.scan(cursor, match="*", count=SCAN_COUNT)
            if keys:
                yield from zip(keys, self.client.mget(keys), strict=True)
            if not cursor:
                return
