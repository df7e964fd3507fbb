"""Dicts on a server, through Python's own mapping protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from benchmarks.peers.stores.store import Items, Store
from redisdict.bench.workloads.calls import Calls

__all__ = [
    "AsyncPersistent",
    "CollectionsDict",
    "MappingStore",
    "OneByOne",
    "Persistent",
    "RawAsyncPersistent",
    "RawPersistent",
    "WalrusHash",
]


class MappingStore(Store):
    """`d[k]`, `d[k] = v`, `del d[k]`, `k in d`, `d.update()`, `d.items()`.

    Args:
        mapping: the dict.
        client: what it sends its commands through; closed with the store.
    """

    stores_text = True

    def __init__(self, mapping: Any, client: Any) -> None:
        self.mapping = mapping
        self.client = client

    def get(self, keys: Sequence[str]) -> Calls:
        return Calls(self.mapping.__getitem__, [(key,) for key in keys])

    def set(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.mapping.__setitem__, [(key, value) for key, value in items.items()])

    def delete(self, keys: Sequence[str]) -> Calls:
        return Calls(self.mapping.__delitem__, [(key,) for key in keys])

    def contains(self, keys: Sequence[str]) -> Calls:
        return Calls(self.mapping.__contains__, [(key,) for key in keys])

    def set_many(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.mapping.update, [(items,)])

    def items(self) -> Items:
        items: Items = self.mapping.items
        return items

    def close(self) -> Any:
        return self.client.close()


class OneByOne(MappingStore):
    """A dict without a way to read several items at once; its iteration reads one after another."""

    is_item_by_item: ClassVar[bool] = True

    def get_many(self, keys: Sequence[str]) -> Calls:
        return Calls(self._get_each, [(keys,)])

    def _get_each(self, keys: Sequence[str]) -> list[Any]:
        mapping = self.mapping
        return [mapping[key] for key in keys]


class Persistent(MappingStore):
    """`redisdict.PersistentDict` with its default serializer."""

    def get_many(self, keys: Sequence[str]) -> Calls:
        return Calls(self.mapping.get_many, [(keys,)])

    def set_many(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.mapping.set_many, [(items,)])


class RawPersistent(Persistent):
    """The same with the serializer "raw"."""

    stores_text = False


class AsyncPersistent(Persistent):
    """`redisdict.PersistentDict` in an event loop."""

    def get(self, keys: Sequence[str]) -> Calls:
        return Calls(self.mapping.agetitem, [(key,) for key in keys])

    def set(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.mapping.aset, [(key, value) for key, value in items.items()])

    def delete(self, keys: Sequence[str]) -> Calls:
        return Calls(self.mapping.adelitem, [(key,) for key in keys])

    def contains(self, keys: Sequence[str]) -> Calls:
        return Calls(self.mapping.acontains, [(key,) for key in keys])

    def close(self) -> Any:
        return self.client.aclose()


class RawAsyncPersistent(AsyncPersistent):
    """The same with the serializer "raw"."""

    stores_text = False


class CollectionsDict(MappingStore):
    """`redis_collections.Dict`, which pickles."""

    def get_many(self, keys: Sequence[str]) -> Calls:
        return Calls(self.mapping.getmany, [(*keys,)])


class WalrusHash(MappingStore):
    """`walrus.Hash`, which stores bytes; several keys are asked for as `h[key, key]`."""

    stores_text = False

    def get_many(self, keys: Sequence[str]) -> Calls:
        return Calls(self.mapping.__getitem__, [(list(keys),)])

    def items(self) -> Items:
        return lambda: iter(self.mapping)
