"""Which values are handed out from memory as they are."""

from __future__ import annotations

import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from redisdict.near.values import immutable_size


class Zone(datetime.tzinfo):
    """A time zone that could be changed."""


@pytest.mark.parametrize(
    ("value", "is_immutable"),
    [
        ("text", True),
        ((), True),
        ((1, ("a", frozenset({b"b"}))), True),
        ((1, [2]), False),
        ([1], False),
        (bytearray(b"a"), False),
        (datetime.datetime(2026, 1, 2), True),  # noqa: DTZ001
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), True),
        (datetime.datetime(2026, 1, 2, tzinfo=ZoneInfo("Europe/Berlin")), True),
        (datetime.datetime(2026, 1, 2, tzinfo=Zone()), False),
        (type("Text", (str,), {})("a"), False),
    ],
)
def test_what_may_be_handed_out(value: Any, is_immutable: bool) -> None:
    size = immutable_size(value)
    assert (size is not None) == is_immutable
    assert size is None or size > 0
