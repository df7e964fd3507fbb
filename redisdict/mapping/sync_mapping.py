"""The mapping protocol for threads: what a `dict` does."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, MutableMapping
from itertools import chain
from typing import Any, Generic, Self, TypeVar, cast, overload

from redisdict.mapping import views
from redisdict.mapping.binding import Binding
from redisdict.mapping.item_operations import ABSENT
from redisdict.mapping.scanning import Scan
from redisdict.mapping.timeouts import DEFAULT, Timeout

__all__ = ["SyncMapping", "as_dict"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class SyncMapping(Binding[K, V], MutableMapping[K, V], Generic[K, V]):
    """`dict`'s methods with `dict`'s meaning.

    All of them raise `BackendUnavailable` when the server can't be reached or doesn't answer in
    time, TypeError for a key of another type than the dict's, `SerializationError` for a value
    that can't be stored and `DeserializationError` for stored bytes that can't be read.
    """

    def __getitem__(self, key: K) -> V:
        """The value of `key`, or a KeyError. HGET or GET."""
        operations = self._operations
        stored = self._do(operations.get(key))
        if stored is None:
            raise KeyError(key)
        value: V = operations.codec.decode(stored)
        return value

    def __setitem__(self, key: K, value: V) -> None:
        """Store a value for as long as the dict's timeout says. HSET or SET."""
        self._do(self._operations.set(key, value))

    def __delitem__(self, key: K) -> None:
        """Remove an item, or a KeyError. HDEL or DEL."""
        if not self._do(self._operations.delete(key)):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        """Whether there is such an item. HEXISTS or EXISTS."""
        return bool(self._do(self._operations.contains(cast(K, key))))

    def __len__(self) -> int:
        """The number of items. HLEN, or a SCAN of the database."""
        return self._run(self._operations.length())

    def __bool__(self) -> bool:
        """Whether there is any item. HLEN, or SCAN until one is found."""
        return not self._run(self._operations.is_empty())

    def __iter__(self) -> Iterator[K]:
        """The keys, page by page. HSCAN or SCAN."""
        return self._walk(self._operations.scan_keys())

    def __eq__(self, other: object) -> bool:
        """Whether a mapping has the same items; it is read until the first difference."""
        if not isinstance(other, Mapping):
            return NotImplemented
        if isinstance(other, SyncMapping):
            other = other.copy()
        count = 0
        for key, value in self._walk(self._operations.scan_items()):
            if key not in other or other[key] != value:
                return False
            count += 1
        return count == len(other)

    __hash__ = None  # type: ignore[assignment]  # as every mutable mapping

    def __or__(self, other: Mapping[K, V]) -> dict[K, V]:
        """A plain `dict` of all items, and those of `other` over them."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**self.copy(), **as_dict(other)}

    def __ror__(self, other: Mapping[K, V]) -> dict[K, V]:
        """A plain `dict` of the items of `other`, and these over them."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**other, **self.copy()}

    def __ior__(self, other: Mapping[K, V] | Iterable[tuple[K, V]]) -> Self:
        """As `update()`."""
        self.update(other)
        return self

    def keys(self) -> KeysView[K]:
        """A view of the keys. Iterating pages with HSCAN or SCAN."""
        return KeysView(self)

    def values(self) -> views.ValuesView[V]:
        """A view of the values. Iterating pages with HSCAN, or SCAN and MGET."""
        return views.ValuesView(self)

    def items(self) -> ItemsView[K, V]:
        """A view of the items. Iterating pages with HSCAN, or SCAN and MGET."""
        return views.ItemsView(self)

    @overload
    def get(self, key: K, default: None = None) -> V | None: ...
    @overload
    def get(self, key: K, default: V | T) -> V | T: ...
    def get(self, key: K, default: Any = None) -> Any:
        """The value of `key`, or `default`. HGET or GET."""
        operations = self._operations
        stored = self._do(operations.get(key))
        return default if stored is None else operations.codec.decode(stored)

    @overload
    def pop(self, key: K) -> V: ...
    @overload
    def pop(self, key: K, default: V | T) -> V | T: ...
    def pop(self, key: K, default: Any = ABSENT) -> Any:
        """Take an item out; of several takers one gets it. HGETDEL or GETDEL, elsewhere a script.

        Raises:
            KeyError: there is none, and no default is given.
            DeserializationError: it can't be read, and was put back.
        """
        return self._run(self._operations.pop(key, default))

    def popitem(self) -> tuple[K, V]:
        """Take any item out; of several takers one gets it. A script, or SCAN and GETDEL.

        Raises:
            KeyError: the dict is empty.
            DeserializationError: it can't be read, and was put back.
        """
        return self._run(self._operations.popitem())

    def setdefault(self, key: K, default: V = None) -> V:  # type: ignore[assignment]  # as dict's
        """The value of `key`, stored first when it isn't there: by one of several callers.

        HGET and HSETNX, or GET and SET NX.
        """
        return self._run(self._operations.setdefault(key, default))

    def update(self, other: Any = (), /, **more: V) -> None:
        """Store all items of a mapping, of pairs or of keywords, as `set_many()` does."""
        self.set_many(as_dict(other, **more))

    def set_many(self, items: Mapping[K, V], timeout: Timeout = DEFAULT) -> None:
        """Store several items for `timeout` seconds, None for ever. HSET or MSET, 2,000 a command.

        When one of them can't be stored, none is: more than one round trip can carry (16,000
        items or 4 MiB) are encoded twice, first to see that it works, so memory stays flat.
        """
        self._run(self._operations.set_many(as_dict(items), timeout))

    def clear(self) -> None:
        """Remove all items. UNLINK, or SCAN and UNLINK."""
        self._run(self._operations.clear())

    def copy(self) -> dict[K, V]:
        """All items as a plain `dict`. HSCAN, or SCAN and MGET."""
        return dict(self._walk(self._operations.scan_items()))

    def _walk(self, scan: Scan[T]) -> Iterator[T]:
        return chain.from_iterable(self._pages(scan))

    def _pages(self, scan: Scan[T]) -> Iterator[Iterable[T]]:
        while not scan.is_over:
            yield self._run(scan.next_page())


def as_dict(other: Any = (), /, **more: Any) -> Mapping[Any, Any]:
    """What `dict.update()` would take, read completely before anything is stored."""
    if isinstance(other, SyncMapping):
        other = other.copy()  # `dict()` would ask for one item after the other
    if isinstance(other, Mapping) and not more:
        return other
    items: dict[Any, Any] = {}
    items.update(other, **more)
    return items
