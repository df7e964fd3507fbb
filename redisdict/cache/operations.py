"""Define the commands of a cache on whole keys, once for sync and async.

A plain command is a `Step`, everything else an operation (see `redisdict.wire.requests`).
Times are milliseconds, None for ever; keys and values are bytes.

Removals are repeated after a lost connection, since that changes nothing; only the number of
removed keys may then be too low. Commands that add, count or move aren't repeated (`Once`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from redis.crc import key_slot
from redis.exceptions import ResponseError

from redisdict.cache.inside import BATCH, COMPARE_AND_SET, Pages
from redisdict.wire.combinators import ask
from redisdict.wire.limits import ITEMS_A_COMMAND, slices
from redisdict.wire.requests import Batch, Command, Once, Operation, Step
from redisdict.wire.scan import scan_keys
from redisdict.wire.scripts import Script

#: Bytes of values in one round trip.
BATCH_BYTES = 4 * 1024 * 1024

#: Keys that one SCAN looks at.
SCAN_COUNT = 1000

INCR_EXISTING = Script("incr_existing", "redisdict.cache")


def plain(command: Command) -> Step[Any]:
    """Make a step of one command whose reply is the result."""
    return Step(command, ask, (command,))


class CacheOperations:
    """The requests of a cache.

    Args:
        is_cluster: whether keys lie on several nodes, so that no command can have two of them.
    """

    def __init__(self, *, is_cluster: bool) -> None:
        self._is_cluster = is_cluster

    # One key

    def get(self, key: bytes) -> Step[bytes | None]:
        command = (b"GET", key)
        return Step(command, ask, (command,))

    def set(self, key: bytes, value: bytes, timeout_ms: int | None) -> Step[Any]:
        if timeout_ms is None:
            command: Command = (b"SET", key, value)
        else:
            command = (b"SET", key, value, b"PX", b"%d" % timeout_ms)  # packed the faster way
        return Step(command, ask, (command,))

    def set_if(
        self, key: bytes, value: bytes, timeout_ms: int | None, condition: bytes
    ) -> Step[bytes | None]:
        """Store with NX (unless it is there) or XX (only if); None when it wasn't stored."""
        expiry = () if timeout_ms is None else (b"PX", timeout_ms)
        return plain(Once((b"SET", key, value, *expiry, condition)))

    def delete(self, key: bytes) -> Step[int]:
        return plain((b"DEL", key))

    def exists(self, key: bytes) -> Step[int]:
        return plain((b"EXISTS", key))

    def is_free(self, key: bytes) -> Step[bool]:
        """Return whether there is no such key."""
        return Step(None, self._is_free, (key,))

    def pttl(self, key: bytes) -> Step[int]:
        return plain((b"PTTL", key))

    def persist(self, key: bytes) -> Step[int]:
        return plain((b"PERSIST", key))

    def expire(self, key: bytes, timeout_ms: int | None) -> Step[int]:
        """Give a key another time to live, 0 for none; 0 when there is no such key."""
        if timeout_ms is not None:
            return plain((b"PEXPIRE", key, timeout_ms))
        return Step(None, self._make_permanent, (key,))

    def expire_at(self, key: bytes, when_ms: int) -> Step[int]:
        return plain((b"PEXPIREAT", key, when_ms))

    def incr(self, key: bytes, delta: int) -> Step[bytes | None]:
        """Add to an integer that is there: the sum as text, None when there is none."""
        command = Once((b"EVALSHA", INCR_EXISTING.digest, 1, key, delta))
        return Step(command, self._incr, (key, delta))

    def _is_free(self, key: bytes) -> Operation[bool]:
        return not (yield (b"EXISTS", key))

    def replace(self, key: bytes, expected: bytes, new: bytes) -> Operation[int]:
        """Set a key that still has that value, whose time to live stays; 1 when it had it."""
        return COMPARE_AND_SET.call((key,), expected, new, is_repeatable=False)

    def rename(self, old: bytes, new: bytes) -> Operation[bool]:
        """Move a value with its time to live; false when there is none."""
        if not self._is_cluster or key_slot(old) == key_slot(new):
            try:
                yield Once((b"RENAME", old, new))
            except ResponseError as error:
                if "no such key" not in str(error):
                    raise
                return False
            return True
        reading: list[Command] = [(b"GET", old), (b"PTTL", old)]
        value, left_ms = yield from _all(reading, is_atomic=True)
        if value is None:
            return False
        yield from ask(self.set(new, value, left_ms if left_ms > 0 else None).command or ())
        yield (b"DEL", old)
        return True

    # Many keys

    def get_many(self, keys: Sequence[bytes]) -> Operation[list[bytes | None]]:
        found: list[bytes | None] = []
        for some in slices(keys, BATCH):
            if self._is_cluster:
                found += yield from _all([(b"GET", key) for key in some])
            else:
                for values in (yield from _all([(b"MGET", *part) for part in slices(some)])):
                    found += values
        return found

    def set_many(
        self, pairs: Iterator[tuple[bytes, bytes]], timeout_ms: int | None
    ) -> Operation[None]:
        """Store values, as many in one round trip as `BATCH_BYTES` allow."""
        commands: list[Command] = []
        size = 0
        for key, value in pairs:
            commands.append(self.set(key, value, timeout_ms).command or ())
            size += len(value)
            if len(commands) >= ITEMS_A_COMMAND or size >= BATCH_BYTES:
                yield from _all(commands)
                commands, size = [], 0
        yield from _all(commands)

    def delete_many(self, keys: Sequence[bytes], name: bytes = b"DEL") -> Operation[int]:
        """Remove keys with DEL or UNLINK; count those that were there."""
        count = 0
        for some in slices(keys, BATCH):
            parts = [[key] for key in some] if self._is_cluster else slices(some)
            commands = [(name, *part) for part in parts]
            count += sum((yield from _all(commands)))
        return count

    def flush(self) -> Step[Any]:
        """Remove all keys of the database."""
        return plain((b"FLUSHDB",))

    def _make_permanent(self, key: bytes) -> Operation[int]:
        # PERSIST answers 0 to a key without a time to live as well as to no key.
        commands: list[Command] = [(b"PERSIST", key), (b"EXISTS", key)]
        is_there: int = (yield from _all(commands, is_atomic=True))[1]
        return is_there

    def _incr(self, key: bytes, delta: int) -> Operation[bytes | None]:
        total: bytes | None = yield from INCR_EXISTING.call((key,), delta, is_repeatable=False)
        return total


class KeyScan:
    """One scan of the keys that match a pattern, none of them twice.

    Args:
        pattern: for MATCH; every wanted key fits it, and others may.
        fits: returns whether a key is wanted, where the pattern is too wide.
        count: the number of keys that one SCAN looks at.
    """

    def __init__(self, pattern: bytes, fits: Any, count: int | None = None) -> None:
        self._pattern = pattern
        self._fits = fits
        self._count = count or SCAN_COUNT
        self._cursor = b"0"
        self._pages = Pages()
        self.is_over = False

    def next_page(self) -> Operation[list[bytes]]:
        cursor, keys = yield from scan_keys(self._cursor, self._pattern, self._count)
        self._cursor = cursor
        self.is_over = cursor == b"0"
        return [key for key in self._pages.fresh(cursor, keys) if self._fits(key)]

    def remove_page(self, operations: CacheOperations) -> Operation[int]:
        """Remove the keys of the next page; how many there were."""
        keys = yield from self.next_page()
        return (yield from operations.delete_many(keys, b"UNLINK"))

    def remove_all(self, operations: CacheOperations) -> Operation[int]:
        """Remove the keys of all pages that are left; how many there were."""
        count = 0
        while not self.is_over:
            count += yield from self.remove_page(operations)
        return count


def _all(commands: Sequence[Command], *, is_atomic: bool = False) -> Operation[list[Any]]:
    """The replies to all of them, in one round trip; the first error is raised."""
    if not commands:
        return []
    replies = yield Batch(commands, is_atomic=is_atomic, is_spread=not is_atomic)
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply
    return list(replies)
