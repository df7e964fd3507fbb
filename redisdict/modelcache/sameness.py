"""Compare two model instances exactly: class, attributes, types.

`==` doesn't say that: `1 == True`, `Decimal("1.5") == Decimal("1.50")`, `SafeString("a") == "a"`,
and two model instances are equal when their primary keys are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import lru_cache, partial
from types import FunctionType, MethodType
from typing import Any
from uuid import UUID
from weakref import ref

import ormsgpack
from django.db.models import Model
from django.db.models.base import ModelState
from django.db.models.fields.files import FieldFile

from redisdict.codec.extensions import OPTIONS

#: Of these very types, equal values are the same.
EXACT = frozenset({str, bytes, int, bool, type(None), date, timedelta})

#: MessagePack of bytes and of what ormsgpack takes for bytes, such as bytearray, begins so.
BINARY = (b"\xc4", b"\xc5", b"\xc6")

MISSING = object()


def differences(one: Model, other: Model) -> list[str]:
    """The names of attributes that aren't the same in both instances, or not in both.

    Raises:
        Exception: whatever the `__eq__` of a value raises.
    """
    held, others = vars(one), vars(other)
    comparison = _Comparison()
    comparison.assume(one, other)
    return [
        name
        for name in dict.fromkeys([*held, *others])
        if not comparison.is_same(held.get(name, MISSING), others.get(name, MISSING))
    ]


def is_same(one: object, other: object) -> bool:
    """Whether two values are the same; raises the errors of their `__eq__`."""
    return _Comparison().is_same(one, other)


class _Comparison:
    """Compares two graphs of objects, in which there may be circles."""

    def __init__(self) -> None:
        self._verdicts: dict[tuple[int, int], bool] = {}
        self._compared: list[Any] = []  # so that no other object gets the id of one of them

    def assume(self, one: object, other: object) -> None:
        """Take two objects for the same where they are met within themselves."""
        self._verdicts[id(one), id(other)] = True
        self._compared.append((one, other))

    def is_same(self, one: Any, other: Any) -> bool:
        if one is other:
            return True
        kind = type(one)
        if kind is not type(other):
            return False
        if kind in EXACT:
            return bool(one == other)
        verdict = self._verdicts.get((id(one), id(other)))
        if verdict is None:
            self.assume(one, other)
            verdict = self._verdicts[id(one), id(other)] = self._look(one, other)
        return verdict

    def _look(self, one: Any, other: Any) -> bool:
        kind: Any = type(one)
        if kind is dict or kind is list:
            packed = _pack(one)
            if packed is not None:
                return packed == _pack(other)
        if isinstance(one, FieldFile):
            # Whether the file has been opened, for its measures say, is no part of the row.
            return self._are_same(_parts_of_file(one), _parts_of_file(other))
        take_apart = _how_to_take_apart(kind)
        if take_apart is not None:
            mine, others = take_apart(one), take_apart(other)
            return self._are_same(mine, others) and self._have_same_attributes(one, other)
        if isinstance(one, ModelState):
            # Some attributes are the class's until they are set, or made when they are looked at.
            names = vars(one) | vars(other)
            return all(
                self.is_same(getattr(one, name, MISSING), getattr(other, name, MISSING))
                for name in names
            )
        if kind.__eq__ != object.__eq__:
            return bool(one == other)
        return _has_attributes(one) and self._have_same_attributes(one, other)

    def _are_same(self, some: Iterable[Any], others: Iterable[Any]) -> bool:
        some, others = list(some), list(others)
        return len(some) == len(others) and all(map(self.is_same, some, others))

    def _have_same_attributes(self, one: Any, other: Any) -> bool:
        held, others = dict(_attributes(one)), dict(_attributes(other))
        return held.keys() == others.keys() and all(
            self.is_same(value, others[name]) for name, value in held.items()
        )


@lru_cache(maxsize=1024)
def _how_to_take_apart(kind: type) -> Callable[[Any], Iterable[Any]] | None:
    return next((take_apart for base, take_apart in PARTS if issubclass(kind, base)), None)


def _has_attributes(value: object) -> bool:
    return hasattr(value, "__dict__") or any(
        "__slots__" in vars(kind) for kind in type(value).mro()
    )


def _attributes(value: object) -> Iterator[tuple[str, Any]]:
    """The contents of an object's `__dict__` and its slots."""
    yield from getattr(value, "__dict__", {}).items()
    for kind in type(value).mro():
        names = vars(kind).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name not in ("__dict__", "__weakref__"):
                yield name, getattr(value, name, MISSING)


def _pack(value: Any) -> bytes | None:
    """The MessagePack of lists, dicts, text and numbers: others that have the same are the same."""
    try:
        packed = ormsgpack.packb(value, None, OPTIONS)
    except ormsgpack.MsgpackEncodeError:
        return None
    return None if any(mark in packed for mark in BINARY) else packed


def _parts_of_time(value: datetime | time) -> tuple[Any, ...]:
    return value.hour, value.minute, value.second, value.microsecond, value.fold, value.tzinfo


def _parts_of_file(file: FieldFile) -> tuple[Any, ...]:
    # Without the instance: the model's descriptor puts the right one there when it is looked at.
    return file.name, file.field, file.storage, file._committed  # type: ignore[attr-defined]  # Django's own


def _parts_of_dict(value: Mapping[Any, Any]) -> Iterator[Any]:
    yield getattr(value, "default_factory", None)
    for item in value.items():
        yield from item


def _parts_of_set(value: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted((type(item).__qualname__, repr(item)) for item in value))


def _parts_of_function(function: FunctionType) -> tuple[Any, ...]:
    cells = function.__closure__ or ()
    defaults = function.__defaults__, function.__kwdefaults__
    return function.__code__, *defaults, *(cell.cell_contents for cell in cells)


#: What decides about values of these types and of types derived from them; the first that fits.
PARTS: tuple[tuple[type, Callable[[Any], Iterable[Any]]], ...] = (
    (str, lambda value: (str.__str__(value),)),
    (bytes, lambda value: (bytes(value),)),
    (float, lambda value: (struct.pack("<d", value),)),
    (int, lambda value: (int.__int__(value),)),
    (Decimal, lambda value: (value.as_tuple(),)),
    (datetime, lambda value: (value.year, value.month, value.day, *_parts_of_time(value))),
    (date, lambda value: (value.toordinal(),)),
    (time, _parts_of_time),
    (timedelta, lambda value: (value.days, value.seconds, value.microseconds)),
    (timezone, lambda value: (value.utcoffset(None), value.tzname(None))),
    (UUID, lambda value: (value.int,)),
    (list, iter),
    (tuple, iter),
    (dict, _parts_of_dict),
    (set, _parts_of_set),
    (frozenset, _parts_of_set),
    (
        memoryview,
        lambda value: (value.format, value.shape, value.strides, value.readonly, value.tobytes()),
    ),
    (MethodType, lambda method: (method.__func__, method.__self__)),
    (partial, lambda value: (value.func, value.args, value.keywords)),
    (FunctionType, _parts_of_function),
    (ref, lambda reference: (reference(),)),
    # Two of these are equal to Django when their keys are.
    (Model, lambda instance: ()),
)
