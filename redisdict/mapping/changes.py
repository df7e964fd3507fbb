"""Atomic read-modify-write: `incr`, `transform`, `compare_and_set`, `editing`, and locks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, TypeVar, cast

from redis.exceptions import ResponseError

from redisdict.exceptions import ConcurrentUpdate, NotANumberError
from redisdict.mapping.bound import ABSENT, Topic
from redisdict.mapping.locks import Lock
from redisdict.wire.requests import Call, Operation, Sleep

K = TypeVar("K")
V = TypeVar("V")
N = TypeVar("N", int, float)

#: Attempts of a compare-and-set before the operation begins to wait between them.
EAGER_ATTEMPTS = 3


class ChangeMethods(Topic[K, V], Generic[K, V]):
    """Changes of one item in which no change of another's is lost."""

    # Counters

    def _incr_operation(self, key: K, delta: float) -> Operation[Any]:
        bound = self._bound
        if isinstance(delta, bool) or not isinstance(delta, int | float):
            raise TypeError(f"delta is {type(delta).__name__}; an int or a float is expected.")
        if isinstance(delta, float):
            # The server would keep the sum as a text that doesn't tell 2.0 from 2.
            return (yield from self._add_in_python(key, delta))
        try:
            reply = yield from bound.layout.incr(bound.field_of(key), delta, bound.default_ms)
        except ResponseError as error:
            if not _is_beyond_the_server(error):
                raise
            return (yield from self._add_in_python(key, delta))
        return bound.codec.decode(reply) if isinstance(reply, bytes) else reply

    def _add_in_python(self, key: K, delta: float) -> Operation[Any]:
        def add(number: Any) -> Any:
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise NotANumberError(
                    f"The value of {key!r} is {type(number).__name__}, not a number;"
                    " incr() and decr() need an int or a float."
                )
            return number + delta

        return self._transform_operation(key, add, 0)

    def incr(self, key: K, delta: N = 1) -> N:
        """Add to a number, 0 if it is missing; return the new number.

        HINCRBY or INCRBY; a float is added as by `transform()`, because a server's sum of floats
        doesn't distinguish 2.0 from 2. The time to live stays as it is; a new item gets the
        dict's timeout.

        Raises:
            NotANumberError: the item isn't a number.
        """
        return cast(N, self._run(self._incr_operation(key, delta)))

    async def aincr(self, key: K, delta: N = 1) -> N:
        """As `incr()`."""
        return cast(N, await self._arun(self._incr_operation(key, delta)))

    def decr(self, key: K, delta: N = 1) -> N:
        """Subtract from a number, as `incr()` adds."""
        return self.incr(key, -delta)

    async def adecr(self, key: K, delta: N = 1) -> N:
        """As `decr()`."""
        return await self.aincr(key, -delta)

    # Compare and set

    def _compare_and_set_operation(self, key: K, expected: Any, new: V) -> Operation[bool]:
        bound = self._bound
        field = bound.field_of(key)
        stored_new = bound.codec.encode(new)
        while True:
            stored = yield from bound.layout.get(field).begin()
            if stored is None or bound.codec.decode(stored) != expected:
                return False
            if (yield from bound.layout.compare_and_set(field, stored, stored_new)):
                return True

    def compare_and_set(self, key: K, expected: V, new: V) -> bool:
        """Replace a value if it equals `expected`; return whether it did. The time to live stays.

        HGET or GET, and a script.
        """
        return self._run(self._compare_and_set_operation(key, expected, new))

    async def acompare_and_set(self, key: K, expected: V, new: V) -> bool:
        """As `compare_and_set()`."""
        return await self._arun(self._compare_and_set_operation(key, expected, new))

    def _transform_operation(
        self, key: K, function: Callable[[Any], Any], default: Any
    ) -> Operation[Any]:
        bound = self._bound
        field = bound.field_of(key)
        attempt = 0
        while True:
            stored = yield from bound.layout.get(field).begin()
            if stored is None and default is ABSENT:
                raise KeyError(key)
            old = default if stored is None else bound.codec.decode(stored)
            new = yield Call(function, (old,))
            stored_new = bound.codec.encode(new)
            if stored is None:
                is_done = yield from bound.layout.add(field, stored_new, bound.default_ms)
            else:
                is_done = yield from bound.layout.compare_and_set(field, stored, stored_new)
            if is_done:
                return new
            attempt += 1
            if attempt >= EAGER_ATTEMPTS:
                yield Sleep(bound.locks.pause_s(attempt - EAGER_ATTEMPTS))

    def transform(self, key: K, function: Callable[[V], V], default: Any = ABSENT) -> V:
        """Replace a value by `function(value)`, retrying after others' changes; return the new one.

        Raises:
            KeyError: there is no item, and no default is given.
        """
        return cast(V, self._run(self._transform_operation(key, function, default)))

    async def atransform(
        self,
        key: K,
        function: Callable[[V], V] | Callable[[V], Awaitable[V]],
        default: Any = ABSENT,
    ) -> V:
        """As `transform()`; `function` may be a coroutine function."""
        return cast(V, await self._arun(self._transform_operation(key, function, default)))

    # Edit in place

    def _read_for_editing(self, key: K) -> Operation[tuple[V, bytes]]:
        bound = self._bound
        stored = yield from bound.layout.get(bound.field_of(key)).begin()
        if stored is None:
            raise KeyError(key)
        return bound.codec.decode(stored), stored

    def _write_edited(self, key: K, value: V, stored: bytes, method: str) -> Operation[None]:
        bound = self._bound
        new = bound.codec.encode(value)
        if new == stored:
            return
        if not (yield from bound.layout.compare_and_set(bound.field_of(key), stored, new)):
            raise ConcurrentUpdate(
                f"{key!r} of {self!r} was changed by somebody else during the block;"
                f" read it again, or use {method}(), which tries again by itself."
            )

    @contextmanager
    def editing(self, key: K) -> Iterator[V]:
        """Change a list, a set or a dict in place: it is stored at the end of the block.

        Nothing is stored when the block ends in an exception.

        Raises:
            KeyError: there is no such item.
            ConcurrentUpdate: another client changed it meanwhile; nothing was stored.
        """
        bound = self._bound
        value, stored = bound.driver.run(self._read_for_editing(key))
        yield value
        bound.driver.run(self._write_edited(key, value, stored, "transform"))

    @asynccontextmanager
    async def aediting(self, key: K) -> AsyncIterator[V]:
        """As `editing()`, for `async with`."""
        bound = self._bound
        value, stored = await bound.async_driver.run(self._read_for_editing(key))
        yield value
        await bound.async_driver.run(self._write_edited(key, value, stored, "atransform"))

    def lock(self, name: str = "", timeout: float = 60, wait: float | None = None) -> Lock:
        """Make a lock that belongs to this dict, for `with` and `async with`. SET NX PX.

        Args:
            name: locks of different names don't exclude one another.
            timeout: seconds after which it is free again whatever its owner does.
            wait: seconds to wait for it; None waits for ever.
        """
        return Lock(self, name, timeout, wait)


def _is_beyond_the_server(error: ResponseError) -> bool:
    """Return whether the server can't count with the stored value, although Python may.

    The stored number may be a float in the serializer's form, or go beyond 64 bits.
    """
    text = str(error)
    return "not an integer" in text or "overflow" in text
