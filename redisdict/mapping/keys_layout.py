"""The dict as string keys of its own: an item is a key."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from redis.exceptions import ResponseError

from redisdict.connections.requests import Argument, Batch, Command, Once, Operation
from redisdict.mapping.layout import CHUNK, COMMANDS_PER_BATCH, Layout, Pair, slices
from redisdict.mapping.names import Names, escape_glob
from redisdict.mapping.scanning import Pages
from redisdict.mapping.scripts import COMPARE_AND_DELETE, COMPARE_AND_SET

__all__ = ["KeysLayout"]

#: Keys looked at in one SCAN.
SCAN_COUNT = 1000


class KeysLayout(Layout):
    """A string key for every item, which the server lets expire by itself.

    Whatever concerns the whole dict (`len`, iteration, `clear`) walks over all keys of the
    database with SCAN, so its cost grows with the database and not only with the dict.
    """

    is_hash = False

    def __init__(self, names: Names) -> None:
        self._prefix = names.item_prefix
        self._escaped_prefix = escape_glob(names.item_prefix)

    def get(self, field: bytes) -> Operation[bytes | None]:
        value: bytes | None = yield (b"GET", self._prefix + field)
        return value

    def get_many(self, fields: Sequence[bytes]) -> Operation[list[bytes | None]]:
        values: list[bytes | None] = []
        prefix = self._prefix
        for some in slices(fields, CHUNK * COMMANDS_PER_BATCH):
            commands = [
                (b"MGET", *(prefix + field for field in chunk)) for chunk in slices(some, CHUNK)
            ]
            values.extend(chain.from_iterable((yield from _all(commands))))
        return values

    def contains(self, field: bytes) -> Operation[int]:
        count: int = yield (b"EXISTS", self._prefix + field)
        return count

    def set(self, field: bytes, value: Argument, timeout_ms: int | None) -> Operation[None]:
        yield self._set_command(field, value, timeout_ms)

    def set_many(
        self, pairs: Sequence[tuple[bytes, Argument]], timeout_ms: int | None
    ) -> Operation[None]:
        prefix = self._prefix
        if timeout_ms is not None:
            for chunk in slices(pairs, CHUNK):
                yield from _all([self._set_command(*pair, timeout_ms) for pair in chunk])
            return
        for some in slices(pairs, CHUNK * COMMANDS_PER_BATCH):
            yield from _all(
                [
                    (b"MSET", *chain.from_iterable((prefix + field, value) for field, value in c))
                    for c in slices(some, CHUNK)
                ]
            )

    def add(self, field: bytes, value: Argument, timeout_ms: int | None) -> Operation[int]:
        command = Once((*self._set_command(field, value, timeout_ms), b"NX"))
        return int((yield command) is not None)

    def delete(self, fields: Sequence[bytes]) -> Operation[int]:
        count = 0
        prefix = self._prefix
        for chunk in slices(fields, CHUNK):
            count += yield Once((b"DEL", *(prefix + field for field in chunk)))
        return count

    def pop(self, field: bytes) -> Operation[bytes | None]:
        value: bytes | None = yield Once((b"GETDEL", self._prefix + field))
        return value

    def popitem(self) -> Operation[Pair | None]:
        cursor = b"0"
        while True:
            cursor, fields = yield from self.scan_fields(cursor, None)
            for field in fields:
                value = yield from self.pop(field)
                if value is not None:
                    return field, value
            if cursor == b"0":
                return None

    def compare_and_set(self, field: bytes, expected: bytes, new: Argument) -> Operation[int]:
        return COMPARE_AND_SET.call((self._prefix + field,), expected, new, is_repeatable=False)

    def compare_and_delete(self, field: bytes, expected: bytes) -> Operation[int]:
        return COMPARE_AND_DELETE.call((self._prefix + field,), expected, is_repeatable=False)

    def incr(self, field: bytes, delta: float) -> Operation[bytes | int]:
        name = b"INCRBY" if isinstance(delta, int) else b"INCRBYFLOAT"
        total: bytes | int = yield Once((name, self._prefix + field, repr(delta)))
        return total

    def touch(self, field: bytes, timeout_ms: int | None) -> Operation[int]:
        key = self._prefix + field
        if timeout_ms is not None:
            is_there: int = yield (b"PEXPIRE", key, timeout_ms)
            return is_there
        # PERSIST answers 0 to a key without a time to live as well as to no key.
        replies = yield Batch([(b"PERSIST", key), (b"EXISTS", key)], is_atomic=True)
        return int(replies[1])

    def ttl(self, field: bytes) -> Operation[int]:
        left_ms: int = yield (b"PTTL", self._prefix + field)
        return left_ms

    def length(self) -> Operation[int]:
        count = 0
        cursor = b"0"
        pages = Pages()
        while True:
            cursor, fields = yield from self.scan_fields(cursor, None)
            count += len(pages.fresh(fields, fields, is_last=cursor == b"0"))
            if cursor == b"0":
                return count

    def clear(self) -> Operation[None]:
        cursor = b"0"
        while True:
            cursor, fields = yield from self.scan_fields(cursor, None)
            if fields:
                yield (b"UNLINK", *(self._prefix + field for field in fields))
            if cursor == b"0":
                return

    def expire(self, timeout_ms: int | None) -> Operation[int]:
        is_there = 0
        cursor = b"0"
        while True:
            cursor, fields = yield from self.scan_fields(cursor, None)
            keys = [self._prefix + field for field in fields]
            if timeout_ms is None:
                yield from _all([(b"PERSIST", key) for key in keys])
            else:
                yield from _all([(b"PEXPIRE", key, timeout_ms) for key in keys])
            is_there |= bool(fields)
            if cursor == b"0":
                return is_there

    def memory_usage(self) -> Operation[int]:
        total = 0
        cursor = b"0"
        while True:
            cursor, fields = yield from self.scan_fields(cursor, None)
            sizes = yield from _all([(b"MEMORY", b"USAGE", self._prefix + f) for f in fields])
            total += sum(size or 0 for size in sizes)
            if cursor == b"0":
                return total

    def scan_fields(
        self, cursor: bytes, pattern: bytes | None
    ) -> Operation[tuple[bytes, list[bytes]]]:
        match = self._escaped_prefix + (b"*" if pattern is None else pattern)
        reply = yield (b"SCAN", cursor, b"MATCH", match, b"COUNT", SCAN_COUNT)
        length = len(self._prefix)
        return reply[0], [key[length:] for key in reply[1]]

    def scan_pairs(
        self, cursor: bytes, pattern: bytes | None
    ) -> Operation[tuple[bytes, list[Pair]]]:
        cursor, fields = yield from self.scan_fields(cursor, pattern)
        if not fields:
            return cursor, []
        values = yield from self.get_many(fields)
        # Those that expired or were deleted between SCAN and MGET are gone.
        return cursor, [
            (field, value) for field, value in zip(fields, values, strict=True) if value is not None
        ]

    def _set_command(self, field: bytes, value: Argument, timeout_ms: int | None) -> Command:
        if timeout_ms is None:
            return (b"SET", self._prefix + field, value)
        return (b"SET", self._prefix + field, value, b"PX", timeout_ms)


def _all(commands: Sequence[Command]) -> Operation[list[Any]]:
    """The replies to all of them, in one round trip; the first error is raised."""
    replies = (yield Batch(commands)) if commands else []
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply
    return replies
