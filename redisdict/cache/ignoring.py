"""Ignore a cache's lost server: behave as if the cache were empty and nothing could be stored."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from redis.exceptions import RedisError

from redisdict.cache.values import missing
from redisdict.exceptions import BackendUnavailable, NotANumberError

logger = logging.getLogger("redisdict.cache")


def _raise_missing(key: Any, *_: Any, **__: Any) -> Any:
    raise missing(key)


def _compute(key: Any, default: Any, *_: Any, **__: Any) -> Any:
    return default() if callable(default) else default


#: What a method gives instead, from its arguments.
INSTEAD: dict[str, Callable[..., Any]] = {
    "get": lambda key, default=None, version=None: default,
    "get_many": lambda *_, **__: {},
    "set_many": lambda data, *_, **__: list(data),
    "keys": lambda *_, **__: [],
    "iter_keys": lambda *_, **__: (),
    "ttl": lambda *_, **__: 0,
    "pttl": lambda *_, **__: 0,
    "delete_many": lambda *_, **__: 0,
    "delete_pattern": lambda *_, **__: 0,
    "clear": lambda: None,
    "incr": _raise_missing,
    "decr": _raise_missing,
    "incr_version": _raise_missing,
    "decr_version": _raise_missing,
    "get_or_set": _compute,
    **dict.fromkeys(
        ("set", "add", "delete", "has_key", "touch", "expire", "pexpire", "expire_at"),
        lambda *_, **__: False,
    ),
    **dict.fromkeys(("pexpire_at", "persist"), lambda *_, **__: False),
}


@functools.cache
def ignoring(cache_class: type[Any]) -> type[Any]:
    """Make a subclass that logs errors of the server as warnings, and goes on."""
    made_from = cache_class.made_from or cache_class
    methods: dict[str, Any] = {"made_from": made_from, "__module__": cache_class.__module__}
    for name, instead in INSTEAD.items():
        for each in (name, f"a{name}"):
            methods[each] = _wrap(each, getattr(cache_class, each), instead)
    return type(cache_class.__name__, (cache_class,), methods)


def _wrap(name: str, method: Any, instead: Callable[..., Any]) -> Any:
    if inspect.isasyncgenfunction(method):

        @functools.wraps(method)
        async def iterate_async(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            try:
                async for each in method(self, *args, **kwargs):
                    yield each
            except (BackendUnavailable, RedisError) as error:
                _note(name, error)

        return iterate_async
    if inspect.isgeneratorfunction(method):

        @functools.wraps(method)
        def iterate(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            try:
                yield from method(self, *args, **kwargs)
            except (BackendUnavailable, RedisError) as error:
                _note(name, error)

        return iterate
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def call_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return await method(self, *args, **kwargs)
            except (BackendUnavailable, RedisError) as error:
                _note(name, error)
            result = instead(*args, **kwargs)
            return await result if isinstance(result, Awaitable) else result

        return call_async

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except (BackendUnavailable, RedisError) as error:
            _note(name, error)
        return instead(*args, **kwargs)

    return call


def _note(name: str, error: Exception) -> None:
    if isinstance(error, NotANumberError):
        raise error
    logger.warning("An error of %s() of a cache was ignored: %s", name, error)
