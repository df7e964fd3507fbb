"""Store a dict as one HASH: an item is a field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from redis.exceptions import ResponseError

from redisdict.mapping.keys import Names
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
    bytes_of,
    slices,
)
from redisdict.wire.combinators import run_concurrently
from redisdict.wire.requests import Argument, Batch, Command, Once, Operation, Step
from redisdict.wire.scripts import Script
from redisdict.wire.server_state import Capabilities

SCRIPT = Script("hash", __package__)

#: While the dict is relocated, after so many operations the plain command is tried again.
SCRIPT_OPERATIONS = 256

#: Items that one call of the script reads or removes, and that it stores. Each takes the server a
#: microsecond or two to read and several to store, in a dict of a million on a busy machine 5 and
#: 20, and nothing may hold it up for long. But a server whose threads share the keys (Dragonfly)
#: takes as long for the call itself as for some hundred items.
SCRIPT_CHUNK = 1000
SCRIPT_STORES = 500

#: Fields that MEMORY USAGE looks at to tell the size of all: a millisecond of the server's time.
SAMPLES = 1000


class HashLayout(Layout):
    """One HASH a dict.

    While no item has a timeout, every operation is one plain command. The first timeout relocates
    the hash and leaves a marker under its public key (see `lua/hash.lua`), which a plain command
    meets as WRONGTYPE; from then on this object goes through the script, and looks now and then
    whether the marker is still there. The expiry of fields that Redis 8 and Valkey 9 have is not
    used, for their HLEN counts dead fields until a background job has removed them.
    """

    is_hash = True
    prefix = b""

    def __init__(self, names: Names, capabilities: Capabilities) -> None:
        self._key = names.hash
        self._keys = (names.hash, names.relocated, names.deadlines)
        self._capabilities = capabilities
        self._is_relocated = False
        self._operations_left = 0

    def get(self, field: bytes) -> Step[bytes | None]:
        command = (b"HGET", self._key, field)
        return Step(None if self._is_relocated else command, self._either, (command, "get", field))

    def get_many(self, fields: Sequence[Argument]) -> Operation[list[Values]]:
        return self._chunks(b"HMGET", "get_many", fields)

    def contains(self, field: bytes) -> Step[int]:
        command = (b"HEXISTS", self._key, field)
        plain = None if self._is_relocated else command
        return Step(plain, self._either, (command, "contains", field))

    def set(self, field: bytes, value: Argument, timeout_ms: int | None) -> Step[Any]:
        if timeout_ms is not None:
            return Step(None, self._script, ("set", timeout_ms, field, value))
        command = (b"HSET", self._key, field, value)
        plain = None if self._is_relocated else command
        return Step(plain, self._either, (command, "set", b"", field, value))

    def set_many(self, items: Sequence[Argument], timeout_ms: int | None) -> Operation[None]:
        if timeout_ms is None:
            yield from self._chunks(b"HSET", "set", items, b"", width=2, script_chunk=SCRIPT_STORES)
            return
        for some in slices(items, 2 * SCRIPT_STORES):
            yield from self._script("set", timeout_ms, *some)

    def add(self, field: bytes, value: Argument, timeout_ms: int | None) -> Operation[int]:
        if timeout_ms is None:
            command = Once((b"HSETNX", self._key, field, value))
            return self._either(command, "add", b"", field, value)
        return self._script("add", timeout_ms, field, value, is_repeatable=False)

    def delete(self, field: bytes) -> Step[int]:
        command = Once((b"HDEL", self._key, field))
        plain = None if self._is_relocated else command
        return Step(plain, self._either, (command, "delete", field))

    def delete_many(self, fields: Sequence[bytes]) -> Operation[int]:
        if len(fields) == 1:
            return (yield from self.delete(fields[0]).begin())
        return sum((yield from self._chunks(b"HDEL", "delete", fields, is_repeatable=False)))

    def pop(self, field: bytes) -> Operation[bytes | None]:
        value: bytes | None
        if self._capabilities.has_hash_getdel and self._may_be_plain():
            try:
                [value] = yield Once((b"HGETDEL", self._key, b"FIELDS", 1, field))
            except ResponseError as error:
                if "unknown command" in str(error):
                    self._capabilities.has_hash_getdel = False
                else:
                    self._meet_marker(error)
            else:
                return value
        value = yield from self._script("pop", field, is_repeatable=False)
        return value

    def popitem(self) -> Operation[Pair | None]:
        while True:
            pair = yield from self._script("popitem", is_repeatable=False)
            if pair is None:
                return None
            if pair:
                return pair[0], pair[1]

    def compare_and_set(self, field: bytes, expected: bytes, new: Argument) -> Operation[int]:
        return self._script("compare_and_set", field, expected, new, is_repeatable=False)

    def incr(self, field: bytes, delta: int, timeout_ms: int | None) -> Operation[bytes | int]:
        arguments = (_text(timeout_ms), field, str(delta))
        if timeout_ms is None:
            command = Once((b"HINCRBY", self._key, field, str(delta)))
            return self._either(command, "incr", *arguments)
        return self._script("incr", *arguments, is_repeatable=False)

    def touch(self, field: bytes, timeout_ms: int | None) -> Operation[int]:
        if timeout_ms is None:
            # Where no marker is, there is no deadline to take away.
            return self._either((b"HEXISTS", self._key, field), "touch", b"", field)
        return self._script("touch", timeout_ms, field)

    def ttl(self, field: bytes) -> Operation[int]:
        if self._may_be_plain():
            command = (b"HEXISTS", self._key, field)
            is_there, left_ms = yield Batch([command, self._left_of_dict])
            if not isinstance(is_there, ResponseError):
                return int(left_ms) if is_there else MISSING
            self._meet_marker(is_there)
        return int((yield from self._script("ttl", field)))

    def ttl_many(self, fields: Sequence[bytes]) -> Operation[list[int]]:
        if self._may_be_plain():
            # A hash without a marker has one end for all its fields.
            kind, left_ms = yield Batch([(b"TYPE", self._key), self._left_of_dict])
            if kind != b"string":
                return [int(left_ms)] * len(fields)
            self._note_marker()
        return (yield from run_concurrently(self._script("ttl", field) for field in fields))

    def get_with_ttl(self, field: bytes) -> Operation[tuple[bytes | None, int]]:
        if self._may_be_plain():
            command = (b"HGET", self._key, field)
            value, left_ms = yield Batch([command, self._left_of_dict])
            if not isinstance(value, ResponseError):
                return value, MISSING if value is None else int(left_ms)
            self._meet_marker(value)
        value, left_ms = yield from self._script("get_with_ttl", field)
        return value, int(left_ms)

    def length(self) -> Step[int]:
        command = (b"HLEN", self._key)
        return Step(None if self._is_relocated else command, self._either, (command, "len"))

    def clear(self) -> Operation[None]:
        yield (b"UNLINK", *self._keys)

    def expire(self, timeout_ms: int | None) -> Operation[int]:
        return self._script("expire", _text(timeout_ms))

    def memory_usage(self) -> Operation[int]:
        sizes = yield Batch([(b"MEMORY", b"USAGE", key, b"SAMPLES", SAMPLES) for key in self._keys])
        return bytes_of(sizes)

    def scan_fields(
        self, cursor: bytes, pattern: bytes | None = None, count: int = SCAN_COUNT
    ) -> Operation[tuple[bytes, list[bytes]]]:
        if self._capabilities.has_scan_without_values and self._may_be_plain():
            command = (b"HSCAN", self._key, *_page(cursor, count, pattern), b"NOVALUES")
            try:
                reply = yield command
            except ResponseError as error:
                if "syntax" in str(error):
                    self._capabilities.has_scan_without_values = False
                else:
                    self._meet_marker(error)
            else:
                return reply[0], reply[1]
        reply = yield from self._scan(cursor, pattern, count)
        return reply[0], reply[1][::2]

    def scan_pairs(self, cursor: bytes, count: int = SCAN_COUNT) -> Operation[PageOfPairs]:
        next_cursor, flat = yield from self._scan(cursor, None, count)
        return next_cursor, flat[::2], flat[1::2]

    def scan_records(
        self, cursor: bytes, count: int = SCAN_COUNT
    ) -> Operation[tuple[bytes, list[Record]]]:
        if self._may_be_plain():
            command = (b"HSCAN", self._key, *_page(cursor, count))
            reply, left_ms = yield Batch([command, self._left_of_dict])
            if not isinstance(reply, ResponseError):
                if left_ms == MISSING:
                    return b"0", []
                flat = iter(reply[1])
                return reply[0], [(*pair, left_ms) for pair in zip(flat, flat, strict=True)]
            self._meet_marker(reply)
        reply = yield from self._script("scan_records", *_script_page(cursor, count))
        flat = iter(reply[1])
        return reply[0], list(zip(flat, flat, flat, strict=True))

    def set_records(self, records: Sequence[Record]) -> Operation[None]:
        immortal = [record[:2] for record in records if record[2] == FOREVER]
        yield from self.set_many(list(chain.from_iterable(immortal)), None)
        mortal = [record for record in records if record[2] != FOREVER]
        for some in slices(mortal, SCRIPT_STORES):
            arguments: Iterator[Argument] = chain.from_iterable(some)
            yield from self._script("set_records", *arguments)

    @property
    def _left_of_dict(self) -> Command:
        return (b"PTTL", self._key)

    def _scan(self, cursor: bytes, pattern: bytes | None, count: int) -> Operation[Any]:
        command = (b"HSCAN", self._key, *_page(cursor, count, pattern))
        return self._either(command, "scan", *_script_page(cursor, count, pattern))

    def _may_be_plain(self) -> bool:
        """Return whether to try the plain command: no marker was met, or not for some time."""
        if not self._is_relocated:
            return True
        self._operations_left -= 1
        self._is_relocated = self._operations_left > 0
        return not self._is_relocated

    def _either(self, command: Command, name: str, *arguments: Argument) -> Operation[Any]:
        """Ask for the plain command, or for the same of the script where the dict is relocated."""
        if not self._is_relocated or self._may_be_plain():
            try:
                return (yield command)
            except ResponseError as error:
                self._meet_marker(error)
        return (
            yield from self._script(name, *arguments, is_repeatable=not isinstance(command, Once))
        )

    def _chunks(
        self,
        verb: bytes,
        name: str,
        arguments: Sequence[Argument],
        *first: Argument,
        width: int = 1,
        script_chunk: int = SCRIPT_CHUNK,
        is_repeatable: bool = True,
    ) -> Operation[list[Any]]:
        """Ask for the commands that items of `width` arguments take, in one round trip.

        Only the commands that meet a marker are repeated by the script: one that has succeeded
        must not be repeated, since other clients may have changed the items meanwhile.
        """
        chunks = list(slices(arguments, CHUNK * width))
        answers: list[Any] = [None] * len(chunks)
        if chunks and self._may_be_plain():
            commands = [(verb, self._key, *chunk) for chunk in chunks]
            answers = yield Batch(commands, is_repeatable=is_repeatable)
        replies = []
        for chunk, answer in zip(chunks, answers, strict=True):
            if isinstance(answer, ResponseError):
                self._meet_marker(answer)
            elif answer is not None:
                replies.append(answer)
                continue
            for some in slices(chunk, script_chunk * width):
                reply = yield from self._script(name, *first, *some, is_repeatable=is_repeatable)
                replies.append(reply)
        return replies

    def _meet_marker(self, error: ResponseError) -> None:
        """Go through the script from now on: WRONGTYPE means a marker, or a key that isn't ours,
        which the script will find out.

        Raises:
            redis.exceptions.ResponseError: it is something else.
        """
        if not str(error).startswith("WRONGTYPE"):
            raise error
        self._note_marker()

    def _note_marker(self) -> None:
        self._is_relocated = True
        self._operations_left = SCRIPT_OPERATIONS

    def _script(
        self, name: str, *arguments: Argument, is_repeatable: bool = True
    ) -> Operation[Any]:
        return SCRIPT.call(self._keys, name, *arguments, is_repeatable=is_repeatable)


def _text(timeout_ms: int | None) -> Argument:
    return b"" if timeout_ms is None else timeout_ms


def _script_page(cursor: bytes, count: int, pattern: bytes | None = None) -> tuple[Argument, ...]:
    return _page(cursor, min(count, SCRIPT_CHUNK), pattern)


def _page(cursor: bytes, count: int, pattern: bytes | None = None) -> tuple[Argument, ...]:
    match = () if pattern is None else (b"MATCH", pattern)
    return (cursor, b"COUNT", count, *match)
