"""Locks with a time limit and an owner, as operations.

One key with a random token, set only when it is not there (SET NX PX) and deleted only by who
knows the token: the single-server algorithm of the Redis documentation ("Distributed locks").
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Sequence

from redisdict.mapping.names import Names
from redisdict.mapping.scripts import COMPARE_AND_DELETE, COMPARE_AND_EXPIRE
from redisdict.mapping.shards import shard_of
from redisdict.mapping.timeouts import to_milliseconds
from redisdict.wire.requests import Once, Operation, Sleep

__all__ = ["LockOperations", "limit_ms"]

#: The first pause between two attempts, and the longest.
SHORTEST_PAUSE_S = 0.002
LONGEST_PAUSE_S = 0.1

#: Not the module's own, whose state is the same in forked processes.
_random = random.SystemRandom()


class LockOperations:
    """The locks of one dict.

    Args:
        names: of the dict.
        shards: of its shards, over which the locks are spread, if it has any.
    """

    def __init__(self, names: Names, shards: Sequence[Names] = ()) -> None:
        self._prefixes = [each.lock_prefix for each in shards or [names]]

    @staticmethod
    def new_token() -> bytes:
        return secrets.token_hex(16).encode()

    @staticmethod
    def pause_s(attempt: int) -> float:
        """Seconds before the next attempt: growing, and random so that rivals spread out."""
        longest = min(LONGEST_PAUSE_S, SHORTEST_PAUSE_S * 2 ** min(attempt, 10))
        return _random.uniform(longest / 2, longest)

    def try_acquire(self, name: bytes, token: bytes, timeout: float) -> Operation[bool]:
        """Take the lock for `timeout` seconds if nobody has it."""
        key = self._key(name)
        reply = yield Once((b"SET", key, token, b"NX", b"PX", limit_ms(timeout)))
        return reply is not None

    def acquire(
        self, name: bytes, token: bytes, timeout: float, wait: float | None
    ) -> Operation[bool]:
        """Take the lock, waiting up to `wait` seconds for it; None waits for ever."""
        deadline = None if wait is None else time.monotonic() + wait
        attempt = 0
        try:
            while not (yield from self.try_acquire(name, token, timeout)):
                pause_s = self.pause_s(attempt)
                if deadline is not None:
                    left_s = deadline - time.monotonic()
                    if left_s <= 0:
                        return False
                    pause_s = min(pause_s, left_s)
                yield Sleep(pause_s)
                attempt += 1
        except (GeneratorExit, Exception):
            raise
        except BaseException:
            # A task was cancelled, and the server may have given it the lock all the same.
            yield from self.release(name, token)
            raise
        return True

    def extend(self, name: bytes, token: bytes, timeout: float) -> Operation[bool]:
        """Keep the lock for `timeout` seconds from now; false when it was no longer ours."""
        key = self._key(name)
        return bool((yield from COMPARE_AND_EXPIRE.call((key,), token, limit_ms(timeout))))

    def release(self, name: bytes, token: bytes) -> Operation[bool]:
        """Give the lock back; false when it was no longer ours."""
        return bool((yield from COMPARE_AND_DELETE.call((self._key(name),), token)))

    def _key(self, name: bytes) -> bytes:
        return self._prefixes[shard_of(name, len(self._prefixes))] + name


def limit_ms(timeout: float) -> int:
    """The time limit of a lock in milliseconds.

    Raises:
        TypeError, ValueError: it isn't a number of seconds above 0.
    """
    timeout_ms = to_milliseconds(timeout, None)
    if not timeout_ms:
        raise ValueError(
            f"The timeout of a lock is {timeout}; seconds above 0 are expected, since the lock of"
            " an owner that dies must end."
        )
    return timeout_ms
