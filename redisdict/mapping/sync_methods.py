"""The methods of `PersistentDict` for threads: each runs one operation."""

from __future__ import annotations

from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast, overload

from redisdict.exceptions import ConcurrentUpdate
from redisdict.mapping.binding import Binding
from redisdict.mapping.lock import Lock
from redisdict.mapping.operations import ABSENT
from redisdict.mapping.scanning import Scan
from redisdict.mapping.timeouts import DEFAULT, Timeout

__all__ = ["SyncMethods"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
N = TypeVar("N", int, float)


class SyncMethods(Binding[K, V], MutableMapping[K, V], Generic[K, V]):
    """`dict`'s methods with `dict`'s meaning, and those that Django's caches have.

    All of them raise `BackendUnavailable` when the server can't be reached or doesn't answer in
    time, TypeError for a key of another type than the dict's, `SerializationError` for a value
    that can't be stored and `DeserializationError` for stored bytes that can't be read.
    """

    # The mapping protocol

    def __getitem__(self, key: K) -> V:
        return self._run(self._operations.getitem(key))

    def __setitem__(self, key: K, value: V) -> None:
        self._run(self._operations.set(key, value))

    def __delitem__(self, key: K) -> None:
        self._run(self._operations.delitem(key))

    def __contains__(self, key: object) -> bool:
        return self._run(self._operations.contains(cast(K, key)))

    def __len__(self) -> int:
        return self._run(self._operations.length())

    def __bool__(self) -> bool:
        return not self._run(self._operations.is_empty())

    def __iter__(self) -> Iterator[K]:
        return self._walk(self._operations.scan_keys())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.copy() == (other.copy() if isinstance(other, SyncMethods) else dict(other))

    __hash__ = None  # type: ignore[assignment]  # as every mutable mapping

    def __or__(self, other: Mapping[K, V]) -> dict[K, V]:
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**self.copy(), **other}

    def __ror__(self, other: Mapping[K, V]) -> dict[K, V]:
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**other, **self.copy()}

    def __ior__(self, other: Mapping[K, V] | Iterable[tuple[K, V]]) -> SyncMethods[K, V]:
        self.update(other)
        return self

    def keys(self) -> KeysView[K]:
        """A view of the keys. Iterating pages with HSCAN or SCAN."""
        return KeysView(self)

    def values(self) -> ValuesView[V]:
        """A view of the values. Iterating pages with HSCAN, or SCAN and MGET."""
        return _Values(self)

    def items(self) -> ItemsView[K, V]:
        """A view of the items. Iterating pages with HSCAN, or SCAN and MGET."""
        return _Items(self)

    @overload
    def get(self, key: K, default: None = None) -> V | None: ...
    @overload
    def get(self, key: K, default: V | T) -> V | T: ...
    def get(self, key: K, default: Any = None) -> Any:
        """The value of `key`, or `default`. HGET or GET."""
        return self._run(self._operations.get(key, default))

    def pop(self, key: K, default: Any = ABSENT) -> Any:
        """Take an item out; of several takers one gets it. HGETDEL or GETDEL, elsewhere a script.

        Raises:
            KeyError: there is none, and no default is given.
        """
        return self._run(self._operations.pop(key, default))

    def popitem(self) -> tuple[K, V]:
        """Take any item out; of several takers one gets it. A script, or SCAN and GETDEL.

        Raises:
            KeyError: the dict is empty.
        """
        return self._run(self._operations.popitem())

    def setdefault(self, key: K, default: V = None) -> V:  # type: ignore[assignment]  # as dict's
        """The value of `key`, stored first when it isn't there: by one of several callers."""
        return self._run(self._operations.setdefault(key, default))

    def update(self, other: Any = (), /, **more: V) -> None:
        """Store all items of a mapping, of pairs or of keywords, as `set_many()` does."""
        self.set_many(_as_dict(other, more))

    def clear(self) -> None:
        """Remove all items. UNLINK, or SCAN and UNLINK."""
        self._run(self._operations.clear())

    def copy(self) -> dict[K, V]:
        """All items as a plain `dict`."""
        return dict(self._walk(self._operations.scan_items()))

    # What Django's caches have

    def set(self, key: K, value: V, timeout: Timeout = DEFAULT) -> None:
        """Store a value for `timeout` seconds, None for ever. HSET, HSETEX or SET.

        A time of 0 or less is over already: nothing is kept.
        """
        self._run(self._operations.set(key, value, timeout))

    def add(self, key: K, value: V, timeout: Timeout = DEFAULT) -> bool:
        """Store a value unless the key is there; whether it was stored. HSETNX or SET NX."""
        return self._run(self._operations.add(key, value, timeout))

    def delete(self, key: K) -> bool:
        """Remove an item; whether it was there. HDEL or DEL."""
        return self._run(self._operations.delete(key))

    def touch(self, key: K, timeout: Timeout = DEFAULT) -> bool:
        """Give an item another time to live; whether it is there. HPEXPIRE or PEXPIRE."""
        return self._run(self._operations.touch(key, timeout))

    def ttl(self, key: K) -> float | None:
        """Seconds an item has left, None for ever. HPTTL or PTTL.

        Raises:
            KeyError: there is none.
        """
        return self._run(self._operations.ttl(key))

    def incr(self, key: K, delta: N = 1) -> N:
        """Add to a number, which counts as 0 when it isn't there; the new number. HINCRBY, INCRBY.

        The time to live stays as it is.

        Raises:
            NotANumberError: the item isn't a number.
        """
        return cast(N, self._run(self._operations.incr(key, delta)))

    def decr(self, key: K, delta: N = 1) -> N:
        """Subtract from a number, as `incr()` adds."""
        return self.incr(key, -delta)

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Those of the items that are there. HMGET or MGET, 2,000 keys a command."""
        return self._run(self._operations.get_many(keys))

    def set_many(self, items: Mapping[K, V], timeout: Timeout = DEFAULT) -> None:
        """Store several items. HSET, HSETEX or MSET, 2,000 items a command.

        When one of them can't be stored, none is.
        """
        self._run(self._operations.set_many(items, timeout))

    def delete_many(self, keys: Iterable[K]) -> int:
        """Remove several items; how many were there. HDEL or DEL, 2,000 keys a command."""
        return self._run(self._operations.delete_many(keys))

    def get_or_set(
        self,
        key: K,
        default: V | Callable[[], V],
        timeout: Timeout = DEFAULT,
        *,
        lock_timeout: float = 60,
    ) -> V:
        """The value of `key`; when it isn't there, that of `default`, which is stored.

        Of several callers one calls `default`; the others wait for its value and hold no
        connection meanwhile. When that one dies, another takes over after `lock_timeout` seconds.
        """
        return cast(V, self._run(self._operations.get_or_set(key, default, timeout, lock_timeout)))

    def expire(self, timeout: Timeout) -> bool:
        """Give the whole dict a time to live; whether there is anything in it."""
        return self._run(self._operations.expire(timeout))

    def memory_usage(self) -> int:
        """Bytes the dict takes on the server. MEMORY USAGE of its keys."""
        return self._run(self._operations.memory_usage())

    # Safe changes

    def compare_and_set(self, key: K, expected: V, new: V) -> bool:
        """Replace a value equal to `expected`; whether it was. The time to live stays.

        HGET or GET, and a script.
        """
        return self._run(self._operations.compare_and_set(key, expected, new))

    def transform(self, key: K, function: Callable[[V], V], default: Any = ABSENT) -> V:
        """Replace a value by `function(value)`; the new value. Repeated until nobody interferes.

        Raises:
            KeyError: there is none, and no default to begin with is given.
        """
        return cast(V, self._run(self._operations.transform(key, function, default)))

    @contextmanager
    def editing(self, key: K) -> Iterator[V]:
        """Change a list, a set or a dict in place: it is stored at the end of the block.

        Nothing is stored when the block ends in an exception.

        Raises:
            KeyError: there is none.
            ConcurrentUpdate: somebody else changed it meanwhile; nothing was stored.
        """
        value, stored = self._run(self._operations.read_for_editing(key))
        yield value
        if not self._run(self._operations.write_edited(key, value, stored)):
            raise ConcurrentUpdate(
                f"{key!r} of {self!r} was changed by somebody else during the block;"
                " read it again, or use transform(), which tries again by itself."
            )

    def lock(self, name: str = "", timeout: float = 60, wait: float | None = None) -> Lock:
        """A lock that belongs to this dict, for `with` and `async with`. SET NX PX.

        Args:
            name: locks of different names don't exclude one another.
            timeout: seconds after which it is free again whatever its owner does.
            wait: seconds to wait for it; None waits for ever.
        """
        return Lock(self, name, timeout, wait)

    def _walk(self, scan: Scan[T]) -> Iterator[T]:
        while not scan.is_over:
            yield from self._run(scan.next_page())


class _Values(ValuesView[V]):
    _mapping: SyncMethods[Any, V]

    def __iter__(self) -> Iterator[V]:
        mapping = self._mapping
        return mapping._walk(mapping._operations.scan_values())  # its own view

    def __contains__(self, value: object) -> bool:
        return any(value is one or value == one for one in self)


class _Items(ItemsView[K, V]):
    _mapping: SyncMethods[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        mapping = self._mapping
        return mapping._walk(mapping._operations.scan_items())  # its own view


def _as_dict(other: Any, more: dict[str, Any]) -> dict[Any, Any]:
    """What `dict.update()` would take, read completely before anything is stored."""
    items: dict[Any, Any] = {}
    items.update(other, **more)
    return items
