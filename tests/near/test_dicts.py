"""Dicts with `near` on real servers: what is served, of which keys, and within which limits."""

from __future__ import annotations

import asyncio
import copy
import datetime
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.connections.backend import Backend
from redisdict.exceptions import ConfigurationError, DeserializationError
from redisdict.servers.topologies import SentinelTopology
from tests.near.conftest import AGES, is_served, make, opened, settle, wait_until_on
from tests.near.faces import Face, face, mapping, other
from tests.waiting import wait_until

__all__ = ["face", "mapping", "other"]


VALUES = [
    "text",
    b"bytes",
    5,
    1.5,
    True,
    None,
    Decimal("1.50"),
    datetime.date(2026, 1, 2),
    (1, "a"),
]
CHANGEABLE = [[1, 2], {"a": [1]}, {1, 2}, ([1],)]


@pytest.mark.parametrize("value", [*VALUES, *CHANGEABLE], ids=repr)
def test_a_value_is_read_once_and_then_served(
    face: Face, mapping: Any, other: Any, value: Any
) -> None:
    other["k"] = value
    settle(mapping)
    assert face.getitem("k") == value
    before = mapping.near_stats()
    for read in (face.getitem, face.get):
        found = read("k")
        assert found == value
        assert type(found) is type(value)
    assert face.contains("k")
    after = mapping.near_stats()
    assert (after.hits - before.hits, after.misses) == (3, before.misses)
    assert (after.items, after.bytes > 0) == (before.items, True)


@pytest.mark.parametrize("value", CHANGEABLE[:3], ids=repr)
def test_a_value_that_can_be_changed_is_a_new_one_each_time(
    face: Face, other: Any, value: Any
) -> None:
    other["k"] = value
    found = [face.getitem("k") for _ in range(3)]
    for each in found[:2]:
        each.clear()
    assert found[2] == value == face.getitem("k")


def test_a_missing_item_is_remembered_until_there_is_one(
    face: Face, mapping: Any, other: Any
) -> None:
    with pytest.raises(KeyError):
        face.getitem("k")
    before = mapping.near_stats()
    with pytest.raises(KeyError):
        face.getitem("k")
    assert face.get("k") is None
    assert face.get("k", 5) == 5
    assert not face.contains("k")
    assert mapping.near_stats().hits == before.hits + 4
    other["k"] = "v"
    wait_until(lambda: face.get("k") == "v")


def test_a_change_elsewhere_is_told(face: Face, other: Any) -> None:
    other.update({"k": "old", "l": "stays"})
    assert face.get_many(["k", "l"]) == {"k": "old", "l": "stays"}
    other["k"] = "new"
    wait_until(lambda: face.get("k") == "new")
    del other["k"]
    wait_until(lambda: face.get("k") is None)
    assert face.get("l") == "stays"


def test_many_are_read_in_one_go_and_only_those_that_are_not_kept(
    face: Face, mapping: Any, other: Any
) -> None:
    other.update({f"k{number}": number for number in range(10)})
    settle(mapping)
    assert face.get("k1") == 1
    before = mapping.near_stats()
    keys = [*(f"k{number}" for number in range(10)), "none"]
    expected = {f"k{number}": number for number in range(10)}
    assert face.get_many(keys) == expected
    between = mapping.near_stats()
    assert (between.hits - before.hits, between.misses - before.misses) == (1, 10)
    assert face.get_many(iter(keys)) == expected
    after = mapping.near_stats()
    assert (after.hits - between.hits, after.misses - between.misses) == (11, 0)
    assert face.get_many([]) == {}


# Keys, codecs, names


@pytest.mark.parametrize(
    ("key_type", "key"), [(str, "\ud800"), (int, 7), (bytes, b"\xff"), (str, "")], ids=repr
)
def test_keys_of_every_type(
    backend: Backend, elsewhere: Backend, is_hash: bool, key_type: Any, key: Any
) -> None:
    mapping = make(backend, hset_enabled=is_hash, key_type=key_type)
    other = make(elsewhere, near=None, hset_enabled=is_hash, key_type=key_type)
    wait_until(lambda: mapping.near_stats().is_on or mapping.get(key))
    other[key] = "v"
    wait_until(lambda: mapping.get(key) == "v")
    other[key] = "w"
    wait_until(lambda: mapping.get(key) == "w")
    for wrong in (True, "7") if key_type is int else (5,):
        with pytest.raises(TypeError):
            mapping[wrong]
    mapping.clear()


def test_values_are_refused_by_a_codec_that_refuses_them(backend: Backend) -> None:
    trusting = make(backend, serializer="pickle")
    strict = make(backend)
    trusting["k"] = "v"
    wait_until_on(trusting)
    assert trusting["k"] == "v"
    for _ in range(2):
        with pytest.raises(DeserializationError):
            strict["k"]
    assert trusting["k"] == "v"
    with pytest.raises(DeserializationError):
        strict.get_many(["k", "l"])
    trusting.clear()


def test_raw_bytes(backend: Backend) -> None:
    mapping = make(backend, serializer="raw")
    wait_until_on(mapping)
    mapping["k"] = b"v"
    settle(mapping)
    assert mapping["k"] == b"v"
    assert is_served(mapping, "k")
    mapping.clear()


def test_shards(backend: Backend, elsewhere: Backend, is_hash: bool, runner: Any) -> None:
    mapping = make(backend, hset_enabled=is_hash, shards=4)
    other = make(elsewhere, near=None, hset_enabled=is_hash, shards=4)
    items = {f"k{number}": number for number in range(50)}
    other.update(items)
    wait_until_on(mapping)
    settle(mapping)
    face = Face(mapping, runner)
    assert face.get_many(items) == items
    before = mapping.near_stats()
    assert all(face.getitem(key) == value for key, value in items.items())
    assert mapping.near_stats().misses == before.misses
    other["k7"] = "new"
    wait_until(lambda: face.get("k7") == "new")
    mapping.clear()
    assert face.get("k1") is None


def test_what_a_subclass_overrides_is_called(backend: Backend) -> None:
    class Loud(PersistentDict[str, str]):
        def __getitem__(self, key: str) -> str:
            return super().__getitem__(key.lower()).upper()

    loud = Loud("d", backend, hset_enabled=False, near=AGES)
    wait_until_on(loud)
    loud["k"] = "v"
    settle(loud)
    assert loud["K"] == "V"
    assert is_served(loud, "k")
    assert loud["K"] == "V"


def test_children_and_other_dicts_have_nothing_of_it(backend: Backend) -> None:
    mapping = make(backend)
    child = mapping.child("c")
    wait_until_on(mapping, child)
    mapping["k"] = "v"
    child["k"] = "w"
    settle(mapping)
    assert (mapping["k"], child["k"]) == ("v", "w")
    assert is_served(child, "k")
    assert is_served(mapping, "k")
    child["k"] = "x"
    settle(mapping)
    assert is_served(mapping, "k")
    mapping.clear()
    child.clear()


def test_a_handle_that_is_bound_when_the_first_with_near_comes(backend: Backend) -> None:
    bystander = make(backend, near=None, name="bystander")
    bystander["k"] = "v"
    bound = bystander._bound
    assert make(backend, near=None).near_stats().is_on is False
    wait_until_on(make(backend))
    assert bystander._bound is bound


def test_pickles_and_copies_have_the_promise(backend: Backend) -> None:
    class Own(PersistentDict[str, Any]):
        pass

    for made in (PersistentDict("d", near=2.0), PersistentDict("d")):
        again = pickle.loads(pickle.dumps(made))
        assert type(again) is type(made)
        assert again._options == made._options
    own = Own("d", backend, hset_enabled=False, near=AGES)
    wait_until_on(own)
    for handle in (own, copy.copy(own), copy.deepcopy(own), own.child("c")):
        assert isinstance(handle, Own)
        assert type(handle).__qualname__ == Own.__qualname__
        handle["k"] = "v"
        settle(handle)
        assert handle["k"] == "v"
        assert is_served(handle, "k")
        handle.clear()


def test_a_handle_made_by_the_class_of_another(backend: Backend) -> None:
    own = make(backend)
    other = type(own)("e", backend, hset_enabled=False)
    assert type(other) is PersistentDict
    other["k"] = "v"
    assert other["k"] == "v"
    again = type(own)("e", backend, hset_enabled=False, near=AGES)
    assert type(again) is type(own)
    assert again["k"] == "v"
    again.clear()


def test_a_pickle_of_the_release_before(backend: Backend) -> None:
    mapping = PersistentDict("d")
    options = copy.copy(mapping._options)
    object.__delattr__(options, "near")
    again: Any = PersistentDict.__new__(PersistentDict)
    again.__setstate__({"_path": ("d",), "_options": options})
    assert again._options == mapping._options


# Refusals and limits


@pytest.mark.parametrize("near", [0, -1, True, "strict", "soon", float("inf"), float("nan"), [1]])
def test_what_is_no_promise_is_refused(near: Any) -> None:
    with pytest.raises(ConfigurationError, match="near is"):
        PersistentDict("d", near=near)


def test_replicas_are_refused(
    sentinel: SentinelTopology, alias_for: Callable[..., dict[str, Any]]
) -> None:
    values = alias_for(sentinel.location, OPTIONS={"read_from_replicas": True})
    with opened(values) as backend:
        with pytest.raises(ConfigurationError, match="read_from_replicas"):
            make(backend)["k"]


def test_memory_is_bounded(url: str, alias_for: Callable[..., dict[str, Any]]) -> None:
    with opened(alias_for(url, NEAR_MAX_BYTES=20_000, NEAR_MAX_ITEMS=30)) as backend:
        mapping = make(backend)
        wait_until_on(mapping)
        mapping.update({f"k{number}": "x" * 50 for number in range(200)})
        settle(mapping)
        mapping.get_many([f"k{number}" for number in range(200)])
        assert mapping.near_stats().items == 30
        mapping["large"] = "x" * 15_000
        settle(mapping)
        assert mapping["large"]
        stats = mapping.near_stats()
        assert stats.items < 30
        assert stats.bytes <= 20_000
        assert stats.evictions > 170
        mapping["too large"] = ["x" * 25_000]
        assert mapping["too large"]
        assert not is_served(mapping, "too large")
        mapping.clear()


@pytest.mark.parametrize("limit", [0, -5, True, 1.5, None, "1"])
@pytest.mark.parametrize("name", ["NEAR_MAX_BYTES", "NEAR_MAX_ITEMS"])
def test_limits_are_checked(name: str, limit: Any) -> None:
    from redisdict.conf import parse_alias

    with pytest.raises(ConfigurationError, match=name):
        parse_alias("default", {"LOCATION": "redis://localhost", name: limit})


def test_keys_that_need_another_look(backend: Backend) -> None:
    mapping = make(backend)
    wait_until_on(mapping)
    key = "\ud800"
    mapping.update({key: "v", "list": [1]})
    settle(mapping)

    async def read() -> list[Any]:
        return [await mapping.aget(key), await mapping.agetitem(key), await mapping.acontains(key)]

    for _ in range(2):
        assert [mapping.get(key), mapping[key], key in mapping] == ["v", "v", True]
        assert asyncio.run(read()) == ["v", "v", True]
    for _ in range(2):
        assert "nothing" not in mapping
        assert mapping.get_many(["list"]) == {"list": [1]}
    assert "list" in mapping

    async def look() -> bool:
        return await mapping.acontains("nothing else")

    assert not asyncio.run(look())
    for _ in range(2):
        assert mapping.get_or_set("list", lambda: None) == [1]
    mapping.clear()
