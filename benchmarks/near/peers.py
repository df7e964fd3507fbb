"""Other caches in a process, each where it is installed; why one doesn't take part is printed.

Those that a server tells of changes keep what it gave. cachetools and Django's LocMemCache hear of
nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

Get = Callable[[str], Any]
AGet = Callable[[str], Awaitable[Any]]

REDIS_PY = "redis-py's client-side cache"
GLIDE = "valkey-glide's client-side cache"
CASHEWS = "cashews, client_side=True"
CACHETOOLS = "cachetools TTLCache"

#: Items that each may keep, and kilobytes.
MOST_ITEMS = 10_000
MOST_KB = 64 * 1024


class DoesNotTakePart(Exception):
    """Says why."""


def in_threads(url: str, keys: Sequence[str], value: Any) -> dict[str, Get]:
    """Open those that read in threads; each has the value under all keys."""
    openers = {CACHETOOLS: _cachetools, REDIS_PY: _redis_py, GLIDE: _glide}
    return dict(_opened(openers, url, keys, value))


async def in_tasks(url: str, keys: Sequence[str], value: Any) -> dict[str, AGet]:
    """Open those that read in tasks, in the running event loop."""
    found = {}
    for name, opener in {GLIDE: _async_glide, CASHEWS: _cashews}.items():
        try:
            with _told_by_server(name, value):
                found[name] = await opener(url, keys, value)
        except DoesNotTakePart as reason:
            _say(name, reason)
    return found


def _opened(
    openers: dict[str, Callable[..., Get]], url: str, keys: Sequence[str], value: Any
) -> Iterator[tuple[str, Get]]:
    for name, opener in openers.items():
        try:
            with _told_by_server(name, value):
                yield name, opener(url, keys, value)
        except DoesNotTakePart as reason:
            _say(name, reason)


def _say(name: str, reason: DoesNotTakePart) -> None:
    print(f"{name} doesn't take part: {reason}.", end="\n\n", flush=True)


@contextmanager
def _told_by_server(name: str, value: Any) -> Iterator[None]:
    """Turn what a peer raises while it is opened into the reason why it doesn't take part."""
    module = {CACHETOOLS: "cachetools", CASHEWS: "cashews", GLIDE: "glide_shared"}.get(name)
    if module is not None and importlib.util.find_spec(module) is None:
        raise DoesNotTakePart("it isn't installed")
    if not isinstance(value, str) and name in (REDIS_PY, GLIDE):
        raise DoesNotTakePart("it has no serializer")
    try:
        yield
    except DoesNotTakePart:
        raise
    except Exception as error:
        raise DoesNotTakePart(f"{type(error).__name__}: {error}") from error


def _cachetools(_url: str, keys: Sequence[str], value: Any) -> Get:
    import cachetools  # type: ignore[import-untyped, unused-ignore]

    kept: Any = cachetools.TTLCache(MOST_ITEMS, 3600)
    kept.update(dict.fromkeys(keys, value))
    get: Get = kept.__getitem__
    return get


def _redis_py(url: str, keys: Sequence[str], value: str) -> Get:
    """Open redis-py's own client, which keeps replies; from Redis 7.4 on."""
    import redis
    from redis.cache import CacheConfig

    client = redis.Redis.from_url(
        url, protocol=3, decode_responses=True, cache_config=CacheConfig(max_size=MOST_ITEMS)
    )
    for key in keys:
        client.set(f"plain:{key}", value)
    return lambda key: client.get(f"plain:{key}")


def _glide_options(url: str) -> dict[str, Any]:
    from glide_shared.cache import (  # type: ignore[import-not-found, unused-ignore]
        ClientSideCache,
    )
    from glide_shared.config import (  # type: ignore[import-not-found, unused-ignore]
        NodeAddress,
    )

    where = urlsplit(url)
    return {
        "addresses": [NodeAddress(where.hostname, where.port)],
        "client_side_cache": ClientSideCache.create(
            max_cache_kb=MOST_KB, entry_ttl_ms=0, server_assisted=True
        ),
    }


def _glide(url: str, keys: Sequence[str], value: str) -> Get:
    from glide_shared.config import (  # type: ignore[import-not-found, unused-ignore]
        GlideClientConfiguration,
    )
    from glide_sync import GlideClient  # type: ignore[import-not-found, unused-ignore]

    client = GlideClient.create(GlideClientConfiguration(**_glide_options(url)))
    for key in keys:
        client.set(f"glide:{key}", value)
    return lambda key: client.get(f"glide:{key}").decode()


async def _async_glide(url: str, keys: Sequence[str], value: str) -> AGet:
    from glide import (  # type: ignore[import-not-found, unused-ignore]
        GlideClient,
        GlideClientConfiguration,
    )

    client = await GlideClient.create(GlideClientConfiguration(**_glide_options(url)))
    for key in keys:
        await client.set(f"glide:{key}", value)

    async def get(key: str) -> str:
        text: str = (await client.get(f"glide:{key}")).decode()
        return text

    return get


async def _cashews(url: str, keys: Sequence[str], value: Any) -> AGet:
    from cashews import Cache  # type: ignore[import-not-found, unused-ignore]

    cache = Cache()
    cache.setup(url, client_side=True, suppress=False)
    await cache.init()
    for key in keys:
        await cache.set(key, value)
    get: AGet = cache.get
    return get
