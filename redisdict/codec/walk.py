"""The thorough way to MessagePack: a walk through the whole value in Python.

It is taken for the values that ormsgpack refuses: some can be stored all the same (dicts with keys
that aren't str, text with lone surrogates), for the others it finds the place to name.
"""

from collections.abc import Iterable
from typing import Any, Final

from ormsgpack import Ext, MsgpackEncodeError, packb

from redisdict.codec.extensions import (
    MAPPING,
    MAX_NESTED_CONTAINERS,
    OPTIONS,
    SCALAR_OF_TYPE,
    Container,
    container_of,
)
from redisdict.codec.refusal import Unstorable, plain_form
from redisdict.exceptions import SerializationError

_NATIVE_TYPES: Final = (type(None), bool, float, bytes, bytearray)
_NATIVE_INTEGERS: Final = range(-(2**63), 2**64)

# A place inside a value, innermost step last: (where it is, what to append to its name). Built for
# every element, put into words only in an error.
_Place = tuple["_Place", str, Any] | None


def dumps(value: Any) -> bytes:
    """Return the MessagePack form of a value, or raise `SerializationError` with the place."""
    try:
        return packb(_prepare(value, None, MAX_NESTED_CONTAINERS), None, OPTIONS)
    except SerializationError:
        raise
    except (MsgpackEncodeError, RecursionError) as error:
        raise SerializationError(
            "The value contains itself or nests too deep to be stored: lists and dicts can nest "
            f"250 levels, tuples, sets and the like {MAX_NESTED_CONTAINERS}. Store the parts as "
            "items of their own."
        ) from error


def _prepare(value: Any, place: _Place, levels: int) -> Any:
    """Return the value with an extension in the place of all that MessagePack doesn't have."""
    kind = type(value)
    if kind in _NATIVE_TYPES or (kind is int and value in _NATIVE_INTEGERS):
        return value
    if kind is str and _is_encodable(value):
        return value
    if kind is list:
        return [_prepare(item, (place, "[{}]", i), levels) for i, item in enumerate(value)]
    if kind is dict:
        return _prepare_dict(value, place, levels)
    if kind is memoryview:
        return value.tobytes()
    try:
        if (scalar := SCALAR_OF_TYPE.get(kind)) is not None:
            return scalar.to_ext(value)
        if (container := container_of(kind)) is not None:
            return _prepare_container(container, container.take_apart(value), place, levels)
        plain = plain_form(value)
    except Unstorable as error:
        raise SerializationError(f"{_in_words(place)}: {error}.") from None
    return _prepare(plain, place, levels)


def _prepare_dict(value: dict[Any, Any], place: _Place, levels: int) -> Any:
    if all(type(key) is str and _is_encodable(key) for key in value):
        return {key: _prepare(item, (place, "[{!r}]", key), levels) for key, item in value.items()}
    return _prepare_container(MAPPING, MAPPING.take_apart(value), place, levels)


def _prepare_container(
    container: Container, parts: Iterable[Any], place: _Place, levels: int
) -> Ext:
    if not levels:
        raise RecursionError
    step = container.step
    prepared = [_prepare(part, (place, step, i), levels - 1) for i, part in enumerate(parts)]
    return container.to_ext(prepared, None)


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_words(place: _Place) -> str:
    steps = []
    while place is not None:
        place, template, argument = place
        steps.append(template.format(argument))
    return "value" + "".join(reversed(steps))
