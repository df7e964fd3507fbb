"""Pack the values of a model's fields for its rows, and unpack them.

Here MessagePack without extension types is used: text, bytes, numbers and booleans. For most fields
a SELECT gives one of these. A `FieldForm` turns other values into one of these, and back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.db import models
from django.utils.safestring import SafeString

from redisdict.codec import messagepack
from redisdict.codec.extensions import unpack_uuid
from redisdict.codec.normalize import MADE_PLAIN
from redisdict.exceptions import SerializationError

#: How the bytes of a value begin that have no plain form: the codec's MessagePack, or the text
#: that fixtures have for it.
BY_CODEC = b"m"
BY_TEXT = b"t"

#: What the field says of these counts, not the codec.
_LEFT_TO_THE_FIELD = (SafeString, *MADE_PLAIN)


@dataclass(frozen=True, slots=True)
class FieldForm:
    """Two functions between a value that isn't None and its stored form.

    `pack` raises `SerializationError` for a value that has no such form; a custom field may raise
    any error in both.

    Attributes:
        exact: the types of which every value comes back unchanged. Values of other types have to
            be compared after a round trip.
    """

    name: str
    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]
    exact: frozenset[type]


def form_of(field: models.Field[Any, Any]) -> FieldForm | None:
    """The form of a field's values; None where they are stored as they are."""
    if isinstance(field, models.ForeignKey):
        return form_of(field.target_field)
    if isinstance(field, models.GeneratedField):
        return form_of(field.output_field)  # type: ignore[arg-type]  # the stubs forget that it is a Field
    kind = type(field)
    if kind in _PLAIN:
        return None
    return _FORMS.get(kind) or _general_form(field)


def _pack_datetime(value: datetime) -> Any:
    if (value.tzinfo is None or value.tzinfo is UTC) and not value.fold:
        return value.isoformat()
    return messagepack.dumps(value)  # its zone has a name


def _unpack_datetime(stored: Any) -> Any:
    return datetime.fromisoformat(stored) if type(stored) is str else messagepack.loads(stored)


def _pack_binary(value: Any) -> Any:
    # psycopg 2 gives a memoryview whose elements are bytes objects.
    return [value.format, value.tobytes()] if type(value) is memoryview else bytes(value)


def _unpack_binary(stored: Any) -> Any:
    if type(stored) is not list:
        return stored
    form, content = stored
    return memoryview(content).cast(form)


def _general_form(field: models.Field[Any, Any]) -> FieldForm:
    """For JSON, arrays, durations and everybody's own fields: whatever the value's type is."""

    def pack(value: Any) -> bytes:
        if not isinstance(value, _LEFT_TO_THE_FIELD):
            try:
                return BY_CODEC + messagepack.dumps(value)
            except SerializationError:
                pass
        return BY_TEXT + _as_fixture(field, value).encode()

    def unpack(stored: bytes) -> Any:
        if stored[:1] == BY_CODEC:
            return messagepack.loads(stored[1:])
        return field.to_python(stored[1:].decode())

    return FieldForm("general", pack, unpack, _BY_CODEC_EXACTLY)


def _as_fixture(field: models.Field[Any, Any], value: Any) -> str:
    """What `dumpdata` writes for a value; Django asks of every field that it can read that."""
    holder = field.model.__new__(field.model)
    holder.__dict__[field.attname] = value
    return str(field.value_to_string(holder))


#: Fields whose values MessagePack has, exactly these classes: a subclass may give other values.
_PLAIN = frozenset(
    {
        models.AutoField,
        models.BigAutoField,
        models.SmallAutoField,
        models.IntegerField,
        models.BigIntegerField,
        models.SmallIntegerField,
        models.PositiveIntegerField,
        models.PositiveBigIntegerField,
        models.PositiveSmallIntegerField,
        models.BooleanField,
        models.FloatField,
        models.CharField,
        models.TextField,
        models.SlugField,
        models.EmailField,
        models.URLField,
        models.FilePathField,
        models.GenericIPAddressField,
    }
)

#: Types of which MessagePack stores every value that it takes as it is.
PLAINLY_EXACT = frozenset({type(None), str, bytes, int, float, bool})

_BY_CODEC_EXACTLY = PLAINLY_EXACT | {Decimal, datetime, date, time, timedelta, UUID}

_NONE = type(None)
_DATETIME = FieldForm("datetime", _pack_datetime, _unpack_datetime, frozenset({_NONE, datetime}))
_DATE = FieldForm("date", date.isoformat, date.fromisoformat, frozenset({_NONE, date}))
_DECIMAL = FieldForm("decimal", str, Decimal, frozenset({_NONE, Decimal}))
_UUID = FieldForm("uuid", attrgetter("bytes"), unpack_uuid, frozenset({_NONE, UUID}))
_BINARY = FieldForm("binary", _pack_binary, _unpack_binary, frozenset({_NONE, bytes}))

#: By type, the forms of values that the codec brings back at a higher price.
FORMS_OF_TYPES: Mapping[type, FieldForm] = {
    datetime: _DATETIME,
    date: _DATE,
    Decimal: _DECIMAL,
    UUID: _UUID,
}

# The descriptor of the model makes a file of the name again.
_FILE = FieldForm("file", str, str, frozenset({_NONE, str}))

_FORMS: Mapping[type[models.Field[Any, Any]], FieldForm] = {
    models.DateTimeField: _DATETIME,
    models.DateField: _DATE,
    models.DecimalField: _DECIMAL,
    models.UUIDField: _UUID,
    models.BinaryField: _BINARY,
    models.FileField: _FILE,
    models.ImageField: _FILE,
}
