"""The cache with NEAR: what memory answers, what makes it go, and with whom it is shared."""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import cache_page
from redis.exceptions import ResponseError

from redisdict import PersistentDict, close_all
from redisdict.cache import DictCache, cached
from redisdict.cache import store as store_module
from redisdict.cache.near_spaces import CacheSpaces, spaces_of
from redisdict.exceptions import BackendUnavailable, ConfigurationError, DeserializationError
from redisdict.near.barrier import near_barrier
from redisdict.near.clock import clock
from redisdict.near.middleware import NearMiddleware
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import ClusterTopology
from tests.cache.conftest import Face, entry
from tests.conftest import program_for_tests
from tests.forks.conftest import fork
from tests.forks.forking import Child, Fork
from tests.waiting import wait_until

__all__ = ["fork"]

#: A bound that no test can come near to.
AGES = 10_000.0


class NearFace(Face):
    """As `Face`; a task is in the request of the test."""

    def __getattr__(self, name: str) -> Any:
        if self.runner is None:
            return getattr(self.cache, name)
        runner, method = self.runner, getattr(self.cache, f"a{name}")

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await method(*args, **kwargs)

        return lambda *args, **kwargs: runner.run(
            call(*args, **kwargs), context=contextvars.copy_context()
        )


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
    return NearFace(cache, runner)


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


IMMUTABLE = ["text", 5, 2**70, None, b"bytes", (1, "a"), mark_safe("<b>")]
CHANGEABLE = [[1], {"a": [1]}, {1, 2}]


@pytest.mark.parametrize("value", [*IMMUTABLE, *CHANGEABLE], ids=repr)
def test_a_value_is_read_once_and_then_served(
    face: Face, cache: DictCache, elsewhere: Any, value: Any
) -> None:
    write_elsewhere(elsewhere, cache, "k", value)
    settle(cache)
    assert face.get("k", "default") == value
    before = cache.near_stats()
    found = face.get("k", "default")
    assert (found, type(found)) == (value, type(value))
    assert face.has_key("k")
    assert "k" in cache
    assert face.get_many(["k"]) == {"k": value}
    assert face.get_or_set("k", lambda: pytest.fail("it is there")) == value
    after = cache.near_stats()
    assert (after.hits - before.hits, after.misses) == (5, before.misses)


@pytest.mark.parametrize("value", CHANGEABLE, ids=repr)
def test_a_value_that_can_be_changed_is_a_new_one_each_time(face: Face, value: Any) -> None:
    face.set("k", value)
    for _ in range(3):
        found = face.get("k")
        assert found == value
        found.clear()
        many = face.get_many(["k"])
        assert many == {"k": value}
        many["k"].clear()


def test_a_response_is_a_new_one_each_time(face: Face, cache: DictCache) -> None:
    face.set("k", HttpResponse(b"page", headers={"X-Made": "once"}))
    responses = [face.get("k") for _ in range(3)]
    assert is_served(cache, "k")
    responses[1].content = b"other"
    responses[1]["X-Made"] = "twice"
    assert responses[2].content == face.get("k").content == b"page"
    assert face.get("k")["X-Made"] == "once"


def test_safe_text_is_kept_as_it_is(cache: DictCache) -> None:
    cache.set("k", mark_safe("<b>"))
    cache.get("k")
    found = cache.get("k")
    assert type(found) is SafeString
    assert cache.get("k") is found


def test_a_missing_key_is_remembered_until_there_is_one(
    face: Face, cache: DictCache, elsewhere: Any
) -> None:
    settle(cache)
    assert face.get("k", 5) == 5
    before = cache.near_stats().misses
    assert face.get("k") is None
    assert face.get_many(["k"]) == {}
    assert not face.has_key("k")
    assert cache.near_stats().misses == before
    write_elsewhere(elsewhere, cache, "k", "v")
    wait_until(lambda: face.has_key("k"))
    assert face.get("k") == "v"


def test_has_key_of_what_is_not_known_reads_it(face: Face, cache: DictCache) -> None:
    assert not face.has_key("k")
    face.set("k", "v")
    settle(cache)
    assert face.has_key("k")
    before = cache.near_stats().misses
    assert (face.get("k"), cache.near_stats().misses) == ("v", before)


def test_has_key_of_what_cannot_be_read(face: Face, cache: DictCache, elsewhere: Any) -> None:
    elsewhere.set(cache.make_key("k"), b"\xc1nothing of ours")
    settle(cache)
    assert face.has_key("k")
    with pytest.raises(DeserializationError):
        face.get("k")


def test_a_key_of_another_type(face: Face, cache: DictCache, elsewhere: Any) -> None:
    elsewhere.rpush(cache.make_key("k"), "item")
    settle(cache)
    for _ in range(2):
        assert face.get_many(["k", "l"]) == {}
        assert face.has_key("k")
        assert not face.has_key("l")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            face.get("k")


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
        change(NearFace(handle, face.runner))  # type: ignore[arg-type]  # they are ours
        assert face.get("k") == expected


def test_a_whole_database_is_cleared_at_once(
    face: Face, cache: DictCache, url: str, key_prefix: str
) -> None:
    face.set("k", 1)
    assert (face.get("k"), is_served(cache, "k")) == (1, True)
    with ServerProcess(program_for_tests("redis"), listen="tcp") as server:
        options = {"NEAR": AGES, "CLEAR": "database"}
        with override_settings(CACHES={"default": entry(server.url, OPTIONS=options)}):
            own = NearFace(on("default"), face.runner)
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
    face = NearFace(on("default"), runner)
    for value in ({"a": [1]}, "text", 7):
        caches["theirs"].set("k", value)
        wait_until(lambda value=value: face.get("k") == value)
        assert is_served(face.cache, "k")
    face.cache.clear()


def test_a_value_ends_at_its_time_and_no_later(
    face: Face, cache: DictCache, elsewhere: Any
) -> None:
    write_elsewhere(elsewhere, cache, "k", "v", px=300)
    settle(cache)
    begun = time.monotonic()
    while face.get("k") == "v":
        began_at = time.monotonic()
        assert began_at - begun < 60
    face.set("k", "v", 1000)
    settle(cache)
    assert face.get("k") == "v"
    [reader] = cache._near._readers  # type: ignore[attr-defined]  # it has NEAR
    kept = reader.find(cache.make_key("k").encode())
    assert 990 < kept.expires_at - clock() <= 1000
    assert face.ttl("k") in (999, 1000)
    face.touch("k", None)
    assert is_served(cache, "k")
    assert reader.find(cache.make_key("k").encode()).expires_at == float("inf")


def test_what_is_stale_or_due_is_computed_anew(face: Face, cache: DictCache) -> None:
    assert face.get_or_set("k", lambda: 1, 1000, stale=1000) == 1
    settle(cache)
    assert face.get_or_set("k", lambda: pytest.fail("it is fresh"), 1000, stale=1000) == 1
    before = cache.near_stats().misses
    assert face.get_or_set("k", lambda: pytest.fail("it is fresh"), 1000, stale=900) == 1
    assert cache.near_stats().misses == before
    # It has less than 2,000 s left, so that it is stale under these.
    assert face.get_or_set("k", lambda: 2, 5, stale=2500) == 2
    assert face.get("k") == 2
    face.set("l", 1, 1000)
    assert face.get("l") == 1
    assert face.get_or_set("l", lambda: 2, 2000, refresh_ahead=1500) == 1
    wait_until(lambda: face.get("l") == 2)  # in the background
    # What lives for ever is neither.
    face.set("m", 1, None)
    face.get("m")
    assert face.get_or_set("m", lambda: pytest.fail("it is there"), 5, stale=5) == 1
    with pytest.raises(ValueError, match="stale"):
        face.get_or_set("m", 1, None, stale=5)


def test_get_or_set_of_what_is_not_there(face: Face, cache: DictCache) -> None:
    assert face.get("k") is None
    assert face.get_or_set("k", "v") == "v"
    assert face.get_or_set("l", lambda: None) is None
    assert face.get("l", "default") is None
    assert is_served(cache, "l")


def test_a_function_is_answered_from_memory(cache: DictCache) -> None:
    calls = []

    @cached(timeout=100, name="tests.near.total")
    def total(number: int) -> int:
        calls.append(number)
        return number * 2

    assert total(3) == 6
    settle(cache)
    assert total(3) == 6
    before = cache.near_stats().misses
    assert total(3) == 6
    assert (calls, cache.near_stats().misses) == ([3], before)
    total.invalidate(3)
    assert total(3) == 6
    assert calls == [3, 3]


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


@pytest.mark.parametrize("outside", [False, True])
def test_a_request_is_served_what_was_right_when_it_began(
    outside: bool,
    url: str,
    key_prefix: str,
    configure: Callable[..., None],
    elsewhere: Any,
    runner: asyncio.Runner | None,
) -> None:
    configure(default=entry(url, key_prefix, OPTIONS={"NEAR": "request"}))
    cache: Any = caches["default"]
    face = NearFace(cache, runner)
    with near_barrier():
        on("default")
    write_elsewhere(elsewhere, cache, "k", "old")
    settle(cache)
    if outside:
        assert [face.get("k") for _ in range(2)] == ["old", "old"]
        write_elsewhere(elsewhere, cache, "k", "new")
        assert face.get("k") == "new"
        return
    with near_barrier():
        assert face.get("k") == "old"
        before = cache.near_stats().misses
        assert (face.get("k"), face.get_many(["k"])) == ("old", {"k": "old"})
        assert cache.near_stats().misses == before
    write_elsewhere(elsewhere, cache, "k", "new")
    with near_barrier():
        assert face.get("k") == "new"
    face.cache.clear()


@pytest.mark.parametrize("near", [AGES, "request"])
def test_a_page_is_answered_from_memory(
    near: Any, url: str, key_prefix: str, configure: Callable[..., None]
) -> None:
    configure(default=entry(url, key_prefix, OPTIONS={"NEAR": near}))
    with near_barrier():
        cache = on("default")
    made = []

    @cache_page(100)
    def view(request: HttpRequest) -> HttpResponse:
        made.append(request.path)
        return HttpResponse(f"page {len(made)}")

    site = NearMiddleware(view)

    def get() -> bytes:
        response: Any = site(RequestFactory().get("/page"))
        content: bytes = response.content
        return content

    assert get() == b"page 1"
    settle(cache)
    assert get() == b"page 1"
    before = cache.near_stats()
    assert get() == b"page 1"
    after = cache.near_stats()
    assert (after.hits - before.hits, after.misses - before.misses) == (2, 0)
    cache.clear()
    assert get() == b"page 2"
    cache.clear()


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


# Who shares what


def test_caches_of_other_prefixes_are_apart(cache: DictCache) -> None:
    other = on("other")
    for each, value in ((cache, 1), (other, 2)):
        each.set("k", value)
        each.get("k")
        assert (each.get("k"), is_served(each, "k")) == (value, True)
    cache.delete("k")
    assert is_served(other, "k")
    other.clear()


def test_caches_with_other_serializers_share_keys_but_no_value(
    url: str, key_prefix: str, configure: Callable[..., None]
) -> None:
    configure(
        default=entry(url, key_prefix, OPTIONS={"NEAR": AGES}),
        pickles=entry(url, key_prefix, OPTIONS={"NEAR": AGES, "SERIALIZER": "pickle"}),
    )
    one, two = on("default"), on("pickles")
    two.set("k", {"a": 1})
    assert two.get("k") == {"a": 1}
    with pytest.raises(DeserializationError):
        one.get("k")
    assert one.has_key("k")
    one.set("k", [1])
    assert (one.get("k"), two.get("k"), one.get("k")) == ([1], [1], [1])
    assert one.get_many(["k"]) == two.get_many(["k"]) == {"k": [1]}
    assert one.near_stats().items == two.near_stats().items
    one.clear()


def schema_first(key: str, key_prefix: str, version: int) -> str:
    return f"tenant-of-{key[0]}:{key_prefix}:{version}:{key}"


def prefix_first(key: str, key_prefix: str, version: int) -> str:
    return key if key.startswith("whole:") else f"{key_prefix}/{key}/{version}"


def test_a_key_function_that_begins_with_something_else(
    url: str, key_prefix: str, configure: Callable[..., None], elsewhere: Any, face: Face
) -> None:
    """Every key of the database is listened to then, also by caches that had some of them."""
    assert face.cache.near_stats().is_on
    configure(
        default=entry(url, key_prefix, OPTIONS={"NEAR": AGES}),
        tenants=entry(url, key_prefix, OPTIONS={"NEAR": AGES}, KEY_FUNCTION=schema_first),
    )
    narrow, wide = on("default"), None
    narrow.set("k", 1)
    narrow.get("k")
    assert is_served(narrow, "k")
    wide = on("tenants")
    assert wide._near.prefix == b""
    for cache in (on("default"), wide):
        each = NearFace(cache, face.runner)
        each.set("k", "v")
        each.get("k")
        assert (each.get("k"), is_served(cache, "k")) == ("v", True)
        write_elsewhere(elsewhere, cache, "k", "new")
        wait_until(lambda each=each: each.get("k") == "new")
        each.delete("k")
    assert narrow.near_stats() is not None
    assert list(spaces_of(narrow._store.backend)._by_prefix) == [b""]


def test_a_key_without_the_prefix_is_not_kept(
    url: str, key_prefix: str, configure: Callable[..., None], runner: asyncio.Runner | None
) -> None:
    configure(default=entry(url, key_prefix, OPTIONS={"NEAR": AGES}, KEY_FUNCTION=prefix_first))
    cache = on("default")
    assert cache._near.prefix == key_prefix.encode()
    face, key = NearFace(cache, runner), f"whole:{key_prefix}"
    face.set_many({"k": 1, key: [2]})
    assert (face.get("k"), is_served(cache, "k")) == (1, True)
    assert (face.get(key), is_served(cache, key)) == ([2], False)
    assert face.get_many(["k", key]) == {"k": 1, key: [2]}
    assert face.has_key(key)
    assert face.get_or_set(key, lambda: pytest.fail("it is there")) == [2]
    face.delete_many(["k", key])
    assert (face.get(key), face.get("k"), face.has_key(key)) == (None, None, False)


def test_an_alias_is_shared_with_dicts(url: str, key_prefix: str, elsewhere: Any) -> None:
    alias = {"LOCATION": url, "KEY_PREFIX": key_prefix, "NEAR_MAX_ITEMS": 3}
    location = entry("alias:default", key_prefix, OPTIONS={"NEAR": AGES})
    with override_settings(REDISDICT={"default": alias}, CACHES={"default": location}):
        mapping = PersistentDict("d", hset_enabled=False, near=AGES)
        cache = on("default")
        mapping["k"] = "of the dict"
        cache.set("k", "of the cache")
        wait_until(lambda: (mapping["k"], mapping.near_stats().is_on)[1])
        for _ in range(2):
            assert (mapping["k"], cache.get("k")) == ("of the dict", "of the cache")
        assert is_served(cache, "k")
        assert mapping._near._readers[0].listener is cache._near._readers[0].listener
        cache.set_many({str(number): number for number in range(9)})
        settle(cache)
        cache.get_many(map(str, range(9)))
        assert cache.near_stats().items == 3
        mapping.clear()
        cache.clear()
        close_all()


@pytest.mark.parametrize("limit", [{"NEAR_MAX_BYTES": 5000}, {"NEAR_MAX_ITEMS": 10}])
def test_memory_is_bounded(
    limit: dict[str, int],
    url: str,
    key_prefix: str,
    configure: Callable[..., None],
    runner: asyncio.Runner | None,
) -> None:
    configure(default=entry(url, key_prefix, OPTIONS={"NEAR": AGES, **limit}))
    cache = on("default")
    face = NearFace(cache, runner)
    data = {f"k{number}": "x" * 100 for number in range(100)}
    face.set_many(data)
    settle(cache)
    assert face.get_many(data) == data
    for key, value in data.items():
        assert face.get(key) == value
    stats = cache.near_stats()
    assert 0 < stats.items <= limit.get("NEAR_MAX_ITEMS", 100)
    assert stats.bytes <= limit.get("NEAR_MAX_BYTES", 10**6)
    assert stats.evictions > 0
    cache.clear()


def test_a_cache_without_it_drops_what_another_keeps(
    url: str, key_prefix: str, configure: Callable[..., None], runner: asyncio.Runner | None
) -> None:
    """Also when it was used before the other one was."""
    configure(default=entry(url, key_prefix, OPTIONS={"NEAR": AGES}), plain=entry(url, key_prefix))
    plain = NearFace(caches["plain"], runner)  # type: ignore[arg-type]
    plain.set("k", 1)
    face = NearFace(on("default"), runner)
    assert (face.get("k"), is_served(face.cache, "k")) == (1, True)
    plain.set("k", 2)
    assert face.get("k") == 2
    stats = plain.cache.near_stats()
    assert (stats.is_on, "NEAR" in stats.reason) == (False, True)
    plain.clear()


def test_a_cache_of_another_server_is_left_alone(
    redis_url: str, valkey_url: str, key_prefix: str, configure: Callable[..., None]
) -> None:
    configure(
        default=entry(redis_url, key_prefix, OPTIONS={"NEAR": AGES}),
        plain=entry(valkey_url, key_prefix),
    )
    plain: Any = caches["plain"]
    plain.set("k", 1)
    driver = plain._store.driver
    near = on("default")
    near.set("k", 2)
    assert plain._store.driver is driver
    assert (plain.get("k"), near.get("k")) == (1, 2)
    for cache in (plain, near):
        cache.clear()


def test_a_cache_that_begins_meanwhile(
    url: str, key_prefix: str, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache is bound while another begins to read near: it drops nothing yet, and looks again."""
    configure(default=entry(url, key_prefix, OPTIONS={"NEAR": AGES}), plain=entry(url, key_prefix))
    plain: Any = caches["plain"]
    drivers = store_module._drivers

    def slow(options: Any, backend: Any) -> Any:
        made = drivers(options, backend)
        if options.near is None:
            monkeypatch.setattr(store_module, "_drivers", drivers)
            asked = store_module.spaces_in_use

            def is_none_yet(backend: Any) -> None:
                monkeypatch.setattr(store_module, "spaces_in_use", asked)
                on("default")

            # Looked for twice before it is bound.
            answers = iter([lambda _: None, is_none_yet])
            monkeypatch.setattr(store_module, "spaces_in_use", lambda found: next(answers)(found))
        return made

    monkeypatch.setattr(store_module, "_drivers", slow)
    plain.set("k", 1)
    near = on("default")
    assert (near.get("k"), is_served(near, "k")) == (1, True)
    plain.set("k", 2)
    assert near.get("k") == 2
    plain.clear()


def test_a_space_that_was_replaced_meanwhile(cache: DictCache) -> None:
    store = cache._store
    spaces = spaces_of(store.backend)
    make = store.near._make
    made = []

    def make_late(prefix: bytes) -> Any:
        near = make(prefix)
        if not made:
            spaces.get(b"", 1000, 1000)  # another thread needs all keys
        made.append(near)
        return near

    store.near.clear()
    store.near._make = make_late
    near = cache._near  # type: ignore[attr-defined]
    assert [each.is_current for each in made] == [False, True]
    assert near is made[1]


def test_two_threads_make_one_space(cache: DictCache) -> None:
    spaces = CacheSpaces(cache._store.backend)
    first = spaces.get(b"x:", 1000, 10)
    assert spaces.get(b"x:", 1000, 10) is first
    assert spaces.find(b"x:y") is first
    assert spaces.find(b"y") is None


class Counting(DictCache):
    """A project's own class, which wants to see every call."""

    calls = 0

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        type(self).calls += 1
        return super().get(key, default, version)


def test_a_class_of_a_project_keeps_what_it_overrides(
    url: str, key_prefix: str, configure: Callable[..., None]
) -> None:
    path = f"{__name__}.Counting"
    options = {"NEAR": AGES, "IGNORE_EXCEPTIONS": True}
    configure(default={**entry(url, key_prefix, OPTIONS=options), "BACKEND": path})
    cache = on("default")
    cache.set("k", 1)
    before = type(cache).calls
    assert [cache.get("k") for _ in range(3)] == [1, 1, 1]
    assert type(cache).calls == before + 3
    assert is_served(cache, "k")
    again = pickle.loads(pickle.dumps(cache))
    assert type(again) is type(cache)
    assert isinstance(again, Counting)
    assert again.get("k") == 1
    cache.clear()


def test_a_server_that_goes_away(
    configure: Callable[..., None], runner: asyncio.Runner | None
) -> None:
    with ServerProcess(program_for_tests("redis"), listen="tcp") as server:
        options = {"NEAR": AGES, "socket_timeout": 5}
        configure(
            default=entry(server.url, OPTIONS=options),
            ignoring=entry(server.url, OPTIONS={**options, "IGNORE_EXCEPTIONS": True}),
        )
        face = NearFace(on("default"), runner)
        ignoring = NearFace(on("ignoring"), runner)
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


# Sessions


@pytest.mark.django_db
def test_our_engine_asks_the_server_and_djangos_may_be_answered_from_memory(
    cache: DictCache, elsewhere: Any
) -> None:
    from django.contrib.sessions.backends.cache import SessionStore as Djangos

    from redisdict.cache.sessions import SessionStore as Own

    for engine, is_near in ((Own, False), (Djangos, True)):
        session: Any = engine()
        session["user"] = 5
        session.save()
        for _ in range(2):
            assert engine(session.session_key)["user"] == 5
        before = cache.near_stats().hits
        assert engine(session.session_key)["user"] == 5
        assert (cache.near_stats().hits > before) is is_near
        elsewhere.delete(cache.make_key(session.cache_key))  # a logout in another process
        if not is_near:
            assert "user" not in engine(session.session_key)
        settle(cache)
        assert "user" not in engine(session.session_key)


# Settings

WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"NEAR": "strict"},
        r'CACHES\["default"\]\["OPTIONS"\]\["NEAR"\] is "strict", which only a Mo',
    ),
    ({"NEAR": "requests"}, r'\["OPTIONS"\]\["NEAR"\] is \'requests\'; seconds above 0'),
    ({"NEAR": 0}, "seconds above 0"),
    ({"NEAR": True}, "seconds above 0"),
    ({"NEAR": float("nan")}, "seconds above 0"),
    ({"NEAR": 1, "NEAR_MAX_BYTES": 0}, r'\["NEAR_MAX_BYTES"\] is 0; an int above 0'),
    ({"NEAR": 1, "NEAR_MAX_ITEMS": 1.5}, r'\["NEAR_MAX_ITEMS"\] is 1.5; an int above 0'),
    ({"near": 1}, 'did you mean "NEAR"'),
    ({"NEAR_MAX_BYTE": 1}, "did you mean 'NEAR_MAX_BYTES'"),
]


def refuse(configure: Callable[..., None], message: str, **options: Any) -> None:
    from redisdict.cache.checks import check_caches

    configure(default=entry(**options))
    [error] = check_caches()
    assert error.id == "redisdict.E004"
    cache: Any = caches["default"]
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=message) as refused:
            cache.get("k")
        assert str(refused.value) == error.msg
        with pytest.raises(ConfigurationError, match=message):
            _ = cache.client


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_values_are_refused(
    options: dict[str, Any], message: str, configure: Callable[..., None]
) -> None:
    refuse(configure, message, url="redis://127.0.0.1:1/0", OPTIONS=options)


SPREAD = [
    ["redis://127.0.0.1:1/0", "redis://127.0.0.1:2/0"],
    "redis+cluster://127.0.0.1:1",
]


@pytest.mark.parametrize("location", SPREAD, ids=str)
def test_replicas_and_clusters_are_refused(location: Any, configure: Callable[..., None]) -> None:
    message = "replicas" if isinstance(location, list) else "Cluster"
    refuse(configure, message, url=location, OPTIONS={"NEAR": 1.0})


def test_replicas_behind_sentinels_are_refused(configure: Callable[..., None]) -> None:
    options = {"NEAR": 1.0, "read_from_replicas": True}
    location = "redis+sentinel://127.0.0.1:1/primary/0"
    refuse(configure, "replicas", url=location, OPTIONS=options)


def test_a_cluster_without_it(cluster: ClusterTopology, configure: Callable[..., None]) -> None:
    configure(default=entry(cluster.location))
    assert not caches["default"].near_stats().is_on  # type: ignore[attr-defined]
