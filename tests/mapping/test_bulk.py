"""Many items at once, in any number and size, in all forms that `update()` takes."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from redisdict import PersistentDict, SerializationError
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.mapping.bulk import BATCH_BYTES
from redisdict.mapping.layouts.base import BATCH
from tests.mapping.conftest import Face


def test_all_or_none_whatever_the_number(face: Face) -> None:
    """The last one can't be stored, long after the first round trip could have left."""
    for count in (1, 3 * BATCH):
        items: dict[str, Any] = {str(number): number for number in range(count)}
        items["last"] = object()
        with pytest.raises(SerializationError):
            face.set_many(items)
        assert face.len() == 0
    items[5] = items.pop("last")
    with pytest.raises(TypeError, match="A key of this dict is str"):
        face.set_many(items)
    assert face.len() == 0


def test_large_values_go_a_few_at_a_time(face: Face) -> None:
    items = {str(number): bytes([number]) * (BATCH_BYTES // 3) for number in range(10)}
    face.set_many(items)
    assert face.get_many(items) == items
    face.set_many(items, timeout=60)
    assert 50 < face.ttl("9") <= 60
    face.set_many(items, timeout=0)
    assert face.len() == 0


def test_more_than_one_round_trip_of_items_with_a_timeout(face: Face) -> None:
    items = {str(number): number for number in range(BATCH + 10)}
    face.set_many(items, timeout=60)
    assert face.len() == len(items)
    assert face.get_many(items) == items
    assert face.delete_many(items) == len(items)
    assert face.copy() == {}


@pytest.mark.parametrize("name", ["d", "Grüße 😀", "\ud83d", "a\0b"])
@pytest.mark.parametrize("shards", [None, 3])
def test_any_text_in_names_and_keys(
    make: Callable[..., PersistentDict[Any, Any]], name: str, shards: int | None
) -> None:
    mapping = make(name, shards=shards)
    for keys in (["a", "b\0", ""], ["a", "ü"], ["a", "\ud83d"]):
        items = {key: [key] for key in keys}
        mapping.set_many(items)
        assert mapping.get_many([*keys, "missing"]) == items
        assert dict(mapping.items()) == items
        assert mapping.delete_many(keys) == len(keys)


@pytest.mark.parametrize(
    ("key_type", "keys"), [(int, [1, -5, 10**30]), (bytes, [b"a", b"\xff"]), (UUID, [UUID(int=7)])]
)
@pytest.mark.parametrize("shards", [None, 3])
def test_keys_that_are_no_text(
    make: Callable[..., PersistentDict[Any, Any]],
    key_type: Any,
    keys: list[Any],
    shards: int | None,
) -> None:
    mapping = make(key_type=key_type, shards=shards)
    items = {key: str(key) for key in keys}
    mapping.set_many(items)
    assert mapping.get_many(keys) == items
    assert mapping.delete_many(keys) == len(keys)


@pytest.mark.parametrize("key", [b"a", 7, None, ("a",)])
def test_one_key_of_another_type_among_many_is_an_error(face: Face, key: Any) -> None:
    face.setitem("a", 1)
    for read in (face.get_many, face.delete_many):
        with pytest.raises(TypeError, match="A key of this dict is str"):
            read(["a", key])
    assert face.copy() == {"a": 1}


def test_iterators_are_taken_as_they_come(face: Face) -> None:
    face.set_many({str(number): number for number in range(BATCH + 10)})
    assert len(face.get_many(str(number) for number in range(BATCH + 5))) == BATCH + 5
    assert face.delete_many(str(number) for number in range(BATCH + 5)) == BATCH + 5
    assert face.len() == 5


def test_an_iterator_may_ask_the_same_server(
    server_url: str, alias_for: Callable[..., dict[str, Any]], hset_enabled: bool
) -> None:
    """With a single connection, which isn't held while the iterator works."""
    pool = {"max_connections": 1, "timeout": 2}
    one = Backend(parse_alias("one", alias_for(server_url, OPTIONS=pool)))
    mapping: PersistentDict[str, int] = PersistentDict("d", one, hset_enabled=hset_enabled)
    mapping.set_many({str(number): number for number in range(2 * BATCH)})

    def even() -> Iterator[str]:
        return (key for key, value in mapping.items() if value % 2 == 0)

    assert len(mapping.get_many(even())) == BATCH
    assert mapping.delete_many(even()) == BATCH
    assert len(mapping) == BATCH
    mapping.clear()
    one.close()


@pytest.fixture
def other(make: Callable[..., PersistentDict[str, int]]) -> PersistentDict[str, int]:
    mapping = make("other")
    mapping.update(b=2, c=3)
    return mapping


def test_from_another_dict_on_a_server(face: Face, other: PersistentDict[str, int]) -> None:
    face.set("a", 1)
    face.update(other)
    assert face.copy() == {"a": 1, "b": 2, "c": 3}
    face.update(other, c=4)
    face.set_many(other, timeout=60)
    assert face.copy() == {"a": 1, "b": 2, "c": 3}
    assert face.ttl("b") is not None


def test_operators_with_another_dict_on_a_server(
    mapping: PersistentDict[str, int], other: PersistentDict[str, int]
) -> None:
    mapping["a"] = 1
    assert mapping | other == {"a": 1, "b": 2, "c": 3}
    assert mapping != other
    mapping |= other
    del mapping["a"]
    assert mapping == other
    assert other == mapping
    assert mapping != {"b": 2}
    assert mapping != {"b": 2, "c": 3, "d": 4}
    assert mapping != {"b": 2, "x": 3}
    assert mapping.__ror__([]) is NotImplemented


def test_an_expiry_shortens_and_does_not_lengthen(face: Face) -> None:
    face.set("short", 1, timeout=10)
    face.set("long", 2, timeout=600)
    face.set("for ever", 3)
    assert face.expire(60) is True
    assert face.ttl("short") <= 10
    assert 50 < face.ttl("long") <= 60
    assert 50 < face.ttl("for ever") <= 60


def test_counters_live_as_long_as_the_dict_says(
    make: Callable[..., PersistentDict[str, Any]], runner: Any
) -> None:
    face = Face(make(timeout=60), runner)
    assert face.incr("n", 5) == 5
    assert 50 < face.ttl("n") <= 60
    face.touch("n", 600)
    assert face.incr("n") == 6
    assert face.ttl("n") > 500
    assert face.incr("x", 0.5) == 0.5
    assert face.incr("big", 2**70) == 2**70
    assert face.ttl("big") <= 60


def test_size_on_the_server(face: Face) -> None:
    assert face.memory_usage() == 0
    face.set_many({str(number): "x" * 100 for number in range(3000)})
    assert 3000 * 100 < face.memory_usage() < 3000 * 600
    face.set("t", "x", timeout=60)
    assert face.memory_usage() > 3000 * 100


def test_a_mapping_that_is_no_dict_is_stored(make: Callable[..., PersistentDict[str, int]]) -> None:
    parts = ChainMap({"a": 1}, {"a": 2, "b": 3}, {str(number): number for number in range(600)})
    mapping = make()
    mapping.set_many(parts)
    assert mapping.copy() == dict(parts)
