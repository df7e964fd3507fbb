"""Cache the results of functions, by their arguments, in a cache or a dict: `@cached`."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from types import MethodType
from typing import (
    Any,
    Concatenate,
    Final,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    cast,
    overload,
)

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from redisdict.cache.argument_keys import KeyMaker
from redisdict.cache.cache import DictCache
from redisdict.cache.inside import PersistentDict, Unkept, parse_options
from redisdict.exceptions import ConfigurationError

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
C = TypeVar("C")

_MISSING = object()

#: The options that are those of `get_or_set()`, by its names.
SERVING: Final = ("stale", "soft_timeout", "refresh_ahead", "fail_safe", "lock_timeout")


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """Where and how the entries of a function are stored; `cached()` describes each option."""

    keys: KeyMaker
    using: str | BaseCache | PersistentDict[Any, Any]
    timeout: Any
    stale: float
    soft_timeout: float | None
    refresh_ahead: float
    fail_safe: bool | float
    lock_timeout: float
    cache_none: bool

    def __post_init__(self) -> None:
        timeout, where = self.timeout, f"cached() of {self.keys.name}()"
        if timeout is not DEFAULT_TIMEOUT and timeout is not None:
            _check_seconds(f"timeout of {where}", timeout)
            if timeout <= 0:
                raise ValueError(
                    f"timeout of {where} is {timeout}, so nothing would be kept; seconds above 0"
                    " are expected, or None for ever."
                )
        timeout_ms = math.ceil(timeout * 1000) if isinstance(timeout, int | float) else None
        parse_options(timeout_ms, **self._serving, of=f" of {where}")
        using = self.using
        if not isinstance(using, str | BaseCache | PersistentDict):
            raise TypeError(
                f"using of {where} is {using!r:.80}; an alias of CACHES, a cache or a"
                " PersistentDict is expected."
            )
        if isinstance(using, PersistentDict) and using._options.key_type is not str:
            raise ConfigurationError(
                f"using of {where} is {using!r}, whose keys aren't str; leave out its key_type."
            )

    def get_or_set(self, key: str, compute: Callable[[], Any]) -> Any:
        """Get the stored value, or compute it."""
        store = self._store()
        if _computes_once(store):
            try:
                return store.get_or_set(
                    key, functools.partial(self._compute, compute), **self._times, **self._serving
                )
            except Unkept:
                return None
        value = store.get(key, _MISSING)
        return self.keep(key, compute()) if value is _MISSING else value

    async def aget_or_set(self, key: str, compute: Callable[[], Awaitable[Any]]) -> Any:
        """As `get_or_set()`, of a coroutine function."""
        store = self._store()
        if _computes_once(store):
            try:
                return await store.aget_or_set(
                    key, functools.partial(self._acompute, compute), **self._times, **self._serving
                )
            except Unkept:
                return None
        value = await store.aget(key, _MISSING)
        return await self.akeep(key, await compute()) if value is _MISSING else value

    def keep(self, key: str, value: Any) -> Any:
        """Store a value, replacing any other; return it."""
        store = self._store()
        if self._is_kept(value):
            store.set(key, value, **self._lives(store))
        else:
            store.delete(key)
        return value

    async def akeep(self, key: str, value: Any) -> Any:
        """As `keep()`."""
        store = self._store()
        if self._is_kept(value):
            await store.aset(key, value, **self._lives(store))
        else:
            await store.adelete(key)
        return value

    def delete(self, key: str) -> bool:
        """Remove a value; return whether there was one."""
        return bool(self._store().delete(key))

    async def adelete(self, key: str) -> bool:
        """As `delete()`."""
        return bool(await self._store().adelete(key))

    def _store(self) -> Any:
        using = self.using
        if not isinstance(using, str):
            return using
        try:
            return caches[using]
        except InvalidCacheBackendError as error:
            known = ", ".join(map(repr, caches.settings))
            raise ConfigurationError(
                f"{self.keys.name}() is cached in CACHES[{using!r}], which can't be used: {error}"
                f" CACHES has {known}."
            ) from error

    @property
    def _times(self) -> dict[str, Any]:
        return {} if self.timeout is DEFAULT_TIMEOUT else {"timeout": self.timeout}

    @property
    def _serving(self) -> dict[str, Any]:
        """The arguments of this package's `get_or_set()` that others don't have."""
        return {name: getattr(self, name) for name in SERVING}

    def _lives(self, store: Any) -> dict[str, Any]:
        if self.stale and _computes_once(store):
            return {"timeout": self.timeout + self.stale}
        return self._times

    def _is_kept(self, value: Any) -> bool:
        return value is not None or self.cache_none

    def _compute(self, compute: Callable[[], Any]) -> Any:
        value = compute()
        if not self._is_kept(value):
            raise Unkept
        return value

    async def _acompute(self, compute: Callable[[], Awaitable[Any]]) -> Any:
        value = await compute()
        if not self._is_kept(value):
            raise Unkept
        return value


class _Cached(Generic[P, R]):
    """The members of a cached function, sync and async.

    Attributes:
        uncached: the function itself; of a method that was got from an instance, bound to it.
    """

    __name__: str
    __qualname__: str
    uncached: Callable[P, Any]

    def __init__(
        self, function: Callable[..., Any], keeping: Keeping, bound: tuple[Any, ...] = ()
    ) -> None:
        _look_like(self, function)
        self.uncached = function
        self._keeping = keeping
        self._bound = bound

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Make the key of the cache or the dict for these arguments."""
        return self._key(args, kwargs)

    def __repr__(self) -> str:
        return f"<cached {self._keeping.keys.name}>"

    def __reduce__(self) -> Any:
        # As functions are pickled, by name; as methods, by the instance and the name.
        return (getattr, (self._bound[0], self.__name__)) if self._bound else self.__qualname__

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        given = self._bound + args
        if self._keeping.keys.takes_class and given and not isinstance(given[0], type):
            # From Python 3.13 on, a classmethod gives its function's attributes unbound.
            raise TypeError(
                f"{self._keeping.keys.name}() is used without its class; write @cached(…) above"
                " @classmethod."
            )
        return self._keeping.keys.key_of(given, kwargs)

    def _bind(self, instance: Any) -> Self:
        if self._bound:
            return self
        return type(self)(MethodType(self.uncached, instance), self._keeping, (instance,))


class CachedFunction(_Cached[P, R]):
    """A function whose results are cached."""

    uncached: Callable[P, R]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value that is kept for these arguments, or else the computed one."""
        compute = functools.partial(self.uncached, *args, **kwargs)
        return cast(R, self._keeping.get_or_set(self._key(args, kwargs), compute))

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute the value now and store it, whatever is kept."""
        key = self._key(args, kwargs)
        return cast(R, self._keeping.keep(key, self.uncached(*args, **kwargs)))

    async def arefresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """As `refresh()`; the function runs in a thread."""
        key = self._key(args, kwargs)
        value = await sync_to_async(self.uncached)(*args, **kwargs)
        return cast(R, await self._keeping.akeep(key, value))

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the entry for these arguments; return whether there was one."""
        return self._keeping.delete(self._key(args, kwargs))

    async def ainvalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """As `invalidate()`."""
        return await self._keeping.adelete(self._key(args, kwargs))

    # Got from the class it may be a classmethod's or not, which checkers don't tell apart here.
    @overload
    def __get__(self, instance: None, owner: type[Any]) -> CachedFunction[..., R]: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], R], instance: S, owner: type[Any] | None = None
    ) -> CachedFunction[Q, R]: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        return self if instance is None else self._bind(instance)


class CachedCoroutine(_Cached[P, R]):
    """A coroutine function whose results are cached; `invalidate()` and `refresh()` are awaited."""

    uncached: Callable[P, Coroutine[Any, Any, R]]

    def __init__(
        self, function: Callable[..., Any], keeping: Keeping, bound: tuple[Any, ...] = ()
    ) -> None:
        super().__init__(function, keeping, bound)
        markcoroutinefunction(self)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value that is kept for these arguments, or else the computed one."""
        compute = functools.partial(self.uncached, *args, **kwargs)
        return cast(R, await self._keeping.aget_or_set(self._key(args, kwargs), compute))

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute the value now and store it, whatever is kept."""
        key = self._key(args, kwargs)
        return cast(R, await self._keeping.akeep(key, await self.uncached(*args, **kwargs)))

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the entry for these arguments; return whether there was one."""
        return await self._keeping.adelete(self._key(args, kwargs))

    # Got from the class it may be a classmethod's or not, which checkers don't tell apart here.
    @overload
    def __get__(
        self, instance: None, owner: type[Any] | None = None
    ) -> CachedCoroutine[..., R]: ...
    @overload
    def __get__(
        self: CachedCoroutine[Concatenate[S, Q], R], instance: S, owner: type[Any] | None = None
    ) -> CachedCoroutine[Q, R]: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        return self if instance is None else self._bind(instance)


class _OfClass(Generic[C]):
    """A cached function in the place of a classmethod: bound to the class from which it is got."""

    def __init__(self, cached_function: Any) -> None:
        _look_like(self, cached_function)
        self._cached = cached_function

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> C:
        bound: C = self._cached._bind(type(instance) if owner is None else owner)
        return bound


class _OfNone(_OfClass[C]):
    """A cached function in the place of a staticmethod: bound to nothing."""

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> C:
        function: C = self._cached
        return function


class _Decorator(Protocol):
    """The decorator that `cached()` returns; a function keeps its signature."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a coroutine function is the narrower one
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CachedCoroutine[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...


def cached(
    *,
    timeout: float | None = DEFAULT_TIMEOUT,
    key: str | Callable[..., Any] | None = None,
    using: str | BaseCache | PersistentDict[str, Any] = "default",
    stale: float = 0,
    soft_timeout: float | None = None,
    refresh_ahead: float = 0,
    fail_safe: bool | float = False,
    lock_timeout: float = 60,
    version: str | int | None = None,
    cache_none: bool = True,
    name: str | None = None,
) -> _Decorator:
    """Cache the results of a function, by its arguments; one caller computes, the others wait.

    For functions, methods and coroutine functions. The decorated function has `invalidate()`,
    `refresh()` and `key_for()`, which take its arguments, and `uncached`.

    Args:
        timeout: seconds, None for ever; if it isn't given, that of the cache or the dict.
        key: makes the key from the arguments: a template, such as "{product.pk}", or a function of
            them. Without it the key has all of them (docs/cache.md has the rule).
        using: an alias of CACHES, a cache or a `PersistentDict`.
        stale: seconds for which a value is kept beyond `timeout`; in this time one caller computes
            it again, and the others get the old one at once.
        soft_timeout: seconds after which the caller that computes gets the old value, too; the
            computation goes on in the background. 0 returns the old value at once.
        refresh_ahead: seconds before the end of `timeout` in which one read starts a computation in
            the background; all reads get the current value, which is still fresh.
        fail_safe: seconds without another attempt after the function has raised: the error is
            logged and the old value returned. `True` means 5 seconds.
        lock_timeout: seconds after which another caller computes too.
        version: a part of the key; another version begins without entries.
        cache_none: whether None is cached like other values.
        name: replaces the function's qualified name in the key.

    Raises:
        TypeError, ValueError, ConfigurationError: one of these can't be used, or the function
            can't be cached.
    """

    def decorate(function: Any) -> Any:
        place = type(function)
        if place in (classmethod, staticmethod):
            function = function.__func__
        _check_function(function)
        keeping = Keeping(
            keys=KeyMaker(function, name, version, key),
            using=using,
            timeout=timeout,
            stale=stale,
            soft_timeout=soft_timeout,
            refresh_ahead=refresh_ahead,
            fail_safe=fail_safe,
            lock_timeout=lock_timeout,
            cache_none=cache_none,
        )
        kind: Any = CachedCoroutine if iscoroutinefunction(function) else CachedFunction
        made = kind(function, keeping)
        if place is classmethod:
            return _OfClass(made)
        return _OfNone(made) if place is staticmethod else made

    return cast(_Decorator, decorate)


def _check_function(function: Any) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{function.__qualname__}() is a generator, which gives its values only once; return a"
            " list to cache it."
        )
    if not callable(function) or isinstance(function, type):
        raise TypeError(
            f"cached() is given {function!r:.80}; a function is expected. Of a property, cache the"
            " function below @property."
        )


def _look_like(wrapper: Any, function: Any) -> None:
    functools.update_wrapper(wrapper, function)


def _check_seconds(what: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} is {value!r:.80}; seconds are expected.")


def _computes_once(store: Any) -> bool:
    """Whether it is of this package. Of other backends several callers may compute at once."""
    return isinstance(store, DictCache | PersistentDict)
