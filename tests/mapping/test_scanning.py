"""Pages without repetitions, in flat memory."""

from redisdict.mapping.scanning import WINDOW, Pages, Scan


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
    remembered = len(pages._recent) + len(pages._before)
    assert WINDOW <= remembered < 2 * WINDOW + 1000


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
