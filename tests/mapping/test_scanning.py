"""Pages without repetitions, in flat memory."""

import pytest

from redisdict.mapping.layout import SCAN_COUNT
from redisdict.mapping.scanning import PAGE_BYTES, WINDOW, Pages, PageSize, Scan


def fresh(pages: Pages, *fields: bytes) -> list[bytes]:
    return list(pages.fresh(fields, fields))


def test_a_field_of_an_earlier_page_is_left_out() -> None:
    pages = Pages()
    assert fresh(pages, b"a", b"b") == [b"a", b"b"]
    assert fresh(pages, b"b", b"c") == [b"c"]
    assert fresh(pages, b"a") == []


def test_a_field_twice_in_one_page_is_left_out() -> None:
    assert fresh(Pages(), b"a", b"b", b"a") == [b"a", b"b"]


def test_a_window_is_remembered_and_no_more() -> None:
    pages = Pages()
    fields = [b"%d" % number for number in range(3 * WINDOW)]
    for start in range(0, len(fields), 1000):
        some = fields[start : start + 1000]
        assert fresh(pages, *some) == some
    assert fresh(pages, *fields[-WINDOW:]) == []
    remembered = len(pages._seen)
    assert WINDOW <= remembered < 2 * WINDOW + 1000


def test_a_long_field_is_known_again_from_its_digest() -> None:
    pages = Pages()
    long = b"x" * 1_000_000
    few = [b"%d" % number for number in range(1000)]
    assert fresh(pages, *few, long + b"a") == [*few, long + b"a"]  # not among those looked at
    assert fresh(pages, long + b"b", b"z") == [long + b"b", b"z"]
    assert sum(map(len, pages._seen)) < 10_000
    assert fresh(pages, b"7", long + b"b", long + b"a", b"y") == [b"y"]
    assert fresh(pages, *few[500:], b"y", long + b"c") == [long + b"c"]


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
