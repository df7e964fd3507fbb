"""What "equal and of the same type" means, all the way down."""

import struct
from collections.abc import Hashable
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from django.db.models import Model
from psycopg.types.range import Range


def assert_same(actual: Any, expected: Any) -> None:
    """Fail unless both are equal, of one type, and so is everything inside them."""
    assert type(actual) is type(expected)
    if isinstance(expected, list | tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, dict):
        # The order of a dict's items is part of what has to come back.
        assert_same(list(actual.items()), list(expected.items()))
    elif isinstance(expected, set | frozenset):
        assert_same(sorted(actual, key=fingerprint), sorted(expected, key=fingerprint))
    elif isinstance(expected, float):
        # Bit by bit: tells -0.0 from 0.0, and one NaN from another.
        assert struct.pack("d", actual) == struct.pack("d", expected)
    elif isinstance(expected, Decimal):
        assert actual.as_tuple() == expected.as_tuple()
    elif isinstance(expected, datetime | time):
        assert repr(actual) == repr(expected)
        assert type(actual.tzinfo) is type(expected.tzinfo)
    elif isinstance(expected, Range):
        assert_same(vars_of_range(actual), vars_of_range(expected))
    elif isinstance(expected, Model):
        names = [field.attname for field in expected._meta.concrete_fields]
        held = {name: expected.__dict__[name] for name in names if name in expected.__dict__}
        assert_same({n: actual.__dict__[n] for n in names if n in actual.__dict__}, held)
        assert actual._state.db == expected._state.db
        assert actual._state.adding == expected._state.adding
    else:
        assert actual == expected


def vars_of_range(value: Range[Any]) -> list[Any]:
    return [value.isempty, value.lower, value.upper, value.bounds]


def fingerprint(element: Hashable) -> str:
    """A key to sort a set of mixed types by."""
    if isinstance(element, frozenset):
        return f"frozenset {sorted(map(fingerprint, element))}"
    if isinstance(element, tuple):
        return f"tuple {list(map(fingerprint, element))}"
    return f"{type(element).__name__} {element!r}"
