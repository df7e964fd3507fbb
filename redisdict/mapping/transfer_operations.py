"""A dict to a file and back, or to another dict, in flat memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import IO, Any, TypeVar

from redisdict.mapping.bulk_operations import BulkOperations
from redisdict.mapping.dump_format import DumpReader, DumpWriter, next_batch, verified, write_all
from redisdict.mapping.item_operations import ItemOperations
from redisdict.mapping.layouts.base import Record
from redisdict.wire.requests import Call, Operation

__all__ = ["TransferOperations"]

K = TypeVar("K")
V = TypeVar("V")


class TransferOperations(BulkOperations[K, V]):
    """The operations that take items elsewhere or bring them from there.

    `call` calls a function that reads or writes a file, as `operator.call` does, or elsewhere, as
    `asyncio.to_thread` does.
    """

    def dump(self, file: IO[bytes], call: Callable[..., Any]) -> Operation[int]:
        _check_is_binary(file, "wb")
        writer = DumpWriter(self.keys.kind)
        yield Call(call, (write_all, file, writer.header()))
        scan = self.scan_records()
        while not scan.is_over:
            records = list((yield from scan.next_page()))
            yield Call(call, (write_all, file, writer.items(records)))
        yield Call(call, (write_all, file, writer.end()))
        return writer.count

    def load(self, file: IO[bytes], call: Callable[..., Any]) -> Operation[int]:
        _check_is_binary(file, "rb")
        kind = self.keys.kind
        checked = yield Call(call, (verified, file, kind, self.keys.decode))
        count = 0
        try:
            records = iter(DumpReader(checked, kind))
            while batch := (yield Call(call, (next_batch, records))):
                yield from self.layout.set_records(batch)
                count += len(batch)
        finally:
            if checked is not file:
                checked.close()
        return count

    def clone_to(self, other: ItemOperations[Any, Any], run: Callable[..., Any]) -> Operation[int]:
        """Store all items in another dict, whose operations `run` runs."""
        count = 0
        scan = self.scan_records()
        while not scan.is_over:
            records = self._rewritten(list((yield from scan.next_page())), other)
            if records:
                yield Call(run, (other.layout.set_records(records),))
            count += len(records)
        return count

    def _rewritten(
        self, records: Sequence[Record], other: ItemOperations[Any, Any]
    ) -> Sequence[Record]:
        """The records as the other dict would write them; untouched where that is the same."""
        if self.codec is not other.codec:
            decode, encode = self.codec.decode, other.codec.encode
            records = [(key, encode(decode(value)), left_ms) for key, value, left_ms in records]
        if self.keys != other.keys:
            decode_key, encode_key = self.keys.decode, other.keys.encode
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
