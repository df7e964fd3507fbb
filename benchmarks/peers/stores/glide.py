"""valkey-glide: the server's commands with argument lists of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.peers.stores.commands import NAME, SCAN_COUNT
from benchmarks.peers.stores.store import Items, Store
from redisdict.bench.workloads.calls import Call

__all__ = ["GlideHash", "GlideKeys"]


class GlideHash(Store):
    """valkey-glide, blocking or asynchronous, with items in one HASH."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def get(self, key: str) -> Call:
        return partial(self.client.hget, NAME, key)

    def set(self, key: str, value: Any) -> Call:
        return partial(self.client.hset, NAME, {key: value})

    def delete(self, key: str) -> Call:
        return partial(self.client.hdel, NAME, [key])

    def contains(self, key: str) -> Call:
        return partial(self.client.hexists, NAME, key)

    def get_many(self, keys: Sequence[str]) -> Call:
        return partial(self.client.hmget, NAME, keys)

    def set_many(self, items: Mapping[str, Any]) -> Call:
        return partial(self.client.hset, NAME, items)

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

    def get(self, key: str) -> Call:
        return partial(self.client.get, key)

    def set(self, key: str, value: Any) -> Call:
        return partial(self.client.set, key, value)

    def delete(self, key: str) -> Call:
        return partial(self.client.delete, [key])

    def contains(self, key: str) -> Call:
        return partial(self.client.exists, [key])

    def get_many(self, keys: Sequence[str]) -> Call:
        return partial(self.client.mget, keys)

    def set_many(self, items: Mapping[str, Any]) -> Call:
        return partial(self.client.mset, items)

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
