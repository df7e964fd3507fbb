"""The methods of `PersistentDict` for tasks: the same operations, run by the async driver.

Each does what the method without the `a` does, costs the same and raises the same errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import IO, Any, Generic, TypeVar, cast, overload

from redisdict.exceptions import ConcurrentUpdate
from redisdict.mapping.binding import Binding
from redisdict.mapping.flights import wait_in_task
from redisdict.mapping.item_operations import ABSENT
from redisdict.mapping.scanning import Scan
from redisdict.mapping.sync_mapping import as_dict
from redisdict.mapping.timeouts import DEFAULT, Timeout

__all__ = ["AsyncMethods"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
N = TypeVar("N", int, float)


class AsyncMethods(Binding[K, V], Generic[K, V]):
    """The async twins, under the same names with an `a` before them.

    Those of one plain command await its reply themselves, without a coroutine in between that
    would cost as much as they do: `_send` gives the shared connection's future, and an error
    comes out of it as an object.
    """

    # The mapping protocol

    async def agetitem(self, key: K) -> V:
        """As `d[key]`, with its KeyError."""
        operations = self._operations
        step = operations.get(key)
        reply = await self._send(step)
        if isinstance(reply, Exception):
            reply = await self._recover(step, reply)
        if reply is None:
            raise KeyError(key)
        value: V = operations.codec.decode(reply)
        return value

    async def adelitem(self, key: K) -> None:
        """As `del d[key]`, with its KeyError."""
        if not await self.adelete(key):
            raise KeyError(key)

    async def acontains(self, key: object) -> bool:
        """As `key in d`."""
        step = self._operations.contains(cast(K, key))
        reply = await self._send(step)
        if isinstance(reply, Exception):
            reply = await self._recover(step, reply)
        return bool(reply)

    async def alen(self) -> int:
        """As `len(d)`."""
        return await self._arun(self._operations.length())

    def __aiter__(self) -> AsyncIterator[K]:
        """As `iter(d)`."""
        return self._awalk(self._operations.scan_keys())

    def akeys(self) -> AsyncIterator[K]:
        """The keys, page by page; no view."""
        return self._awalk(self._operations.scan_keys())

    def avalues(self) -> AsyncIterator[V]:
        """The values, page by page; no view."""
        return self._awalk(self._operations.scan_values())

    def aitems(self) -> AsyncIterator[tuple[K, V]]:
        """The items, page by page; no view."""
        return self._awalk(self._operations.scan_items())

    @overload
    async def aget(self, key: K, default: None = None) -> V | None: ...
    @overload
    async def aget(self, key: K, default: V | T) -> V | T: ...
    async def aget(self, key: K, default: Any = None) -> Any:
        """As `get()`."""
        operations = self._operations
        step = operations.get(key)
        reply = await self._send(step)
        if isinstance(reply, Exception):
            reply = await self._recover(step, reply)
        return default if reply is None else operations.codec.decode(reply)

    @overload
    async def apop(self, key: K) -> V: ...
    @overload
    async def apop(self, key: K, default: V | T) -> V | T: ...
    async def apop(self, key: K, default: Any = ABSENT) -> Any:
        """As `pop()`."""
        return await self._arun(self._operations.pop(key, default))

    async def apopitem(self) -> tuple[K, V]:
        """As `popitem()`."""
        return await self._arun(self._operations.popitem())

    async def asetdefault(self, key: K, default: V = None) -> V:  # type: ignore[assignment]  # as dict's
        """As `setdefault()`."""
        return await self._arun(self._operations.setdefault(key, default))

    async def aupdate(self, other: Any = (), /, **more: V) -> None:
        """As `update()`."""
        if isinstance(other, AsyncMethods):
            other = await other.acopy()
        await self.aset_many(as_dict(other, **more))

    async def aset_many(self, items: Mapping[K, V], timeout: Timeout = DEFAULT) -> None:
        """As `set_many()`."""
        if isinstance(items, AsyncMethods):
            items = await items.acopy()
        await self._arun(self._operations.set_many(items, timeout))

    async def aclear(self) -> None:
        """As `clear()`."""
        await self._arun(self._operations.clear())

    async def acopy(self) -> dict[K, V]:
        """As `copy()`."""
        return {key: value async for key, value in self.aitems()}

    # What Django's caches have

    async def aset(self, key: K, value: V, timeout: Timeout = DEFAULT) -> None:
        """As `set()`."""
        step = self._operations.set(key, value, timeout)
        reply = await self._send(step)
        if isinstance(reply, Exception):
            await self._recover(step, reply)

    async def aadd(self, key: K, value: V, timeout: Timeout = DEFAULT) -> bool:
        """As `add()`."""
        return await self._arun(self._operations.add(key, value, timeout))

    async def adelete(self, key: K) -> bool:
        """As `delete()`."""
        step = self._operations.delete(key)
        reply = await self._send(step)
        if isinstance(reply, Exception):
            reply = await self._recover(step, reply)
        return bool(reply)

    async def atouch(self, key: K, timeout: Timeout = DEFAULT) -> bool:
        """As `touch()`."""
        return await self._arun(self._operations.touch(key, timeout))

    async def attl(self, key: K) -> float | None:
        """As `ttl()`."""
        return await self._arun(self._operations.ttl(key))

    async def aincr(self, key: K, delta: N = 1) -> N:
        """As `incr()`."""
        return cast(N, await self._arun(self._operations.incr(key, delta)))

    async def adecr(self, key: K, delta: N = 1) -> N:
        """As `decr()`."""
        return await self.aincr(key, -delta)

    async def aget_many(self, keys: Iterable[K]) -> dict[K, V]:
        """As `get_many()`."""
        return await self._arun(self._operations.get_many(keys))

    async def adelete_many(self, keys: Iterable[K]) -> int:
        """As `delete_many()`."""
        return await self._arun(self._operations.delete_many(keys))

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
        operation = self._operations.get_or_set(
            key, default, timeout, stale, lock_timeout, wait_in_task
        )
        return cast(V, await self._arun(operation))

    async def aexpire(self, timeout: Timeout) -> bool:
        """As `expire()`."""
        return await self._arun(self._operations.expire(timeout))

    async def amemory_usage(self) -> int:
        """As `memory_usage()`."""
        return await self._arun(self._operations.memory_usage())

    # Ways in and out

    def akeys_matching(self, pattern: str) -> AsyncIterator[K]:
        """As `keys_matching()`."""
        return self._awalk(self._operations.scan_keys_matching(pattern))

    async def adump(self, file: IO[bytes]) -> int:
        """As `dump()`; the file is written in a thread."""
        return await self._arun(self._operations.dump(file, asyncio.to_thread))

    async def aload(self, file: IO[bytes]) -> int:
        """As `load()`; the file is read in a thread."""
        return await self._arun(self._operations.load(file, asyncio.to_thread))

    async def aclone_to(self, other: AsyncMethods[Any, Any]) -> int:
        """As `clone_to()`."""
        return await self._arun(self._operations.clone_to(other._operations, other._arun))

    # Safe changes

    async def acompare_and_set(self, key: K, expected: V, new: V) -> bool:
        """As `compare_and_set()`."""
        return await self._arun(self._operations.compare_and_set(key, expected, new))

    async def atransform(
        self,
        key: K,
        function: Callable[[V], V] | Callable[[V], Awaitable[V]],
        default: Any = ABSENT,
    ) -> V:
        """As `transform()`; `function` may be a coroutine function."""
        return cast(V, await self._arun(self._operations.transform(key, function, default)))

    @asynccontextmanager
    async def aediting(self, key: K) -> AsyncIterator[V]:
        """As `editing()`, for `async with`."""
        value, stored = await self._arun(self._operations.read_for_editing(key))
        yield value
        if not await self._arun(self._operations.write_edited(key, value, stored)):
            raise ConcurrentUpdate(
                f"{key!r} of {self!r} was changed by somebody else during the block;"
                " read it again, or use atransform(), which tries again by itself."
            )

    async def _awalk(self, scan: Scan[T]) -> AsyncIterator[T]:
        while not scan.is_over:
            for item in await self._arun(scan.next_page()):
                yield item
