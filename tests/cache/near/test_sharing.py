"""Who shares the memory of a cache with NEAR, and who only drops what is in it."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from redisdict import PersistentDict, close_all
from redisdict.cache import DictCache
from redisdict.cache import store as store_module
from redisdict.cache.near_spaces import CacheSpaces, spaces_of
from redisdict.exceptions import DeserializationError
from tests.cache.conftest import Face, entry
from tests.cache.near.conftest import AGES, is_served, on, settle, write_elsewhere
from tests.waiting import wait_until


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
        each = Face(cache, face.runner)
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
    face, key = Face(cache, runner), f"whole:{key_prefix}"
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
    face = Face(cache, runner)
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
    plain = Face(caches["plain"], runner)
    plain.set("k", 1)
    face = Face(on("default"), runner)
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
    assert spaces.every() == [first]


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
