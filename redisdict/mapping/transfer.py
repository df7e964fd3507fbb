"""Dump a dict to a file, load it, or copy it to another dict, in flat memory."""

from __future__ import annotations

import asyncio
import io
import operator
from collections.abc import Callable, Sequence
from typing import IO, Any, Generic, TypeVar

from redisdict.mapping.bound import Bound, Topic
from redisdict.mapping.dump_format import DumpReader, DumpWriter, next_batch, verified, write_all
from redisdict.mapping.layouts.base import Record
from redisdict.mapping.scanning import PageSize, Scan
from redisdict.wire.requests import Call, Operation

K = TypeVar("K")
V = TypeVar("V")


class TransferMethods(Topic[K, V], Generic[K, V]):
    """`dump`, `load` and `clone_to`.

    The `call` of an operation calls a function that reads or writes a file: `operator.call` does so
    there and then, `asyncio.to_thread` elsewhere.
    """

    def _scan_records(self) -> Scan[Record]:
        """Scan all that is stored, as it is stored."""
        layout, size = self._bound.layout, PageSize()

        def page(cursor: bytes) -> Operation[Any]:
            cursor, records = yield from layout.scan_records(cursor, size.count)
            fields = [record[0] for record in records]
            size.learn(fields, [record[1] for record in records])
            return cursor, fields, (records,)

        return Scan(page, list)

    def _dump_operation(self, file: IO[bytes], call: Callable[..., Any]) -> Operation[int]:
        _check_is_binary(file, "wb")
        writer = DumpWriter(self._bound.key_codec.kind)
        yield Call(call, (write_all, file, writer.header()))
        scan = self._scan_records()
        while not scan.is_over:
            records = list((yield from scan.next_page()))
            yield Call(call, (write_all, file, writer.items(records)))
        yield Call(call, (write_all, file, writer.end()))
        return writer.count

    def dump(self, file: IO[bytes]) -> int:
        """Write all items to a file opened as "wb", with their times to live; return their number.

        Keys and values are written as they are on the server, in the format that
        `redisdict.mapping.dump_format` describes. HSCAN, or SCAN with GET and PTTL.
        """
        return self._run(self._dump_operation(file, operator.call))

    async def adump(self, file: IO[bytes]) -> int:
        """As `dump()`; the file is written in a thread."""
        return await self._arun(self._dump_operation(file, asyncio.to_thread))

    def _load_operation(self, file: IO[bytes], call: Callable[..., Any]) -> Operation[int]:
        bound = self._bound
        _check_is_binary(file, "rb")
        kind = bound.key_codec.kind
        checked = yield Call(call, (verified, file, kind, bound.key_codec.decode))
        count = 0
        try:
            records = iter(DumpReader(checked, kind))
            while batch := (yield Call(call, (next_batch, records))):
                yield from bound.layout.set_records(batch)
                count += len(batch)
        finally:
            if checked is not file:
                checked.close()
        return count

    def load(self, file: IO[bytes]) -> int:
        """Store the items of a file that `dump()` wrote; return their number. Others stay.

        The file is read twice, the first time to check that it is complete, so a damaged one
        changes nothing. Each item gets the time to live that it had when it was written. HSET or
        MSET; a script, or SET PX, for items with a time to live.

        Values are stored unread: load only files that you trust into a dict that reads pickle.

        Raises:
            DeserializationError: it is no such file, is damaged, or has keys of another type.
        """
        return self._run(self._load_operation(file, operator.call))

    async def aload(self, file: IO[bytes]) -> int:
        """As `load()`; the file is read in a thread."""
        return await self._arun(self._load_operation(file, asyncio.to_thread))

    def _clone_operation(self, other: Bound[Any], run: Callable[..., Any]) -> Operation[int]:
        """Store all items in another dict, whose operations `run` runs."""
        count = 0
        scan = self._scan_records()
        while not scan.is_over:
            records = self._rewritten(list((yield from scan.next_page())), other)
            if records:
                yield Call(run, (other.layout.set_records(records),))
            count += len(records)
        return count

    def clone_to(self, other: TransferMethods[Any, Any]) -> int:
        """Store all items in another dict, with their times to live; return their number.

        It may have another alias, layout, serializer or key_type; values are decoded and encoded
        again only if that is needed. Its other items stay. Memory stays flat.
        """
        return self._run(self._clone_operation(other._bound, other._run))

    async def aclone_to(self, other: TransferMethods[Any, Any]) -> int:
        """As `clone_to()`."""
        return await self._arun(self._clone_operation(other._bound, other._arun))

    def _rewritten(self, records: Sequence[Record], other: Bound[Any]) -> Sequence[Record]:
        """Write the records as the other dict would; untouched where that is the same."""
        bound = self._bound
        if bound.codec is not other.codec:
            decode, encode = bound.codec.decode, other.codec.encode
            records = [(key, encode(decode(value)), left_ms) for key, value, left_ms in records]
        if bound.key_codec != other.key_codec:
            decode_key, encode_key = bound.key_codec.decode, other.key_codec.encode
            records = [
                (encode_key(decode_key(key)), value, left_ms) for key, value, left_ms in records
            ]
        return records


def _check_is_binary(file: object, mode: str) -> None:
    method = "write" if mode == "wb" else "read"
    if not hasattr(file, method) or isinstance(file, io.TextIOBase):
        raise TypeError(
            f"file is {type(file).__name__}; a file of bytes is expected,"
            f' as open(path, "{mode}") gives.'
        )
