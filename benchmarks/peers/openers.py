"""How each client is opened on a database of the server. A peer is imported when it is opened.

A function here either takes the target and opens a client, or takes what tells two clients of one
kind apart and gives such a function. Those for an event loop are coroutine functions.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import redis
import redis.asyncio

from benchmarks.peers.stores import caches, limits, mappings
from benchmarks.peers.stores.store import Store
from benchmarks.peers.target import Target
from redisdict import PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend

__all__ = [
    "Opener",
    "async_django_valkey",
    "async_glide",
    "async_persistent_dict",
    "async_redis_py",
    "by_hand",
    "coredis",
    "django_redis",
    "django_redis_cache",
    "django_valkey",
    "glide",
    "persistent_dict",
    "pottery",
    "protocol",
    "redis_collections",
    "redis_dict",
    "redis_py",
    "redis_py_unix",
    "sockets",
    "valkey_py",
    "walrus",
]

Opener = Callable[[Target], Store | Awaitable[Store]]

#: From a client to its store, such as `HashCommands`.
Kind = Callable[[Any], Store]

#: From something that sends commands, and its end, to its store.
BareKind = Callable[[Any, Any], Store]


def persistent_dict(*, is_hash: bool, is_unix: bool = False, serializer: str = "msgpack") -> Opener:
    def open_dict(target: Target) -> Store:
        backend = _backend(target.unix_url if is_unix else target.url)
        kind = mappings.RawPersistent if serializer == "raw" else mappings.Persistent
        return kind(_mapping(backend, is_hash, serializer), backend)

    return open_dict


def async_persistent_dict(*, is_hash: bool, serializer: str = "msgpack", **values: Any) -> Opener:
    async def open_dict(target: Target) -> Store:
        backend = _backend(target.url, **values)
        kind = mappings.RawAsyncPersistent if serializer == "raw" else mappings.AsyncPersistent
        return kind(_mapping(backend, is_hash, serializer), backend)

    return open_dict


def redis_py(kind: Kind, pool_class: Any = redis.ConnectionPool) -> Opener:
    def open_client(target: Target) -> Store:
        return kind(redis.Redis(connection_pool=pool_class.from_url(target.url)))

    return open_client


def redis_py_unix(kind: Kind) -> Opener:
    def open_client(target: Target) -> Store:
        return kind(redis.Redis.from_url(target.unix_url))

    return open_client


def async_redis_py(kind: Kind, pool_class: Any = redis.asyncio.ConnectionPool) -> Opener:
    async def open_client(target: Target) -> Store:
        return kind(redis.asyncio.Redis(connection_pool=pool_class.from_url(target.url)))

    return open_client


def by_hand(kind: BareKind) -> Opener:
    """A connection that redis-py has opened, without redis-py's client and pool."""

    def open_connection(target: Target) -> Store:
        connection = redis.ConnectionPool.from_url(target.url).get_connection()
        bare = limits.BareConnection(connection)
        return kind(bare.ask, bare.close)

    return open_connection


def sockets(kind: BareKind, *, is_unix: bool) -> Opener:
    def open_socket(target: Target) -> Store:
        if is_unix:
            connected = socket.socket(socket.AF_UNIX)
            connected.connect(str(target.path))
        else:
            connected = socket.create_connection(("127.0.0.1", target.port))
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bare = limits.BareSocket(connected, target.db)
        return kind(bare.ask, bare.close)

    return open_socket


def protocol(kind: BareKind) -> Opener:
    async def open_protocol(target: Target) -> Store:
        loop = asyncio.get_running_loop()
        _, bare = await loop.create_connection(limits.BareProtocol, "127.0.0.1", target.port)
        await bare.ask(b"SELECT", target.db)
        return kind(bare.ask, bare.close)

    return open_protocol


def valkey_py(kind: Kind) -> Opener:
    def open_client(target: Target) -> Store:
        import valkey

        return kind(valkey.Valkey.from_url(target.url))

    return open_client


def glide(kind: Kind) -> Opener:
    def open_client(target: Target) -> Store:
        import glide_sync

        return kind(glide_sync.GlideClient.create(_glide_configuration(glide_sync, target)))

    return open_client


def async_glide(kind: Kind) -> Opener:
    async def open_client(target: Target) -> Store:
        import glide

        return kind(await glide.GlideClient.create(_glide_configuration(glide, target)))

    return open_client


async def coredis(target: Target) -> Store:
    import coredis

    from benchmarks.peers.stores.coredis import Coredis

    return await Coredis(coredis.Redis(port=target.port, db=target.db)).open()


def redis_dict(target: Target) -> Store:
    from redis_dict import RedisDict

    mapping = RedisDict("items", host="127.0.0.1", port=target.port, db=target.db)
    return mappings.OneByOne(mapping, mapping.redis)


def pottery(target: Target) -> Store:
    from pottery import RedisDict

    client = redis.Redis.from_url(target.url)
    return mappings.OneByOne(RedisDict(redis=client, key="items"), client)


def redis_collections(target: Target) -> Store:
    from redis_collections import Dict

    client = redis.Redis.from_url(target.url)
    return mappings.CollectionsDict(Dict(redis=client, key="items"), client)


def walrus(target: Target) -> Store:
    from walrus import Database

    client = Database(port=target.port, db=target.db)
    return mappings.WalrusHash(client.Hash("items"), client)


def django_redis_cache(kind: Kind) -> Opener:
    """Django's own backend; its asynchronous methods call the others in a thread."""

    def open_cache(target: Target) -> Store:
        from django.core.cache.backends.redis import RedisCache

        return kind(RedisCache(target.url, {}))

    return open_cache


def django_redis(kind: Kind) -> Opener:
    def open_cache(target: Target) -> Store:
        from django_redis.cache import RedisCache

        return kind(RedisCache(target.url, {}))

    return open_cache


def django_valkey(target: Target) -> Store:
    from django_valkey.cache import ValkeyCache

    return caches.ScannedCache(ValkeyCache(_valkey_url(target), {}))


async def async_django_valkey(target: Target) -> Store:
    from django_valkey.async_cache.cache import AsyncValkeyCache

    return caches.AsyncCache(AsyncValkeyCache(_valkey_url(target), {}))


def _backend(location: str, **values: Any) -> Backend:
    return Backend(parse_alias("benchmark", {"LOCATION": location, **values}))


def _mapping(backend: Backend, is_hash: bool, serializer: str) -> PersistentDict[str, Any]:
    return PersistentDict("items", using=backend, hset_enabled=is_hash, serializer=serializer)


def _glide_configuration(module: Any, target: Target) -> Any:
    address = module.NodeAddress("127.0.0.1", target.port)
    return module.GlideClientConfiguration([address], database_id=target.db)


def _valkey_url(target: Target) -> str:
    return target.url.replace("redis:", "valkey:")
