"""Write values as MessagePack, exactly, and read them: the serializer "msgpack".

Two ways lead to the same bytes. The fast one lets ormsgpack walk the value and asks a hook only
about types that MessagePack doesn't have. ormsgpack gives up without asking on dict keys that
aren't str and on text with lone surrogates; `slow_path.dumps` is the way for these and for errors.
"""

from collections.abc import Sequence
from itertools import repeat
from threading import local
from typing import Any, Final

from ormsgpack import Fragment, MsgpackEncodeError, packb, unpackb

from redisdict.codec import slow_path
from redisdict.codec.extensions import (
    LEAVES,
    MAX_NESTED_CONTAINERS,
    OPTIONS,
    PUT_TOGETHER_OF_CODE,
    SCALAR_OF_TYPE,
    UNPACK_OF_CODE,
    PackHook,
    UnpackHook,
    container_of,
    pack,
)
from redisdict.codec.normalize import plain_form
from redisdict.exceptions import DeserializationError


class _HookErrors(local):
    """The innermost exception of the hooks of one thread, until it is taken.

    ormsgpack replaces any exception of a hook, `KeyboardInterrupt` and a worker's time limit
    included, with an error of its own that has neither cause nor context. So a hook leaves its
    exception here and the caller of ormsgpack picks it up.
    """

    _error: BaseException | None = None

    def keep(self, error: BaseException) -> None:
        """Remember an exception, unless one from deeper inside is remembered already."""
        if self._error is None:
            self._error = error

    def take(self) -> BaseException | None:
        """Return the remembered exception and forget it."""
        error, self._error = self._error, None
        return error


_hook_errors: Final = _HookErrors()

# unpackb allocates lists of any announced length, crashes where the memory isn't there, and ignores
# what follows the value. Making a Fragment checks structure and end first, and allocates nothing.
_refuse_malformed: Final = Fragment


def dumps(value: Any) -> bytes:
    """Return the MessagePack form of a value.

    Raises `SerializationError`, which names the place inside the value, when it has no exact form,
    contains itself or nests too deep.
    """
    try:
        if type(value) in LEAVES:
            return packb(value, _pack_foreign, OPTIONS)  # as pack() does, without the call
        return pack(value, _pack_foreign)
    except MsgpackEncodeError:
        error = _hook_errors.take()
    if error is not None and not isinstance(error, Exception):
        raise error
    return slow_path.dumps(value)


def dumps_many(values: Sequence[Any]) -> list[bytes]:
    """Return `dumps()` of each value; faster for many values that aren't containers."""
    if LEAVES.issuperset(map(type, values)):
        try:
            return list(map(packb, values, repeat(_pack_foreign), repeat(OPTIONS)))
        except MsgpackEncodeError:
            pass  # text with a lone surrogate, which dumps() has a form for
    return list(map(dumps, values))


def loads(payload: bytes) -> Any:
    """Return the value of a MessagePack form.

    Raises `DeserializationError` for bytes that aren't exactly one value, nest too deep, or hold
    something that can't be made again here, such as an instance of a model that has changed.
    """
    try:
        _refuse_malformed(payload)
        return unpackb(payload, ext_hook=_unpack_foreign)
    except ValueError as unpack_error:
        error = _hook_errors.take() or unpack_error
    if isinstance(error, DeserializationError) or not isinstance(error, Exception):
        raise error
    raise DeserializationError(
        f"Stored MessagePack can't be read: {type(error).__name__}: {error}. The bytes stay on the "
        "server as they are."
    ) from error


def loads_many(payloads: Sequence[bytes]) -> list[Any]:
    """Return `loads()` of each payload; faster for many.

    They are read at once, as the elements of one array. If that fails, each is read alone, so that
    the error says what is wrong with it. Payloads that aren't one value each and yet form such an
    array must have been forged, by someone who could have stored any values.
    """
    array = b"\xdd" + len(payloads).to_bytes(4, "big") + b"".join(payloads)
    try:
        _refuse_malformed(array)
        values: list[Any] = unpackb(array, ext_hook=_unpack_foreign)
        return values
    except ValueError:
        error = _hook_errors.take()
    if error is not None and not isinstance(error, Exception):
        raise error
    return list(map(loads, payloads))


def _pack_hook(levels: int) -> PackHook:
    """Return the hook that may put extensions inside one another this many levels deep."""
    inner = _pack_hook(levels - 1) if levels else None

    def pack_foreign(value: Any) -> Any:
        kind = type(value)
        try:
            if (scalar := SCALAR_OF_TYPE.get(kind)) is not None:
                return scalar.to_ext(value)
            if (container := container_of(kind)) is not None:
                return container.to_ext(container.take_apart(value), inner)
            return plain_form(value)
        except BaseException as error:
            _hook_errors.keep(error)
            raise

    return pack_foreign


def _unpack_hook(levels: int) -> UnpackHook:
    """Return the hook that reads extensions inside one another up to this many levels deep."""
    inner = _unpack_hook(levels - 1) if levels else None

    def unpack_foreign(code: int, data: bytes) -> Any:
        try:
            if (unpack := UNPACK_OF_CODE.get(code)) is not None:
                return unpack(data)
            if (put_together := PUT_TOGETHER_OF_CODE.get(code)) is not None:
                _refuse_malformed(data)
                return put_together(unpackb(data, ext_hook=inner))
            raise ValueError(f"extension type {code} isn't known to this version")
        except BaseException as error:
            _hook_errors.keep(error)
            raise

    return unpack_foreign


_pack_foreign: Final = _pack_hook(MAX_NESTED_CONTAINERS)
_unpack_foreign: Final = _unpack_hook(MAX_NESTED_CONTAINERS)
