"""Store a dict as string keys: an item is a key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, compress
from operator import itemgetter
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from redisdict.mapping.keys import Names, escape_glob
from redisdict.mapping.layouts.base import (
    CHUNK,
    FOREVER,
    MISSING,
    SCAN_COUNT,
    Layout,
    PageOfPairs,
    Pair,
    Record,
    Values,
    ask,
    bytes_of,
    slices,
)
from redisdict.mapping.scanning import Pages
from redisdict.wire.requests import Argument, Batch, Command, Once, Operation, Step
from redisdict.wire.scan import scan_keys
from redisdict.wire.scripts import Script

T = TypeVar("T")

COMPARE_AND_SET = Script("compare_and_set", __package__)
SHORTEN = Script("shorten", __package__)

#: Keys looked at in the first SCAN for any item of the dict; each further one looks at more.
FIRST_SCAN_COUNT = 10


class KeysLayout(Layout):
    """A string key for every item, which the server lets expire by itself.

    Whatever concerns the whole dict (`len`, iteration, `clear`) scans all keys of the
    database with SCAN, so its cost grows with the database and not only with the dict.
    """

    is_hash = False

    def __init__(self, names: Names) -> None:
        self.prefix = names.item_prefix
        try:
            self._text_prefix = names.item_prefix.decode()
        except UnicodeDecodeError:
            self._text_prefix = ""  # the name has a lone surrogate
        self._field_of = itemgetter(slice(len(names.item_prefix), None))
        self._escaped_prefix = escape_glob(names.item_prefix)
        self._found_at = b"0"

    def get(self, field: bytes) -> Step[bytes | None]:
        command = (b"GET", self.prefix + field)
        return Step(command, ask, (command,))

    def get_many(self, fields: Sequence[Argument]) -> Operation[list[Values]]:
        return _all([(b"MGET", *self._keys(some)) for some in slices(fields, CHUNK)])

    def contains(self, field: bytes) -> Step[int]:
        command = (b"EXISTS", self.prefix + field)
        return Step(command, ask, (command,))

    def set(self, field: bytes, value: Argument, timeout_ms: int | None) -> Step[Any]:
        command = self._set_command(field, value, timeout_ms)
        return Step(command, ask, (command,))

    def set_many(self, items: Sequence[Argument], timeout_ms: int | None) -> Operation[None]:
        if timeout_ms is None:
            yield from _all([self._set_many_command(some) for some in slices(items, 2 * CHUNK)])
            return
        pairs: Any = zip(items[::2], items[1::2], strict=True)
        yield from _all([self._set_command(field, value, timeout_ms) for field, value in pairs])

    def add(self, field: bytes, value: Argument, timeout_ms: int | None) -> Operation[int]:
        command = Once((*self._set_command(field, value, timeout_ms), b"NX"))
        return int((yield command) is not None)

    def delete(self, field: bytes) -> Step[int]:
        command = Once((b"DEL", self.prefix + field))
        return Step(command, ask, (command,))

    def delete_many(self, fields: Sequence[bytes]) -> Operation[int]:
        if len(fields) == 1:
            return (yield from self.delete(fields[0]).begin())
        commands = [(b"DEL", *self._keys(some)) for some in slices(fields, CHUNK)]
        return sum((yield from _all(commands, is_repeatable=False)))

    def pop(self, field: bytes) -> Operation[bytes | None]:
        value: bytes | None = yield Once((b"GETDEL", self.prefix + field))
        return value

    def popitem(self) -> Operation[Pair | None]:
        # Goes on where the last one was found, for the keys before it belong to others by now;
        # only a scan of all keys shows that there is none.
        cursor = start = self._found_at
        count = FIRST_SCAN_COUNT
        while True:
            next_cursor, fields = yield from self.scan_fields(cursor, count=count)
            for field in fields:
                value = yield from self.pop(field)
                if value is not None:
                    self._found_at = cursor
                    return field, value
            if next_cursor == b"0" and start == b"0":
                return None
            if next_cursor == b"0":
                start = b"0"
            cursor = next_cursor
            count = min(2 * count, SCAN_COUNT)

    def compare_and_set(self, field: bytes, expected: bytes, new: Argument) -> Operation[int]:
        return COMPARE_AND_SET.call((self.prefix + field,), expected, new, is_repeatable=False)

    def incr(self, field: bytes, delta: int, timeout_ms: int | None) -> Operation[bytes | int]:
        command = Once((b"INCRBY", self.prefix + field, str(delta)))
        total: bytes | int
        if timeout_ms is None:
            total = yield command
            return total
        begin = (*self._set_command(field, b"0", timeout_ms), b"NX")
        _, total = yield from _all([begin, command], is_atomic=True, is_repeatable=False)
        return total

    def touch(self, field: bytes, timeout_ms: int | None) -> Operation[int]:
        key = self.prefix + field
        if timeout_ms is not None:
            is_there: int = yield (b"PEXPIRE", key, timeout_ms)
            return is_there
        # PERSIST answers 0 to a key without a time to live as well as to no key.
        _, is_there = yield from _all([(b"PERSIST", key), (b"EXISTS", key)], is_atomic=True)
        return is_there

    def ttl(self, field: bytes) -> Operation[int]:
        left_ms: int = yield (b"PTTL", self.prefix + field)
        return left_ms

    def ttl_many(self, fields: Sequence[bytes]) -> Operation[list[int]]:
        return _all([(b"PTTL", self.prefix + field) for field in fields])

    def get_with_ttl(self, field: bytes) -> Operation[tuple[bytes | None, int]]:
        key = self.prefix + field
        value, left_ms = yield from _all([(b"GET", key), (b"PTTL", key)])
        return value, left_ms

    def length(self) -> Step[int]:
        return Step(None, self._count)

    def _count(self) -> Operation[int]:
        count = 0
        cursor = b"0"
        pages = Pages()
        while True:
            cursor, keys = yield from self._scan(cursor)
            count += len(pages.fresh(cursor, keys))
            if cursor == b"0":
                return count

    def clear(self) -> Operation[None]:
        yield from self._of_each_page(lambda keys: ask((b"UNLINK", *keys)))

    def expire(self, timeout_ms: int | None) -> Operation[int]:
        def limit(keys: Sequence[bytes]) -> Operation[Any]:
            if timeout_ms is None:
                return _all([(b"PERSIST", key) for key in keys])
            return SHORTEN.call(keys, timeout_ms)

        return int(bool((yield from self._of_each_page(limit))))

    def memory_usage(self) -> Operation[int]:
        def ask_for_sizes(keys: Sequence[bytes]) -> Operation[list[Any]]:
            return _all([(b"MEMORY", b"USAGE", key) for key in keys])

        return sum(map(bytes_of, (yield from self._of_each_page(ask_for_sizes))))

    def _of_each_page(self, begin: Callable[[Sequence[bytes]], Operation[T]]) -> Operation[list[T]]:
        """Scan all keys, and do something with those of each page that has any.

        A page may have many more than were asked for.
        """
        results = []
        cursor = b"0"
        while True:
            cursor, keys = yield from self._scan(cursor)
            for some in slices(keys, CHUNK):
                results.append((yield from begin(some)))  # noqa: PERF401  # it yields
            if cursor == b"0":
                return results

    def scan_fields(
        self, cursor: bytes, pattern: bytes | None = None, count: int = SCAN_COUNT
    ) -> Operation[tuple[bytes, list[bytes]]]:
        cursor, keys = yield from self._scan(cursor, pattern, count)
        return cursor, list(map(self._field_of, keys))

    def scan_pairs(self, cursor: bytes, count: int = SCAN_COUNT) -> Operation[PageOfPairs]:
        cursor, keys = yield from self._scan(cursor, None, count)
        replies = yield from _all([(b"MGET", *some) for some in slices(keys, CHUNK)])
        values = list(chain.from_iterable(replies))
        if not all(values):
            # Those that expired or were deleted between SCAN and MGET are gone.
            is_there = [value is not None for value in values]
            keys, values = list(compress(keys, is_there)), list(compress(values, is_there))
        return cursor, keys, values

    def scan_records(
        self, cursor: bytes, count: int = SCAN_COUNT
    ) -> Operation[tuple[bytes, list[Record]]]:
        cursor, keys = yield from self._scan(cursor, None, count)
        reading = [command for key in keys for command in ((b"GET", key), (b"PTTL", key))]
        # Atomic, for a value must not be given the time to live of one that has replaced it.
        replies = iter((yield from _all(reading, is_atomic=True)))
        found = zip(map(self._field_of, keys), replies, replies, strict=True)
        return cursor, [
            record for record in found if record[1] is not None and record[2] != MISSING
        ]

    def set_records(self, records: Sequence[Record]) -> Operation[None]:
        immortal = [record[:2] for record in records if record[2] == FOREVER]
        yield from self.set_many(list(chain.from_iterable(immortal)), None)
        mortal = [record for record in records if record[2] != FOREVER]
        yield from _all([self._set_command(*record) for record in mortal])

    def _scan(
        self, cursor: bytes, pattern: bytes | None = None, count: int = SCAN_COUNT
    ) -> Operation[tuple[bytes, list[bytes]]]:
        """Read a page of whole keys."""
        match = self._escaped_prefix + (b"*" if pattern is None else pattern)
        return scan_keys(cursor, match, count)

    def _keys(self, fields: Sequence[Any]) -> Sequence[Argument]:
        """Name the keys of these fields, which are bytes, or text that is packed as such."""
        prefix: Any = self.prefix
        if isinstance(fields[0], str):
            if self._text_prefix:
                prefix = self._text_prefix
            else:
                fields = list(map(str.encode, fields))
        return [prefix + field for field in fields]

    def _set_many_command(self, items: Sequence[Any]) -> Command:
        arguments = list(items)
        arguments[::2] = self._keys(items[::2])
        return (b"MSET", *arguments)

    def _set_command(self, field: bytes, value: Argument, timeout_ms: int | None) -> Command:
        if timeout_ms is None:
            return (b"SET", self.prefix + field, value)
        return (b"SET", self.prefix + field, value, b"PX", timeout_ms)


def _all(
    commands: Sequence[Command], *, is_atomic: bool = False, is_repeatable: bool = True
) -> Operation[list[Any]]:
    """Ask for all of them in one round trip; the first error is raised."""
    if not commands:
        return []
    replies: list[Any] = yield Batch(commands, is_atomic=is_atomic, is_repeatable=is_repeatable)
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply
    return replies
