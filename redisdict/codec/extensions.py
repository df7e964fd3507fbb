"""Define the MessagePack extension types, for values that MessagePack itself has no form for.

Codes are permanent, like those of the format byte: a code is never given to another type.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from importlib import import_module
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from itertools import chain, count, repeat
from operator import attrgetter
from typing import Any, Final
from uuid import UUID, SafeUUID

import ormsgpack
from django.db.models import Model
from django.utils.safestring import SafeString
from ormsgpack import Ext, Fragment, packb

from redisdict.codec import registry, temporal
from redisdict.codec.instances import part_names, put_together, take_apart
from redisdict.codec.normalize import Step

# Whatever ormsgpack would quietly store as something plainer is passed to the hook instead.
OPTIONS: Final = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

# ormsgpack bounds how deep lists and dicts nest, but begins anew inside each extension. This bounds
# the extensions inside one another, so that the two together need no more than 3 MB of C stack.
MAX_NESTED_CONTAINERS: Final = 16

PackHook = Callable[[Any], Any]
UnpackHook = Callable[[int, bytes], Any]

NATIVE_INTEGERS: Final = range(-(2**63), 2**64)
LEAVES: Final = frozenset({str, bytes, float, bool, type(None)})


def pack(value: Any, hook: PackHook | None) -> bytes:
    """Return the MessagePack form of a value; raise `MsgpackEncodeError` if it has none."""
    if type(value) in LEAVES:
        return packb(value, hook, OPTIONS)
    # ormsgpack writes two levels more than its `Fragment`, which checks before reading, takes. Two
    # lists around the value, cut off again, make sure that whatever can be written can be read.
    return packb([[value]], hook, OPTIONS)[2:]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A type whose values have nothing inside: written as bytes of its own."""

    code: int
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]

    def to_ext(self, value: Any) -> Ext:
        return Ext(self.code, self.pack(value))


def steps_by_number(_value: Any) -> Iterator[Step]:
    return zip(repeat("[{}]"), count())


def steps_by_key(value: dict[Any, Any]) -> Iterator[Step]:
    return zip(repeat("[{}]"), value)


def _steps_of_set(_value: Any) -> Iterator[Step]:
    return repeat((", one element", None))


def steps_by_alternate_keys(value: dict[Any, Any]) -> Iterator[Step]:
    return chain.from_iterable(((", the key {}", key), ("[{}]", key)) for key in value)


def _steps_of_instance(value: Model) -> Iterator[Step]:
    return ((f".{name}", None) for name in part_names(value))


@dataclass(frozen=True, slots=True)
class Container:
    """A type that holds other values: written as the MessagePack array of its parts."""

    code: int
    take_apart: Callable[[Any], Iterable[Any]]
    put_together: Callable[[list[Any]], Any]
    steps: Callable[[Any], Iterator[Step]]
    is_unordered: bool = False

    def to_ext(self, parts: Iterable[Any], hook: PackHook | None) -> Ext:
        if self.is_unordered:
            parts = _in_fixed_order(list(parts), hook)
        return Ext(self.code, pack(list(parts), hook))


def _in_fixed_order(parts: list[Any], hook: PackHook | None) -> Iterable[Any]:
    """Return the elements of a set in an order that is the same in every process.

    Otherwise equal sets would have different bytes, since the hash of text differs by process.
    """
    kinds = set(map(type, parts))
    if kinds in ({str}, {bytes}):
        return sorted(parts)
    if kinds == {int} and min(parts) in NATIVE_INTEGERS and max(parts) in NATIVE_INTEGERS:
        return sorted(parts)
    # What has no order of its own is sorted by its bytes.
    return map(Fragment, sorted(pack(part, hook) for part in parts))


def _pack_integer(value: int) -> bytes:
    # One bit more than the magnitude needs, for the sign.
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _unpack_integer(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _pack_text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _unpack_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def unpack_uuid(
    data: bytes,
    new: Callable[..., UUID] = UUID.__new__,
    put_number: Callable[..., None] = UUID.__dict__["int"].__set__,
    put_safety: Callable[..., None] = UUID.__dict__["is_safe"].__set__,
    unknown: SafeUUID = SafeUUID.unknown,
) -> UUID:
    """Make a UUID as UUID(bytes=data) does, without its checks of five other arguments."""
    if len(data) != 16:
        raise ValueError("bytes is not a 16-char string")
    value = new(UUID)
    put_number(value, int.from_bytes(data))
    put_safety(value, unknown)
    return value


def _by_text(code: int, kind: type) -> Scalar:
    """Return the extension of a type that its own `str()` describes completely."""
    return Scalar(
        code,
        pack=lambda value: str(value).encode(),
        unpack=lambda data: kind(data.decode()),
    )


def alternate(mapping: dict[Any, Any]) -> list[Any]:
    return [part for item in mapping.items() for part in item]


def pair_up(parts: list[Any]) -> dict[Any, Any]:
    iterator = iter(parts)
    return dict(zip(iterator, iterator, strict=True))


_RANGE_MODULE: Final = "psycopg.types.range"


def _take_range_apart(value: Any) -> list[Any]:
    """Return lower and upper end and the bounds, such as "[)"; an empty range has none."""
    return [value.lower, value.upper, None if value.isempty else value.bounds]


def _put_range_together(parts: list[Any]) -> Any:
    """Return PostgreSQL's range again; raises `ImportError` without psycopg.

    psycopg is imported only here, so a project without such values needn't install it.
    """
    lower, upper, bounds = parts
    range_type = import_module(_RANGE_MODULE).Range
    return range_type(empty=True) if bounds is None else range_type(lower, upper, bounds)


SCALAR_OF_TYPE: Final[dict[type, Scalar]] = {
    int: Scalar(1, _pack_integer, _unpack_integer),
    str: Scalar(2, _pack_text, _unpack_text),
    Decimal: _by_text(3, Decimal),
    datetime: Scalar(4, temporal.pack_datetime, temporal.unpack_datetime),
    date: Scalar(5, temporal.pack_date, temporal.unpack_date),
    time: Scalar(6, temporal.pack_time, temporal.unpack_time),
    timedelta: Scalar(7, temporal.pack_timedelta, temporal.unpack_timedelta),
    UUID: Scalar(8, attrgetter("bytes"), unpack_uuid),
    IPv4Address: _by_text(14, IPv4Address),
    IPv6Address: _by_text(15, IPv6Address),
    IPv4Network: _by_text(16, IPv4Network),
    IPv6Network: _by_text(17, IPv6Network),
    IPv4Interface: _by_text(18, IPv4Interface),
    IPv6Interface: _by_text(19, IPv6Interface),
    SafeString: Scalar(21, _pack_text, lambda data: SafeString(_unpack_text(data))),
}
_CONTAINER_OF_TYPE: Final[dict[type, Container]] = {
    tuple: Container(9, list, tuple, steps_by_number),
    set: Container(10, list, set, _steps_of_set, is_unordered=True),
    frozenset: Container(11, list, frozenset, _steps_of_set, is_unordered=True),
    # Only for dicts whose keys aren't all plain text; the others are MessagePack maps.
    dict: Container(12, alternate, pair_up, steps_by_alternate_keys),
}
_MODEL_INSTANCE: Final = Container(13, take_apart, put_together, _steps_of_instance)
_RANGE: Final = Container(20, _take_range_apart, _put_range_together, steps_by_number)
REGISTERED: Final = Container(
    22, registry.take_apart, registry.put_together, registry.steps_to_parts
)

UNPACK_OF_CODE: Final = {scalar.code: scalar.unpack for scalar in SCALAR_OF_TYPE.values()}
PUT_TOGETHER_OF_CODE: Final = {
    container.code: container.put_together
    for container in (*_CONTAINER_OF_TYPE.values(), _MODEL_INSTANCE, _RANGE, REGISTERED)
}


def container_of(kind: type) -> Container | None:
    """Return the container that values of this very type are, or None."""
    if (container := own_container_of(kind)) is not None:
        return container
    return REGISTERED if registry.find_form(kind) is not None else None


def own_container_of(kind: type) -> Container | None:
    """Return the container of a type that isn't registered but has an extension of its own."""
    if (container := _CONTAINER_OF_TYPE.get(kind)) is not None:
        return container
    if issubclass(kind, Model):
        return _MODEL_INSTANCE
    if kind.__module__ == _RANGE_MODULE and kind.__qualname__ == "Range":
        return _RANGE
    return None
