"""Dicts in shards: which shard an item is in, how many there are, and what goes out together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ResponseError

from redisdict import ConfigurationError, PersistentDict
from redisdict.connections.backend import Backend
from redisdict.mapping.keys import Names, shard_of
from redisdict.mapping.layouts.base import SCAN_COUNT
from redisdict.mapping.layouts.sharded import ShardCount
from redisdict.wire.requests import Batch, Operation
from tests.mapping.conftest import Face
from tests.mapping.costs import COSTS, ITEMS, Cost
from tests.mapping.feeding import feed


@pytest.mark.parametrize("shards", [0, 1, -3, 1025])
def test_a_number_that_is_not_possible(shards: int) -> None:
    with pytest.raises(ValueError, match=f"shards is {shards}; from 2 to 1024 are possible"):
        PersistentDict("d", shards=shards)


@pytest.mark.parametrize("shards", ["16", 2.0, True])
def test_what_is_no_number(shards: Any) -> None:
    with pytest.raises(TypeError, match="an int from 2 to 1024 is expected"):
        PersistentDict("d", shards=shards)


def test_the_shard_of_a_key_never_changes() -> None:
    assert [shard_of(key, 16) for key in (b"", b"a", b"user:1", b"\xff")] == [0, 3, 2, 0]


def test_keys_spread_evenly() -> None:
    for keys in (
        [b"%d" % number for number in range(16_000)],
        [b"user:%06d" % n for n in range(16_000)],
    ):
        sizes = Counter(shard_of(key, 16) for key in keys)
        assert len(sizes) == 16
        assert 900 <= min(sizes.values()) <= max(sizes.values()) <= 1100


def test_another_number_is_refused_and_nothing_lost(
    make: Callable[..., PersistentDict[str, int]], backend: Backend, hset_enabled: bool
) -> None:
    dict_of_four = make(shards=4)
    other: PersistentDict[str, int] = PersistentDict(
        "d", backend, hset_enabled=hset_enabled, shards=8
    )
    assert other.get("a") is None  # nothing was ever stored
    dict_of_four["a"] = 1
    for use in (
        lambda: other["a"],
        lambda: other.__setitem__("b", 2),
        lambda: other.set_many({"b": 2}),
        lambda: list(other),
        lambda: len(other),
        other.clear,
        other.popitem,
        lambda: other.incr("n"),
        lambda: other.pop("a"),
    ):
        with pytest.raises(ConfigurationError, match=r"has 4 shards .* opened with shards=8"):
            use()
    assert dict_of_four == {"a": 1}
    dict_of_four.clear()
    with pytest.raises(ConfigurationError):
        other["a"] = 1  # the other may still be in use
    assert not dict_of_four


def test_one_without_shards_and_one_with_them_are_two_dicts(
    make: Callable[..., PersistentDict[str, int]],
) -> None:
    whole, parts = make(), make(shards=4)
    whole["a"], parts["b"] = 1, 2
    assert (dict(whole), dict(parts)) == ({"a": 1}, {"b": 2})
    parts.clear()
    assert dict(whole) == {"a": 1}


def test_items_are_taken_out_of_one_shard_after_the_other(
    make: Callable[..., PersistentDict[str, int]],
) -> None:
    parts, again = make(shards=4), make(shards=4)
    items = {str(number): number for number in range(20)}
    parts.update(items)
    assert "0" in again  # the first that it is asked, before it knows the number of shards
    assert dict(parts.popitem() for _ in items) == items
    with pytest.raises(KeyError):
        parts.popitem()


def test_a_walk_whose_cursor_is_no_place_is_over(
    make: Callable[..., PersistentDict[str, int]], backend: Backend
) -> None:
    parts = make(shards=4)
    parts["a"] = 1
    scan = parts._bound.layout.scan_fields(b"4:7=0")
    assert backend.driver.run(scan) == (b"0", [])
    parts.clear()


def test_items_of_several_pages_are_counted(make: Callable[..., PersistentDict[str, int]]) -> None:
    parts = make(shards=4)
    parts.set_many({str(number): number for number in range(3 * SCAN_COUNT)})
    assert len(parts) == 3 * SCAN_COUNT


def test_names_of_shards_are_no_dict_s_names() -> None:
    shard = Names("p", ("d",), (3, 16))
    assert shard.hash == b"p:h:{d%:3:16}"
    for name in ("d%:3:16", "d:3:16", "d%", "%:3:16"):
        assert Names("p", (name,)).hash != shard.hash


def test_what_it_is_called(
    make: Callable[..., PersistentDict[str, int]], hset_enabled: bool
) -> None:
    layout = "hash" if hset_enabled else "keys"
    assert repr(make(shards=4)) == f"<PersistentDict 'd' on 'test' ({layout}, 4 shards)>"
    assert repr(make(shards=4).child("x")).endswith("4 shards)>")


def test_many_items_are_one_round_trip(
    make: Callable[..., PersistentDict[str, int]], backend: Backend
) -> None:
    mapping = make(shards=8)
    mapping["a"] = 1  # from here on the number is known
    items = {str(number): number for number in range(1000)}
    asked: list[Any] = []
    for operation in (
        mapping._set_many_operation(items, None),
        mapping._get_many_operation(items),
        mapping._delete_many_operation(items),
    ):
        asked.append(backend.driver.run(watched(operation, seen := [])))
        assert len(seen) == 1
        assert isinstance(seen[0], Batch)
        assert len(seen[0].commands) == 8
    assert asked[1:] == [items, 1000]


def watched(operation: Operation[Any], seen: list[Any]) -> Operation[Any]:
    """The operation, whose requests are noted."""
    answer: Any = None
    try:
        while True:
            request = operation.send(answer)
            seen.append(request)
            answer = yield request
    except StopIteration as stop:
        return stop.value


def test_a_number_that_cannot_be_stored_is_an_error() -> None:
    storing = ShardCount(b"n", 4, "d").before_writing()
    with pytest.raises(ResponseError, match="OOM"):
        feed(storing, [ResponseError("OOM command not allowed"), None])


@pytest.mark.parametrize("cost", COSTS, ids=str)
def test_each_method_does_in_shards_what_it_does_without(
    make: Callable[..., PersistentDict[str, Any]], runner: Any, cost: Cost
) -> None:
    results = []
    for shards in (None, 3):
        face = Face(make("in shards", timeout=cost.timeout, shards=shards), runner)
        face.set_many(ITEMS, timeout=None)
        result = cost.call(face)
        if cost.method == "popitem":
            key, value = result
            result = face.setitem(key, value)
        elif cost.method == "memory_usage":
            result = result > 0
        elif isinstance(result, list):
            result = sorted(result, key=repr)
        results.append((result, face.copy(), face.len(), bool(face.mapping)))
    assert results[0] == results[1]
