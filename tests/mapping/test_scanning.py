"""Pages without repetitions, in flat memory."""

import itertools
import random
from collections import Counter
from hashlib import blake2b

import pytest

from redisdict.mapping.layouts.base import SCAN_COUNT
from redisdict.mapping.scanning import PAGE_BYTES, REACH, WINDOW, Pages, PageSize, Scan


def fresh(pages: Pages, *fields: bytes, cursor: bytes = b"1") -> list[bytes]:
    return list(pages.fresh(cursor, fields))


def numbered(start: int, count: int) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


@pytest.mark.parametrize("cursor", [b"1", b"7", b"0"])
def test_a_field_of_an_earlier_page_is_left_out(cursor: bytes) -> None:
    pages = Pages()
    assert fresh(pages, b"a", b"b", cursor=b"3") == [b"a", b"b"]
    assert fresh(pages, b"b", b"c", cursor=cursor) == [b"c"]
    assert fresh(pages, b"a", cursor=b"0") == []


def test_a_field_twice_in_one_page_is_left_out() -> None:
    assert fresh(Pages(), b"a", b"b", b"a") == [b"a", b"b"]


def test_the_last_page_is_compared_with_a_window_and_no_more_is_remembered() -> None:
    pages = Pages()
    fields = numbered(0, 3 * WINDOW)
    for start in range(0, len(fields), 1000):
        some = fields[start : start + 1000]
        assert fresh(pages, *some, cursor=b"%d" % (1 << 20)) == some
    remembered = sum(map(len, pages._pages))
    assert WINDOW - 1000 < remembered <= WINDOW
    known = fields[1000 - WINDOW :]
    assert fresh(pages, *known, b"new", cursor=b"0") == [b"new"]


@pytest.mark.parametrize("drop", range(1, 12))
def test_a_shorter_cursor_makes_the_page_be_compared_further_back(drop: int) -> None:
    """A table of 2**20 buckets has become one of 2**(20 - drop)."""
    pages = Pages()
    fields = numbered(0, 20_000)
    for start in range(0, len(fields), 1000):
        fresh(pages, *fields[start : start + 1000], cursor=b"%d" % (1 << 19))
    merged = [fields[-min(REACH << drop, len(fields))], fields[-1]]
    new = numbered(30_000, 1000)
    assert fresh(pages, *merged, *new, cursor=b"%d" % (1 << 19 - drop)) == new


def test_shards_are_compared_by_the_one_that_shrank_most() -> None:
    pages = Pages()
    places = [b"%d=%d" % (number, 1 << 10) for number in range(8)]
    fields = numbered(0, 10_000)
    for start in range(0, len(fields), 1000):
        fresh(pages, *fields[start : start + 1000], cursor=b"8:" + b",".join(places))
    places[3] = b"3=%d" % (1 << 8)
    repeated, new = fields[-8 * REACH * 4], numbered(20_000, 999)
    assert fresh(pages, *new, repeated, cursor=b"8:" + b",".join(places)) == new
    places[4] = b"4=0"  # this one has ended
    assert fresh(pages, fields[0], b"new", cursor=b"8:" + b",".join(places)) == [b"new"]


def test_a_long_field_is_known_again_from_its_digest() -> None:
    pages = Pages()
    long = b"x" * 1_000_000
    few = numbered(0, 1000)
    assert fresh(pages, *few, long + b"a") == [*few, long + b"a"]  # not among those looked at
    assert fresh(pages, long + b"b", b"z") == [long + b"b", b"z"]
    assert sum(len(field) for page in pages._pages for field in page) < 10_000
    assert fresh(pages, b"7", long + b"b", long + b"a", b"y") == [b"y"]
    assert fresh(pages, *few[500:], b"y", long + b"c") == [long + b"c"]


class Table:
    """A hash table of Redis: chains in buckets, walked through as `dictScan` does."""

    def __init__(self) -> None:
        self.fields: dict[bytes, int] = {}

    def add(self, field: bytes) -> None:
        self.fields[field] = int.from_bytes(blake2b(field, digest_size=8).digest())

    def resize(self, bits: int) -> None:
        self.bits = bits
        self.buckets: dict[int, list[bytes]] = {}
        for field, hashed in self.fields.items():
            self.buckets.setdefault(hashed & (1 << bits) - 1, []).append(field)

    def page(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        found: list[bytes] = []
        cursor &= (1 << self.bits) - 1
        while True:
            found += self.buckets.get(cursor, [])
            backwards = int(f"{cursor:0{self.bits}b}"[::-1], 2) + 1
            if backwards == 1 << self.bits:
                return 0, found
            cursor = int(f"{backwards:0{self.bits}b}"[::-1], 2)
            if len(found) >= count:
                return cursor, found


@pytest.mark.parametrize(("count", "chance", "step"), [(64, 0.1, 1), (300, 0.3, 1), (300, 0.3, -1)])
def test_nothing_is_repeated_however_a_table_shrinks_and_grows(
    count: int, chance: float, step: int
) -> None:
    """Pages come in the order of the walk, and backwards as from KeyDB's SCAN."""
    repeated = 0
    for seed in range(100):
        rng = random.Random(seed)
        table = Table()
        for field in numbered(0, 1 << rng.randrange(8, 14)):
            table.add(field)
        table.resize(13)
        pages, delivered, cursor = Pages(), Counter[bytes](), 0
        seen: set[bytes] = set()
        for number in itertools.count():
            cursor, fields = table.page(cursor, count)
            fields = fields[::step]
            repeated += len(seen.intersection(fields))
            seen.update(fields)
            delivered.update(pages.fresh(b"%d" % cursor, fields))
            if not cursor:
                break
            if rng.random() < chance:
                kept = rng.sample(sorted(table.fields), len(table.fields) >> rng.randrange(1, 8))
                table.fields = {field: table.fields[field] for field in kept}
                table.resize(max(2, len(kept).bit_length()))
            elif table.bits < 14 and rng.random() < 0.1:
                for field in numbered(0, 20):
                    table.add(b"new %d %s" % (number, field))
                table.resize(table.bits + 1)
        assert set(delivered.values()) == {1}
        stayed = {field for field in table.fields if not field.startswith(b"new")}
        assert stayed <= delivered.keys()
    assert repeated > 20  # or this shows nothing


@pytest.mark.parametrize("count", [1, 99, 1000, 4321])
def test_the_next_page_is_as_large_as_this_one_lets_expect(count: int) -> None:
    size = PageSize()
    size.learn([b"k" * 8] * count, [b"v" * (2 * PAGE_BYTES // SCAN_COUNT - 8)] * count)
    assert size.count == SCAN_COUNT // 2
    size.learn([b"k"] * count, [b"v"] * count)
    assert size.count == SCAN_COUNT
    size.learn([b"k"] * count, [b"v" * 5 * PAGE_BYTES] * count)
    assert size.count == 1


def test_a_page_of_long_and_short_values_counts_both() -> None:
    size = PageSize()
    size.learn([b"key"] * 1000, [b"", b"v" * 20_000] * 500)
    assert 90 < size.count < 120


def test_a_scan_ends_at_cursor_zero() -> None:
    answers = iter(
        [(b"7", [b"a"], [[b"a"]]), (b"3", [], [[]]), (b"0", [b"a", b"b"], [[b"a", b"b"]])]
    )

    def page(cursor):  # type: ignore[no-untyped-def]  # a stand-in for an operation
        return next(answers)
        yield

    scan = Scan(page, lambda fields: [field.decode() for field in fields])
    delivered = []
    while not scan.is_over:
        try:
            next(scan.next_page())
        except StopIteration as stop:
            delivered.append(stop.value)
    assert delivered == [["a"], [], ["b"]]
