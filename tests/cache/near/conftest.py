"""Caches with NEAR on the two servers, and a client that is to them another process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.core.cache import caches

from redisdict.cache import DictCache
from redisdict.near.clock import clock
from tests.cache.conftest import Face, entry
from tests.waiting import wait_until

#: A bound that no test can come near to.
AGES = 10_000.0


@pytest.fixture(params=["redis", "valkey"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def cache(url: str, key_prefix: str, configure: Callable[..., None]) -> Iterator[DictCache]:
    configure(
        default=entry(url, key_prefix, OPTIONS={"NEAR": AGES}),
        plain=entry(url, key_prefix),
        other=entry(url, f"{key_prefix}-other", OPTIONS={"NEAR": AGES}),
    )
    made = on("default")
    yield made
    made.clear()


@pytest.fixture
def face(cache: DictCache, runner: asyncio.Runner | None) -> Face:
    return Face(cache, runner)


@pytest.fixture
def elsewhere(url: str) -> Iterator[Any]:
    """A client of the server: what it does is to the cache another process's."""
    with redis.Redis.from_url(url) as client:
        yield client


def on(name: str) -> Any:
    """The cache of that name, once the server tells it of changes."""
    cache: Any = caches[name]

    def is_on() -> bool:
        found: bool = cache.near_stats().is_on
        if not found:
            cache.get("to-start-it")
        return found

    wait_until(is_on)
    return cache


def settle(cache: Any) -> None:
    """Let the pushes of all changes before this arrive."""
    for reader in cache._near._readers:
        assert reader.listener.ping_after(clock())


def write_elsewhere(client: Any, cache: Any, key: str, value: Any, **options: Any) -> None:
    client.set(cache.make_key(key), cache._store.codec.encode(value), **options)


def is_served(cache: Any, key: str) -> bool:
    """Whether the second of two reads of this key is answered from memory."""
    settle(cache)  # what this process wrote is told to it as well
    cache.get(key)
    before = cache.near_stats().hits
    cache.get(key)
    return bool(cache.near_stats().hits > before)
