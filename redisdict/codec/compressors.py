"""Compress values with zlib, zstd or LZ4, and limit the memory that decompressing can take.

A few stored bytes can announce gigabytes. Every `decompress` here stops after `max_length` bytes
and never allocates a size that the stored bytes merely claim.
"""

import sys
import zlib
from importlib import import_module
from threading import local
from types import ModuleType
from typing import Any, Final, Protocol

from redisdict.codec import envelope
from redisdict.exceptions import ConfigurationError

_ZSTD_MODULE: Final = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


class Compressor(Protocol):
    """The interface of a compressor.

    `code` is its permanent number in the format byte, 6 or 7 for compressors of your own.
    """

    code: int

    def compress(self, data: bytes) -> bytes:
        """Return the compressed form."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return the original bytes; raise `ValueError` for more than `max_length` of them."""
        ...


class ZlibCompressor:
    """Deflate, from the standard library; small results, slow to write."""

    code = envelope.ZLIB

    def compress(self, data: bytes) -> bytes:
        return zlib.compress(data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return _decompress_all(zlib.decompressobj(), data, max_length)


class ZstdCompressor:
    """Zstandard: as small as zlib and several times faster on values above some kilobytes.

    From the standard library since Python 3.14, before that from the extra `zstd`.
    """

    code = envelope.ZSTD

    def __init__(self) -> None:
        self._zstd = _import_or_name_extra(_ZSTD_MODULE, extra="zstd")
        # Making a zstd compressor takes five times as long as compressing a kilobyte with it, and
        # one must not be used by two threads at once.
        self._of_thread = local()

    def compress(self, data: bytes) -> bytes:
        try:
            compressor = self._of_thread.compressor
        except AttributeError:
            compressor = self._of_thread.compressor = self._zstd.ZstdCompressor()
        compressed: bytes = compressor.compress(data, compressor.FLUSH_FRAME)
        return compressed

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return _decompress_all(self._zstd.ZstdDecompressor(), data, max_length)


class Lz4Compressor:
    """LZ4 frames, from the extra `lz4`: the fastest, with the largest results."""

    code = envelope.LZ4

    # No LZ4 block grows to more than 255 times its size.
    _MAX_RATIO: Final = 255

    def __init__(self) -> None:
        self._frame = _import_or_name_extra("lz4.frame", extra="lz4")

    def compress(self, data: bytes) -> bytes:
        compressed: bytes = self._frame.compress(data, store_size=True)
        return compressed

    def decompress(self, data: bytes, max_length: int) -> bytes:
        # The decompressor allocates all of the length it is allowed, so that has to be the length
        # in the frame's header, once this is known to be possible.
        length = self._frame.get_frame_info(data)["content_size"]
        if length > max_length:
            raise _too_long(max_length)
        if length > len(data) * self._MAX_RATIO:
            raise ValueError("the LZ4 header announces more bytes than the rest can hold")
        return _decompress_all(self._frame.LZ4FrameDecompressor(), data, length)


def _decompress_all(decompressor: Any, data: bytes, max_length: int) -> bytes:
    """Decompress one whole stream; zlib, zstd and LZ4 are read in one way."""
    # One byte more than is allowed tells a value of just that length from a longer one.
    plain: bytes = decompressor.decompress(data, max_length=max_length + 1)
    if len(plain) > max_length:
        raise _too_long(max_length)
    if not decompressor.eof:
        raise ValueError("the compressed bytes end too early")
    if decompressor.unused_data:
        raise ValueError("other bytes follow the compressed ones")
    return plain


def _too_long(max_length: int) -> ValueError:
    return ValueError(f"it would decompress to more than {max_length} bytes")


def _import_or_name_extra(module: str, extra: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"COMPRESSOR {extra!r} needs a package that isn't installed: "
            f"pip install 'django-redisdict[{extra}]'."
        ) from error
