"""Handle many keys: by name, by pattern, or all; each method is beside its async twin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from redisdict.cache.operations import KeyScan
from redisdict.cache.values import ValueMethods
from redisdict.wire.requests import Operation


class ManyMethods(ValueMethods):
    """The methods for many keys."""

    def get_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """Get the values of these keys that exist. MGET, 1,600 keys a command."""
        return self._store.driver.run(self._getting(keys, version))

    async def aget_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """As `get_many()`."""
        return await self._store.async_driver.run(self._getting(keys, version))

    def set_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None
    ) -> list[Any]:
        """Store values; return the keys that failed, always an empty list. SET, pipelined.

        All are serialized before the first is sent: if one can't be stored, none is.
        """
        return self._store.driver.run(self._setting_many(data, timeout, version))

    async def aset_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None
    ) -> list[Any]:
        """As `set_many()`."""
        return await self._store.async_driver.run(self._setting_many(data, timeout, version))

    def delete_many(self, keys: Iterable[Any], version: Any = None) -> int | None:  # type: ignore[override]  # as django-redis's
        """Remove keys; return how many existed, None for no keys. DEL, 1,600 keys a command."""
        return self._store.driver.run(self._deleting(keys, version))

    async def adelete_many(self, keys: Iterable[Any], version: Any = None) -> int | None:  # type: ignore[override]  # as above
        """As `delete_many()`."""
        return await self._store.async_driver.run(self._deleting(keys, version))

    def clear(self) -> None:
        """Remove all keys of this cache, of all its versions; nothing else. SCAN and UNLINK.

        With `"CLEAR": "database"` in its OPTIONS, all keys of the database. FLUSHDB.

        Raises:
            redisdict.ConfigurationError: by its KEY_FUNCTION the keys can't be recognized.
        """
        if not self._flushes:
            self._store.driver.run(self._clearing())
        elif self._is_cluster:
            self._store.backend.client().flushdb()
        else:
            self._store.driver.do(self._store.operations.flush())

    async def aclear(self) -> None:
        """As `clear()`."""
        if not self._flushes:
            await self._store.async_driver.run(self._clearing())
        elif self._is_cluster:
            await self._store.backend.async_client().flushdb()
        else:
            await self._ask(self._store.operations.flush())

    def iter_keys(
        self, search: str, itersize: int | None = None, version: Any = None
    ) -> Iterator[str]:
        """Iterate over the keys that match a pattern (`*`, `?`, `[…]`), page by page. SCAN.

        Args:
            itersize: how many keys the server looks at for one page.
        """
        scan = self._scan(search, itersize, version)
        while not scan.is_over:
            yield from self._named(self._store.driver.run(scan.next_page()), version)

    async def aiter_keys(
        self, search: str, itersize: int | None = None, version: Any = None
    ) -> AsyncIterator[str]:
        """As `iter_keys()`, for `async for`."""
        scan = self._scan(search, itersize, version)
        while not scan.is_over:
            for key in self._named(await self._store.async_driver.run(scan.next_page()), version):
                yield key

    def keys(self, search: str = "*", version: Any = None) -> list[str]:
        """List the keys that match a pattern. SCAN, because KEYS blocks the server."""
        return list(self.iter_keys(search, version=version))

    async def akeys(self, search: str = "*", version: Any = None) -> list[str]:
        """As `keys()`."""
        return [key async for key in self.aiter_keys(search, version=version)]

    def delete_pattern(self, pattern: str, version: Any = None, itersize: int | None = None) -> int:
        """Remove the keys that match a pattern; return their number. SCAN and UNLINK."""
        scan = self._scan(pattern, itersize, version)
        return self._store.driver.run(scan.remove_all(self._store.operations))

    async def adelete_pattern(
        self, pattern: str, version: Any = None, itersize: int | None = None
    ) -> int:
        """As `delete_pattern()`."""
        scan = self._scan(pattern, itersize, version)
        return await self._store.async_driver.run(scan.remove_all(self._store.operations))

    @property
    def _flushes(self) -> bool:
        return self._store.options.clear == "database"

    def _getting(self, keys: Iterable[Any], version: Any) -> Operation[dict[Any, Any]]:
        store = self._store
        by_raw = {self._key(key, version): key for key in keys}
        values = yield from store.operations.get_many(list(by_raw))
        found = [
            (key, value)
            for key, value in zip(by_raw.values(), values, strict=True)
            if value is not None
        ]
        decoded = store.codec.decode_many([value for _, value in found])
        return {key: value for (key, _), value in zip(found, decoded, strict=True)}

    def _setting_many(
        self, data: Mapping[Any, Any], timeout: Any, version: Any
    ) -> Operation[list[Any]]:
        store = self._store
        timeout_ms = self._milliseconds(timeout)
        encode = store.codec.encode
        pairs = [(self._key(key, version), encode(value)) for key, value in data.items()]
        if timeout_ms == 0:
            yield from store.operations.delete_many([raw for raw, _ in pairs])
        else:
            yield from store.operations.set_many(iter(pairs), timeout_ms)
        return []

    def _deleting(self, keys: Iterable[Any], version: Any) -> Operation[int | None]:
        raw = [self._key(key, version) for key in keys]
        if not raw:
            return None
        return (yield from self._store.operations.delete_many(raw))

    def _clearing(self) -> Operation[int]:
        scan = KeyScan(*self._key_space.of_all_versions(is_cluster=self._is_cluster))
        return scan.remove_all(self._store.operations)

    def _scan(self, pattern: str, itersize: int | None, version: Any) -> KeyScan:
        version = self.version if version is None else version
        found = self._key_space.matching(pattern, version, is_cluster=self._is_cluster)
        return KeyScan(*found, itersize)

    def _named(self, stored: Iterable[bytes], version: Any) -> list[str]:
        space = self._key_space
        version = self.version if version is None else version
        return [space.key_of(key, version) for key in stored]
