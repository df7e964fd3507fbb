"""Which keys are whose: clear, patterns, prefixes, versions, KEY_FUNCTION."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from redisdict import PersistentDict
from redisdict.cache import DictCache
from redisdict.exceptions import ConfigurationError
from redisdict.servers.process import ServerProcess
from tests.cache.conftest import Face, entry
from tests.conftest import program_for_tests


def joined(key: Any, key_prefix: str, version: Any) -> str:
    return f"app/{key_prefix}/{version}/{key}/end"


def hashed(key: Any, key_prefix: str, version: Any) -> str:
    return hashlib.sha256(f"{key_prefix}{version}{key}".encode()).hexdigest()


def bare(key: Any, key_prefix: str, version: Any) -> str:
    return str(key)


def reverse_of_hashed(key: str) -> str:
    return f"<{key}>"


@pytest.fixture
def own_url() -> Iterator[str]:
    with ServerProcess(program_for_tests("valkey"), listen="unix") as server:
        yield server.url


def face_of(name: str, runner: Any) -> Face:
    made: Any = caches[name]
    assert isinstance(made, DictCache)
    return Face(made, runner)


@pytest.mark.parametrize("prefix", ["", "shop", "a*b", "[x]?", "{tag}", "back\\slash", "ünï:1"])
def test_clear_leaves_what_is_not_the_caches(
    prefix: str, key_prefix: str, server_url: str, configure: Any, runner: Any
) -> None:
    configure(
        default=entry(server_url, f"{key_prefix}{prefix}"),
        other=entry(server_url, f"{key_prefix}{prefix}x"),
        longer=entry(server_url, f"{key_prefix}{prefix}:deeper"),
    )
    alias = {"LOCATION": server_url, "KEY_PREFIX": f"{key_prefix}{prefix}"}
    with override_settings(REDISDICT={"default": alias}):
        dicts: list[Any] = [PersistentDict("d"), PersistentDict("d", hset_enabled=False)]
        face, other, longer = (face_of(name, runner) for name in ("default", "other", "longer"))
        for each in dicts:
            each["k"] = "v"
        for each in (face, other, longer):
            each.set("k", "v")
            each.set("k", "v", version=22)
        face.set("k", "v", version=-3)
        face.cache.client.set(f"{key_prefix}{prefix}:text:k", "somebody's")
        face.clear()
        assert [face.get("k", version=version) for version in (None, 22, -3)] == [None] * 3
        assert [each.get("k", version=22) for each in (other, longer)] == ["v", "v"]
        assert [each.get("k") for each in (other, longer)] == ["v", "v"]
        assert [each["k"] for each in dicts] == ["v", "v"]
        assert face.cache.client.get(f"{key_prefix}{prefix}:text:k") == b"somebody's"
        for each in (*dicts, other, longer):
            each.clear()
        face.cache.client.delete(f"{key_prefix}{prefix}:text:k")


def test_clear_knows_the_version_of_the_settings(own_url: str, configure: Any, runner: Any) -> None:
    configure(default=entry(own_url, VERSION="blue"), other=entry(own_url, VERSION="green"))
    face, other = face_of("default", runner), face_of("other", runner)
    face.set("k", 1)
    other.set("k", 1)
    face.clear()
    assert face.get("k") is None
    assert other.get("k") == 1


def test_clear_of_very_many(own_url: str, configure: Any, runner: Any) -> None:
    configure(default=entry(own_url, "p"))
    face = face_of("default", runner)
    face.set_many({f"k{number}": number for number in range(20_000)})
    face.cache.client.set("kept", 1)
    face.clear()
    assert face.cache.client.keys() == [b"kept"]


def test_clear_of_the_database(own_url: str, configure: Any, runner: Any) -> None:
    configure(default=entry(own_url, "p", OPTIONS={"CLEAR": "database"}))
    face = face_of("default", runner)
    face.set("k", 1)
    face.cache.client.set("other", 1)
    face.clear()
    assert face.cache.client.dbsize() == 0


@pytest.mark.parametrize("function", [joined, f"{__name__}.joined"])
def test_a_key_function_with_a_frame(
    function: Any, own_url: str, configure: Any, runner: Any
) -> None:
    configure(default=entry(own_url, "p*", KEY_FUNCTION=function))
    face = face_of("default", runner)
    face.set_many({"a1": 1, "a2": 2, "b": 3})
    face.set("a3", 3, version=2)
    face.cache.client.set("app/pp/1/a4/end", 1)
    assert sorted(face.keys("a*")) == ["a1", "a2"]
    assert face.keys("*", version=2) == ["a3"]
    assert face.delete_pattern("a*") == 2
    face.clear()
    assert face.cache.client.keys() == [b"app/pp/1/a4/end"]


@pytest.mark.parametrize("function", [hashed, bare])
def test_a_key_function_that_tells_nothing(
    function: Callable[..., str], own_url: str, configure: Any, runner: Any
) -> None:
    configure(
        default=entry(own_url, "p", KEY_FUNCTION=function),
        whole=entry(own_url, "p", KEY_FUNCTION=function, OPTIONS={"CLEAR": "database"}),
    )
    face = face_of("default", runner)
    face.set("k", 1)
    with pytest.raises(ConfigurationError, match=r'KEY_FUNCTION.*"CLEAR": "database"'):
        face.clear()
    assert face.get("k") == 1
    face_of("whole", runner).clear()
    assert face.get("k") is None


def test_a_key_function_that_hashes_has_no_patterns(
    own_url: str, configure: Any, runner: Any
) -> None:
    configure(default=entry(own_url, "p", KEY_FUNCTION=hashed))
    for method in ("keys", "delete_pattern", "iter_keys"):
        with pytest.raises(ConfigurationError, match="KEY_FUNCTION"):
            list(getattr(face_of("default", runner), method)("*"))


def test_a_reverse_key_function(own_url: str, configure: Any, runner: Any) -> None:
    configure(
        default=entry(
            own_url,
            "p",
            KEY_FUNCTION=joined,
            REVERSE_KEY_FUNCTION=f"{__name__}.reverse_of_hashed",
        )
    )
    face = face_of("default", runner)
    face.set("k", 1)
    assert face.keys() == ["<app/p/1/k/end>"]


def test_patterns(face: Face) -> None:
    face.set_many(dict.fromkeys(("apple", "apply", "ape", "b:1", "b:2", "x*", "xy"), 1))
    face.set("apple", 2, version=2)
    assert sorted(face.keys("appl?")) == ["apple", "apply"]
    assert sorted(face.iter_keys("b:*", itersize=1)) == ["b:1", "b:2"]
    assert face.keys("ap[e]") == ["ape"]
    assert face.keys("x\\*") == ["x*"]
    assert face.keys("nothing*") == []
    assert face.keys("*", version=2) == ["apple"]
    assert face.delete_pattern("a*") == 3
    assert face.delete_pattern("a*") == 0
    assert face.get("apple", version=2) == 2
    assert sorted(face.keys()) == ["b:1", "b:2", "x*", "xy"]


def test_patterns_over_many_pages(face: Face) -> None:
    face.set_many({f"k{number}": number for number in range(5000)})
    for itersize in (None, 10, 5000):
        found = face.iter_keys("k*", itersize=itersize)
        assert len(found) == len(set(found)) == 5000
    assert face.delete_pattern("k*", itersize=7) == 5000
