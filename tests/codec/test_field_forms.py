"""What the rows of a model have of each field's value, and what comes back of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import ormsgpack
import pytest
from django.db import models
from django.utils.safestring import mark_safe

from redisdict.codec.extensions import OPTIONS, unpack_uuid
from redisdict.codec.field_forms import form_of
from tests.codec.comparing import assert_same
from tests.codec.models import EveryField


class Celsius:
    """A value that only its field can write."""

    def __init__(self, degrees: float) -> None:
        self.degrees = degrees


class CelsiusField(models.FloatField):
    def value_to_string(self, obj: Any) -> str:
        return str(self.value_from_object(obj).degrees)

    def to_python(self, value: Any) -> Any:
        return Celsius(float(value))


def field_of(name: str) -> Any:
    return EveryField._meta.get_field(name)


@pytest.mark.parametrize("name", ["auto", "boolean", "char", "foreign_key", "generated", "url"])
def test_values_that_messagepack_has_have_no_form(name: str) -> None:
    assert form_of(field_of(name)) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("datetime", datetime(2024, 2, 29, 12, tzinfo=UTC)),
        ("datetime", datetime(2024, 2, 29, 12)),  # noqa: DTZ001  # of a project without zones
        ("datetime", datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))),
        ("date", date(2024, 2, 29)),
        ("decimal", Decimal("1.50000")),
        ("uuid", uuid4()),
        ("binary", b"\x00\xff"),
        ("file", "a/b.txt"),
        ("json", {"a": [1, None, {"b": 0.5}]}),
        ("duration", timedelta(days=-1, microseconds=1)),
        ("time", time(1, 2, 3, 4)),
    ],
)
def test_values_come_back_the_same(name: str, value: Any) -> None:
    form = form_of(field_of(name))
    assert form is not None
    assert type(value) in form.exact or name == "json"
    stored = ormsgpack.unpackb(ormsgpack.packb(form.pack(value), None, OPTIONS))
    assert_same(form.unpack(stored), value)


def test_a_memoryview_keeps_its_format() -> None:
    form = form_of(field_of("binary"))
    assert form is not None
    made = form.unpack(form.pack(memoryview(b"ab").cast("c")))
    assert (type(made), made.format, made.tobytes()) == (memoryview, "c", b"ab")


def test_what_the_codec_has_no_form_for_is_written_as_fixtures_are() -> None:
    field: Any = CelsiusField()
    field.set_attributes_from_name("warmth")
    field.model = type("Weather", (), {})
    form = form_of(field)
    assert form is not None
    assert form.pack(Celsius(1.5)) == b"t1.5"
    assert form.unpack(b"t1.5").degrees == 1.5


def test_what_the_codec_would_make_plain_is_left_to_the_field() -> None:
    """As a column gives it back: the field may mark it as safe, or not."""
    form = form_of(field_of("json"))
    assert form is not None
    assert form.pack("text")[:1] == b"m"
    assert form.pack(mark_safe("<b>"))[:1] == b"t"


def test_a_uuid_has_sixteen_bytes() -> None:
    assert unpack_uuid(b"0123456789abcdef") == UUID(bytes=b"0123456789abcdef")
    with pytest.raises(ValueError, match="16"):
        unpack_uuid(b"0123")
