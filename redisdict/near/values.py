"""Decide which values may be returned repeatedly without decoding, and estimate their size."""

from __future__ import annotations

import datetime
import decimal
import sys
import uuid
from typing import Any, Final

from django.utils.safestring import SafeString

#: Types of which no value can be changed. A subclass may be.
_IMMUTABLE: Final = frozenset(
    {
        bool,
        bytes,
        complex,
        datetime.date,
        datetime.time,
        datetime.timedelta,
        decimal.Decimal,
        float,
        int,
        SafeString,
        str,
        type(None),
        uuid.UUID,
    }
)


def immutable_size(value: Any) -> int | None:
    """Measure the bytes of a value that can't be changed, with all in it; None for one that can."""
    kind = type(value)
    if kind in _IMMUTABLE:
        return sys.getsizeof(value)
    if kind is datetime.datetime:
        # Those of the standard library are immutable; they are shared by all values.
        is_known = value.tzinfo is None or type(value.tzinfo).__module__ in ("datetime", "zoneinfo")
        return sys.getsizeof(value) if is_known else None
    if kind is not tuple and kind is not frozenset:
        return None
    size = sys.getsizeof(value)
    for each in value:
        own = immutable_size(each)
        if own is None:
            return None
        size += own
    return size
