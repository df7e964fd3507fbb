"""Django's cache backends: a key and a value, through pickle unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.peers.stores.commands import SCAN_COUNT
from benchmarks.peers.stores.store import Items, Store
from redisdict.bench.workloads.calls import Calls

__all__ = ["AsyncCache", "Cache", "ScannedCache"]


class Cache(Store):
    """`cache.get`, `cache.set`, `cache.delete`, `key in cache`, for values without a timeout."""

    stores_text = True

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    def get(self, keys: Sequence[str]) -> Calls:
        return Calls(self.cache.get, [(key,) for key in keys])

    def set(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.cache.set, [(key, value, None) for key, value in items.items()])

    def delete(self, keys: Sequence[str]) -> Calls:
        return Calls(self.cache.delete, [(key,) for key in keys])

    def contains(self, keys: Sequence[str]) -> Calls:
        return Calls(self.cache.__contains__, [(key,) for key in keys])

    def get_many(self, keys: Sequence[str]) -> Calls:
        return Calls(self.cache.get_many, [(keys,)])

    def set_many(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.cache.set_many, [(items, None)])

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

    def get(self, keys: Sequence[str]) -> Calls:
        return Calls(self.cache.aget, [(key,) for key in keys])

    def set(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.cache.aset, [(key, value, None) for key, value in items.items()])

    def delete(self, keys: Sequence[str]) -> Calls:
        return Calls(self.cache.adelete, [(key,) for key in keys])

    def contains(self, keys: Sequence[str]) -> Calls:
        return Calls(self.cache.ahas_key, [(key,) for key in keys])

    def close(self) -> Any:
        return self.cache.aclose()
