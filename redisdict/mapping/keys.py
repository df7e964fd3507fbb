"""Keys of a dict to bytes and back, strictly: a key of another type is a TypeError."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from redisdict.exceptions import ConfigurationError, DeserializationError
from redisdict.mapping.names import encode_text

__all__ = ["KeyCodec", "get_key_codec"]

K = TypeVar("K")


class KeyCodec(Generic[K]):
    """How the keys of one dict are written.

    Args:
        expected: what a key must be, for the error.
        encode: from a key to bytes; different keys must give different bytes.
        decode: back.
        is_key: whether something may be a key at all.
    """

    __slots__ = ("_decode", "_encode", "_expected", "_is_key")

    def __init__(
        self,
        expected: str,
        encode: Callable[[K], bytes],
        decode: Callable[[bytes], K],
        is_key: Callable[[object], bool],
    ) -> None:
        self._expected = expected
        self._encode = encode
        self._decode = decode
        self._is_key = is_key

    def encode(self, key: K) -> bytes:
        """The bytes of a key.

        Raises:
            TypeError: it isn't one.
        """
        if not self._is_key(key):
            raise TypeError(
                f"A key of this dict is {self._expected}, not {type(key).__name__} ({key!r:.80});"
                " convert it, or give the dict another key_type."
            )
        return self._encode(key)

    def decode(self, stored: bytes) -> K:
        """The key of stored bytes.

        Raises:
            DeserializationError: no key of this type is written so.
        """
        try:
            return self._decode(stored)
        except (ValueError, TypeError) as error:
            raise DeserializationError(
                f"The stored key {stored[:80]!r} isn't {self._expected}; was it written with"
                " another key_type?"
            ) from error


def _decode_text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")


def _decode_int(stored: bytes) -> int:
    number = int(stored)
    if b"%d" % number != stored:
        raise ValueError(stored)
    return number


def _decode_uuid(stored: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=stored)


_TEXT = KeyCodec[str]("str", encode_text, _decode_text, lambda key: isinstance(key, str))
_INT = KeyCodec[int](
    "int",
    lambda key: b"%d" % key,
    _decode_int,
    lambda key: isinstance(key, int) and not isinstance(key, bool),
)
_UUID = KeyCodec[uuid.UUID](
    "uuid.UUID", lambda key: key.bytes, _decode_uuid, lambda key: isinstance(key, uuid.UUID)
)
_BYTES = KeyCodec[bytes]("bytes", bytes, bytes, lambda key: isinstance(key, bytes))
_KNOWN: dict[object, KeyCodec[Any]] = {str: _TEXT, int: _INT, uuid.UUID: _UUID, bytes: _BYTES}


def get_key_codec(key_type: object) -> KeyCodec[Any]:
    """The codec for a dict's `key_type`.

    Args:
        key_type: `str`, `int`, `uuid.UUID`, `bytes`, or a pair `(encode, decode)` of functions
            from a key to bytes and back.

    Raises:
        ConfigurationError: something else.
    """
    if isinstance(key_type, type) and key_type in _KNOWN:
        return _KNOWN[key_type]
    if isinstance(key_type, tuple) and len(key_type) == 2 and all(map(callable, key_type)):
        encode, decode = key_type
        return KeyCodec("what its key_type takes", encode, decode, lambda key: True)
    raise ConfigurationError(
        f"key_type is {key_type!r}; str, int, uuid.UUID, bytes or a pair of functions"
        " (encode, decode) is expected."
    )
