"""The thorough way to MessagePack: a walk through the whole value in Python.

It is taken for the values that ormsgpack refuses: some can be stored all the same (dicts with keys
that aren't str, text with lone surrogates), for the others it finds the place to name.
"""

from collections.abc import Iterable, Iterator
from itertools import repeat
from reprlib import repr as short_repr
from typing import Any, Final

from ormsgpack import Ext, MsgpackEncodeError

from redisdict.codec.extensions import (
    MAX_NESTED_CONTAINERS,
    SCALAR_OF_TYPE,
    Container,
    Step,
    container_of,
    pack,
    steps_by_key,
    steps_by_number,
)
from redisdict.codec.refusal import Unstorable, plain_form
from redisdict.exceptions import SerializationError

_NATIVE_TYPES: Final = (type(None), bool, float, bytes, bytearray)
_NATIVE_INTEGERS: Final = range(-(2**63), 2**64)

# A place inside a value: the place around it and the step from there. Made for every element, put
# into words only in an error.
_Place = tuple["_Place", Step] | None


def dumps(value: Any) -> bytes:
    """Return the MessagePack form of a value, or raise `SerializationError` with the place."""
    try:
        prepared = _prepare(value, None, MAX_NESTED_CONTAINERS)
    except RecursionError as error:
        raise _too_deep() from error
    try:
        return pack(prepared, None)
    except MsgpackEncodeError as error:
        # Nothing is left that ormsgpack has no form for.
        raise _too_deep() from error


def _prepare(value: Any, place: _Place, levels: int) -> Any:
    """Return the value with an extension in the place of all that MessagePack doesn't have."""
    kind = type(value)
    if kind in _NATIVE_TYPES or (kind is int and value in _NATIVE_INTEGERS):
        return value
    if kind is str and _is_encodable(value):
        return value
    if kind is list:
        # map and not a comprehension, which would be one more Python frame for each level.
        return list(map(_prepare, value, _places(place, steps_by_number(value)), repeat(levels)))
    if kind is dict and all(type(key) is str and _is_encodable(key) for key in value):
        places = _places(place, steps_by_key(value))
        return dict(zip(value, map(_prepare, value.values(), places, repeat(levels)), strict=True))
    if kind is memoryview:
        return value.tobytes()
    try:
        if (scalar := SCALAR_OF_TYPE.get(kind)) is not None:
            return scalar.to_ext(value)
        if (container := container_of(kind)) is not None:
            return _to_ext(container, value, place, levels)
        plain = plain_form(value)
    except Unstorable as error:
        raise SerializationError(f"{_in_words(place)}: {error}.") from None
    return _prepare(plain, place, levels)


def _to_ext(container: Container, value: Any, place: _Place, levels: int) -> Ext:
    if not levels:
        raise _too_deep()
    places = _places(place, container.steps(value))
    parts = list(map(_prepare, container.take_apart(value), places, repeat(levels - 1)))
    try:
        return container.to_ext(parts, None)
    except MsgpackEncodeError as error:
        raise _too_deep() from error


def _places(around: _Place, steps: Iterable[Step]) -> Iterator[_Place]:
    return ((around, step) for step in steps)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_words(place: _Place) -> str:
    steps: list[str] = []
    while place is not None:
        place, (template, name) = place
        steps.append(template.format(short_repr(name)))
    return "value" + "".join(reversed(steps))


def _too_deep() -> SerializationError:
    return SerializationError(
        "value contains itself or nests too deep to be stored: lists and dicts can nest 250 "
        f"levels, tuples, sets and the like {MAX_NESTED_CONTAINERS}. Store the parts as items of "
        "their own."
    )
