r"""Write and read the files of `dump()` and `load()`.

Numbers are unsigned and little-endian. A file has a header,

    89 52 44 49 43 54 0D 0A    "\x89RDICT\r\n", which a transfer as text would damage
    01                         the version of this format
    1 byte, and as many        what the keys are: "str", "int", "uuid.UUID", "bytes" or "custom"

then for each item, in no order,

    01
    4 bytes                    the length of the key
    4 bytes                    the length of the value
    8 bytes                    the item's time to live in milliseconds; 0 for ever
    the key, the value         as they are on the server

and at the end

    00
    8 bytes                    the number of items
    4 bytes                    CRC-32 of everything before it

so a file that was cut off has no end. Bytes after the end are ignored.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, Protocol
from zlib import crc32

from redisdict.exceptions import DeserializationError
from redisdict.mapping.layouts.base import FOREVER, Record

MAGIC = b"\x89RDICT\r\n"
VERSION = 1

_ITEM = struct.Struct("<BIIQ")
_END = struct.Struct("<BQ")
_CHECKSUM = struct.Struct("<I")
_IS_ITEM = b"\x01"
_IS_END = b"\x00"

#: What servers take at most for a key or a value (proto-max-bulk-len), so more is damage.
MAX_LENGTH = 512 * 1024 * 1024

#: No read asks for more at once: a wrong length costs no more memory than the file has bytes.
READ_BYTES = 1024 * 1024

#: Items that are stored in one round trip, and the bytes that they have at most before the last.
BATCH_ITEMS = 1000
BATCH_BYTES = 4 * 1024 * 1024


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class DumpWriter:
    """Makes the bytes of one file, piece by piece."""

    def __init__(self, key_kind: str) -> None:
        self._key_kind = key_kind.encode()
        self._checksum = 0
        self.count = 0

    def header(self) -> bytes:
        return self._counted(
            MAGIC + bytes([VERSION, len(self._key_kind)]) + self._key_kind,
        )

    def items(self, records: Sequence[Record]) -> bytes:
        self.count += len(records)
        parts = []
        for key, value, left_ms in records:
            # An item in its last millisecond has none left, which would read as for ever.
            left_ms = 0 if left_ms == FOREVER else max(left_ms, 1)
            parts += [_ITEM.pack(_IS_ITEM[0], len(key), len(value), left_ms), key, value]
        return self._counted(b"".join(parts))

    def end(self) -> bytes:
        end = self._counted(_END.pack(_IS_END[0], self.count))
        return end + _CHECKSUM.pack(self._checksum)

    def _counted(self, data: bytes) -> bytes:
        self._checksum = crc32(data, self._checksum)
        return data


class DumpReader:
    """Iterates over the items of a file, from its header to its end.

    Args:
        file: positioned at the header; afterwards it is behind the end.
        key_kind: the kind of the dict's keys.

    Raises:
        DeserializationError: while iterating, when it is no dump, one of another kind of keys or
            a later version, damaged, or cut off.
    """

    def __init__(self, file: Readable, key_kind: str) -> None:
        self._file = file
        self._key_kind = key_kind
        self._checksum = 0
        self._count = 0

    def __iter__(self) -> Iterator[Record]:
        self._read_header()
        while (mark := self._read(1)) == _IS_ITEM:
            _, key_length, value_length, left_ms = _ITEM.unpack(mark + self._read(_ITEM.size - 1))
            if max(key_length, value_length) > MAX_LENGTH:
                raise self._damaged("has an absurd length")
            key, value = self._read(key_length), self._read(value_length)
            self._count += 1
            yield key, value, left_ms or FOREVER
        if mark != _IS_END:
            raise self._damaged("doesn't begin as one")
        self._read_end(mark)

    def _read_header(self) -> None:
        start = self._read(len(MAGIC) + 2)
        if not start.startswith(MAGIC):
            raise DeserializationError(
                "The file isn't one that dump() has written, or it was changed by a transfer as"
                " text. Nothing was stored."
            )
        version, length = start[-2:]
        if version != VERSION:
            raise DeserializationError(
                f"The file has version {version} of the format; this release reads version"
                f" {VERSION}. Load it with the release that wrote it, or a later one. Nothing was"
                " stored."
            )
        kind = self._read(length).decode("ascii", "replace")
        if kind != self._key_kind:
            raise DeserializationError(
                f"The file has keys of the key_type {kind}, this dict has {self._key_kind}. Load it"
                " into a dict with that key_type. Nothing was stored."
            )

    def _read_end(self, mark: bytes) -> None:
        _, count = _END.unpack(mark + self._read(_END.size - 1))
        expected = self._checksum
        [checksum] = _CHECKSUM.unpack(self._read(_CHECKSUM.size))
        if count != self._count or checksum != expected:
            raise self._damaged("comes before an end mark that doesn't match what was read")

    def _read(self, length: int) -> bytes:
        parts = []
        left = length
        while left:
            part = self._file.read(min(left, READ_BYTES))
            if not part:
                raise self._damaged("is where the file ends too early")
            self._checksum = crc32(part, self._checksum)
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _damaged(self, what: str) -> DeserializationError:
        return DeserializationError(
            f"The file is damaged or was cut off: item {self._count + 1} {what}."
            " Nothing was stored; dump it again, or use another copy."
        )


def verified(file: IO[bytes], key_kind: str, check_key: Callable[[bytes], object]) -> IO[bytes]:
    """Check a file to the end, and return one that has the whole dump from its position on.

    It is `file` itself, read once and set back; one that can't be set back, such as a pipe, is
    copied into a temporary file, which goes when it is closed.

    Raises:
        DeserializationError: it is damaged, or isn't for this dict.
    """
    copy: IO[bytes] | None = None
    source: Readable = file
    if file.seekable():
        start = file.tell()
    else:
        start = 0
        copy = TemporaryFile()  # noqa: SIM115  # outlives this function
        source = _Copying(file, copy)
    try:
        for key, _, _ in DumpReader(source, key_kind):
            _check(key, check_key)
    except BaseException:
        if copy is not None:
            copy.close()
        raise
    checked = copy or file
    checked.seek(start)
    return checked


def _check(key: bytes, check_key: Callable[[bytes], object]) -> None:
    try:
        check_key(key)
    except DeserializationError as error:
        raise DeserializationError(f"{error} Nothing was stored.") from error


def next_batch(records: Iterator[Record]) -> list[Record]:
    """Take as many items as one round trip should carry; none at the end."""
    batch = []
    size = 0
    for record in islice(records, BATCH_ITEMS):
        batch.append(record)
        size += len(record[0]) + len(record[1])
        if size >= BATCH_BYTES:
            break
    return batch


def write_all(file: IO[bytes], data: bytes) -> None:
    """Write everything, also to a file without a buffer, which may take less at a time."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


class _Copying:
    """Reads from one file and writes what it has read to another."""

    def __init__(self, source: Readable, copy: IO[bytes]) -> None:
        self._source = source
        self._copy = copy

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._copy.write(data)
        return data
