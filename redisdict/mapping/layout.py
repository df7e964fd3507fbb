"""What a layout has to offer: items as bytes, on the server, as operations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, TypeVar

from redisdict.connections.requests import Argument, Operation

__all__ = ["CHUNK", "COMMANDS_PER_BATCH", "FOREVER", "MISSING", "Layout", "Pair", "slices"]

#: Items in one command of a bulk operation. 2,000 is where MGET and MSET are fastest, and far from
#: the 65,536 arguments at which Dragonfly closes the connection.
CHUNK = 2000

#: Commands in one round trip of a bulk operation, which bounds what either side has to hold.
COMMANDS_PER_BATCH = 16

#: Times to live as servers tell them, in milliseconds.
FOREVER = -1
MISSING = -2

Pair = tuple[bytes, bytes]

T = TypeVar("T")


def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


class Layout(ABC):
    """How the items of one dict are kept. Fields and values are bytes; times are milliseconds.

    `timeout_ms` is None for ever, otherwise above 0.
    """

    is_hash: ClassVar[bool]

    @abstractmethod
    def get(self, field: bytes) -> Operation[bytes | None]: ...

    @abstractmethod
    def get_many(self, fields: Sequence[bytes]) -> Operation[list[bytes | None]]: ...

    @abstractmethod
    def contains(self, field: bytes) -> Operation[int]: ...

    @abstractmethod
    def set(self, field: bytes, value: Argument, timeout_ms: int | None) -> Operation[None]: ...

    @abstractmethod
    def set_many(
        self, pairs: Sequence[tuple[bytes, Argument]], timeout_ms: int | None
    ) -> Operation[None]: ...

    @abstractmethod
    def add(self, field: bytes, value: Argument, timeout_ms: int | None) -> Operation[int]:
        """Store it unless it is there; 1 when it was stored."""

    @abstractmethod
    def delete(self, fields: Sequence[bytes]) -> Operation[int]:
        """How many of them were there."""

    @abstractmethod
    def pop(self, field: bytes) -> Operation[bytes | None]: ...

    @abstractmethod
    def popitem(self) -> Operation[Pair | None]:
        """Take any item out."""

    @abstractmethod
    def compare_and_set(self, field: bytes, expected: bytes, new: Argument) -> Operation[int]:
        """Replace a value that is still `expected`, keeping its time to live; 1 when replaced."""

    @abstractmethod
    def compare_and_delete(self, field: bytes, expected: bytes) -> Operation[int]:
        """Delete an item whose value is still `expected`; 1 when deleted."""

    @abstractmethod
    def incr(self, field: bytes, delta: float) -> Operation[bytes | int]:
        """Add to a number; a missing one counts as 0; the time to live stays."""

    @abstractmethod
    def touch(self, field: bytes, timeout_ms: int | None) -> Operation[int]:
        """Give an item another time to live; 0 when it isn't there."""

    @abstractmethod
    def ttl(self, field: bytes) -> Operation[int]:
        """Milliseconds left, `FOREVER` or `MISSING`."""

    @abstractmethod
    def length(self) -> Operation[int]: ...

    @abstractmethod
    def clear(self) -> Operation[None]: ...

    @abstractmethod
    def expire(self, timeout_ms: int | None) -> Operation[int]:
        """Give the whole dict a time to live; 0 when there is none."""

    @abstractmethod
    def memory_usage(self) -> Operation[int]:
        """Bytes on the server."""

    @abstractmethod
    def scan_fields(
        self, cursor: bytes, pattern: bytes | None
    ) -> Operation[tuple[bytes, list[bytes]]]:
        """One page of fields, and the cursor of the next; `b"0"` begins and ends."""

    @abstractmethod
    def scan_pairs(
        self, cursor: bytes, pattern: bytes | None
    ) -> Operation[tuple[bytes, list[Pair]]]:
        """One page of fields with their values, and the cursor of the next."""
