"""Lock a name for one owner at a time, with a time limit, for threads and for tasks.

A lock is one key with a random token, set only if it doesn't exist (SET NX PX) and deleted only
with its token: the single-server algorithm of the Redis documentation ("Distributed locks").
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeAlias

from redisdict.exceptions import BackendUnavailable, ConcurrentUpdate
from redisdict.forks import on_fork, own, take_over
from redisdict.mapping.keys import Names, encode_text, shard_of
from redisdict.mapping.layouts.base import to_milliseconds
from redisdict.wire.requests import Once, Operation, Sleep
from redisdict.wire.scripts import Script
from redisdict.wire.server_state import Capabilities

COMPARE_AND_DELETE = Script("compare_and_delete", "redisdict.mapping.layouts")
COMPARE_AND_EXPIRE = Script("compare_and_expire", "redisdict.mapping.layouts")
COMPARE_AND_SET = Script("compare_and_set", "redisdict.mapping.layouts")

#: The token of a lease under which nobody computes: after a failure others don't try at once.
PAUSED = b"paused"

#: The first pause between two attempts, and the longest.
SHORTEST_PAUSE_S = 0.002
LONGEST_PAUSE_S = 0.1

#: Not the module's own, whose state is the same in forked processes.
_random = random.SystemRandom()


class LockOperations:
    """The locks of one dict.

    Args:
        names: the dict's names.
        shards: the names of its shards, over which the locks are spread, if it has any.
        capabilities: the known abilities of the server.
    """

    def __init__(
        self, names: Names, capabilities: Capabilities, shards: Sequence[Names] = ()
    ) -> None:
        self._capabilities = capabilities
        self._prefixes = [each.lock_prefix for each in shards or [names]]

    @staticmethod
    def new_token() -> bytes:
        return secrets.token_hex(16).encode()

    @staticmethod
    def pause_s(attempt: int) -> float:
        """Choose the pause before the next attempt: growing, and random to spread rivals out."""
        longest = min(LONGEST_PAUSE_S, SHORTEST_PAUSE_S * 2 ** min(attempt, 10))
        return _random.uniform(longest / 2, longest)

    def try_acquire(self, name: bytes, token: bytes, timeout: float) -> Operation[bool]:
        """Take the lock for `timeout` seconds if it is free.

        Raises:
            ServerUnsupported: the server runs no scripts, so it couldn't be given back.
        """
        key = self._key(name)
        if not self._capabilities.runs_scripts:
            yield from self.release(name, token)  # there is no such token, so it frees nothing
            self._capabilities.runs_scripts = True
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
        """Keep the lock for `timeout` seconds from now; return whether it was still ours."""
        key = self._key(name)
        return bool((yield from COMPARE_AND_EXPIRE.call((key,), token, limit_ms(timeout))))

    def release(self, name: bytes, token: bytes) -> Operation[bool]:
        """Give the lock back; return whether it was still ours."""
        return bool((yield from COMPARE_AND_DELETE.call((self._key(name),), token)))

    def pause(self, name: bytes, token: bytes, timeout: float) -> Operation[None]:
        """Keep others from the lock for `timeout` seconds, unless `end_pause()` is called."""
        if (yield from self.extend(name, token, timeout)):
            yield from COMPARE_AND_SET.call((self._key(name),), token, PAUSED)

    def end_pause(self, name: bytes) -> Operation[bool]:
        """Free the lock if it is held by a pause; return whether it was."""
        return self.release(name, PAUSED)

    def _key(self, name: bytes) -> bytes:
        return self._prefixes[shard_of(name, len(self._prefixes))] + name


class Lock:
    """A lock with a time limit. `with` and `async with` acquire and release it.

    Each object has one owner at a time; make one for each task or thread. `is_owned` says whether
    this object has acquired the lock and not released it. On the server it may be free once the
    time limit is over: if you work longer, call `extend()` in time, which raises if it was too
    late.
    """

    def __init__(self, mapping: Any, name: str, timeout: float, wait: float | None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name is {type(name).__name__}; a string is expected.")
        limit_ms(timeout)
        self._mapping = mapping
        self._name = b":" + encode_text(name)  # no item's lease begins so
        self._timeout = timeout
        self._wait = wait
        self._token = b""

    def __repr__(self) -> str:
        return f"<Lock {self._name[1:].decode(errors='replace')!r} of {self._mapping!r}>"

    @property
    def is_owned(self) -> bool:
        return bool(self._token)

    def _acquire_operation(self) -> Operation[bool]:
        if self._token:
            raise RuntimeError(f"{self!r} is acquired already; make an object for each owner.")
        locks = self._mapping._bound.locks
        token = locks.new_token()
        is_ours: bool = yield from locks.acquire(self._name, token, self._timeout, self._wait)
        if is_ours:
            self._token = token
        return is_ours

    def acquire(self) -> bool:
        """Wait for the lock; return whether it was acquired. SET NX PX, after growing pauses.

        Raises:
            RuntimeError: this object has it already.
        """
        return bool(self._mapping._run(self._acquire_operation()))

    async def aacquire(self) -> bool:
        """As `acquire()`."""
        return bool(await self._mapping._arun(self._acquire_operation()))

    def _extend_operation(self, timeout: float | None) -> Operation[None]:
        timeout = self._timeout if timeout is None else timeout
        locks = self._mapping._bound.locks
        self._check((yield from locks.extend(self._name, self._own_token(), timeout)))

    def extend(self, timeout: float | None = None) -> None:
        """Keep the lock for `timeout` seconds from now, None for its own time. A script.

        Raises:
            ConcurrentUpdate: the time limit was over; the lock is lost.
            RuntimeError: this object doesn't have it.
        """
        self._mapping._run(self._extend_operation(timeout))

    async def aextend(self, timeout: float | None = None) -> None:
        """As `extend()`."""
        await self._mapping._arun(self._extend_operation(timeout))

    def _release_operation(self) -> Operation[None]:
        token = self._own_token()
        self._token = b""
        self._check((yield from self._mapping._bound.locks.release(self._name, token)))

    def release(self) -> None:
        """Give the lock back. A script that deletes it if it is still ours.

        Raises:
            ConcurrentUpdate: the time limit had passed, so another client may have held it.
            RuntimeError: this object doesn't have it.
        """
        self._mapping._run(self._release_operation())

    async def arelease(self) -> None:
        """As `release()`."""
        await self._mapping._arun(self._release_operation())

    def __enter__(self) -> Self:
        if not self.acquire():
            raise self._too_late()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # An error of the block says more than that the lock was lost meanwhile.
        with suppress(*((ConcurrentUpdate,) if error else ())):
            self.release()

    async def __aenter__(self) -> Self:
        if not await self.aacquire():
            raise self._too_late()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(*((ConcurrentUpdate,) if error else ())):
            await self.arelease()

    def _own_token(self) -> bytes:
        if not self._token:
            raise RuntimeError(f"{self!r} isn't acquired.")
        return self._token

    def _check(self, was_ours: bool) -> None:
        if was_ours:
            return
        self._token = b""
        raise ConcurrentUpdate(
            f"{self!r} was held longer than its {self._timeout} s, so somebody else may have had"
            " it too; give it a longer timeout, or call extend() in time."
        )

    def _too_late(self) -> BackendUnavailable:
        return BackendUnavailable(f"{self!r} wasn't free within {self._wait} s (wait).")


def limit_ms(timeout: float) -> int:
    """Take the time limit of a lock in milliseconds.

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


#: What the others wait for: the bytes of the value, or None when there will be none.
Value: TypeAlias = "Future[Any]"


class InFlight:
    """The values of one dict that callers in this process are about to get, by their fields."""

    def __init__(self) -> None:
        #: Each with the time after which another takes over, as it does from another process.
        self._values: dict[bytes, tuple[Value, float]] = {}
        on_fork(self._renew)

    def join(self, field: bytes, limit_s: float) -> tuple[Value, bool]:
        """Get the future of a field's value, and whether it is the caller who has to resolve it.

        A caller who hasn't done so after the `limit_s` that it gave isn't waited for any longer.
        """
        if not own[0]:
            take_over()
        new: Value = Future()
        new.set_running_or_notify_cancel()  # a waiter that is cancelled doesn't cancel the others
        now = time.monotonic()
        ours = new, now + limit_s
        found = self._values.setdefault(field, ours)
        if found[1] <= now and found is not ours:
            self.resolve(field, found[0], None)
            found = self._values.setdefault(field, ours)
        return found[0], found is ours

    def resolve(self, field: bytes, value: Value, stored: bytes | None) -> None:
        """Pass the value, or its absence, to all callers that wait."""
        found = self._values.get(field)
        if found is not None and found[0] is value:  # else it began before a fork, or took too long
            self._values.pop(field, None)
        with suppress(InvalidStateError):  # of two who resolve it the first counts
            value.set_result(stored)

    def _renew(self) -> None:
        """Forget the parent's computations: a forked child has none of its threads."""
        self._values = {}


def wait_in_thread(value: Value, timeout_s: float) -> Any:
    """Wait for a value in flight.

    Raises:
        TimeoutError: it takes longer.
    """
    return value.result(timeout_s)


async def wait_in_task(value: Value, timeout_s: float) -> Any:
    """Wait for a value in flight in a task of any event loop; as `wait_in_thread()`."""
    async with asyncio.timeout(timeout_s):
        return await asyncio.wrap_future(value)
