"""Store sessions in a `DictCache`: `SESSION_ENGINE = "redisdict.cache.sessions"`.

Django's cache engine first asks whether a session exists, which fetches it, and then stores it: a
user who logs out in between is logged in again. Here one command stores it only if it exists. An
unchanged session only gets a new time to live, so that a request that changed nothing doesn't undo
changes by another; and nothing large is sent.
"""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.contrib.sessions.backends.cache import SessionStore as SessionStoreOfDjango

from redisdict.cache.cache import DictCache
from redisdict.cache.values import aread, encode, read


class SessionStore(SessionStoreOfDjango):
    """A session in the cache of SESSION_CACHE_ALIAS.

    In a cache of another backend it is Django's engine.
    """

    _cache: Any

    #: The session as it is stored, once it was read or written.
    _stored: bytes | None = None

    @property
    def _is_ours(self) -> bool:
        return isinstance(self._cache, DictCache)

    def load(self) -> dict[str, Any]:
        """Load the data; empty, and without a key, when there is no such session. GET."""
        if not self._is_ours:
            return super().load()
        try:
            self._stored, data = read(self._cache, self.cache_key)
        except Exception:  # noqa: BLE001  # as Django's: whatever it is, the session begins anew
            self._stored, data = None, None
        return self._loaded(data)

    async def aload(self) -> dict[str, Any]:
        """As `load()`."""
        if not self._is_ours:
            return await super().aload()
        try:
            self._stored, data = await aread(self._cache, await self.acache_key())
        except Exception:  # noqa: BLE001  # as above
            self._stored, data = None, None
        return self._loaded(data)

    def save(self, must_create: bool = False) -> None:
        """Store the data, or the time to live of unchanged data. SET NX or XX, or PEXPIRE.

        Raises:
            CreateError: `must_create`, and there is such a session.
            UpdateError: it was deleted meanwhile.
        """
        if not self._is_ours or self.session_key is None:
            super().save(must_create)
            return
        data = self._get_session(no_load=must_create)  # type: ignore[attr-defined]  # not in its stub
        key, age = self.cache_key, self.get_expiry_age()
        stored = encode(self._cache, data)
        if must_create:
            is_done = self._cache.add(key, data, age)
        elif stored == self._stored:
            is_done = self._cache.touch(key, age)
        else:
            is_done = self._cache.set(key, data, age, xx=True)
        self._saved(stored, must_create, is_done)

    async def asave(self, must_create: bool = False) -> None:
        """As `save()`."""
        if not self._is_ours or self.session_key is None:
            await super().asave(must_create)
            return
        data = await self._aget_session(no_load=must_create)  # type: ignore[attr-defined]  # as above
        key, age = await self.acache_key(), await self.aget_expiry_age()
        stored = encode(self._cache, data)
        if must_create:
            is_done = await self._cache.aadd(key, data, age)
        elif stored == self._stored:
            is_done = await self._cache.atouch(key, age)
        else:
            is_done = await self._cache.aset(key, data, age, xx=True)
        self._saved(stored, must_create, is_done)

    def _loaded(self, data: Any) -> dict[str, Any]:
        if data is None:
            self._session_key = None
            return {}
        found: dict[str, Any] = data
        return found

    def _saved(self, stored: bytes, must_create: bool, is_done: bool) -> None:
        if not is_done:
            raise CreateError if must_create else UpdateError
        self._stored = stored
