"""Pages of SCAN and HSCAN, without what the server repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from itertools import compress
from typing import Any, Generic, TypeVar

from redisdict.connections.requests import Operation
from redisdict.mapping.layout import SCAN_COUNT

__all__ = ["PageSize", "Pages", "Scan"]

T = TypeVar("T")

#: So many fields are remembered at least.
WINDOW = 65_536

#: Of a longer field a digest of this many bytes is remembered.
DIGEST_BYTES = 32

#: What a page of items should have in bytes, and how many are asked for before that is known.
PAGE_BYTES = 1024 * 1024
FIRST_COUNT = 100

#: Of a longer page so many are looked at to tell how long its fields and values are, or a few less.
SAMPLES = 100


class Pages:
    """Leaves out of each page what an earlier page had.

    A server repeats fields only when its table shrinks under the scan: the bucket it goes on with
    is then the union of buckets it has just been through, for its cursor counts in reversed binary
    (Pieter Noordhuis's algorithm, explained in `dictScan` of the Redis sources), which visits the
    buckets that a smaller table would merge one after the other. So what can be repeated is what
    came last, and it is enough to remember a window of it instead of a million keys: `WINDOW` to
    twice `WINDOW` fields, which covers a table that shrinks 65,536-fold during one scan.
    """

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        #: The new fields of each page, which are what `_seen` is made of.
        self._pages: list[Sequence[bytes]] = []
        self._is_shortening = False

    def fresh(self, fields: Sequence[bytes], items: Sequence[T]) -> Sequence[T]:
        """Those of `items` whose field, at the same place of `fields`, wasn't there before."""
        chosen = self.choose(fields)
        return items if chosen is None else list(compress(items, chosen))

    def choose(self, fields: Sequence[bytes]) -> list[bool] | None:
        """For each field whether it wasn't there before; None when that is so for all of them."""
        if not self._is_shortening and _longest(fields) > DIGEST_BYTES:
            self._shorten()
        if self._is_shortening:
            fields = list(map(_short, fields))
        seen = self._seen
        count = len(seen)
        seen.update(fields)
        if len(seen) == count + len(fields):
            chosen = None
        else:
            chosen = self._choose(fields)
            fields = list(compress(fields, chosen))
        self._pages.append(fields)
        if len(seen) >= 2 * WINDOW:
            self._forget()
        return chosen

    def _choose(self, fields: Sequence[bytes]) -> list[bool]:
        seen: set[bytes] = set().union(*self._pages)
        chosen = []
        for field in fields:
            chosen.append(field not in seen)
            seen.add(field)
        return chosen

    def _shorten(self) -> None:
        """Keep digests instead of long fields, of those that were seen as of those to come."""
        self._is_shortening = True
        self._pages = [list(map(_short, page)) for page in self._pages]
        self._seen = set().union(*self._pages)

    def _forget(self) -> None:
        """Keep the last pages, as many as have `WINDOW` fields together."""
        first, count = len(self._pages), 0
        while count < WINDOW:
            first -= 1
            count += len(self._pages[first])
        self._pages = self._pages[first:]
        self._seen = set().union(*self._pages)


class PageSize:
    """How many items to ask for, such that a page has about `PAGE_BYTES` whatever their size."""

    def __init__(self) -> None:
        self.count = FIRST_COUNT

    def learn(self, fields: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Ask for more or fewer next time, seeing how long these are, or some of them."""
        if fields:
            lengths = [*map(len, _some(fields)), *map(len, _some(values))]
            item_bytes = 2 * sum(lengths) / len(lengths)
            self.count = max(1, min(SCAN_COUNT, int(PAGE_BYTES / max(item_bytes, 1))))
        else:
            # The server looked at so many keys, which are others'.
            self.count = min(SCAN_COUNT, 10 * self.count)


class Scan(Generic[T]):
    """One walk over a dict, page by page, so that memory stays flat whatever its size.

    What is there from beginning to end is delivered exactly once. What comes or goes meanwhile
    may be delivered or not.

    Args:
        page: the operation that reads one page: the next cursor, the fields, and in columns of the
            same length what is decoded.
        decode: from these columns to what the caller gets.
    """

    def __init__(
        self,
        page: Callable[[bytes], Operation[tuple[bytes, Sequence[bytes], Sequence[Sequence[Any]]]]],
        decode: Callable[..., Iterable[T]],
    ) -> None:
        self._page = page
        self._decode = decode
        self._pages = Pages()
        self._cursor = b"0"
        self.is_over = False

    def next_page(self) -> Operation[Iterable[T]]:
        """Read and decode one page; afterwards `is_over` tells whether it was the last."""
        cursor, fields, columns = yield from self._page(self._cursor)
        self._cursor = cursor
        self.is_over = cursor == b"0"
        chosen = self._pages.choose(fields)
        if chosen is not None:
            columns = [list(compress(column, chosen)) for column in columns]
        return self._decode(*columns)


def _some(items: Sequence[bytes]) -> Sequence[bytes]:
    return items[:: 1 + len(items) // SAMPLES]


def _longest(fields: Sequence[bytes]) -> int:
    """The length of the longest of some of these: it must not cost more than what it is for."""
    return max(map(len, _some(fields)), default=0)


def _short(field: bytes) -> bytes:
    """The field, or a digest that no two fields share in practice, so that memory stays flat."""
    if len(field) <= DIGEST_BYTES:
        return field
    return blake2b(field, digest_size=DIGEST_BYTES).digest()
