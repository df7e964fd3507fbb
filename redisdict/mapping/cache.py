"""Add the methods of Django's caches: `add`, `touch`, `get_or_set` and the like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, cast

from redisdict.mapping.background import IN_TASKS, IN_THREADS, Colour
from redisdict.mapping.bound import Topic
from redisdict.mapping.computation import NOTHING, Computation, Found, keep, look
from redisdict.mapping.compute_options import ComputeOptions, parse_options
from redisdict.mapping.layouts.base import DEFAULT, FOREVER, MISSING, Timeout
from redisdict.mapping.locks import limit_ms
from redisdict.wire.requests import Call, Operation

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
        """Store a value unless the key exists; return whether it was stored.

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
        """Change the time to live of an item; return whether it exists. A script, or PEXPIRE."""
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
        """Get the time to live of an item in seconds, None for ever. HEXISTS, PTTL, or a script.

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
        options: ComputeOptions,
        colour: Colour,
        found: Found | None = None,
    ) -> Operation[Any]:
        bound = self._bound
        field = bound.field_of(key)
        while True:
            if found is None:
                found = yield from look(bound, field, options)
            if not found.is_due(options):
                return bound.codec.decode(found.stored)
            if not callable(default):
                if found.is_fresh:
                    return bound.codec.decode(found.stored)
                return (yield from keep(bound, field, found, default, options))[0]
            limit_ms(options.lock_timeout_s)
            value, is_ours = bound.in_flight.join(field, options.lock_timeout_s)
            if is_ours:
                break
            if found.stored is not None:
                return bound.codec.decode(found.stored)
            try:
                stored = yield Call(colour.wait, (value, options.lock_timeout_s))
            except TimeoutError:
                break  # it may be the computation itself that asks for its own value
            if stored is not None:
                return bound.codec.decode(stored)
            found = None
        computation = Computation(bound, field, default, options, value if is_ours else None)
        return (yield from computation.run(found, colour))

    def get_or_set(
        self,
        key: K,
        default: V | Callable[[], V],
        timeout: Timeout = DEFAULT,
        *,
        stale: float = 0,
        soft_timeout: float | None = None,
        refresh_ahead: float = 0,
        fail_safe: bool | float = False,
        lock_timeout: float = 60,
    ) -> V:
        """Get the value of `key`; if it is missing, compute it by `default` and store it.

        One of several callers calls `default`; the others wait for its value and hold no
        connection meanwhile. If that one dies, another takes over after `lock_timeout` seconds.

        A hit costs one round trip, with the options too.

        Args:
            stale: seconds for which the value is kept beyond `timeout`. In this time one caller
                computes it again, and the others get the old one at once.
            soft_timeout: seconds after which the caller that computes gets the old value, too; the
                computation goes on in another thread. 0 returns the old value at once.
            refresh_ahead: seconds before the end of `timeout` in which one read starts a
                computation in the background; all get the current value, which is still fresh.
            fail_safe: seconds without another attempt after `default` has raised: the error is
                logged and the old value returned. `True` means 5 seconds.
            lock_timeout: seconds after which another caller computes too.

        Raises:
            ValueError: one of these needs another: `stale` and `refresh_ahead` a timeout,
                `soft_timeout` and `fail_safe` an old value.
            TypeError: one isn't a number.
        """
        options = parse_options(
            self._bound.milliseconds(timeout),
            stale,
            soft_timeout,
            refresh_ahead,
            fail_safe,
            lock_timeout,
        )
        found = None
        if not options.needs_time:  # one plain command, and its fast path
            bound = self._bound
            stored = bound.driver.do(bound.layout.get(bound.field_of(key)))
            if stored is not None:
                return cast(V, bound.codec.decode(stored))
            found = NOTHING
        computing = self._get_or_set_operation(key, default, options, IN_THREADS, found)
        return cast(V, self._run(computing))

    async def aget_or_set(
        self,
        key: K,
        default: V | Callable[[], V] | Callable[[], Awaitable[V]],
        timeout: Timeout = DEFAULT,
        *,
        stale: float = 0,
        soft_timeout: float | None = None,
        refresh_ahead: float = 0,
        fail_safe: bool | float = False,
        lock_timeout: float = 60,
    ) -> V:
        """As `get_or_set()`; `default` may be a coroutine function.

        Work in the background is a task of this event loop; if the loop ends before it, a thread
        computes from the beginning, in a loop of its own.
        """
        options = parse_options(
            self._bound.milliseconds(timeout),
            stale,
            soft_timeout,
            refresh_ahead,
            fail_safe,
            lock_timeout,
        )
        found = None
        if not options.needs_time:
            bound = self._bound
            stored = await bound.async_driver.do(bound.layout.get(bound.field_of(key)))
            if stored is not None:
                return cast(V, bound.codec.decode(stored))
            found = NOTHING
        computing = self._get_or_set_operation(key, default, options, IN_TASKS, found)
        return cast(V, await self._arun(computing))
