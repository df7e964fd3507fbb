"""The cache with NEAR: what makes a value go from memory."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from redisdict import close_all
from redisdict.cache import DictCache
from redisdict.exceptions import BackendUnavailable
from redisdict.servers.process import ServerProcess
from tests.cache.conftest import Face, entry
from tests.cache.near.conftest import AGES, is_served, on, settle, write_elsewhere
from tests.conftest import program_for_tests
from tests.forks.conftest import fork
from tests.forks.forking import Child, Fork
from tests.waiting import wait_until

__all__ = ["fork"]


CHANGES: dict[str, tuple[Callable[[Any], object], Any]] = {
    "set": (lambda face: face.set("k", 2), 2),
    "set_many": (lambda face: face.set_many({"k": 2}), 2),
    "set over": (lambda face: face.set("k", 2, 0), None),
    "add": (lambda face: (face.delete("k"), face.add("k", 2)), 2),
    "delete": (lambda face: face.delete("k"), None),
    "delete_many": (lambda face: face.delete_many(["k"]), None),
    "delete_pattern": (lambda face: face.delete_pattern("*"), None),
    "clear": (lambda face: face.clear(), None),
    "incr": (lambda face: face.incr("k"), 2),
    "incr of a float": (lambda face: face.incr("k", 1.5), 2.5),
    "incr_version": (lambda face: face.incr_version("k"), None),
    "touch": (lambda face: face.touch("k", 0), None),
    "expire_at": (lambda face: face.expire_at("k", 1), None),
    "client": (lambda face: face.cache.client.delete(face.cache.make_key("k")), None),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_process_sees_its_own_writes(name: str, face: Face, cache: DictCache) -> None:
    change, expected = CHANGES[name]
    handles = [cache] if name == "client" else [cache, caches["plain"]]
    for handle in handles:
        face.set("k", 1)
        assert (face.get("k"), is_served(cache, "k")) == (1, True)
        change(Face(handle, face.runner))
        assert face.get("k") == expected


def test_a_whole_database_is_cleared_at_once(
    face: Face, cache: DictCache, url: str, key_prefix: str
) -> None:
    face.set("k", 1)
    assert (face.get("k"), is_served(cache, "k")) == (1, True)
    with ServerProcess(program_for_tests("redis"), listen="tcp") as server:
        options = {"NEAR": AGES, "CLEAR": "database"}
        with override_settings(CACHES={"default": entry(server.url, OPTIONS=options)}):
            own = Face(on("default"), face.runner)
            own.set("k", 1)
            assert (own.get("k"), is_served(own.cache, "k")) == (1, True)
            own.clear()
            assert own.get("k") is None
            close_all()


def test_what_has_other_versions(face: Face, cache: DictCache) -> None:
    face.set("k", 1)
    face.set("k", "two", version=2)
    for _ in range(2):
        assert (face.get("k"), face.get("k", version=2)) == (1, "two")
    settle(cache)
    before = cache.near_stats().misses
    assert face.get("k", version=2) == face.get("k", version=2) == "two"
    assert cache.near_stats().misses <= before + 1
    face.incr_version("k", 2)
    assert (face.get("k"), face.get("k", version=3)) == (None, 1)


def test_a_change_elsewhere_is_told(face: Face, cache: DictCache, elsewhere: Any) -> None:
    face.set_many({"k": "old", "l": "stays"})
    assert face.get_many(["k", "l"]) == {"k": "old", "l": "stays"}
    write_elsewhere(elsewhere, cache, "k", "new")
    wait_until(lambda: face.get("k") == "new")
    elsewhere.delete(cache.make_key("k"))
    wait_until(lambda: face.get("k") is None)
    assert is_served(cache, "l")


def test_django_redis_writes_the_same_key(
    url: str, key_prefix: str, configure: Callable[..., None], runner: asyncio.Runner | None
) -> None:
    options = {"NEAR": AGES, "READ_FROM": "django-redis"}
    theirs = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "KEY_PREFIX": key_prefix}
    configure(default=entry(url, key_prefix, OPTIONS=options), theirs=theirs)
    face = Face(on("default"), runner)
    for value in ({"a": [1]}, "text", 7):
        caches["theirs"].set("k", value)
        wait_until(lambda value=value: face.get("k") == value)
        assert is_served(face.cache, "k")
    face.cache.clear()


def test_locks_are_the_servers(face: Face, cache: DictCache) -> None:
    assert not cache.has_key("lock")
    if face.runner is None:
        with cache.lock("lock", timeout=100):
            assert cache.has_key("lock")
        assert not cache.has_key("lock")
        return

    async def hold() -> None:
        async with cache.alock("lock", timeout=100):
            assert await cache.ahas_key("lock")
        assert not await cache.ahas_key("lock")

    face.runner.run(hold())


def test_a_client_takes_what_redis_py_takes(cache: DictCache) -> None:
    key = cache.make_key("k")
    cache.set("k", 1)
    for name in (key.encode(), bytearray(key.encode()), memoryview(key.encode()), key):
        assert is_served(cache, "k")
        before = cache.get("k")
        cache.client.execute_command(b"SET", name, before + 1)
        assert cache.get("k") == before + 1
    assert cache.client.get_client().get(key) == b"5"
    assert cache.client.incrbyfloat(key, 0.5) == 5.5


def test_a_forked_process_begins_anew(cache: DictCache, fork: Fork) -> None:
    cache.set("k", 1)
    assert (cache.get("k"), is_served(cache, "k")) == (1, True)

    def work() -> Any:
        own: Any = caches["default"]
        begun = own.near_stats()
        assert not begun.is_on
        assert begun.items == 0
        assert own.get("k") == 1
        on("default").set("k", 2)
        return own.get("k"), is_served(own, "k")

    assert Child(work, fork).result() == (2, True)
    wait_until(lambda: cache.get("k") == 2)
    assert is_served(cache, "k")


def test_a_server_that_goes_away(
    configure: Callable[..., None], runner: asyncio.Runner | None
) -> None:
    with ServerProcess(program_for_tests("redis"), listen="tcp") as server:
        options = {"NEAR": AGES, "socket_timeout": 5}
        configure(
            default=entry(server.url, OPTIONS=options),
            ignoring=entry(server.url, OPTIONS={**options, "IGNORE_EXCEPTIONS": True}),
        )
        face = Face(on("default"), runner)
        ignoring = Face(on("ignoring"), runner)
        face.set("k", 1)
        assert (face.get("k"), ignoring.get("k")) == (1, 1)
    wait_until(lambda: not face.cache.near_stats().is_on)
    with pytest.raises(BackendUnavailable):
        face.get("k")
    assert ignoring.get("k", "default") == "default"
    assert ignoring.get_many(["k"]) == {}
    assert ignoring.get_or_set("k", lambda: 5) == 5
    assert not ignoring.has_key("k")
    assert face.cache.near_stats().items == 0


def count_in_a_process(url: str, key_prefix: str, key: str) -> None:
    # In a new interpreter.
    from django.conf import settings

    if not settings.configured:
        settings.configure(CACHES={"default": entry(url, key_prefix, OPTIONS={"NEAR": 1.0})})
    for _ in range(50):
        caches["default"].incr(key)


@pytest.mark.each_value_once
def test_two_processes(cache: DictCache, face: Face, url: str, key_prefix: str) -> None:
    cache.set("n", 0)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=count_in_a_process, args=(url, key_prefix, "n"))
    process.start()
    seen = [face.get("n")]
    while process.is_alive():
        seen.append(face.get("n"))
    process.join()
    assert process.exitcode == 0
    assert seen == sorted(seen)  # never back in time
    wait_until(lambda: face.get("n") == 50)
    assert is_served(cache, "n")
