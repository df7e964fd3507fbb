"""`DictCache`, the cache backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from redisdict.cache.ignoring import ignoring
from redisdict.cache.lifetimes import LifetimeMethods


class DictCache(LifetimeMethods):
    """A cache of Django's on the servers, pools and drivers of this package.

    `"BACKEND": "redisdict.cache.DictCache"`. All of Django's `BaseCache` and, by the names that
    django-redis has, `ttl`, `pttl`, `expire`, `pexpire`, `expire_at`, `pexpire_at`, `persist`,
    `lock`, `keys`, `iter_keys`, `delete_pattern`, `set(nx=, xx=)` and `client`. Each has an async
    twin with an `a` before its name, which runs in the event loop and in no thread.

    Keys are what Django's `make_key()` makes, the same that django-redis and Django's RedisCache
    store. `get_or_set()` computes once for all processes.
    """

    #: The class in CACHES, of which this is a subclass with IGNORE_EXCEPTIONS.
    made_from: type[Any] | None = None

    def __new__(cls, location: Any, params: dict[str, Any]) -> Self:
        options = params.get("OPTIONS")
        # What is wrong is refused at the first use.
        ignores = isinstance(options, Mapping) and options.get("IGNORE_EXCEPTIONS") is True
        if ignores and cls.made_from is None:
            cache_class: Any = cls
            subclass: type[Self] = ignoring(cache_class)
            return super().__new__(subclass)
        return super().__new__(cls)

    def __reduce__(self) -> Any:
        return self.made_from or type(self), (self._location, self._params)
