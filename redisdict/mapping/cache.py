"""What Django's caches have: items added, kept alive, and computed once for all who want them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, cast

from redisdict.mapping.bound import Topic
from redisdict.mapping.layouts.base import DEFAULT, FOREVER, MISSING, Timeout, to_milliseconds
from redisdict.mapping.locks import wait_in_task, wait_in_thread
from redisdict.wire.requests import Call, Operation, Sleep

K = TypeVar("K")
V = TypeVar("V")


class CacheMethods(Topic[K, V], Generic[K, V]):
    """`add`, `touch`, `ttl` and `get_or_set`."""

    def _add_operation(self, key: K, value: V, timeout: Timeout) -> Operation[bool]:
        bound = self._bound
        field = bound.field_of(key)
        stored = bound.codec.encode(value)
        timeout_ms = bound.milliseconds(timeout)
        if timeout_ms == 0:
            return not (yield from bound.layout.contains(field).begin())
        return bool((yield from bound.layout.add(field, stored, timeout_ms)))

    def add(self, key: K, value: V, timeout: Timeout = DEFAULT) -> bool:
        """Store a value unless the key is there; tell whether it was stored.

        HSETNX, a script for a time, or SET NX.
        """
        return self._run(self._add_operation(key, value, timeout))

    async def aadd(self, key: K, value: V, timeout: Timeout = DEFAULT) -> bool:
        """As `add()`."""
        return await self._arun(self._add_operation(key, value, timeout))

    def _touch_operation(self, key: K, timeout: Timeout) -> Operation[bool]:
        bound = self._bound
        field = bound.field_of(key)
        timeout_ms = bound.milliseconds(timeout)
        if timeout_ms == 0:
            return bool((yield from bound.layout.delete(field).begin()))
        return bool((yield from bound.layout.touch(field, timeout_ms)))

    def touch(self, key: K, timeout: Timeout = DEFAULT) -> bool:
        """Give an item another time to live; tell whether it is there. A script, or PEXPIRE."""
        return self._run(self._touch_operation(key, timeout))

    async def atouch(self, key: K, timeout: Timeout = DEFAULT) -> bool:
        """As `touch()`."""
        return await self._arun(self._touch_operation(key, timeout))

    def _ttl_operation(self, key: K) -> Operation[float | None]:
        bound = self._bound
        left_ms = yield from bound.layout.ttl(bound.field_of(key))
        if left_ms == MISSING:
            raise KeyError(key)
        return None if left_ms == FOREVER else left_ms / 1000

    def ttl(self, key: K) -> float | None:
        """Get the seconds an item has left, None for ever. HEXISTS and PTTL, a script, or PTTL.

        Raises:
            KeyError: there is none.
        """
        return self._run(self._ttl_operation(key))

    async def attl(self, key: K) -> float | None:
        """As `ttl()`."""
        return await self._arun(self._ttl_operation(key))

    # Get or set: one computes, while the others in this process wait for what it has in flight,
    # and other processes for a lease, a lock under the item's key.

    def _get_or_set_operation(
        self,
        key: K,
        default: Any,
        timeout: Timeout,
        stale: float,
        lock_timeout: float,
        wait: Callable[..., Any],
    ) -> Operation[Any]:
        bound = self._bound
        field = bound.field_of(key)
        timeout_ms = bound.milliseconds(timeout)
        stale_ms = stale_milliseconds(stale, timeout_ms)
        lives_ms = None if timeout_ms is None else timeout_ms + stale_ms
        in_flight = bound.in_flight
        while True:
            old, is_fresh = yield from self._look(field, stale_ms)
            if is_fresh:
                return bound.codec.decode(old)
            if not callable(default):
                return (yield from self._keep(field, old, default, lives_ms))[0]
            value, is_ours = in_flight.join(field)
            if is_ours:
                break
            if old is not None:
                return bound.codec.decode(old)
            try:
                stored = yield Call(wait, (value, lock_timeout))
            except TimeoutError:
                break  # it may be the computation itself that asks for its own value
            if stored is not None:
                return bound.codec.decode(stored)
        stored = None
        try:
            value, stored = yield from self._compute(
                field, default, lives_ms, stale_ms, lock_timeout
            )
            return value
        finally:
            if is_ours:
                in_flight.resolve(field, stored)

    def get_or_set(
        self,
        key: K,
        default: V | Callable[[], V],
        timeout: Timeout = DEFAULT,
        *,
        stale: float = 0,
        lock_timeout: float = 60,
    ) -> V:
        """Get the value of `key`; when it isn't there, that of `default`, which is stored.

        Of several callers one calls `default`; the others wait for its value and hold no
        connection meanwhile. When that one dies, another takes over after `lock_timeout` seconds.

        Args:
            stale: seconds for which the value is kept beyond `timeout`. In this time one caller
                computes it anew, and the others get the old one at once.

        Raises:
            ValueError: `stale` is given, and no timeout.
        """
        operation = self._get_or_set_operation(
            key, default, timeout, stale, lock_timeout, wait_in_thread
        )
        return cast(V, self._run(operation))

    async def aget_or_set(
        self,
        key: K,
        default: V | Callable[[], V] | Callable[[], Awaitable[V]],
        timeout: Timeout = DEFAULT,
        *,
        stale: float = 0,
        lock_timeout: float = 60,
    ) -> V:
        """As `get_or_set()`; `default` may be a coroutine function."""
        operation = self._get_or_set_operation(
            key, default, timeout, stale, lock_timeout, wait_in_task
        )
        return cast(V, await self._arun(operation))

    def _compute(
        self, field: bytes, default: Any, lives_ms: int | None, stale_ms: int, lock_timeout: float
    ) -> Operation[tuple[Any, bytes]]:
        """Get the value and its bytes, once the lease is ours or another has stored it."""
        bound = self._bound
        token = bound.locks.new_token()
        attempt = 0
        try:
            while not (yield from bound.locks.try_acquire(field, token, lock_timeout)):
                old, is_fresh = yield from self._look(field, stale_ms)
                if old is not None:
                    return bound.codec.decode(old), old
                yield Sleep(bound.locks.pause_s(attempt))
                attempt += 1
            # The one who had the lease before may have stored it in between.
            old, is_fresh = yield from self._look(field, stale_ms)
            if is_fresh:
                result = bound.codec.decode(old), old
            else:
                result = yield from self._keep(field, old, (yield Call(default)), lives_ms)
        except GeneratorExit:
            raise  # the connection is lost; the lease goes with its time limit
        except BaseException:
            yield from bound.locks.release(field, token)
            raise
        yield from bound.locks.release(field, token)
        return result

    def _look(self, field: bytes, stale_ms: int) -> Operation[tuple[Any, bool]]:
        """Read what is stored, and whether it is fresh."""
        bound = self._bound
        stored = yield from bound.layout.get(field).begin()
        if stored is None or not stale_ms:
            return stored, stored is not None
        left_ms = yield from bound.layout.ttl(field)
        return stored, left_ms == FOREVER or left_ms > stale_ms

    def _keep(
        self, field: bytes, old: bytes | None, value: Any, lives_ms: int | None
    ) -> Operation[tuple[Any, bytes]]:
        """Store the value unless another is there by now; give the one there is, and its bytes."""
        bound = self._bound
        new = bound.codec.encode(value)
        if lives_ms == 0:
            return value, new
        if old is None:
            is_kept = yield from bound.layout.add(field, new, lives_ms)
        else:
            is_kept = yield from bound.layout.compare_and_set(field, old, new)
            if is_kept:
                yield from bound.layout.touch(field, lives_ms)
        stored = None if is_kept else (yield from bound.layout.get(field).begin())
        return (value, new) if stored is None else (bound.codec.decode(stored), stored)


def stale_milliseconds(stale: float, timeout_ms: int | None) -> int:
    """Convert the time for which a value is kept beyond its timeout.

    Raises:
        ValueError: there is no timeout.
    """
    stale_ms = to_milliseconds(stale, None)
    if not stale_ms:
        return 0
    if not timeout_ms:
        raise ValueError(
            f"stale is {stale} s, but the item has no timeout after which it could be stale;"
            " give get_or_set() a timeout above 0."
        )
    return stale_ms
