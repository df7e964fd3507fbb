"""Change times to live, versions and locks of keys; each method is beside its async twin."""

from __future__ import annotations

from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from redisdict.cache.many import ManyMethods
from redisdict.cache.times import to_unix_ms
from redisdict.cache.values import missing
from redisdict.wire.requests import Operation


class LifetimeMethods(ManyMethods):
    """The methods for times to live, versions and locks, with the names of django-redis."""

    def ttl(self, key: Any, version: Any = None) -> int | None:
        """Get a key's time to live in seconds, None for ever, 0 if it is missing. PTTL."""
        return _rounded(self.pttl(key, version))

    async def attl(self, key: Any, version: Any = None) -> int | None:
        """As `ttl()`."""
        return _rounded(await self.apttl(key, version))

    def pttl(self, key: Any, version: Any = None) -> int | None:
        """Get a key's time to live in milliseconds, None for ever, 0 if it is missing. PTTL."""
        return _left(self._store.driver.do(self._store.operations.pttl(self._key(key, version))))

    async def apttl(self, key: Any, version: Any = None) -> int | None:
        """As `pttl()`."""
        return _left(await self._ask(self._store.operations.pttl(self._key(key, version))))

    def expire(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """As `touch()`; `timeout` may be a timedelta."""
        return self.touch(key, timeout, version)

    async def aexpire(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """As `expire()`."""
        return await self.atouch(key, timeout, version)

    def pexpire(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """As `expire()`, with milliseconds."""
        return self.touch(key, _seconds(timeout), version)

    async def apexpire(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """As `pexpire()`."""
        return await self.atouch(key, _seconds(timeout), version)

    def expire_at(self, key: Any, when: Any, version: Any = None) -> bool:
        """Expire a key at a datetime or a Unix time; return whether it exists. PEXPIREAT."""
        return self._expiring(key, to_unix_ms(when, in_ms=False), version)

    async def aexpire_at(self, key: Any, when: Any, version: Any = None) -> bool:
        """As `expire_at()`."""
        return await self._aexpiring(key, to_unix_ms(when, in_ms=False), version)

    def pexpire_at(self, key: Any, when: Any, version: Any = None) -> bool:
        """As `expire_at()`, with a Unix time in milliseconds."""
        return self._expiring(key, to_unix_ms(when, in_ms=True), version)

    async def apexpire_at(self, key: Any, when: Any, version: Any = None) -> bool:
        """As `pexpire_at()`."""
        return await self._aexpiring(key, to_unix_ms(when, in_ms=True), version)

    def persist(self, key: Any, version: Any = None) -> bool:
        """Remove a key's time to live; return whether it had one. PERSIST."""
        return bool(self._store.driver.do(self._store.operations.persist(self._key(key, version))))

    async def apersist(self, key: Any, version: Any = None) -> bool:
        """As `persist()`."""
        return bool(await self._ask(self._store.operations.persist(self._key(key, version))))

    def incr_version(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """Move a value to another version, with its time to live; return the new version. RENAME.

        In a Cluster, where the two keys lie on different nodes, it is copied and deleted.

        Raises:
            ValueError: there is no such key.
        """
        return self._store.driver.run(self._moving(key, delta, version))

    async def aincr_version(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """As `incr_version()`."""
        return await self._store.async_driver.run(self._moving(key, delta, version))

    def decr_version(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """As `incr_version()`, downwards."""
        return self.incr_version(key, -delta, version)

    async def adecr_version(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """As `decr_version()`."""
        return await self.aincr_version(key, -delta, version)

    def lock(
        self,
        key: Any,
        version: Any = None,
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        thread_local: bool = True,
    ) -> Any:
        """Make redis-py's lock, under a key of this cache."""
        return self.client.lock(
            self._key(key, version),
            timeout=timeout,
            sleep=sleep,
            blocking=blocking,
            blocking_timeout=blocking_timeout,
            thread_local=thread_local,
        )

    def alock(
        self,
        key: Any,
        version: Any = None,
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        thread_local: bool = True,
    ) -> Any:
        """Make redis-py's lock for `async with`, under the same key."""
        return self.aclient.lock(
            self._key(key, version),
            timeout=timeout,
            sleep=sleep,
            blocking=blocking,
            blocking_timeout=blocking_timeout,
            thread_local=thread_local,
        )

    def _expiring(self, key: Any, when_ms: int, version: Any) -> bool:
        step = self._store.operations.expire_at(self._key(key, version), when_ms)
        return bool(self._store.driver.do(step))

    async def _aexpiring(self, key: Any, when_ms: int, version: Any) -> bool:
        step = self._store.operations.expire_at(self._key(key, version), when_ms)
        return bool(await self._ask(step))

    def _moving(self, key: Any, delta: int, version: Any) -> Operation[int]:
        old = self.version if version is None else version
        new: int = old + delta
        source, target = self._key(key, old), self._key(key, new)
        if not (yield from self._store.operations.rename(source, target)):
            raise missing(key)
        return new


def _left(reply: int) -> int | None:
    """Convert the server's reply to the result of django-redis."""
    return None if reply == -1 else max(0, reply)


def _rounded(left_ms: int | None) -> int | None:
    """Seconds, as the server's TTL rounds them."""
    return None if left_ms is None else (left_ms + 500) // 1000


def _seconds(milliseconds: Any) -> Any:
    return milliseconds / 1000 if isinstance(milliseconds, int | float) else milliseconds
