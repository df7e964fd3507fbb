"""Rows written by their columns come back as they were."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from redisdict.codec import get_codec
from redisdict.modelcache.results.columns import MOST_PLACES, pack_rows, unpack_columns
from redisdict.modelcache.sameness import is_same

NOW = datetime(2026, 5, 4, 3, 2, 1, 123, UTC)

#: Columns, each of values of one row after the other.
COLUMNS: list[list[Any]] = [
    [1, 2, 3, 4],
    [1, 1, 1, 1],
    ["a", "b", "a", "b"],
    ["a", None, "a", None],
    [None] * 4,
    [True, False, True, True],
    [1, True, 1, True],
    [1.0, 1, 1.0, 1],
    [0.0, -0.0, 0.0, -0.0],
    [b"a", b"a", b"a", b"a"],
    [NOW, NOW, NOW, NOW],
    [NOW, None, NOW + timedelta(1), NOW],
    [NOW.replace(tzinfo=None)] * 4,
    [NOW, NOW.replace(tzinfo=None)] * 2,
    [NOW.astimezone(ZoneInfo("Asia/Tokyo"))] * 4,
    [NOW.astimezone(timezone(timedelta(hours=3))), NOW] * 2,
    [NOW.date(), None, date(1, 1, 1), NOW.date()],
    [Decimal("1.50"), Decimal("1.5"), Decimal("NaN"), None],
    [Decimal("1.50")] * 3 + [Decimal("1.5")],
    [UUID(int=number) for number in range(4)],
    [UUID(int=0), None, UUID(int=0), None],
    [UUID(int=0), "a", 1, None],
    [[1], [1], (1,), {"a": 1}],
]


@pytest.mark.parametrize("number", range(len(COLUMNS)))
def test_a_column(number: int) -> None:
    rows = [(value, place) for place, value in enumerate(COLUMNS[number])]
    assert is_same(again(rows), rows)


def again(rows: list[Any]) -> list[Any]:
    codec = get_codec("msgpack")
    columns = unpack_columns(codec.decode(codec.encode(pack_rows(rows))))
    assert columns.count == len(rows)
    return columns.rows()


def test_all_columns_together() -> None:
    rows = list(zip(*COLUMNS, strict=True))
    assert is_same(again(rows), rows)


def test_no_rows_and_no_columns() -> None:
    assert again([]) == []
    assert again([(), ()]) == [(), ()]


@pytest.mark.parametrize("count", [MOST_PLACES, MOST_PLACES + 1])
def test_many_values_that_repeat(count: int) -> None:
    rows = [(f"value {number % count}", number % 2) for number in range(2 * count)]
    assert again(rows) == rows


def test_values_that_repeat_are_written_once() -> None:
    rows = [(f"A long name of a category, number {number % 2}",) for number in range(100)]
    codec = get_codec("msgpack")
    assert len(codec.encode(pack_rows(rows))) < 300


def test_uuids_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="16"):
        unpack_columns([2, [[0, "uuid", False]], [], [[b"0" * 16, b"0" * 15]]])
