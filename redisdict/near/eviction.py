"""Evict entries beyond a number of bytes or items, by SIEVE.

SIEVE is from Zhang, Yang, Yue, Vigfusson and Rashmi, "SIEVE is Simpler than LRU: an Efficient
Turn-Key Eviction Algorithm for Web Caches", NSDI '24. A hit only sets a bit of the entry, so it
needs no lock and moves nothing. To make room a hand goes from the oldest entry to the newest: it
clears the bits that it meets, and evicts the first entry without one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final

FOREVER: Final = float("inf")

#: Bytes that CPython takes for an entry beside its key and value: the object and its place in the
#: dict, rounded up.
ENTRY_BYTES: Final = 250


class Entry:
    """One value in memory.

    Attributes:
        key: the key that it is kept under.
        value: the kept value; `make`, unless it is None, makes from it what a reader gets.
        version: distinguishes it from other values of the key.
        owner: the only reader that may have it, such as a codec; compared by identity.
        expires_at: when it expires, in seconds of the clock whose readings `lookup()` gets.
        size: in bytes, with `ENTRY_BYTES`.
        visited: whether it was read since the hand last passed it.
    """

    __slots__ = (
        "expires_at",
        "key",
        "make",
        "newer",
        "older",
        "owner",
        "size",
        "value",
        "version",
        "visited",
    )

    newer: Entry | None
    older: Entry | None

    def __init__(
        self,
        key: Hashable,
        value: Any,
        version: Hashable = None,
        expires_at: float = FOREVER,
        size: int = ENTRY_BYTES,
        make: Callable[[Any], Any] | None = None,
        owner: object = None,
    ) -> None:
        self.key = key
        self.value = value
        self.version = version
        self.expires_at = expires_at
        self.size = size
        self.make = make
        self.owner = owner
        self.visited = False
        self.newer = self.older = None


class Sieve:
    """The order in which entries came, and the hand. Not thread-safe: `NearState` has the lock.

    Args:
        max_bytes, max_items: the most that is kept.
    """

    def __init__(self, max_bytes: int, max_items: int) -> None:
        self.max_bytes = max_bytes
        self.max_items = max_items
        self.clear()

    def clear(self) -> None:
        """Forget all entries; the counts of bytes and items begin again."""
        self.bytes = 0
        self.items = 0
        self._newest: Entry | None = None
        self._oldest: Entry | None = None
        self._hand: Entry | None = None

    def fits(self, entry: Entry) -> bool:
        """Return whether it could fit at all."""
        return entry.size <= self.max_bytes and self.max_items > 0

    def room_for(self, entry: Entry) -> Iterator[Entry]:
        """Take out entries until there is room for another, and yield each."""
        while self.items >= self.max_items or self.bytes + entry.size > self.max_bytes:
            yield self._evict()

    def add(self, entry: Entry) -> None:
        """Take an entry in as the newest."""
        entry.older, entry.newer = self._newest, None
        if self._newest is None:
            self._oldest = entry
        else:
            self._newest.newer = entry
        self._newest = entry
        self.items += 1
        self.bytes += entry.size

    def remove(self, entry: Entry) -> None:
        """Take out an entry that is in."""
        older, newer = entry.older, entry.newer
        if self._hand is entry:
            self._hand = newer
        if older is None:
            self._oldest = newer
        else:
            older.newer = newer
        if newer is None:
            self._newest = older
        else:
            newer.older = older
        entry.older = entry.newer = None
        self.items -= 1
        self.bytes -= entry.size

    def _evict(self) -> Entry:
        entry = self._hand or self._oldest
        assert entry is not None  # else there is room, for whatever fits
        while entry.visited:
            entry.visited = False
            entry = entry.newer or self._oldest
            assert entry is not None  # it goes round among those that are in
        self._hand = entry
        self.remove(entry)
        return entry
