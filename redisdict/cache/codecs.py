"""Write and read the values of a cache."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any, Final
from zlib import crc32

from redisdict.cache.foreign import PICKLE_PROTOCOL, ForeignReader, ForeignWriter
from redisdict.cache.options import CacheOptions
from redisdict.codec import Codec, get_codec
from redisdict.codec.envelope import (
    CHECKSUM_LENGTH,
    CHECKSUM_RESIDUE,
    PICKLE,
    RAW,
    UNCOMPRESSED,
    UNSEALED_BYTES,
    format_byte,
)
from redisdict.exceptions import ConfigurationError, DeserializationError, SerializationError

PLAIN_PICKLE: Final = format_byte(PICKLE, UNCOMPRESSED)


class UnstorableError(SerializationError, pickle.PicklingError):
    """The value can't be stored by the cache's serializer; nothing was written.

    It is a PicklingError as well, with any serializer, since other backends raise that and callers
    expect it.
    """


class CacheCodec:
    """Values to stored bytes and back.

    Args:
        options: the cache's options.
        serializer, compressor: the defaults, used when the options name none.

    Raises:
        ConfigurationError: there is no such serializer or compressor.
    """

    #: Of a value; `UnstorableError` if it would not come back the same.
    encode: Callable[[Any], bytes]

    #: Of an intact or a foreign value.
    decode: Callable[[bytes], Any]

    def __init__(self, options: CacheOptions, serializer: str, compressor: str | None) -> None:
        self._where = options.where
        self._serializer = options.serializer or serializer
        names = (self._serializer, options.compressor or compressor)
        self._reads_foreign = options.read_from or options.write_for
        try:
            self._codec = (
                Codec(*names, also_read=["pickle"])
                if self._reads_foreign == "django-redis"
                else get_codec(*names)
            )
        except ConfigurationError as error:
            raise ConfigurationError(f'{options.where}["OPTIONS"]: {error}') from None
        self._encode: Callable[[Any], bytes] = self._codec.encode
        if options.write_for is not None:
            min_length = self._codec.compress_min_length
            self._encode = ForeignWriter(self._codec.compressor, min_length).encode
        self.encode, self.decode = self._encode_checked, self._codec.decode
        if self._reads_foreign:
            self._reader = ForeignReader(self._reads_foreign, self._codec.max_decoded_length)
            self.decode = self._decode_any
        elif self._codec.serializer.code == PICKLE and self._codec.compressor is None:
            self.encode, self.decode = self._encode_pickle, self._decode_pickle

    def _encode_checked(self, value: Any) -> bytes:
        try:
            return self._encode(value)
        except SerializationError as error:
            raise self._refusal(error) from error
        except (AttributeError, TypeError, pickle.PickleError) as error:
            raise UnstorableError(f"{type(error).__name__}: {error}") from error

    def decode_many(self, stored: Sequence[bytes]) -> list[Any]:
        """Decode several values, as `decode()` does each; faster for many."""
        if self._reads_foreign:
            return list(map(self._decode_any, stored))
        return self._codec.decode_many(stored)

    # As the codec does it, in fewer steps: with pickle those were a third of what a value costs.

    def _encode_pickle(self, value: Any) -> bytes:
        if type(value) is int:
            return self._encode_checked(value)
        try:
            message = PLAIN_PICKLE + pickle.dumps(value, PICKLE_PROTOCOL)
        except Exception:  # noqa: BLE001  # the codec tells of it
            return self._encode_checked(value)
        return message + crc32(message).to_bytes(CHECKSUM_LENGTH, "little")

    def _decode_pickle(self, stored: bytes) -> Any:
        if stored[:1] == PLAIN_PICKLE and crc32(stored) == CHECKSUM_RESIDUE:
            try:
                # Whose end is before the checksum.
                return pickle.loads(stored[1:])  # noqa: S301 - only where a setting names it
            except Exception:  # noqa: BLE001, S110  # the codec tells of it
                pass
        return self._codec.decode(stored)

    def _decode_any(self, stored: bytes) -> Any:
        """The value of bytes that this package or the others wrote.

        The others' are known by the checksum that they lack: a pickle begins with the byte that
        this package's MessagePack does.
        """
        if stored[:1] == UNSEALED_BYTES and self._codec.serializer.code != RAW:
            return self._reader.read(stored)
        try:
            return self._codec.decode(stored)
        except DeserializationError:
            if stored[:1] >= b"\x80" and crc32(stored) == CHECKSUM_RESIDUE:
                raise
        return self._reader.read(stored)

    def _refusal(self, error: SerializationError) -> UnstorableError:
        if self._serializer == "pickle":
            return UnstorableError(str(error))
        return UnstorableError(
            f'{error} ({self._where} has the serializer "{self._serializer}"; its "OPTIONS":'
            ' {"SERIALIZER": "pickle"} stores what pickle can.)'
        )
