"""Get, set, add, delete, count and compute one value; each method is beside its async twin."""

from __future__ import annotations

from typing import Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from redis.exceptions import ResponseError

from redisdict.cache.base import CacheBase
from redisdict.cache.inside import IN_TASKS, IN_THREADS, NOTHING, Colour, parse_options
from redisdict.exceptions import NotANumberError
from redisdict.wire.requests import Operation, Step

#: `stale`, `soft_timeout`, `refresh_ahead` and `fail_safe` where none is given.
NO_TIMES: Final = (0, None, 0, False)


class NotAnIntegerError(NotANumberError, ResponseError):
    """`incr()` of a value that isn't a number; it stays as it is. Also other backends' error."""

    def __init__(self, *args: object) -> None:
        ResponseError.__init__(self, *args)

    __repr__ = NotANumberError.__repr__


class ValueMethods(CacheBase):
    """The methods for one key.

    Methods of one plain command await its reply themselves, without a coroutine in between: `send`
    returns the shared connection's future, whose result may be an error object.
    """

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """Get the value of `key`, or `default`. GET."""
        store = self._store
        reply = store.driver.do(store.operations.get(self._key(key, version)))
        return default if reply is None else store.codec.decode(reply)

    async def aget(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """As `get()`."""
        store = self._store
        step = store.operations.get(self._key(key, version))
        reply = await store.async_driver.send(step)
        if isinstance(reply, Exception):
            reply = await store.async_driver.recover(step, reply)
        return default if reply is None else store.codec.decode(reply)

    def set(  # type: ignore[override]  # as django-redis's, it tells what Django's doesn't
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: Any = None,
        nx: bool = False,
        xx: bool = False,
    ) -> bool:
        """Store a value for `timeout` seconds, None for ever; return whether it was stored. SET.

        With 0 or less the key is deleted.

        Args:
            nx: only if there is none.
            xx: only if there is one.

        Raises:
            redisdict.SerializationError: the serializer can't store it.
        """
        step = self._setting(key, value, timeout, version, nx, xx)
        return bool(self._store.driver.do(step))

    async def aset(  # type: ignore[override]  # as set()
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: Any = None,
        nx: bool = False,
        xx: bool = False,
    ) -> bool:
        """As `set()`."""
        step = self._setting(key, value, timeout, version, nx, xx)
        reply = await self._store.async_driver.send(step)
        if isinstance(reply, Exception):
            reply = await self._store.async_driver.recover(step, reply)
        return bool(reply)

    def add(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None
    ) -> bool:
        """Store a value unless there is one; return whether it was stored. SET NX."""
        return self.set(key, value, timeout, version, nx=True)

    async def aadd(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None
    ) -> bool:
        """As `add()`."""
        return await self.aset(key, value, timeout, version, nx=True)

    def delete(self, key: Any, version: Any = None) -> bool:
        """Remove a key; return whether it existed. DEL."""
        store = self._store
        return bool(store.driver.do(store.operations.delete(self._key(key, version))))

    async def adelete(self, key: Any, version: Any = None) -> bool:
        """As `delete()`."""
        return bool(await self._ask(self._store.operations.delete(self._key(key, version))))

    def has_key(self, key: Any, version: Any = None) -> bool:
        """Return whether the key exists. EXISTS."""
        store = self._store
        return bool(store.driver.do(store.operations.exists(self._key(key, version))))

    async def ahas_key(self, key: Any, version: Any = None) -> bool:
        """As `has_key()`."""
        return bool(await self._ask(self._store.operations.exists(self._key(key, version))))

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """Set a key's time to live; return whether it exists. PEXPIRE, or PERSIST and EXISTS."""
        store = self._store
        step = store.operations.expire(self._key(key, version), self._milliseconds(timeout))
        return bool(store.driver.do(step))

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """As `touch()`."""
        operations = self._store.operations
        step = operations.expire(self._key(key, version), self._milliseconds(timeout))
        return bool(await self._ask(step))

    def incr(
        self, key: Any, delta: Any = 1, version: Any = None, ignore_key_check: bool = False
    ) -> Any:
        """Add to a number, whose time to live stays; return the sum. A script of INCRBY.

        The server counts integers of 64 bits; others, and floats, are changed by compare-and-set.

        Args:
            ignore_key_check: whether a missing key counts as 0, and then lives for ever.

        Raises:
            ValueError: there is no such key.
            NotAnIntegerError: it is no number.
        """
        return self._store.driver.run(self._counting(key, delta, version, ignore_key_check))

    async def aincr(
        self, key: Any, delta: Any = 1, version: Any = None, ignore_key_check: bool = False
    ) -> Any:
        """As `incr()`."""
        return await self._store.async_driver.run(
            self._counting(key, delta, version, ignore_key_check)
        )

    def decr(self, key: Any, delta: Any = 1, version: Any = None) -> Any:
        """Subtract from a number, as `incr()` adds."""
        return self.incr(key, -delta, version)

    async def adecr(self, key: Any, delta: Any = 1, version: Any = None) -> Any:
        """As `decr()`."""
        return await self.aincr(key, -delta, version)

    def get_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: Any = None,
        *,
        stale: float = 0,
        soft_timeout: float | None = None,
        refresh_ahead: float = 0,
        fail_safe: bool | float = False,
        lock_timeout: float = 60,
    ) -> Any:
        """Get the value of `key`; if it is missing, compute it by `default` and store it.

        One of several callers, in all processes, calls `default`; the others wait for its value and
        hold no connection meanwhile. If that one dies, another takes over after `lock_timeout`
        seconds.

        A hit costs one round trip, with the options too.

        Args:
            default: a value, or a function that returns it.
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
        store = self._store
        times = stale, soft_timeout, refresh_ahead, fail_safe, lock_timeout
        if times[:4] == NO_TIMES:
            reply = store.driver.do(store.operations.get(self._key(key, version)))
            if reply is not None:
                return store.codec.decode(reply)
        return store.driver.run(self._computing(key, default, timeout, version, times, IN_THREADS))

    async def aget_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: Any = None,
        *,
        stale: float = 0,
        soft_timeout: float | None = None,
        refresh_ahead: float = 0,
        fail_safe: bool | float = False,
        lock_timeout: float = 60,
    ) -> Any:
        """As `get_or_set()`; `default` may be a coroutine function.

        Work in the background is a task of this event loop; if the loop ends before it, a thread
        computes from the beginning, in a loop of its own.
        """
        store = self._store
        times = stale, soft_timeout, refresh_ahead, fail_safe, lock_timeout
        if times[:4] == NO_TIMES:
            reply = await self._ask(store.operations.get(self._key(key, version)))
            if reply is not None:
                return store.codec.decode(reply)
        computing = self._computing(key, default, timeout, version, times, IN_TASKS)
        return await store.async_driver.run(computing)

    async def _ask(self, step: Step[Any]) -> Any:
        """Return the reply to a step, for methods that are rarely called."""
        reply = await self._store.async_driver.send(step)
        if isinstance(reply, Exception):
            return await self._store.async_driver.recover(step, reply)
        return reply

    def _setting(
        self, key: Any, value: Any, timeout: Any, version: Any, nx: bool, xx: bool
    ) -> Step[Any]:
        """Make the step that stores a value; its reply is true if it was stored."""
        raw = self._key(key, version)
        store = self._store
        stored = store.codec.encode(value)
        timeout_ms = self._milliseconds(timeout)
        if timeout_ms == 0:
            if nx:  # what isn't there could be stored, and would be over
                return store.operations.is_free(raw)
            return store.operations.delete(raw)
        if nx or xx:
            if nx and xx:
                raise ValueError("nx and xx exclude one another.")
            condition = b"NX" if nx else b"XX"
            return store.operations.set_if(raw, stored, timeout_ms, condition)
        return store.operations.set(raw, stored, timeout_ms)

    def _counting(
        self, key: Any, delta: Any, version: Any, begins_as_0: bool = False
    ) -> Operation[Any]:
        raw = self._key(key, version)
        operations, codec = self._store.operations, self._store.codec
        if begins_as_0:
            yield from operations.set_if(raw, b"0", None, b"NX").begin()
        if type(delta) is int:
            try:
                total = yield from operations.incr(raw, delta).begin()
            except ResponseError as error:
                # The number may be a float, or go beyond 64 bits.
                if "not an integer" not in str(error) and "overflow" not in str(error):
                    raise
            else:
                if total is None:
                    raise missing(key)
                return int(total)
        while True:
            stored = yield from operations.get(raw).begin()
            if stored is None:
                raise missing(key)
            number = codec.decode(stored)
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise NotAnIntegerError(
                    f"The value of {key!r} is {type(number).__name__}, not a number; incr() and"
                    " decr() need an int or a float."
                )
            new = number + delta
            if (yield from operations.replace(raw, stored, codec.encode(new))):
                return new

    def _computing(
        self,
        key: Any,
        default: Any,
        timeout: Any,
        version: Any,
        times: tuple[Any, ...],
        colour: Colour,
    ) -> Operation[Any]:
        options = parse_options(self._milliseconds(timeout), *times)
        found = NOTHING if times[:4] == NO_TIMES else None  # it has been looked for
        raw = self._key(key, version)
        return self._store.computing.operation(raw, default, options, colour, found)


def encode(cache: CacheBase, value: Any) -> bytes:
    """Encode a value as that cache stores it."""
    return cache._store.codec.encode(value)


def read(cache: CacheBase, key: Any) -> tuple[bytes | None, Any]:
    """Read a value as it is stored, and decoded; twice None when there is none."""
    store = cache._store
    stored = store.driver.do(store.operations.get(cache._key(key, None)))
    return stored, None if stored is None else store.codec.decode(stored)


async def aread(cache: CacheBase, key: Any) -> tuple[bytes | None, Any]:
    """As `read()`."""
    store = cache._store
    stored = await store.async_driver.run(store.operations.get(cache._key(key, None)).begin())
    return stored, None if stored is None else store.codec.decode(stored)


def missing(key: Any) -> ValueError:
    return ValueError(f"Key {key!r} not found")
