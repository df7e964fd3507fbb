"""`DictCache`, the cache backend."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Self

from redisdict.cache.ignoring import ignoring
from redisdict.cache.lifetimes import LifetimeMethods
from redisdict.cache.near import NearMethods
from redisdict.public_names import name_methods


class DictCache(LifetimeMethods):
    """A cache of Django's on the servers, pools and drivers of this package.

    `"BACKEND": "redisdict.cache.DictCache"`. It has all methods of Django's `BaseCache` and, with
    the names of django-redis, `ttl`, `pttl`, `expire`, `pexpire`, `expire_at`, `pexpire_at`,
    `persist`, `lock`, `keys`, `iter_keys`, `delete_pattern`, `set(nx=, xx=)` and `client`. Each has
    an async twin with an `a` before its name, which runs in the event loop and in no thread.

    Keys are made by Django's `make_key()`, as in django-redis and Django's RedisCache.
    `get_or_set()` computes once for all processes.
    """

    #: The class in CACHES, of which this is a subclass with NEAR or IGNORE_EXCEPTIONS.
    made_from: type[Any] | None = None

    def __new__(cls, location: Any, params: dict[str, Any]) -> Self:
        options = params.get("OPTIONS")
        kind: Any = cls
        # What is wrong is refused at the first use.
        if isinstance(options, Mapping) and cls.made_from is None:
            if options.get("NEAR") is not None:
                kind = _near_class(kind)
            if options.get("IGNORE_EXCEPTIONS") is True:
                kind = ignoring(kind)
        made: Self = super().__new__(kind)
        return made

    def __reduce__(self) -> Any:
        return self.made_from or type(self), (self._location, self._params)


@functools.cache
def _near_class(cache_class: type[Any]) -> type[Any]:
    """Make the subclass with NEAR. What a class in CACHES overrides comes before its methods."""
    names = {"made_from": cache_class, "__module__": cache_class.__module__}
    bases = (
        (NearMethods, DictCache)
        if cache_class is DictCache
        else (cache_class, _near_class(DictCache))
    )
    return type(cache_class.__name__, bases, names)


name_methods("DictCache", DictCache, NearMethods)
