"""Encode the values of a dict as stored bytes, and decode them."""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import repeat
from operator import is_, itemgetter
from struct import Struct
from typing import Any, Final
from zlib import crc32

from redisdict.codec import messagepack
from redisdict.codec.compressors import Compressor
from redisdict.codec.envelope import (
    CHECKSUM_LENGTH,
    CHECKSUM_RESIDUE,
    FIRST_FORMAT_BYTE,
    MAX_BITS_OF_TEXT,
    MSGPACK,
    PICKLE,
    RAW,
    UNCOMPRESSED,
    UNSEALED_BYTES,
    are_whole,
    damaged,
    format_byte,
    parse_number,
    seal,
    split_format_byte,
)
from redisdict.codec.normalize import type_name
from redisdict.codec.serializers import (
    JsonSerializer,
    MessagePackSerializer,
    RawSerializer,
    Serializer,
    builtin_compressor,
    find_compressor,
    find_serializer,
)
from redisdict.conf import AliasConfig
from redisdict.exceptions import (
    ConfigurationError,
    DeserializationError,
    RedisDictError,
    SerializationError,
)

DEFAULT_COMPRESS_MIN_LENGTH: Final = 1024
DEFAULT_MAX_DECODED_LENGTH: Final = 512 * 1024 * 1024

_FIRST_FORMAT_BYTE: Final = bytes([FIRST_FORMAT_BYTE])
_PLAIN_MSGPACK: Final = format_byte(MSGPACK, UNCOMPRESSED)

# For many values at once: what C calls for each of them, without a step of Python in between.
_FIRST_BYTE: Final = itemgetter(0)
_BODY: Final = itemgetter(slice(1, -CHECKSUM_LENGTH))
_PACK_CHECKSUM: Final = Struct("<I").pack
_CHECKSUM_OF_PREFIX: Final = crc32(_PLAIN_MSGPACK)

# So many at a time that what is made of them is still in the processor's cache for the next step.
_DECODED_AT_ONCE: Final = 2000


class Codec:
    """Writes values by one serializer and one compressor, and reads those of all of them.

    `serializer` and `compressor` are names, dotted paths, classes or instances; `compressor` may be
    None. Values of at least `compress_min_length` bytes are compressed if that makes them smaller.
    `max_decoded_length` limits the bytes that a compressed value may have when it is decompressed.
    `also_read` names further serializers to read: "pickle" and your own are read only by a codec
    that names them, the others always.

    A codec keeps nothing between calls: threads and tasks can share one.
    """

    def __init__(
        self,
        serializer: object = "msgpack",
        compressor: object = None,
        *,
        compress_min_length: int = DEFAULT_COMPRESS_MIN_LENGTH,
        max_decoded_length: int = DEFAULT_MAX_DECODED_LENGTH,
        also_read: Iterable[object] = (),
    ) -> None:
        self.serializer = find_serializer(serializer)
        self.compressor = None if compressor is None else find_compressor(compressor)
        self.compress_min_length = compress_min_length
        self.max_decoded_length = max_decoded_length

        self._readers = _by_code(
            [
                MessagePackSerializer(),
                JsonSerializer(),
                RawSerializer(),
                *map(find_serializer, also_read),
                self.serializer,
            ]
        )
        self._prefix = format_byte(self.serializer.code, UNCOMPRESSED)
        self._is_raw = self.serializer.code == RAW
        is_msgpack = self.serializer.code == MSGPACK
        self._dumps = messagepack.dumps if is_msgpack else self._dumps_guarded

    def __repr__(self) -> str:
        compressor = None if self.compressor is None else type(self.compressor).__name__
        return f"<Codec {type(self.serializer).__name__} compressor={compressor}>"

    def encode(self, value: Any) -> bytes:
        """Return the bytes to store: decimal text for an int, else bytes with a checksum.

        Raises `SerializationError` for a value that would not come back the same.
        """
        if type(value) is int and not self._is_raw and value.bit_length() <= MAX_BITS_OF_TEXT:
            return b"%d" % value
        body = self._dumps(value)
        if self.compressor is not None and len(body) >= self.compress_min_length:
            compressed = self.compressor.compress(body)
            if len(compressed) < len(body):
                return seal(format_byte(self.serializer.code, self.compressor.code) + compressed)
        if self._is_raw:
            return UNSEALED_BYTES + body
        message = self._prefix + body
        return message + crc32(message).to_bytes(CHECKSUM_LENGTH, "little")  # as seal()

    def decode(self, stored: bytes) -> Any:
        """Return the value of stored bytes, whatever settings it was written with.

        Raises `DeserializationError` for bytes that are damaged, are not this package's, or were
        written by pickle or a serializer of your own that this codec doesn't name.
        """
        first = stored[:1]
        if first == _PLAIN_MSGPACK and crc32(stored) == CHECKSUM_RESIDUE:
            return messagepack.loads(stored[1:-CHECKSUM_LENGTH])
        if first == UNSEALED_BYTES:
            return stored[1:]
        if first < _FIRST_FORMAT_BYTE:
            return parse_number(stored)
        if crc32(stored) != CHECKSUM_RESIDUE:
            raise damaged(stored)
        return self._decode_other(stored)

    def encode_many(self, values: Sequence[Any]) -> list[bytes]:
        """Return the bytes to store for each value, as `encode()` would; faster for many."""
        types = set(map(type, values))
        if self.compressor is None and int not in types:
            if self.serializer.code == MSGPACK:
                return _seal_many(messagepack.dumps_many(values))
            if self._is_raw and types == {bytes}:
                return [UNSEALED_BYTES + value for value in values]
        return list(map(self.encode, values))

    def decode_many(self, stored: Sequence[bytes]) -> list[Any]:
        """Return the value of each of these, as `decode()` would; faster for many."""
        if len(stored) <= _DECODED_AT_ONCE:
            return self._decode_some(stored)
        values = []
        for start in range(0, len(stored), _DECODED_AT_ONCE):
            values += self._decode_some(stored[start : start + _DECODED_AT_ONCE])
        return values

    def _decode_some(self, stored: Sequence[bytes]) -> list[Any]:
        first = stored[0][:1] if stored else b""
        if first == UNSEALED_BYTES:
            bodies = list(map(bytes.removeprefix, stored, repeat(UNSEALED_BYTES)))
            if not any(map(is_, bodies, stored)):  # what has no such prefix comes back as it is
                return bodies
        elif first == _PLAIN_MSGPACK and _begin_alike(stored) and are_whole(stored):
            return messagepack.loads_many(list(map(_BODY, stored)))
        return list(map(self.decode, stored))

    def _dumps_guarded(self, value: Any) -> bytes:
        try:
            return self.serializer.dumps(value)
        except RedisDictError:
            raise
        except Exception as error:
            # What pickle and serializers of users call may raise anything at all.
            raise SerializationError(
                f"{type(self.serializer).__name__} can't store a {type_name(value)}: {error}"
            ) from error

    def _decode_other(self, stored: bytes) -> Any:
        serializer_code, compressor_code = split_format_byte(stored[0])
        serializer = self._reader(serializer_code)
        body = stored[1:-CHECKSUM_LENGTH]
        try:
            if compressor_code != UNCOMPRESSED:
                decompressor = self._decompressor(compressor_code)
                body = decompressor.decompress(body, self.max_decoded_length)
            return serializer.loads(body)
        except RedisDictError:
            raise
        except Exception as error:
            # Decompressors have errors of their own; pickle and users' code may raise anything.
            # Not repr(error): that of a UnicodeDecodeError holds the whole value.
            raise DeserializationError(
                f"{len(stored)} stored bytes can't be read by {type(serializer).__name__}: "
                f"{type(error).__name__}: {error}. They stay on the server as they are."
            ) from error

    def _reader(self, code: int) -> Serializer:
        if (serializer := self._readers.get(code)) is not None:
            return serializer
        if code == PICKLE:
            raise DeserializationError(
                "The stored value is a pickle, and reading one can run code: it is read only where "
                "a setting allows it, SERIALIZER 'pickle' or also_read=['pickle']."
            )
        raise DeserializationError(
            f"The stored value was written by a serializer with the code {code}, which this codec "
            "doesn't have: name it in SERIALIZER or also_read."
        )

    def _decompressor(self, code: int) -> Compressor:
        if self.compressor is not None and self.compressor.code == code:
            return self.compressor
        try:
            found = builtin_compressor(code)
        except ConfigurationError as error:
            raise DeserializationError(f"The stored value is compressed. {error}") from error
        if found is not None:
            return found
        raise DeserializationError(
            f"The stored value was written by a compressor with the code {code}, which this codec "
            "doesn't have: name it in COMPRESSOR."
        )


def _by_code(serializers: Iterable[Serializer]) -> dict[int, Serializer]:
    found: dict[int, Serializer] = {}
    for serializer in serializers:
        other = found.setdefault(serializer.code, serializer)
        if type(other) is not type(serializer):
            raise ConfigurationError(
                f"{type(other).__name__} and {type(serializer).__name__} both have the code "
                f"{serializer.code}: values of one would be read by the other. Give each its own."
            )
    return found


def _begin_alike(stored: Sequence[bytes]) -> bool:
    return all(stored) and len(set(map(_FIRST_BYTE, stored))) == 1


def _seal_many(bodies: list[bytes]) -> list[bytes]:
    """Return `seal()` of the plain MessagePack forms, all of which C goes through."""
    checksums = map(crc32, bodies, repeat(_CHECKSUM_OF_PREFIX))
    parts = zip(repeat(_PLAIN_MSGPACK), bodies, map(_PACK_CHECKSUM, checksums), strict=False)
    return list(map(b"".join, parts))


@cache
def _named_codec(serializer: str, compressor: str | None) -> Codec:
    return Codec(serializer, compressor)


def codec_of(config: AliasConfig, serializer: object = None, compressor: object = None) -> Codec:
    """Return the codec of an alias, by its settings alone.

    Raises `ConfigurationError`, which names the alias if its settings can't be used.
    """
    try:
        return get_codec(serializer or config.serializer, compressor or config.compressor)
    except ConfigurationError as error:
        if serializer or compressor:
            raise
        raise ConfigurationError(f"{config.where}: {error}") from error


def get_codec(serializer: object = "msgpack", compressor: object = None) -> Codec:
    """Return a codec for these settings; the same one each time when both are names.

    Raises `ConfigurationError` for a name that isn't known or a package that isn't installed.
    """
    if isinstance(serializer, str) and (compressor is None or isinstance(compressor, str)):
        return _named_codec(serializer, compressor)
    return Codec(serializer, compressor)
