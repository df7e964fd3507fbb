"""valkey-glide: the server's commands with argument lists of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.peers.stores.commands import NAME, SCAN_COUNT
from benchmarks.peers.stores.store import Items, Store
from redisdict.bench.workloads.calls import Calls

__all__ = ["GlideHash", "GlideKeys"]


class GlideHash(Store):
    """valkey-glide, blocking or asynchronous, with items in one HASH."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def get(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.hget, [(NAME, key) for key in keys])

    def set(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.client.hset, [(NAME, {key: value}) for key, value in items.items()])

    def delete(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.hdel, [(NAME, [key]) for key in keys])

    def contains(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.hexists, [(NAME, key) for key in keys])

    def get_many(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.hmget, [(NAME, keys)])

    def set_many(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.client.hset, [(NAME, items)])

    def items(self) -> Items:
        return self._scan

    def close(self) -> Any:
        return self.client.close()

    def _scan(self) -> Iterator[tuple[Any, Any]]:
        cursor = "0"
        while True:
            cursor, flat = self.client.hscan(NAME, cursor, count=SCAN_COUNT)
            yield from zip(flat[::2], flat[1::2], strict=True)
            if cursor in (b"0", "0"):
                return


class GlideKeys(Store):
    """valkey-glide, blocking or asynchronous, with string keys."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def get(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.get, [(key,) for key in keys])

    def set(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.client.set, [(key, value) for key, value in items.items()])

    def delete(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.delete, [([key],) for key in keys])

    def contains(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.exists, [([key],) for key in keys])

    def get_many(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.mget, [(keys,)])

    def set_many(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.client.mset, [(items,)])

    def items(self) -> Items:
        return self._scan

    def close(self) -> Any:
        return self.client.close()

    def _scan(self) -> Iterator[tuple[Any, Any]]:
        cursor = "0"
        while True:
            cursor, keys = self.client.scan(cursor, count=SCAN_COUNT)
            if keys:
                yield from zip(keys, self.client.mget(keys), strict=True)
            if cursor in (b"0", "0"):
                return
