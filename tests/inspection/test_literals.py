"""Literals that people write are read without running code, and refused with the reason."""

from __future__ import annotations

import datetime
import uuid
import zoneinfo
from decimal import Decimal
from typing import Any

import pytest

from redisdict.inspection.literals import is_same, read_literal

VALUES = (
    1, -1, 10**40, 1.5, -0.0, True, None, "text", "a\nb", b"\x00", [], [1, [2]], (), (1,),
    {"a": {1: None}}, {1, 2}, set(), frozenset({1}), Decimal("9.90"), uuid.UUID(int=5),
    datetime.date(2026, 3, 1), datetime.time(1, 2), datetime.timedelta(days=1, seconds=2),
    datetime.datetime(2026, 3, 1, 12),  # noqa: DTZ001 - a naive one
    datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC),
    datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
    datetime.datetime(2026, 3, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
)  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_is_shown_can_be_read(value: Any) -> None:
    assert is_same(read_literal(f"  {value!r}\n"), value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Line 1 isn't a Python literal"),
        ("[1,\n2", "Line 1 isn't a Python literal: '[' was never closed"),
        ("hello", "Line 1: hello isn't a Python literal. Texts need quotes"),
        ("[\ntrue]", "Line 2: true isn't a Python literal; write True."),
        ("null", "write None."),
        ("1 + 1", "1 + 1 isn't a Python literal"),
        ("1j", "1j isn't a Python literal"),
        ("...", "isn't a Python literal"),
        ("open('x')", "open('x') isn't a Python literal"),
        ("datetime.date.today()", "isn't a Python literal"),
        ("().__class__", "isn't a Python literal"),
        ("[x for x in ()]", "isn't a Python literal"),
        ("{**{}}", "isn't a Python literal"),
        ("Decimal(*[1])", "isn't a Python literal"),
        ("Decimal(**{})", "isn't a Python literal"),
        ("datetime.date(2026, 13, 1)", "can't be made: month must be in 1..12"),
        ("Decimal('x')", "Decimal('x') can't be made"),
        ("zoneinfo.ZoneInfo('nowhere')", "can't be made"),
        ("{[]: 1}", "can't be made: unhashable|can't be made: cannot use 'list' as a dict key"),
        ("{[]}", "can't be made: unhashable|can't be made: cannot use 'list' as a set element"),
        ("-" * 5000 + "1", "isn't a Python literal|nested too deep"),
        ("[" * 5000, "isn't a Python literal|nested too deep"),
        ("'\0'", "isn't a Python literal|null bytes"),
    ],
)
def test_what_is_no_literal_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_literal(text)
    assert any(part in str(caught.value) for part in message.split("|"))


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (1, 1.0), ([1], (1,)), ([1], [True]), ({"a": 1}, {"a": 1.0}), ({1: 2}, {True: 2}),
     ({1}, {1.0}), ("a", b"a"), (float("nan"), float("nan"))],
)  # fmt: skip
def test_same_is_of_the_same_type(one: Any, other: Any) -> None:
    assert not is_same(one, other)
