"""Provide what every method of the cache needs: its store, its keys, its timeouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import redis
import redis.asyncio
from django.core.cache.backends.base import (
    DEFAULT_TIMEOUT,
    BaseCache,
    default_key_func,
    get_key_func,
)

from redisdict.cache.keys import KeySpace, encode_key
from redisdict.cache.store import Store, store_of
from redisdict.cache.times import LONGEST_S, to_milliseconds
from redisdict.near.space import NearStats

#: What a subclass may do in its own way.
MAKING_KEYS: Final = ("make_key", "validate_key", "make_and_validate_key")

#: How long a key may be without a warning of Django's.
LONGEST_PORTABLE: Final = 250


class Client(redis.Redis):
    """redis-py's client, also available by `get_client()`, as in django-redis."""

    def get_client(self, write: bool = True, tried: object = None) -> redis.Redis:
        """Return the client itself: reads and writes have one pool."""
        return self


class CacheBase(BaseCache):
    """The handle of a cache. Making one costs nothing: all of an entry share one `Store`.

    Args:
        location, params: an entry of `CACHES` without its BACKEND, as Django gives it.
    """

    _store: Store

    def __init__(self, location: Any, params: dict[str, Any]) -> None:
        is_right = isinstance(params.get("OPTIONS", {}), Mapping)
        # Django's checks make every cache: what is wrong with one is refused at its first use.
        super().__init__(params if is_right else {**params, "OPTIONS": {}})
        self._location = location
        self._params = params
        self._store = store_of(location, params)
        self._makes_keys_itself = any(
            getattr(type(self), name) is not getattr(BaseCache, name) for name in MAKING_KEYS
        )

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> float | None:
        """Convert a timeout to whole seconds: None for ever, 0 if it has passed already."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        timeout_ms = to_milliseconds(timeout)
        return None if timeout_ms is None else timeout_ms // 1000

    def near_stats(self) -> NearStats:
        """Get the counts of this process's memory for the cache: empty, without NEAR."""
        return NearStats(is_on=False, reason='the OPTIONS of this cache have no "NEAR"')

    def close(self, **kwargs: Any) -> None:
        """Do nothing: connections stay for the next request. `redisdict.close_all()` closes."""

    async def aclose(self, **kwargs: Any) -> None:
        """As `close()`; the connections of an event loop are closed with it."""

    @property
    def client(self) -> Any:
        """Return redis-py's client over the pool for threads; of a Cluster, its RedisCluster.

        `client.get_client()` is the same, as with django-redis. It knows nothing of the cache's
        keys and values; use `make_key()` for keys.
        """
        backend = self._store.backend
        if backend.cluster is None:
            return Client(connection_pool=backend.pool())
        client: Any = backend.client()
        client.get_client = lambda write=True, tried=None: client
        return client

    @property
    def aclient(self) -> redis.asyncio.Redis:
        """Return redis-py's asyncio client over the running event loop's pool."""
        return self._store.backend.async_client()

    def _key(self, key: Any, version: Any) -> bytes:
        """A key as it is stored, checked."""
        if not self._makes_keys_itself:
            if version is None:
                version = self.version
            if self.key_func is default_key_func:
                made = f"{self.key_prefix}:{version}:{key}"  # as it does, without the call
            else:
                made = self.key_func(key, self.key_prefix, version)
            # Printable ASCII but for the space: what `memcache_key_warnings()` says nothing about.
            is_portable = made.isascii() and made.isprintable() and " " not in made
            if is_portable and len(made) <= LONGEST_PORTABLE:
                return made.encode()
        return encode_key(self.make_and_validate_key(key, version))

    def _milliseconds(self, timeout: Any) -> int | None:
        """Convert a timeout to milliseconds: above 0, None for ever, or 0 if it has passed already.

        One less than the timeout has: a server keeps a key until its clock, in milliseconds, is
        beyond the deadline, so that after the whole time the key would be there for one more. Who
        stores for a second, waits for one and asks at once would still get it.
        """
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if type(timeout) is int and 0 < timeout <= LONGEST_S:
            return timeout * 1000 - 1
        timeout_ms = to_milliseconds(timeout)
        return timeout_ms - 1 if timeout_ms is not None and timeout_ms > 1 else timeout_ms

    @property
    def _is_cluster(self) -> bool:
        return self._store.backend.cluster is not None

    @property
    def _key_space(self) -> KeySpace:
        params: Mapping[str, Any] = self._params
        reverse = params.get("REVERSE_KEY_FUNCTION")
        is_default = self.key_func is default_key_func and type(self).make_key is BaseCache.make_key
        return KeySpace(
            self.make_key,
            getattr(self.key_func, "__qualname__", repr(self.key_func)),
            is_default,
            self.key_prefix,
            self.version,
            None if reverse is None else get_key_func(reverse),
        )
