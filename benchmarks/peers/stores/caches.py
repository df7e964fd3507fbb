"""Django's cache backends: a key and a value, through pickle unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.peers.stores.commands import SCAN_COUNT
from benchmarks.peers.stores.store import Items, Store
from redisdict.bench.workloads.calls import Call

__all__ = ["AsyncCache", "Cache", "ScannedCache"]


class Cache(Store):
    """`cache.get`, `cache.set`, `cache.delete`, `key in cache`, for values without a timeout."""

    stores_text = True

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    def get(self, key: str) -> Call:
        return partial(self.cache.get, key)

    def set(self, key: str, value: Any) -> Call:
        return partial(self.cache.set, key, value, None)

    def delete(self, key: str) -> Call:
        return partial(self.cache.delete, key)

    def contains(self, key: str) -> Call:
        return partial(self.cache.__contains__, key)

    def get_many(self, keys: Sequence[str]) -> Call:
        return partial(self.cache.get_many, keys)

    def set_many(self, items: Mapping[str, Any]) -> Call:
        return partial(self.cache.set_many, items, None)

    def close(self) -> Any:
        return self.cache.close()


class ScannedCache(Cache):
    """A cache that can list its keys; their values are read a page at a time."""

    def items(self) -> Items:
        return self._scan

    def _scan(self) -> Iterator[tuple[Any, Any]]:
        page: list[str] = []
        for key in self.cache.iter_keys("*", itersize=SCAN_COUNT):
            page.append(key)
            if len(page) == SCAN_COUNT:
                yield from self.cache.get_many(page).items()
                page = []
        yield from self.cache.get_many(page).items()


class AsyncCache(Cache):
    """The same with Django's asynchronous twins."""

    def get(self, key: str) -> Call:
        return partial(self.cache.aget, key)

    def set(self, key: str, value: Any) -> Call:
        return partial(self.cache.aset, key, value, None)

    def delete(self, key: str) -> Call:
        return partial(self.cache.adelete, key)

    def contains(self, key: str) -> Call:
        return partial(self.cache.ahas_key, key)

    def close(self) -> Any:
        return self.cache.aclose()
