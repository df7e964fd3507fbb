"""The dict as one HASH: an item is a field."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import chain
from typing import Any

from redis.exceptions import ResponseError

from redisdict.connections.capabilities import Capabilities
from redisdict.connections.requests import Argument, Batch, Command, Once, Operation
from redisdict.mapping.layout import CHUNK, COMMANDS_PER_BATCH, Layout, Pair, slices
from redisdict.mapping.names import Names
from redisdict.mapping.scripts import HASH

__all__ = ["HashLayout"]

#: Fields asked for in one HSCAN: at 1000 the page costs the server about half a millisecond.
SCAN_COUNT = 1000


class HashLayout(Layout):
    """One HASH a dict.

    While no item has a timeout, every operation is one plain command. The first timeout puts up a
    fence (see `lua/hash.lua`), which a plain command runs into as WRONGTYPE; from then on this
    object goes through the script. The expiry of fields that Redis 8 and Valkey 9 have is not used,
    for their HLEN counts dead fields until a background job has removed them.
    """

    is_hash = True

    def __init__(self, names: Names, capabilities: Capabilities) -> None:
        self._key = names.hash
        self._keys = (names.hash, names.fenced, names.deadlines)
        self._capabilities = capabilities
        self._is_fenced = False

    def get(self, field: bytes) -> Operation[bytes | None]:
        return self._either((b"HGET", self._key, field), "get", field)

    def get_many(self, fields: Sequence[bytes]) -> Operation[list[bytes | None]]:
        values: list[bytes | None] = []
        for some in slices(fields, CHUNK * COMMANDS_PER_BATCH):
            commands = [(b"HMGET", self._key, *chunk) for chunk in slices(some, CHUNK)]
            replies = yield from self._batch(commands)
            if replies is None:
                replies = []
                for chunk in slices(some, CHUNK):
                    replies.append((yield from self._script("get_many", *chunk)))
            values.extend(chain.from_iterable(replies))
        return values

    def contains(self, field: bytes) -> Operation[int]:
        return self._either((b"HEXISTS", self._key, field), "contains", field)

    def set(self, field: bytes, value: Argument, timeout_ms: int | None) -> Operation[None]:
        if timeout_ms is None:
            return self._either((b"HSET", self._key, field, value), "set", b"", field, value)
        return self._script("set", timeout_ms, field, value)

    def set_many(
        self, pairs: Sequence[tuple[bytes, Argument]], timeout_ms: int | None
    ) -> Operation[None]:
        for some in slices(pairs, CHUNK * COMMANDS_PER_BATCH):
            chunks = [tuple(chain.from_iterable(chunk)) for chunk in slices(some, CHUNK)]
            replies = None
            if timeout_ms is None:
                replies = yield from self._batch([(b"HSET", self._key, *c) for c in chunks])
            if replies is None:
                for chunk in chunks:
                    yield from self._script("set", _text(timeout_ms), *chunk)

    def add(self, field: bytes, value: Argument, timeout_ms: int | None) -> Operation[int]:
        if timeout_ms is None:
            command = Once((b"HSETNX", self._key, field, value))
            return self._either(command, "add", b"", field, value)
        return self._script("add", timeout_ms, field, value, is_repeatable=False)

    def delete(self, fields: Sequence[bytes]) -> Operation[int]:
        count = 0
        for chunk in slices(fields, CHUNK):
            command = Once((b"HDEL", self._key, *chunk))
            count += yield from self._either(command, "delete", *chunk)
        return count

    def pop(self, field: bytes) -> Operation[bytes | None]:
        if self._capabilities.has_hash_getdel and not self._is_fenced:
            command = Once((b"HGETDEL", self._key, b"FIELDS", 1, field))
            try:
                reply = yield from self._either(command, "pop", field)
            except ResponseError as error:
                if "unknown command" not in str(error):
                    raise
                self._capabilities.has_hash_getdel = False
            else:
                value: bytes | None = reply[0] if isinstance(reply, list) else reply
                return value
        value = yield from self._script("pop", field, is_repeatable=False)
        return value

    def popitem(self) -> Operation[Pair | None]:
        pair = yield from self._script("popitem", is_repeatable=False)
        return (pair[0], pair[1]) if pair else None

    def compare_and_set(self, field: bytes, expected: bytes, new: Argument) -> Operation[int]:
        return self._script("compare_and_set", field, expected, new, is_repeatable=False)

    def compare_and_delete(self, field: bytes, expected: bytes) -> Operation[int]:
        return self._script("compare_and_delete", field, expected, is_repeatable=False)

    def incr(self, field: bytes, delta: float) -> Operation[bytes | int]:
        name = b"HINCRBY" if isinstance(delta, int) else b"HINCRBYFLOAT"
        command = Once((name, self._key, field, repr(delta)))
        return self._either(command, "incr", name, field, repr(delta))

    def touch(self, field: bytes, timeout_ms: int | None) -> Operation[int]:
        return self._script("touch", _text(timeout_ms), field)

    def ttl(self, field: bytes) -> Operation[int]:
        return self._script("ttl", field)

    def length(self) -> Operation[int]:
        return self._either((b"HLEN", self._key), "len")

    def clear(self) -> Operation[None]:
        yield (b"UNLINK", *self._keys)

    def expire(self, timeout_ms: int | None) -> Operation[int]:
        return self._script("expire", _text(timeout_ms))

    def memory_usage(self) -> Operation[int]:
        sizes = yield Batch([(b"MEMORY", b"USAGE", key, b"SAMPLES", 0) for key in self._keys])
        return sum(size or 0 for size in sizes)

    def scan_fields(
        self, cursor: bytes, pattern: bytes | None
    ) -> Operation[tuple[bytes, list[bytes]]]:
        if self._capabilities.has_scan_without_values and not self._is_fenced:
            try:
                reply = yield from self._scan(cursor, pattern, b"NOVALUES")
            except ResponseError as error:
                if "syntax" not in str(error):
                    raise
                self._capabilities.has_scan_without_values = False
            else:
                # Behind a fence that was met just now, the script gave the values as well.
                return reply[0], reply[1][::2] if self._is_fenced else reply[1]
        reply = yield from self._scan(cursor, pattern)
        return reply[0], reply[1][::2]

    def scan_pairs(
        self, cursor: bytes, pattern: bytes | None
    ) -> Operation[tuple[bytes, list[Pair]]]:
        reply = yield from self._scan(cursor, pattern)
        flat: Iterator[bytes] = iter(reply[1])
        return reply[0], list(zip(flat, flat, strict=True))

    def _scan(self, cursor: bytes, pattern: bytes | None, *extra: bytes) -> Operation[Any]:
        only = () if pattern is None else (pattern,)
        match = () if pattern is None else (b"MATCH", pattern)
        command = (b"HSCAN", self._key, cursor, *match, b"COUNT", SCAN_COUNT, *extra)
        return self._either(command, "scan", cursor, SCAN_COUNT, *only)

    def _either(self, command: Command, name: str, *arguments: Argument) -> Operation[Any]:
        """The plain command; behind a fence the operation of the script."""
        if not self._is_fenced:
            try:
                return (yield command)
            except ResponseError as error:
                self._meet_fence(error)
        return (
            yield from self._script(name, *arguments, is_repeatable=not isinstance(command, Once))
        )

    def _batch(self, commands: Sequence[Command]) -> Generator[Any, Any, list[Any] | None]:
        """The replies of plain commands, or None behind a fence."""
        if self._is_fenced:
            return None
        replies: list[Any] = yield Batch(commands)
        for reply in replies:
            if isinstance(reply, ResponseError):
                self._meet_fence(reply)
                return None
        return replies

    def _meet_fence(self, error: ResponseError) -> None:
        """Go through the script from now on: WRONGTYPE means a fence, or a key that isn't ours,
        which the script will find out.

        Raises:
            redis.exceptions.ResponseError: it is something else.
        """
        if not str(error).startswith("WRONGTYPE"):
            raise error
        self._is_fenced = True

    def _script(
        self, name: str, *arguments: Argument, is_repeatable: bool = True
    ) -> Operation[Any]:
        return HASH.call(self._keys, name, *arguments, is_repeatable=is_repeatable)


def _text(timeout_ms: int | None) -> Argument:
    return b"" if timeout_ms is None else timeout_ms
