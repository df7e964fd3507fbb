"""Who is compared, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.peers import openers
from benchmarks.peers.openers import Opener
from benchmarks.peers.stores.caches import AsyncCache, Cache, ScannedCache
from benchmarks.peers.stores.commands import HashCommands, KeyCommands
from benchmarks.peers.stores.glide import GlideHash, GlideKeys
from benchmarks.peers.stores.limits import BareHash, BareKeys
from redisdict import pools

__all__ = [
    "BY_HAND",
    "DICT",
    "PROTOCOL",
    "REFERENCE",
    "UNIX",
    "Client",
    "Kind",
    "async_clients",
    "bulk_clients",
    "sync_clients",
]

#: The client that all others of its table are compared with.
REFERENCE = "redis-py"

DICT = "PersistentDict"

#: How the names of rows over a unix socket end.
UNIX = ", unix socket"

BY_HAND = "redis-py Connection and hiredis by hand"

PROTOCOL = "asyncio.Protocol and hiredis"


class Kind(StrEnum):
    """What a row stands for."""

    OURS = "this package"
    PEER = "peer"
    LIMIT = "limit"


@dataclass(frozen=True)
class Client:
    """A row. What its opener raises is shown in place of figures."""

    name: str
    kind: Kind
    open: Opener


def sync_clients(*, is_hash: bool) -> list[Client]:
    """Those that block the calling thread."""
    commands = HashCommands if is_hash else KeyCommands
    bare = BareHash if is_hash else BareKeys
    return [
        *bulk_clients(is_hash=is_hash),
        _ours(f"{DICT}{UNIX}", openers.persistent_dict(is_hash=is_hash, is_unix=True)),
        _ours(
            f"{DICT}, raw{UNIX}",
            openers.persistent_dict(is_hash=is_hash, is_unix=True, serializer="raw"),
        ),
        *(
            _ours(f"redis-py over our {pool.__name__}", openers.redis_py(commands, pool))
            for pool in (pools.ConnectionPool, pools.BlockingConnectionPool)
        ),
        _peer(f"{REFERENCE}{UNIX}", openers.redis_py_unix(commands)),
        _limit(f"socket and hiredis{UNIX}", openers.sockets(bare, is_unix=True)),
    ]


def bulk_clients(*, is_hash: bool) -> list[Client]:
    """The same without pools and unix sockets, which make no difference to long commands."""
    commands = HashCommands if is_hash else KeyCommands
    bare = BareHash if is_hash else BareKeys
    return [
        _ours(DICT, openers.persistent_dict(is_hash=is_hash)),
        _ours(f"{DICT}, raw", openers.persistent_dict(is_hash=is_hash, serializer="raw")),
        _peer(REFERENCE, openers.redis_py(commands)),
        _peer("valkey-py", openers.valkey_py(commands)),
        _peer("valkey-glide-sync", openers.glide(GlideHash if is_hash else GlideKeys)),
        *(_sync_dicts() if is_hash else _sync_caches()),
        _limit(BY_HAND, openers.by_hand(bare)),
        _limit("socket and hiredis", openers.sockets(bare, is_unix=False)),
    ]


def async_clients(*, is_hash: bool) -> list[Client]:
    """Those that run in an event loop."""
    commands = HashCommands if is_hash else KeyCommands
    bare = BareHash if is_hash else BareKeys
    return [
        _ours(DICT, openers.async_persistent_dict(is_hash=is_hash)),
        _ours(f"{DICT}, raw", openers.async_persistent_dict(is_hash=is_hash, serializer="raw")),
        _ours(
            f"{DICT} over AsyncConnectionPool",
            openers.async_persistent_dict(
                is_hash=is_hash, ASYNC_POOL_CLASS="redisdict.pools.AsyncConnectionPool"
            ),
        ),
        *(
            _ours(f"redis-py over our {pool.__name__}", openers.async_redis_py(commands, pool))
            for pool in (
                pools.AsyncConnectionPool,
                pools.AsyncBlockingConnectionPool,
                pools.OptimizedAsyncConnectionPool,
            )
        ),
        _peer(REFERENCE, openers.async_redis_py(commands)),
        _peer("valkey-glide", openers.async_glide(GlideHash if is_hash else GlideKeys)),
        *([_peer("coredis", openers.coredis)] if is_hash else _async_caches()),
        _limit(PROTOCOL, openers.protocol(bare)),
    ]


def _sync_dicts() -> list[Client]:
    return [
        _peer("walrus Hash", openers.walrus),
        _peer("redis-collections Dict", openers.redis_collections),
        _peer("pottery RedisDict", openers.pottery),
    ]


def _sync_caches() -> list[Client]:
    return [
        _peer("redis-dict RedisDict", openers.redis_dict),
        _peer("django-redis", openers.django_redis(ScannedCache)),
        _peer("django-valkey", openers.django_valkey),
        _peer("Django RedisCache", openers.django_redis_cache(Cache)),
    ]


def _async_caches() -> list[Client]:
    return [
        _peer("django-redis", openers.django_redis(AsyncCache)),
        _peer("django-valkey", openers.async_django_valkey),
        _peer("Django RedisCache", openers.django_redis_cache(AsyncCache)),
    ]


def _ours(name: str, opener: Opener) -> Client:
    return Client(name, Kind.OURS, opener)


def _peer(name: str, opener: Opener) -> Client:
    return Client(name, Kind.PEER, opener)


def _limit(name: str, opener: Opener) -> Client:
    return Client(name, Kind.LIMIT, opener)
