"""Hold what all cache objects with one LOCATION and OPTIONS share in a process.

Django makes a cache object for each thread and each context of tasks. All of them have the same
store, whose backend has one pool for threads and one for each event loop.
"""

from __future__ import annotations

import functools
import random
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from redisdict import forks
from redisdict.cache.codecs import CacheCodec
from redisdict.cache.inside import Computations
from redisdict.cache.near_spaces import (
    CacheNear,
    refuse_near,
    spaces_in_use,
    spaces_of,
)
from redisdict.cache.operations import CacheOperations
from redisdict.cache.options import (
    CacheOptions,
    name_in_settings,
    parse_options,
    reworded,
)
from redisdict.conf import DEFAULTS
from redisdict.connections import registry
from redisdict.connections.backend import Backend
from redisdict.connections.drivers import AsyncDriver, Driver, DriverPair
from redisdict.connections.routing import AsyncRoutingDriver, ReplicaRouter, RoutingDriver
from redisdict.exceptions import ConfigurationError
from redisdict.near.access import drivers_that_drop

#: By the text of LOCATION and OPTIONS, which may hold a password.
_stores: dict[str, Store] = {}

#: The same for those that were asked for before, by LOCATION and the identity of the dict of
#: OPTIONS, which is kept beside it, so that no other dict can have that identity.
_known: dict[tuple[object, int], tuple[object, Store]] = {}

#: Entries of CACHES are few; unpickled caches have dicts of their own.
MOST_KNOWN = 100

_bound: weakref.WeakSet[Store] = weakref.WeakSet()
_lock = forks.Lock()


class Store:
    """The server, the drivers and the codec of a cache, found at its first use and not before.

    Args:
        location, params: an entry of `CACHES` without its BACKEND.

    Attributes:
        options: the entry, checked.
        backend: the server.
        codec: converts values to stored bytes and back.
        operations: the requests to the server.
        computing: the operations of `get_or_set()`.
        driver, async_driver: run operations and steps, in threads and in tasks. Where this process
            keeps values of caches of the same server in memory, they drop those that are changed.
        near: the reads that memory may answer, by the prefix of their keys.

    Raises:
        ConfigurationError: from the first use of an attribute, if the entry can't be used.
    """

    __slots__ = (
        "__weakref__",
        "_location",
        "_params",
        "async_driver",
        "backend",
        "codec",
        "computing",
        "driver",
        "near",
        "operations",
        "options",
    )

    options: CacheOptions
    backend: Backend
    codec: CacheCodec
    operations: CacheOperations
    computing: Computations
    driver: Driver
    async_driver: AsyncDriver
    near: _Nears

    def __init__(self, location: Any, params: Mapping[str, Any]) -> None:
        self._location = location
        self._params = params
        self.__class__ = _Unbound

    def _bind(self) -> None:
        name = name_in_settings(self._location, self._params)
        options = parse_options(name, self._location, self._params)
        if options.using is not None:
            backend = registry.get_backend(options.using)
            serializer, compressor = backend.config.serializer, backend.config.compressor
        else:
            backend = backend_of(options, options.locations[0])
            serializer, compressor = DEFAULTS["SERIALIZER"], None
        refuse_near(options, backend.factory)
        drivers, is_first = _drivers(options, backend), spaces_in_use(backend) is None
        spaces = spaces_in_use(backend) if options.near is None else spaces_of(backend)
        self.backend = backend
        self.codec = CacheCodec(options, serializer, compressor)
        self.operations = CacheOperations(is_cluster=backend.cluster is not None)
        self.driver, self.async_driver = (
            drivers if spaces is None else drivers_that_drop(drivers, spaces.access)
        )
        self.computing = Computations(
            self.codec, self.driver, self.async_driver, backend.capabilities
        )
        self.near = _Nears(functools.partial(self._make_near, drivers))
        self.options = options
        self.__class__ = Store
        _bound.add(self)
        if is_first and spaces is not None:
            _find_near_anew(backend)
        elif spaces is None and spaces_in_use(backend) is not None:
            self.unbind()  # another cache has begun meanwhile to read near

    def _make_near(self, drivers: DriverPair, prefix: bytes) -> CacheNear:
        options, config, spaces = self.options, self.backend.config, spaces_of(self.backend)
        assert options.near is not None  # a cache without it doesn't ask
        space = spaces.find(prefix)
        if space is None:
            space = spaces.get(
                prefix,
                options.near_max_bytes or config.near_max_bytes,
                options.near_max_items or config.near_max_items,
            )
            _find_near_anew(self.backend)
        return CacheNear(self.computing, spaces, space, prefix, options.near, drivers)

    def unbind(self) -> None:
        """Look everything up again at the next use, after a change of the settings."""
        _bound.discard(self)
        self.__class__ = _Unbound
        for name in Store.__annotations__:
            delattr(self, name)
        self.__class__ = _Unbound  # also when another thread has bound it meanwhile


class _Unbound(Store):
    """A store before its first use.

    It is a class of its own, and has slots, because one with `__getattr__` takes six times as long
    for attributes that are there, and every call of a cache asks for three.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name not in Store.__annotations__:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        self._bind()
        return getattr(self, name)


class _Nears(dict[bytes, CacheNear]):
    """The spaces of a store, by the beginning of the keys; made at the first read."""

    def __init__(self, make: Callable[[bytes], CacheNear]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, prefix: bytes) -> CacheNear:
        while True:
            near = self[prefix] = self._make(prefix)
            if near.is_current:
                return near


def _find_near_anew(backend: Backend) -> None:
    """Have the caches of a backend know what is kept by now, and drop what they change of it."""
    for store in list(_bound):
        if store.backend is backend:
            if store.options.near is None:
                store.unbind()
            else:
                store.near.clear()


def store_of(location: Any, params: Mapping[str, Any]) -> Store:
    """Get the store of an entry of `CACHES`; the same one for all cache objects made from it."""
    options = params.get("OPTIONS")
    key = (location if isinstance(location, str) else repr(location), id(options))
    found = _known.get(key)
    if found is not None and found[0] is options:
        return found[1]
    with _lock:
        store = _stores.setdefault(repr((location, options)), Store(location, params))
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[key] = (options, store)
    return store


def backend_of(options: CacheOptions, location: str) -> Backend:
    """Get the backend of one of a cache's servers: one for all caches that reach it alike.

    Raises:
        ConfigurationError: it can't be used.
    """
    try:
        config = options.config_of(location)
        identity = (
            location,
            config.pool_class,
            config.async_pool_class,
            config.retry_for,
            config.tracer,
            sorted((name, repr(value)) for name, value in config.options.items()),
        )
        backend = registry.get_backend_of(config, repr(identity))
        backend.factory.verify()
        return backend
    except ConfigurationError as error:
        raise reworded(error, options.name) from None


class _AnyReplica:
    """The drivers of one of several replicas, another one each time."""

    def __init__(self, replicas: list[Backend]) -> None:
        self._replicas = replicas

    @property
    def driver(self) -> Driver:
        return random.choice(self._replicas).driver  # noqa: S311  # spreads load, keeps no secret

    @property
    def async_driver(self) -> AsyncDriver:
        return random.choice(self._replicas).async_driver  # noqa: S311  # as above


def _drivers(options: CacheOptions, backend: Backend) -> DriverPair:
    durable = options.durable or (backend.config.durable if options.using else None)
    replicas = [backend_of(options, location) for location in options.locations[1:]]
    if not replicas:
        return backend.drivers_of_dicts(durable)
    router = ReplicaRouter(backend.drivers(durable), _AnyReplica(replicas))
    return DriverPair(RoutingDriver(router), AsyncRoutingDriver(router))


def _forget_all() -> None:
    """After a change of the settings, let existing cache objects look up their servers again."""
    _known.clear()
    _stores.clear()
    for store in list(_bound):
        store.unbind()
    _bound.clear()


registry.on_reset(_forget_all)
