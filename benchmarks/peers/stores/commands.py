"""Clients that offer the server's commands under redis-py's names: redis-py, valkey-py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.peers.stores.store import Items, Store
from redisdict.bench.workloads.calls import Calls

__all__ = ["NAME", "SCAN_COUNT", "HashCommands", "KeyCommands"]

#: Of the HASH.
NAME = "items"

#: Items in a page of an iteration, as `PersistentDict` has it.
SCAN_COUNT = 1000


class HashCommands(Store):
    """HGET, HSET, HDEL, HEXISTS, HMGET, HSCAN; one HASH holds all items."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def get(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.hget, [(NAME, key) for key in keys])

    def set(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.client.hset, [(NAME, key, value) for key, value in items.items()])

    def delete(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.hdel, [(NAME, key) for key in keys])

    def contains(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.hexists, [(NAME, key) for key in keys])

    def get_many(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.hmget, [(NAME, keys)])

    def set_many(self, items: Mapping[str, Any]) -> Calls:
        return Calls(partial(self.client.hset, mapping=items), [(NAME,)])

    def items(self) -> Items:
        return lambda: self.client.hscan_iter(NAME, count=SCAN_COUNT)

    def close(self) -> Any:
        return self.client.connection_pool.disconnect()


class KeyCommands(Store):
    """GET, SET, DEL, EXISTS, MGET, MSET, SCAN; every item is a string key."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def get(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.get, [(key,) for key in keys])

    def set(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.client.set, [(key, value) for key, value in items.items()])

    def delete(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.delete, [(key,) for key in keys])

    def contains(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.exists, [(key,) for key in keys])

    def get_many(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.mget, [(keys,)])

    def set_many(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.client.mset, [(items,)])

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
