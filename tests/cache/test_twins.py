"""Every method for threads has a twin for tasks, with the same arguments."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from django.core.cache.backends.base import BaseCache
from django_redis.cache import RedisCache
from django_redis.client.default import DefaultClient

from redisdict.cache import DictCache
from redisdict.cache.ignoring import INSTEAD, ignoring

#: These ask the server nothing.
COLOURLESS = {
    "default_timeout",
    "get_backend_timeout",
    "key_func",
    "made_from",
    "make_and_validate_key",
    "make_key",
    "near_stats",
    "validate_key",
}

NAMES = sorted(name for name in dir(DictCache) if not name.startswith("_"))
TWINS = sorted(name for name in NAMES if f"a{name}" in NAMES)

#: What django-redis has for sets, hashes and sorted sets, which is redis-py's: `cache.client`.
OTHER_TYPES = ("s", "h", "z")


def shape(method: Any) -> list[tuple[str, object, object]]:
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(method).parameters.values()
    ]


def test_every_method_has_a_twin() -> None:
    paired = {*TWINS, *(f"a{name}" for name in TWINS), *COLOURLESS}
    assert [name for name in NAMES if name not in paired] == []


NEAR: Any = type(DictCache("", {"OPTIONS": {"NEAR": 1.0}}))


@pytest.mark.parametrize("cache_class", [DictCache, ignoring(DictCache), NEAR])
@pytest.mark.parametrize("name", [name for name in TWINS if name != "client"])
def test_twins_take_the_same_arguments(name: str, cache_class: Any) -> None:
    one, twin = getattr(cache_class, name), getattr(cache_class, f"a{name}")
    assert shape(twin) == shape(one)
    is_async = inspect.iscoroutinefunction(twin) or inspect.isasyncgenfunction(twin)
    assert is_async or name == "lock"


@pytest.mark.parametrize("name", [name for name in TWINS if name != "client"])
def test_near_takes_the_same_arguments(name: str) -> None:
    assert shape(getattr(NEAR, name)) == shape(getattr(DictCache, name))


def test_all_of_djangos_methods_are_our_own() -> None:
    inherited = {
        name
        for name in dir(BaseCache)
        if not name.startswith("_") and getattr(DictCache, name) is getattr(BaseCache, name, None)
    }
    assert inherited == {"make_and_validate_key", "make_key", "validate_key"}


@pytest.mark.parametrize("name", sorted(set(dir(BaseCache)) & set(TWINS)))
def test_what_django_passes_is_taken(name: str) -> None:
    theirs, ours = shape(getattr(BaseCache, name)), shape(getattr(DictCache, name))
    assert ours[: len(theirs)] == theirs


def test_what_django_redis_offers_is_there() -> None:
    names = {name for name in vars(RedisCache) if not name.startswith("_")}
    missing = {name for name in names if not hasattr(DictCache, name)}
    assert {name for name in missing if not name.startswith(OTHER_TYPES)} == set()


@pytest.mark.parametrize("name", ["ttl", "pttl", "expire", "pexpire", "expire_at", "pexpire_at"])
def test_arguments_of_django_redis_are_taken(name: str) -> None:
    theirs = [each for each in shape(getattr(DefaultClient, name)) if each[0] != "client"]
    assert [each[0] for each in shape(getattr(DictCache, name))] == [each[0] for each in theirs]


def test_what_is_ignored_covers_all_that_asks_a_server() -> None:
    asking = {name for name in TWINS if name not in ("client", "close", "lock")}
    assert set(INSTEAD) == asking


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"default_timeout", "key_func", "made_from"}))
def test_every_method_says_what_it_does(name: str) -> None:
    document = inspect.getdoc(inspect.getattr_static(DictCache, name)) or ""
    assert document, name
