"""The methods of `PersistentDict` for threads, beyond those of a `dict`."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Generic, Self, TypeVar, cast

from redisdict.exceptions import ConcurrentUpdate
from redisdict.mapping.flights import wait_in_thread
from redisdict.mapping.item_operations import ABSENT
from redisdict.mapping.locks import Lock
from redisdict.mapping.sync_mapping import SyncMapping
from redisdict.mapping.timeouts import DEFAULT, Timeout

__all__ = ["SyncMethods"]

K = TypeVar("K")
V = TypeVar("V")
N = TypeVar("N", int, float)


class SyncMethods(SyncMapping[K, V], Generic[K, V]):
    """The methods that Django's caches have, safe changes, and ways in and out."""

    # What Django's caches have

    def set(self, key: K, value: V, timeout: Timeout = DEFAULT) -> None:
        """Store a value for `timeout` seconds, None for ever. HSET, a script for a time, or SET.

        A time of 0 or less is over already: nothing is kept.
        """
        self._do(self._operations.set(key, value, timeout))

    def add(self, key: K, value: V, timeout: Timeout = DEFAULT) -> bool:
        """Store a value unless the key is there; whether it was stored.

        HSETNX, a script for a time, or SET NX.
        """
        return self._run(self._operations.add(key, value, timeout))

    def delete(self, key: K) -> bool:
        """Remove an item; whether it was there. HDEL or DEL."""
        return bool(self._do(self._operations.delete(key)))

    def touch(self, key: K, timeout: Timeout = DEFAULT) -> bool:
        """Give an item another time to live; whether it is there. A script, or PEXPIRE."""
        return self._run(self._operations.touch(key, timeout))

    def ttl(self, key: K) -> float | None:
        """Seconds an item has left, None for ever. HEXISTS and PTTL, a script, or PTTL.

        Raises:
            KeyError: there is none.
        """
        return self._run(self._operations.ttl(key))

    def incr(self, key: K, delta: N = 1) -> N:
        """Add to a number, which begins as 0 when it isn't there; the new number.

        HINCRBY or INCRBY; with a float, as `transform()` does it, for a server's sum of floats
        doesn't tell 2.0 from 2. The time to live stays as it is; a new item
        lives as long as the dict's timeout says.

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

    def delete_many(self, keys: Iterable[K]) -> int:
        """Remove several items; how many were there. HDEL or DEL, 2,000 keys a command."""
        return self._run(self._operations.delete_many(keys))

    def get_or_set(
        self,
        key: K,
        default: V | Callable[[], V],
        timeout: Timeout = DEFAULT,
        *,
        stale: float = 0,
        lock_timeout: float = 60,
    ) -> V:
        """The value of `key`; when it isn't there, that of `default`, which is stored.

        Of several callers one calls `default`; the others wait for its value and hold no
        connection meanwhile. When that one dies, another takes over after `lock_timeout` seconds.

        Args:
            stale: seconds for which the value is kept beyond `timeout`. In this time one caller
                computes it anew, and the others get the old one at once.

        Raises:
            ValueError: `stale` is given, and no timeout.
        """
        operation = self._operations.get_or_set(
            key, default, timeout, stale, lock_timeout, wait_in_thread
        )
        return cast(V, self._run(operation))

    def expire(self, timeout: Timeout) -> bool:
        """Let the whole dict end in `timeout` seconds, None for never; whether it has any item.

        A hash ends as a whole, with what is stored meanwhile. Of single keys only those that are
        there now get the limit, and None takes away the times to live of all. A script, or a SCAN
        with scripts.
        """
        return self._run(self._operations.expire(timeout))

    def memory_usage(self) -> int:
        """Bytes the dict takes on the server. MEMORY USAGE.

        Of a hash 1,000 items stand for all, so that a large one doesn't hold the server up.
        Dragonfly leaves out what a key takes of its table, some 45 bytes; one that lies there
        together with its value, of which it says 0, counts as 32.

        Raises:
            redis.exceptions.NoPermissionError: the user may not ask (`+memory`).
        """
        return self._run(self._operations.memory_usage())

    # Parts of it, and ways in and out

    def child(self, name: str) -> Self:
        """Another dict, whose name is this one's and below it `name`; with the same options.

        It is a dict of its own: neither sees the other's items, nor does `clear()` of one touch
        the other. Asks the server nothing.
        """
        if not isinstance(name, str):
            raise TypeError(f"name is {type(name).__name__}; a string is expected.")
        child = copy.copy(self)
        child._path = (*self._path, name)
        return child

    def keys_matching(self, pattern: str) -> Iterator[K]:
        r"""The keys that match a pattern, page by page. HSCAN or SCAN of all keys.

        Args:
            pattern: `*` stands for any characters, `?` for one, `[abc]`, `[a-z]` and `[^a]` for
                one of a class; `\` takes the next character for itself. Keys that aren't text are
                matched as decimal digits (`int`) or as what `key_type` encodes them to.

        Raises:
            TypeError: the keys are `bytes` or `uuid.UUID`.
            ValueError: the pattern has a `[` without a `]`.
        """
        return self._walk(self._operations.scan_keys_matching(pattern))

    def dump(self, file: IO[bytes]) -> int:
        """Write all items to a file opened as "wb", with their times to live; how many.

        Keys and values are written as they are on the server, in the format that
        `redisdict.mapping.dump_format` describes. HSCAN, or SCAN with GET and PTTL.
        """
        return self._run(self._operations.dump(file, operator.call))

    def load(self, file: IO[bytes]) -> int:
        """Store the items of a file that `dump()` wrote; how many. Others stay as they are.

        The file is read twice, the first time to see that it is whole, so a damaged one changes
        nothing. Each item gets the time that it had left when it was written. HSET or MSET;
        a script, or SET PX, for those that have a time to live.

        Values are stored unread: load only files that you trust into a dict that reads pickle.

        Raises:
            DeserializationError: it is no such file, is damaged, or has keys of another type.
        """
        return self._run(self._operations.load(file, operator.call))

    def clone_to(self, other: SyncMethods[Any, Any]) -> int:
        """Store all items in another dict, with their times to live; how many.

        It may have another alias, layout, serializer or key_type; values are read and written anew
        only where that is needed. What else it holds stays. Memory stays flat.
        """
        return self._run(self._operations.clone_to(other._operations, other._run))

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
