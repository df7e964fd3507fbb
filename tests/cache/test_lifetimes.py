"""Times to live, versions, locks."""

from __future__ import annotations

import datetime
import time
from typing import Any

import pytest
import redis
from django_redis import get_redis_connection

from redisdict.cache import DictCache
from tests.cache.conftest import Face


def test_times_to_live(face: Face) -> None:
    assert face.ttl("k") == face.pttl("k") == 0
    assert face.expire("k", 5) is face.pexpire("k", 5) is face.persist("k") is False
    face.set("k", 1, None)
    assert face.ttl("k") is None
    assert face.pttl("k") is None
    assert face.expire("k", 50) is True
    assert 0 < face.ttl("k") <= 50
    assert face.pexpire("k", 90_000) is True
    assert 50_000 < face.pttl("k") <= 90_000
    assert face.expire("k", datetime.timedelta(minutes=2)) is True
    assert 60 < face.ttl("k") <= 120
    assert face.pexpire("k", datetime.timedelta(seconds=30)) is True
    assert 1 < face.ttl("k") <= 30
    assert face.expire("k") is True
    assert 200 < face.ttl("k") <= 300
    assert face.persist("k") is True
    assert face.persist("k") is False
    assert face.ttl("k") is None
    assert face.expire("k", 0) is True
    assert face.get("k") is None


def test_nothing_is_there_after_the_whole_of_its_time(face: Face) -> None:
    """A server keeps a key until its clock is beyond the deadline, which the last one must be."""
    face.set("k", 1, 100)
    assert 50_000 < face.pttl("k") < 100_000
    assert face.touch("k", 200) is True
    assert 150_000 < face.pttl("k") < 200_000


@pytest.mark.parametrize("is_aware", [True, False])
def test_an_end_at_a_time(face: Face, is_aware: bool) -> None:
    in_an_hour = datetime.datetime.now(datetime.UTC if is_aware else None) + datetime.timedelta(
        hours=1
    )
    for method, when in (
        (face.expire_at, in_an_hour),
        (face.pexpire_at, in_an_hour),
        (face.expire_at, int(time.time()) + 3600),
        (face.pexpire_at, int(time.time() * 1000) + 3_600_000),
    ):
        face.set("k", 1, None)
        assert method("k", when) is True
        assert 3500 < face.ttl("k") <= 3601
        assert method("other", when) is False
    assert face.expire_at("k", 1) is True
    assert face.get("k") is None


def test_versions(face: Face) -> None:
    for method in (face.incr_version, face.decr_version):
        with pytest.raises(ValueError, match="not found"):
            method("k")
    face.set("k", "v", 60)
    face.set("k", "old", None, version=2)
    assert face.incr_version("k") == 2
    assert face.get("k") is None
    assert face.get("k", version=2) == "v"
    assert 0 < face.ttl("k", version=2) <= 60
    assert face.incr_version("k", 5, version=2) == 7
    assert face.decr_version("k", 6, version=7) == 1
    assert face.get("k") == "v"
    assert face.incr_version("k", 0) == 1
    assert face.get("k") == "v"


def test_locks(cache: DictCache) -> None:
    with cache.lock("l", timeout=30):
        other = cache.lock("l", timeout=30, blocking=False)
        assert not other.acquire()
        assert cache.client.get(cache.make_key("l"))
    assert not cache.has_key("l")


async def test_locks_of_tasks(cache: DictCache) -> None:
    async with cache.alock("l", timeout=30):
        assert not await cache.alock("l", blocking=False).acquire()
        assert not cache.lock("l", blocking=False).acquire()
    assert not await cache.ahas_key("l")


def test_the_client_is_that_of_redis_py(cache: DictCache) -> None:
    cache.set("k", 5)
    key = cache.make_key("k")
    clients: list[Any] = [
        cache.client,
        cache.client.get_client(),
        cache.client.get_client(write=False),
        get_redis_connection("default"),
        get_redis_connection("default", write=False),
    ]
    for client in clients:
        assert isinstance(client, redis.Redis)
        assert client.get(key) == b"5"
        assert client.connection_pool is clients[0].connection_pool


async def test_the_client_of_tasks(cache: DictCache) -> None:
    await cache.aset("k", 5)
    assert await cache.aclient.get(cache.make_key("k")) == b"5"
