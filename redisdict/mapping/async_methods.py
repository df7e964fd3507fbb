"""The methods of `PersistentDict` for tasks: the same operations, run by the async driver.

Each does what the method without the `a` does, costs the same and raises the same errors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar, cast

from redisdict.exceptions import ConcurrentUpdate
from redisdict.mapping.binding import Binding
from redisdict.mapping.operations import ABSENT
from redisdict.mapping.scanning import Scan
from redisdict.mapping.sync_methods import _as_dict
from redisdict.mapping.timeouts import DEFAULT, Timeout

__all__ = ["AsyncMethods"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
N = TypeVar("N", int, float)


class AsyncMethods(Binding[K, V], Generic[K, V]):
    """The async twins, under the same names with an `a` before them."""

    # The mapping protocol

    async def agetitem(self, key: K) -> V:
        """`d[key]`, with its KeyError."""
        return await self._arun(self._operations.getitem(key))

    async def adelitem(self, key: K) -> None:
        """`del d[key]`, with its KeyError."""
        await self._arun(self._operations.delitem(key))

    async def acontains(self, key: K) -> bool:
        return await self._arun(self._operations.contains(key))

    async def alen(self) -> int:
        return await self._arun(self._operations.length())

    def __aiter__(self) -> AsyncIterator[K]:
        return self._awalk(self._operations.scan_keys())

    def akeys(self) -> AsyncIterator[K]:
        return self._awalk(self._operations.scan_keys())

    def avalues(self) -> AsyncIterator[V]:
        return self._awalk(self._operations.scan_values())

    def aitems(self) -> AsyncIterator[tuple[K, V]]:
        return self._awalk(self._operations.scan_items())

    async def aget(self, key: K, default: Any = None) -> Any:
        return await self._arun(self._operations.get(key, default))

    async def apop(self, key: K, default: Any = ABSENT) -> Any:
        return await self._arun(self._operations.pop(key, default))

    async def apopitem(self) -> tuple[K, V]:
        return await self._arun(self._operations.popitem())

    async def asetdefault(self, key: K, default: V = None) -> V:  # type: ignore[assignment]  # as dict's
        return await self._arun(self._operations.setdefault(key, default))

    async def aupdate(self, other: Any = (), /, **more: V) -> None:
        await self.aset_many(_as_dict(other, more))

    async def aclear(self) -> None:
        await self._arun(self._operations.clear())

    async def acopy(self) -> dict[K, V]:
        return {key: value async for key, value in self.aitems()}

    # What Django's caches have

    async def aset(self, key: K, value: V, timeout: Timeout = DEFAULT) -> None:
        await self._arun(self._operations.set(key, value, timeout))

    async def aadd(self, key: K, value: V, timeout: Timeout = DEFAULT) -> bool:
        return await self._arun(self._operations.add(key, value, timeout))

    async def adelete(self, key: K) -> bool:
        return await self._arun(self._operations.delete(key))

    async def atouch(self, key: K, timeout: Timeout = DEFAULT) -> bool:
        return await self._arun(self._operations.touch(key, timeout))

    async def attl(self, key: K) -> float | None:
        return await self._arun(self._operations.ttl(key))

    async def aincr(self, key: K, delta: N = 1) -> N:
        return cast(N, await self._arun(self._operations.incr(key, delta)))

    async def adecr(self, key: K, delta: N = 1) -> N:
        return await self.aincr(key, -delta)

    async def aget_many(self, keys: Iterable[K]) -> dict[K, V]:
        return await self._arun(self._operations.get_many(keys))

    async def aset_many(self, items: Mapping[K, V], timeout: Timeout = DEFAULT) -> None:
        await self._arun(self._operations.set_many(items, timeout))

    async def adelete_many(self, keys: Iterable[K]) -> int:
        return await self._arun(self._operations.delete_many(keys))

    async def aget_or_set(
        self,
        key: K,
        default: V | Callable[[], Any],
        timeout: Timeout = DEFAULT,
        *,
        lock_timeout: float = 60,
    ) -> V:
        """As `get_or_set()`; `default` may be a coroutine function."""
        return cast(
            V, await self._arun(self._operations.get_or_set(key, default, timeout, lock_timeout))
        )

    async def aexpire(self, timeout: Timeout) -> bool:
        return await self._arun(self._operations.expire(timeout))

    async def amemory_usage(self) -> int:
        return await self._arun(self._operations.memory_usage())

    # Safe changes

    async def acompare_and_set(self, key: K, expected: V, new: V) -> bool:
        return await self._arun(self._operations.compare_and_set(key, expected, new))

    async def atransform(self, key: K, function: Callable[[V], Any], default: Any = ABSENT) -> V:
        """As `transform()`; `function` may be a coroutine function."""
        return cast(V, await self._arun(self._operations.transform(key, function, default)))

    @asynccontextmanager
    async def aediting(self, key: K) -> AsyncIterator[V]:
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
