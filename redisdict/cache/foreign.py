"""Read and write values in the forms of django-redis, django-valkey and Django's RedisCache.

They store an integer as decimal text, and anything else as a serializer's bytes, perhaps
compressed, without a mark that names the serializer or compressor.
"""

from __future__ import annotations

import bz2
import json
import lzma
import pickle
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import ormsgpack

from redisdict.codec.compressors import Compressor, Lz4Compressor, ZstdCompressor
from redisdict.exceptions import DeserializationError

#: What compressed bytes begin with. No pickle and no JSON does, and no
#: MessagePack of two bytes or more.
MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bz2"),
)

#: The second byte of zlib's, whose first is `x`, by its level.
ZLIB_LEVELS: Final = frozenset(b"\x01\x5e\x9c\xda")

#: An interpreter reads no more digits unless it is told to.
LONGEST_NUMBER: Final = 4300

PICKLE_PROTOCOL: Final = 5


class ForeignReader:
    """Reads what those wrote, whichever of their compressors they used.

    Args:
        kind: what READ_FROM says. Pickles are read only where it names no other serializer, for
            anyone who can write to the server can run code in every process that reads them.
        max_length: bytes that a compressed value may become.
    """

    def __init__(self, kind: str, max_length: int) -> None:
        self._loads: Callable[[bytes], Any] = {
            "django-redis": _load_pickle,
            "django-redis+json": _load_json,
            "django-redis+msgpack": _load_msgpack,
        }[kind]
        self._kind = kind
        self._max_length = max_length

    def read(self, stored: bytes) -> Any:
        """Decode a value.

        Raises:
            DeserializationError: they didn't write this, or by another serializer.
        """
        if len(stored) <= LONGEST_NUMBER:
            try:
                return int(stored)
            except ValueError:
                pass
        try:
            return self._loads(self._decompress(stored))
        except Exception as error:
            # Pickles and decompressors may raise anything at all.
            raise DeserializationError(
                f"{len(stored)} stored bytes that begin with 0x{stored[:1].hex()} are neither this"
                f' package\'s nor readable by "READ_FROM": "{self._kind}":'
                f" {type(error).__name__}: {error}. They stay on the server as they are."
            ) from error

    def _decompress(self, stored: bytes) -> bytes:
        name = _compression(stored)
        if name is None:
            return stored
        if name in ("lz4", "zstd"):
            compressor: Compressor = Lz4Compressor() if name == "lz4" else ZstdCompressor()
            return compressor.decompress(stored, self._max_length)
        decompressor: Any
        if name == "xz":
            decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        elif name == "bz2":
            decompressor = bz2.BZ2Decompressor()
        else:
            decompressor = zlib.decompressobj(31 if name == "gzip" else 15)
        plain: bytes = decompressor.decompress(stored, self._max_length + 1)
        if len(plain) > self._max_length:
            raise ValueError(f"it would decompress to more than {self._max_length} bytes")
        if not decompressor.eof:
            raise ValueError("the compressed bytes end too early")
        return plain


class ForeignWriter:
    """Writes what those read: integers as text, and pickles, compressed or not.

    Args:
        compressor: the compressor; the other backends must be configured with the same one.
        min_length: values of at least this many bytes are compressed, if that makes them shorter.
    """

    def __init__(self, compressor: Compressor | None, min_length: int) -> None:
        self._compressor = compressor
        self._min_length = min_length

    def encode(self, value: Any) -> bytes:
        if type(value) is int and value.bit_length() <= 2048:
            return b"%d" % value
        body = pickle.dumps(value, PICKLE_PROTOCOL)
        if self._compressor is not None and len(body) >= self._min_length:
            return min(body, self._compressor.compress(body), key=len)
        return body


def _compression(stored: bytes) -> str | None:
    if stored[:1] == b"x" and len(stored) > 2 and stored[1] in ZLIB_LEVELS:
        return "zlib"
    return next((name for magic, name in MAGIC if stored.startswith(magic)), None)


def _load_pickle(data: bytes) -> Any:
    stream = BytesIO(data)
    value = pickle.load(stream)  # noqa: S301 - only where a setting names it
    if stream.read(1):
        raise ValueError("other bytes follow the pickle")
    return value


def _load_json(data: bytes) -> Any:
    return json.loads(data.decode())


def _load_msgpack(data: bytes) -> Any:
    # Looks at structure and end before anything is allocated, which unpackb doesn't.
    ormsgpack.Fragment(data)
    return ormsgpack.unpackb(data, option=ormsgpack.OPT_NON_STR_KEYS)
