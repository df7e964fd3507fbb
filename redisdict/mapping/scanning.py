"""Pages of SCAN and HSCAN, without what the server repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
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
        self._recent: set[bytes] = set()
        self._before: set[bytes] = set()
        self._is_first = True

    def fresh(self, fields: Sequence[bytes], items: Sequence[T], *, is_last: bool) -> Sequence[T]:
        """Those of `items` whose field, at the same place of `fields`, wasn't there before."""
        if max(map(len, fields), default=0) > DIGEST_BYTES:
            fields = [_short(field) for field in fields]
        distinct = set(fields)
        is_only = self._is_first and is_last
        self._is_first = False
        if (
            len(distinct) == len(fields)
            and distinct.isdisjoint(self._recent)
            and distinct.isdisjoint(self._before)
        ):
            chosen = items
        else:
            chosen = self._choose(fields, items)
        if not is_only:
            self._remember(distinct)
        return chosen

    def _choose(self, fields: Sequence[bytes], items: Sequence[T]) -> list[T]:
        seen: set[bytes] = set()
        chosen = []
        for field, item in zip(fields, items, strict=True):
            if field in seen or field in self._recent or field in self._before:
                continue
            seen.add(field)
            chosen.append(item)
        return chosen

    def _remember(self, fields: set[bytes]) -> None:
        self._recent |= fields
        if len(self._recent) >= WINDOW:
            self._before, self._recent = self._recent, set()


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
        page: the operation that reads one page: the next cursor, the fields, the raw items.
        decode: from raw items, a page of them, to what the caller gets.
    """

    def __init__(
        self,
        page: Callable[[bytes], Operation[tuple[bytes, Sequence[bytes], Sequence[Any]]]],
        decode: Callable[[Sequence[Any]], list[T]],
    ) -> None:
        self._page = page
        self._decode = decode
        self._pages = Pages()
        self._cursor = b"0"
        self.is_over = False

    def next_page(self) -> Operation[list[T]]:
        """Read and decode one page; afterwards `is_over` tells whether it was the last."""
        cursor, fields, items = yield from self._page(self._cursor)
        self._cursor = cursor
        self.is_over = cursor == b"0"
        return self._decode(self._pages.fresh(fields, items, is_last=self.is_over))


def _short(field: bytes) -> bytes:
    """The field, or a digest that no two fields share in practice, so that memory stays flat."""
    if len(field) <= DIGEST_BYTES:
        return field
    return blake2b(field, digest_size=DIGEST_BYTES).digest()
