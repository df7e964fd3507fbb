"""Define the interface of a layout: operations on items as bytes on the server."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from redisdict.conf import LONGEST_S
from redisdict.wire.limits import ITEMS_A_COMMAND
from redisdict.wire.limits import slices as slices
from redisdict.wire.requests import Argument, Command, Operation, Step


class Default:
    """The type of `DEFAULT`, which stands for the dict's own timeout."""

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = Default()

Timeout = float | Default | None


def to_milliseconds(timeout: Timeout, default_ms: int | None) -> int | None:
    """Convert to milliseconds above 0, None for ever, or 0 for a time that is over already.

    Args:
        timeout: seconds, None for ever, or `DEFAULT`.
        default_ms: what `DEFAULT` stands for.

    Raises:
        TypeError: it isn't a number.
        ValueError: it isn't finite, or more than a thousand years.
    """
    if isinstance(timeout, Default):
        return default_ms
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(
            f"timeout is {type(timeout).__name__}; seconds as a number are expected,"
            " or None for ever."
        )
    if not timeout <= LONGEST_S:
        raise ValueError(
            f"timeout is {timeout} s; at most {LONGEST_S} are possible. None lasts for ever."
        )
    return max(0, math.ceil(timeout * 1000))


#: Items in one command of a bulk operation.
CHUNK = ITEMS_A_COMMAND

#: Items in one round trip of a bulk operation, which bounds what either side has to hold.
BATCH = 10 * CHUNK

#: Items asked for in one SCAN or HSCAN: such a page costs the server about half a millisecond.
SCAN_COUNT = 1000

#: What a key takes at least that MEMORY USAGE says 0 of: it and its value lie in two places of 16
#: bytes in the server's table, which Dragonfly doesn't count.
LEAST_BYTES = 32

#: Times to live as servers tell them, in milliseconds.
FOREVER = -1
MISSING = -2

Pair = tuple[bytes, bytes]

#: What stands under fields; None where there is nothing.
Values = Sequence[bytes | None]

#: A cursor, names (fields that a prefix stands in front of), and the value of each of them.
PageOfPairs = tuple[bytes, list[bytes], list[bytes]]

#: A field, its value, and the milliseconds it has left or `FOREVER`.
Record = tuple[bytes, bytes, int]


def bytes_of(sizes: Iterable[Any]) -> int:
    """Add up the sizes of keys from the replies to MEMORY USAGE; None stands for a missing key.

    Raises:
        redis.exceptions.ResponseError: one of the replies is this error.
    """
    total = 0
    for size in sizes:
        if isinstance(size, ResponseError):
            raise size
        if size is not None:
            total += size or LEAST_BYTES
    return total


def ask(command: Command) -> Operation[Any]:
    """Ask for one command: the operation of a step that nothing else can do."""
    return (yield command)


class Layout(ABC):
    """The storage of one dict's items. Fields and values are bytes; times are milliseconds.

    `timeout_ms` is None for ever, otherwise above 0. The operations on many items make one round
    trip for up to `BATCH` of them; callers bring more in slices.
    """

    is_hash: bool

    #: What the names of `scan_pairs()` have in front of the field.
    prefix: bytes

    # What one plain command mostly does

    @abstractmethod
    def get(self, field: bytes) -> Step[bytes | None]: ...

    @abstractmethod
    def contains(self, field: bytes) -> Step[int]: ...

    @abstractmethod
    def set(self, field: bytes, value: Argument, timeout_ms: int | None) -> Step[Any]: ...

    @abstractmethod
    def delete(self, field: bytes) -> Step[int]:
        """Remove it; 1 when it was there."""

    @abstractmethod
    def length(self) -> Step[int]: ...

    # What takes more

    @abstractmethod
    def get_many(self, fields: Sequence[Argument]) -> Operation[list[Values]]:
        """Get the values of fields, all of them bytes or all ASCII text; in pieces, in turn."""

    @abstractmethod
    def set_many(self, items: Sequence[Argument], timeout_ms: int | None) -> Operation[None]:
        """Store items given as fields and values, in turn."""

    @abstractmethod
    def add(self, field: bytes, value: Argument, timeout_ms: int | None) -> Operation[int]:
        """Store it unless it is there; 1 when it was stored."""

    @abstractmethod
    def delete_many(self, fields: Sequence[bytes]) -> Operation[int]:
        """Remove them, and count those there were."""

    @abstractmethod
    def pop(self, field: bytes) -> Operation[bytes | None]: ...

    @abstractmethod
    def popitem(self) -> Operation[Pair | None]:
        """Take any item out."""

    @abstractmethod
    def compare_and_set(self, field: bytes, expected: bytes, new: Argument) -> Operation[int]:
        """Replace a value that is still `expected`, keeping its time to live; 1 when replaced."""

    @abstractmethod
    def incr(self, field: bytes, delta: int, timeout_ms: int | None) -> Operation[bytes | int]:
        """Add to an integer, whose time to live stays; a missing one begins as 0."""

    @abstractmethod
    def touch(self, field: bytes, timeout_ms: int | None) -> Operation[int]:
        """Change the time to live of an item; 0 if it is missing."""

    @abstractmethod
    def ttl(self, field: bytes) -> Operation[int]:
        """Get the milliseconds left, `FOREVER` or `MISSING`."""

    @abstractmethod
    def ttl_many(self, fields: Sequence[bytes]) -> Operation[list[int]]:
        """Get the `ttl()` of each field; for a missing one it may be anything."""

    @abstractmethod
    def get_with_ttl(self, field: bytes) -> Operation[tuple[bytes | None, int]]:
        """Get a value and its `ttl()`, in one round trip."""

    @abstractmethod
    def clear(self) -> Operation[None]: ...

    @abstractmethod
    def expire(self, timeout_ms: int | None) -> Operation[int]:
        """Let the dict, or the items that it has now, end then; 0 when there are none."""

    @abstractmethod
    def memory_usage(self) -> Operation[int]:
        """Measure the bytes on the server."""

    @abstractmethod
    def scan_fields(
        self, cursor: bytes, pattern: bytes | None = None, count: int = SCAN_COUNT
    ) -> Operation[tuple[bytes, list[bytes]]]:
        """Read a page of fields, and the cursor of the next; `b"0"` begins and ends."""

    @abstractmethod
    def scan_pairs(self, cursor: bytes, count: int = SCAN_COUNT) -> Operation[PageOfPairs]:
        """Read the cursor of the next page, and a page of names and their values."""

    @abstractmethod
    def scan_records(
        self, cursor: bytes, count: int = SCAN_COUNT
    ) -> Operation[tuple[bytes, list[Record]]]:
        """Read a page of fields with their values and times to live, and the cursor of the next."""

    @abstractmethod
    def set_records(self, records: Sequence[Record]) -> Operation[None]:
        """Store fields with their values and times to live, as `scan_records()` gave them."""
