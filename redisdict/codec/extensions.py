"""The MessagePack extension types: values that MessagePack itself has no form for.

Codes are permanent, like those of the format byte: a code is never given to another type.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any, Final
from uuid import UUID

import ormsgpack
from django.db.models import Model
from ormsgpack import Ext, Fragment, packb

from redisdict.codec import instances, temporal

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
# the extensions inside one another, so that the two together bound the use of the C stack.
MAX_NESTED_CONTAINERS: Final = 32

PackHook = Callable[[Any], Any]
UnpackHook = Callable[[int, bytes], Any]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A type whose values have nothing inside: written as bytes of its own."""

    code: int
    kind: type
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]

    def to_ext(self, value: Any) -> Ext:
        return Ext(self.code, self.pack(value))


@dataclass(frozen=True, slots=True)
class Container:
    """A type that holds other values: written as the MessagePack array of its parts."""

    code: int
    kind: type
    take_apart: Callable[[Any], Iterable[Any]]
    put_together: Callable[[list[Any]], Any]
    is_unordered: bool = False
    # How an error names the place of a part: "{}" stands for its number.
    step: str = "[{}]"

    def to_ext(self, parts: Iterable[Any], hook: PackHook | None) -> Ext:
        if self.is_unordered:
            # Equal sets get equal bytes, whatever order this process iterates them in.
            parts = map(Fragment, sorted(packb(part, hook, OPTIONS) for part in parts))
        return Ext(self.code, packb(list(parts), hook, OPTIONS))


def _pack_integer(value: int) -> bytes:
    # One bit more than the magnitude needs, for the sign.
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _unpack_integer(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _pack_text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _unpack_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _pack_uuid(value: UUID) -> bytes:
    return value.bytes


def _unpack_uuid(data: bytes) -> UUID:
    return UUID(bytes=data)


def _by_text(code: int, kind: type) -> Scalar:
    """Return the extension of a type that its own `str()` describes completely."""
    return Scalar(
        code,
        kind,
        pack=lambda value: str(value).encode(),
        unpack=lambda data: kind(data.decode()),
    )


def _alternate(mapping: dict[Any, Any]) -> list[Any]:
    return [part for item in mapping.items() for part in item]


def _pair_up(parts: list[Any]) -> dict[Any, Any]:
    iterator = iter(parts)
    return dict(zip(iterator, iterator, strict=True))


MAPPING: Final = Container(12, dict, _alternate, _pair_up, step=" (part {} of its keys and values)")
MODEL_INSTANCE: Final = Container(
    13, Model, instances.take_apart, instances.put_together, step=" (part {} of its fields)"
)

_SCALARS: Final = (
    Scalar(1, int, _pack_integer, _unpack_integer),
    Scalar(2, str, _pack_text, _unpack_text),
    _by_text(3, Decimal),
    Scalar(4, datetime, temporal.pack_datetime, temporal.unpack_datetime),
    Scalar(5, date, temporal.pack_date, temporal.unpack_date),
    Scalar(6, time, temporal.pack_time, temporal.unpack_time),
    Scalar(7, timedelta, temporal.pack_timedelta, temporal.unpack_timedelta),
    Scalar(8, UUID, _pack_uuid, _unpack_uuid),
    _by_text(14, IPv4Address),
    _by_text(15, IPv6Address),
    _by_text(16, IPv4Network),
    _by_text(17, IPv6Network),
    _by_text(18, IPv4Interface),
    _by_text(19, IPv6Interface),
)
_CONTAINERS: Final = (
    Container(9, tuple, list, tuple),
    Container(10, set, list, set, is_unordered=True, step=" (an element)"),
    Container(11, frozenset, list, frozenset, is_unordered=True, step=" (an element)"),
)

SCALAR_OF_TYPE: Final = {scalar.kind: scalar for scalar in _SCALARS}
UNPACK_OF_CODE: Final = {scalar.code: scalar.unpack for scalar in _SCALARS}
CONTAINER_OF_TYPE: Final = {container.kind: container for container in _CONTAINERS}
PUT_TOGETHER_OF_CODE: Final = {
    container.code: container.put_together for container in (*_CONTAINERS, MAPPING, MODEL_INSTANCE)
}


def container_of(kind: type) -> Container | None:
    """Return the container that this very type is, or None."""
    container = CONTAINER_OF_TYPE.get(kind)
    if container is None and issubclass(kind, Model):
        return MODEL_INSTANCE
    return container
