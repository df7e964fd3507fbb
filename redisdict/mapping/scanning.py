"""Pages of SCAN and HSCAN, without what the server repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        self._before: set[bytes] = set()
        self._recent: set[bytes] = set()
        #: What `_recent` was made of, in case it has to be known what it was a page ago.
        self._recent_pages: list[Sequence[bytes]] = []

    def fresh(self, fields: Sequence[bytes], items: Sequence[T]) -> Sequence[T]:
        """Those of `items` whose field, at the same place of `fields`, wasn't there before."""
        chosen = self.choose(fields)
        return items if chosen is None else list(compress(items, chosen))

    def choose(self, fields: Sequence[bytes]) -> list[bool] | None:
        """For each field whether it wasn't there before; None when that is so for all of them."""
        if max(map(len, fields), default=0) > DIGEST_BYTES:
            fields = [_short(field) for field in fields]
        count = len(self._recent)
        self._recent.update(fields)
        are_new = len(self._recent) == count + len(fields) and self._before.isdisjoint(fields)
        chosen = None if are_new else self._choose(fields)
        self._recent_pages.append(fields)
        if len(self._recent) >= WINDOW:
            self._before, self._recent, self._recent_pages = self._recent, set(), []
        return chosen

    def _choose(self, fields: Sequence[bytes]) -> list[bool]:
        seen = self._before.union(*self._recent_pages)
        chosen = []
        for field in fields:
            chosen.append(field not in seen)
            seen.add(field)
        return chosen


class PageSize:
    """How many items to ask for, such that a page has about `PAGE_BYTES` whatever their size."""

    def __init__(self) -> None:
        self.count = FIRST_COUNT

    def learn(self, count: int, size: int) -> None:
        """Ask for more or fewer next time: so many items had so many bytes."""
        if count:
            self.count = max(1, min(SCAN_COUNT, PAGE_BYTES * count // max(size, 1)))
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
        decode: Callable[..., list[T]],
    ) -> None:
        self._page = page
        self._decode = decode
        self._pages = Pages()
        self._cursor = b"0"
        self.is_over = False

    def next_page(self) -> Operation[list[T]]:
        """Read and decode one page; afterwards `is_over` tells whether it was the last."""
        cursor, fields, columns = yield from self._page(self._cursor)
        self._cursor = cursor
        self.is_over = cursor == b"0"
        chosen = self._pages.choose(fields)
        if chosen is not None:
            columns = [list(compress(column, chosen)) for column in columns]
        return self._decode(*columns)


def _short(field: bytes) -> bytes:
    """The field, or a digest that no two fields share in practice, so that memory stays flat."""
    if len(field) <= DIGEST_BYTES:
        return field
    return blake2b(field, digest_size=DIGEST_BYTES).digest()
