"""Answer reads of a cache with NEAR from this process's memory, where its promise allows it.

All other calls of a cache go through drivers that drop the keys concerned from memory
(`redisdict.near.access`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from redis.exceptions import ResponseError

from redisdict.cache.inside import (
    ABSENT,
    IN_TASKS,
    IN_THREADS,
    UNKNOWN,
    parse_options,
    ping_in_task,
    ping_in_thread,
)
from redisdict.cache.lifetimes import LifetimeMethods
from redisdict.cache.near_clients import AsyncDroppingClient, DroppingClient
from redisdict.cache.near_spaces import CacheNear
from redisdict.exceptions import DeserializationError
from redisdict.near.space import NearStats
from redisdict.near.state import MISSING


class NearMethods(LifetimeMethods):
    """The reads of a cache with NEAR: of one key, of many, `in`, and `get_or_set()`."""

    @functools.cached_property
    def _near_prefix(self) -> bytes:
        return self._key_space.common_prefix()

    @property
    def _near(self) -> CacheNear:
        return self._store.near[self._near_prefix]

    def near_stats(self) -> NearStats:
        """Get the counts of this process's memory for the cache. Sends nothing to the server."""
        return self._near.stats()

    # `get()` and `aget()` find what is in memory without a further call, which would be a tenth of
    # what it costs.

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """Get the value of `key`, or `default`. GET and PTTL, or nothing."""
        near, raw = self._store.near[self._near_prefix], self._key(key, version)
        entry = near.find(raw)
        if entry is not None and entry.owner is near.codec:
            make = entry.make
            value = entry.value
            if make is not None:
                return make(value)
            return default if value is MISSING else value
        value = self._read(near, raw)
        return default if value is ABSENT else value

    async def aget(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """As `get()`."""
        near, raw = self._store.near[self._near_prefix], self._key(key, version)
        entry = near.find(raw)
        if entry is not None and entry.owner is near.codec:
            make = entry.make
            value = entry.value
            if make is not None:
                return make(value)
            return default if value is MISSING else value
        value = await self._aread(near, raw)
        return default if value is ABSENT else value

    def has_key(self, key: Any, version: Any = None) -> bool:
        """Return whether there is such a key. As `get()`, whose value is kept."""
        near, raw = self._near, self._key(key, version)
        entry = near.find(raw)
        if entry is not None:
            return entry.value is not MISSING
        try:
            return self._read(near, raw) is not ABSENT
        except (DeserializationError, ResponseError):  # it can't be read, and may be there
            return super().has_key(key, version)

    async def ahas_key(self, key: Any, version: Any = None) -> bool:
        """As `has_key()`."""
        near, raw = self._near, self._key(key, version)
        entry = near.find(raw)
        if entry is not None:
            return entry.value is not MISSING
        try:
            return await self._aread(near, raw) is not ABSENT
        except (DeserializationError, ResponseError):  # it can't be read, and may be there
            return await super().ahas_key(key, version)

    def get_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """Get those of the values that are there. MGET and PTTLs of those that aren't known."""
        near, by_raw = self._near, {self._key(key, version): key for key in keys}
        if not all(raw.startswith(near.prefix) for raw in by_raw):
            return super().get_many(by_raw.values(), version)
        try:
            values = near.drivers.driver.run(near.get_all(list(by_raw), ping_in_thread))
        except ResponseError:  # of GET, for a key of another type, of which MGET gives nothing
            return super().get_many(by_raw.values(), version)
        return _those_there(by_raw.values(), values)

    async def aget_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """As `get_many()`."""
        near, by_raw = self._near, {self._key(key, version): key for key in keys}
        if not all(raw.startswith(near.prefix) for raw in by_raw):
            return await super().aget_many(by_raw.values(), version)
        try:
            values = await near.drivers.async_driver.run(near.get_all(list(by_raw), ping_in_task))
        except ResponseError:  # of GET, for a key of another type, of which MGET gives nothing
            return await super().aget_many(by_raw.values(), version)
        return _those_there(by_raw.values(), values)

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
        """Get the value of `key`; when there is none, that of `default`, which is stored.

        A value in memory is used while it isn't due to be computed again. The arguments are those
        of a cache without NEAR.
        """
        times = stale, soft_timeout, refresh_ahead, fail_safe, lock_timeout
        options = parse_options(self._milliseconds(timeout), *times)
        near, raw = self._near, self._key(key, version)
        value = near.known(raw)
        if value is UNKNOWN:
            value = self._read(near, raw)
        if value is not ABSENT and not near.is_due(raw, options):
            return value
        computing = self._computing(key, default, timeout, version, times, IN_THREADS)
        return self._store.driver.run(computing)

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
        """As `get_or_set()`; `default` may be a coroutine function."""
        times = stale, soft_timeout, refresh_ahead, fail_safe, lock_timeout
        options = parse_options(self._milliseconds(timeout), *times)
        near, raw = self._near, self._key(key, version)
        value = near.known(raw)
        if value is UNKNOWN:
            value = await self._aread(near, raw)
        if value is not ABSENT and not near.is_due(raw, options):
            return value
        computing = self._computing(key, default, timeout, version, times, IN_TASKS)
        return await self._store.async_driver.run(computing)

    @property
    def client(self) -> Any:
        """Return redis-py's client over the pool for threads, whose commands drop keys from memory.

        Those of its pipelines don't: to this process they are as another's.
        """
        return DroppingClient(self._near.access, self._store.backend.pool())

    @property
    def aclient(self) -> Any:
        """As `client`, over the running event loop's pool."""
        return AsyncDroppingClient(self._near.access, self._store.backend.async_pool())

    def _read(self, near: CacheNear, raw: bytes) -> Any:
        """Get the value that memory or the server has, or `ABSENT`."""
        if raw.startswith(near.prefix):
            return near.drivers.driver.run(near.get(raw, ping_in_thread))
        return self._store.driver.run(near.read_elsewhere(raw))

    async def _aread(self, near: CacheNear, raw: bytes) -> Any:
        """As `_read()`."""
        if raw.startswith(near.prefix):
            return await near.drivers.async_driver.run(near.get(raw, ping_in_task))
        return await self._store.async_driver.run(near.read_elsewhere(raw))


def _those_there(keys: Iterable[Any], values: list[Any]) -> dict[Any, Any]:
    return {key: value for key, value in zip(keys, values, strict=True) if value is not ABSENT}
