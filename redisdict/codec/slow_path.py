"""Write MessagePack in pure Python, for the values that ormsgpack refuses.

Some of them can be stored anyway (dicts with keys that aren't str, text with lone surrogates); for
the others it finds the place that the error names.
"""

from collections.abc import Callable, Iterable
from itertools import islice, repeat
from reprlib import repr as short_repr
from typing import Any, Final, TypeVar

from ormsgpack import Ext, MsgpackEncodeError

from redisdict.codec.extensions import (
    MAX_NESTED_CONTAINERS,
    NATIVE_INTEGERS,
    SCALAR_OF_TYPE,
    Container,
    container_of,
    pack,
    steps_by_key,
    steps_by_number,
)
from redisdict.codec.normalize import Step, Unstorable, plain_form
from redisdict.exceptions import SerializationError

T = TypeVar("T")

_NATIVE_TYPES: Final = frozenset({type(None), bool, float, bytes, bytearray})


def dumps(value: Any) -> bytes:
    """Return the MessagePack form of a value, or raise `SerializationError` with the place."""
    try:
        prepared = _prepare(value, MAX_NESTED_CONTAINERS)
    except Unstorable as error:
        raise SerializationError(f"{_place(error)}: {error}.") from error.__cause__
    except RecursionError as error:
        raise _too_deep() from error
    return _or_too_deep(pack, prepared)


def _prepare(value: Any, levels: int) -> Any:
    """Return the value with an extension in the place of all that MessagePack doesn't have."""
    kind = type(value)
    if kind in _NATIVE_TYPES:
        return value
    if kind is str and _is_encodable(value):
        return value
    if kind is int and value in NATIVE_INTEGERS:
        return value
    if kind is list:
        return _prepare_all(value, levels, steps_by_number, value)
    if kind is dict and all(type(key) is str and _is_encodable(key) for key in value):
        items = _prepare_all(value.values(), levels, steps_by_key, value)
        return dict(zip(value, items, strict=True))
    if kind is memoryview:
        return value.tobytes()
    if (scalar := SCALAR_OF_TYPE.get(kind)) is not None:
        return scalar.to_ext(value)
    if (container := container_of(kind)) is not None:
        return _to_ext(container, value, levels)
    return _prepare(plain_form(value), levels)


def _prepare_all(
    parts: Iterable[Any], levels: int, steps: Callable[[Any], Iterable[Step]], value: Any
) -> list[Any]:
    prepared: list[Any] = []
    try:
        # map and not a comprehension, which would be one more Python frame for each level.
        prepared.extend(map(_prepare, parts, repeat(levels)))
    except Unstorable as error:
        # As many parts are prepared as come before the one that can't be.
        error.steps += islice(steps(value), len(prepared), len(prepared) + 1)
        raise
    return prepared


def _to_ext(container: Container, value: Any, levels: int) -> Ext:
    if not levels:
        raise _too_deep()
    parts = _prepare_all(container.take_apart(value), levels - 1, container.steps, value)
    return _or_too_deep(container.to_ext, parts)


def _or_too_deep(write: Callable[[Any, None], T], prepared: Any) -> T:
    try:
        return write(prepared, None)
    except MsgpackEncodeError as error:
        # ormsgpack has a form for all that is left, so only the depth can be wrong.
        raise _too_deep() from error


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _place(error: Unstorable) -> str:
    steps = (template.format(short_repr(name)) for template, name in reversed(error.steps))
    return "value" + "".join(steps)


def _too_deep() -> SerializationError:
    return SerializationError(
        "value contains itself or nests too deep to be stored: lists and dicts can nest 250 "
        f"levels, tuples, sets and the like {MAX_NESTED_CONTAINERS}. Store the parts as items of "
        "their own."
    )
