"""Remove repetitions by the server from pages of SCAN and HSCAN."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain, compress
from typing import Any, Generic, TypeVar

from redisdict.mapping.layouts.base import SCAN_COUNT
from redisdict.wire.requests import Operation
from redisdict.wire.scan import table_bits

T = TypeVar("T")

#: So many fields are remembered at most, or one page if that has more.
WINDOW = 32_768

#: A table that has shrunk to a half can give again what it gave at most twice so many fields ago.
REACH = 64

#: So many fields are in one bucket at most. Tables are made larger before it is a dozen.
BUCKET = 64

#: So many pages are compared with each other in any case.
FEW = 4

#: Of a longer field a digest is remembered.
LONGEST_FIELD = 128
DIGEST_BYTES = 32

#: What a page of items should have in bytes, and how many are asked for before that is known.
PAGE_BYTES = 1024 * 1024
FIRST_COUNT = 100

#: Of a longer page so many are looked at to tell how long its fields and values are, or a few less.
SAMPLES = 30


class Pages:
    """Removes from each page the fields of earlier pages.

    A server repeats fields only when its table shrinks during the scan: the next bucket is then the
    union of buckets that were just visited. For the cursor counts in reversed binary (Pieter
    Noordhuis's algorithm, explained in `dictScan` of the Redis sources), which visits the buckets
    that a smaller table would merge one after the other. So only the latest fields can be repeated,
    and the more the table has shrunk, the further back that goes.

    A cursor is the number of a bucket, so its highest bit gives a lower bound of the table's size:
    a cursor of n bits belongs to 2**n buckets or more. The cursor sent for a page and the one
    received with it show whether the table still has the bucket where the scan went on; if so,
    nothing is repeated. Otherwise the repeated fields are in that bucket. Its fields come first in
    the page, or last with KeyDB, whose SCAN gives each page backwards. The longest cursor so far
    shows by which factor the table can have shrunk, and so how far back the fields have to be
    compared. A cursor that is short by chance only costs a comparison. The last page, and the first
    `FEW`, are compared as a whole with all that is remembered: the latest pages, up to `WINDOW`
    fields, so memory stays flat at a million items.
    """

    def __init__(self) -> None:
        self._pages: deque[Sequence[bytes]] = deque()
        self._count = 0
        self._bits = self._most_bits = 0
        self._is_shortening = False

    def fresh(self, cursor: bytes, fields: Sequence[bytes]) -> Sequence[bytes]:
        """Leave out those of a page's fields that were there before."""
        chosen = self.choose(cursor, fields)
        return fields if chosen is None else list(compress(fields, chosen))

    def choose(self, cursor: bytes, fields: Sequence[bytes]) -> list[bool] | None:
        """Return for each field whether it is new; None if all are.

        Args:
            cursor: what the server gave together with these fields.
        """
        suspects, reach = self._suspects(cursor, fields)
        if not fields:
            return None
        if not self._is_shortening and _longest(fields) > LONGEST_FIELD:
            self._is_shortening = True
            self._pages = deque(list(map(_short, page)) for page in self._pages)
        if self._is_shortening:
            fields, suspects = list(map(_short, fields)), list(map(_short, suspects))
        chosen = None
        if suspects and self._repeats(suspects, reach):
            chosen = _first_of_each(fields, set().union(*self._last(reach)))
            fields = list(compress(fields, chosen))
        self._remember(fields)
        return chosen

    def _suspects(self, cursor: bytes, fields: Sequence[bytes]) -> tuple[Sequence[bytes], int]:
        """Choose the fields that may be repeated, and their greatest distance."""
        tables = table_bits(cursor)  # one, or one for each of some shards
        bits = min(tables)
        bits_before, self._bits = self._bits, bits
        self._most_bits = max(self._most_bits, bits)
        if not bits or len(self._pages) <= FEW:
            return fields, WINDOW
        if len(tables) > 1:
            return fields, len(tables) * REACH << (self._most_bits - bits)
        if bits >= bits_before:
            return (), 0
        return list(chain(*_both_ends(fields, BUCKET))), REACH << (self._most_bits - bits)

    def _repeats(self, fields: Sequence[bytes], reach: int) -> bool:
        """Return whether one of the fields occurs twice, or in the last pages."""
        own = set(fields)
        return len(own) < len(fields) or not all(map(own.isdisjoint, self._last(reach)))

    def _last(self, reach: int) -> Iterator[Sequence[bytes]]:
        """Iterate back over the last fields, at least this many, from both ends of each page."""
        for page in reversed(self._pages):
            yield from _both_ends(page, reach)
            reach -= len(page)
            if reach <= 0:
                return

    def _remember(self, fields: Sequence[bytes]) -> None:
        self._pages.append(fields)
        self._count += len(fields)
        while len(self._pages) > 1 and self._count > WINDOW:
            self._count -= len(self._pages.popleft())


class PageSize:
    """The number of items to ask for, so that a page has about `PAGE_BYTES` whatever their size."""

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
    """One scan of a dict, page by page, so that memory stays flat whatever its size.

    What is there from beginning to end is delivered exactly once. What comes or goes meanwhile
    may be delivered or not.

    Args:
        page: the operation that reads one page: the next cursor, the fields, and columns of the
            same length to decode.
        decode: makes what the caller gets from these columns.
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
        chosen = self._pages.choose(cursor, fields)
        if chosen is not None:
            columns = [list(compress(column, chosen)) for column in columns]
        return self._decode(*columns)


def _both_ends(fields: Sequence[bytes], count: int) -> Iterator[Sequence[bytes]]:
    """Yield so many of the first fields and of the last, or all at once where these would meet."""
    if len(fields) <= 2 * count:
        yield fields
    else:
        yield fields[:count]
        yield fields[-count:]


def _first_of_each(fields: Sequence[bytes], seen: set[bytes]) -> list[bool]:
    """Return for each field whether it is neither among those seen nor earlier in the page."""
    chosen = []
    for field in fields:
        chosen.append(field not in seen)
        seen.add(field)
    return chosen


def _some(items: Sequence[bytes]) -> Sequence[bytes]:
    return items[:: len(items) // SAMPLES | 1]  # an odd step, for some things come in pairs


def _longest(fields: Sequence[bytes]) -> int:
    """Measure the longest of some of these, since measuring all would cost too much."""
    return max(map(len, _some(fields)), default=0)


def _short(field: bytes) -> bytes:
    """Take a digest of a long field, which no two share in practice, so that memory stays flat."""
    if len(field) <= LONGEST_FIELD:
        return field
    return blake2b(field, digest_size=DIGEST_BYTES).digest()
