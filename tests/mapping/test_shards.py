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
from redisdict.mapping.layouts.sharded import ShardCount
from redisdict.mapping.side_by_side import side_by_side
from redisdict.wire.requests import Batch, Once, Operation, Sleep
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


def one_command(name: bytes) -> Operation[Any]:
    return (yield (name,))


def two_commands(name: bytes) -> Operation[Any]:
    return (yield Batch([(name, 1), (name, 2)]))


def test_operations_take_their_steps_together() -> None:
    def steps(name: bytes) -> Operation[Any]:
        first = yield (name, 1)
        second = yield Once((name, first))
        return second

    together = side_by_side([steps(b"A"), two_commands(b"B"), one_command(b"C")])
    asked, result = feed(together, [10, 11, 12, 13], 20)
    assert asked == [
        Batch([(b"A", 1), (b"B", 1), (b"B", 2), (b"C",)], is_spread=True),
        (b"A", 10),
    ]
    assert type(asked[1]) is Once
    assert result == [20, [11, 12], 13]


def test_what_must_not_be_repeated_makes_all_of_it_so() -> None:
    def once(name: bytes) -> Operation[Any]:
        return (yield Once((name,)))

    asked, _ = feed(side_by_side([once(b"A"), one_command(b"B")]), [1, 2])
    assert not asked[0].is_repeatable


def test_what_cannot_be_part_of_it_is_asked_alone() -> None:
    def pausing(name: bytes) -> Operation[Any]:
        yield Sleep(1)
        return (yield Batch([(name,)], is_atomic=True))

    asked, result = feed(
        side_by_side([pausing(b"A"), one_command(b"B"), one_command(b"C")]), [2, 3], None, [1]
    )
    assert asked == [
        Batch([(b"B",), (b"C",)], is_spread=True),
        Sleep(1),
        Batch([(b"A",)], is_atomic=True),
    ]
    assert result == [[1], 2, 3]


def test_transactions_that_may_be_spread_are_one() -> None:
    def page(name: bytes) -> Operation[Any]:
        [reply] = yield Batch([(name,)], is_atomic=True, is_spread=True)
        yield from one_command(name)
        return reply

    asked, result = feed(
        side_by_side([page(b"A"), one_command(b"C"), page(b"B"), one_command(b"D")]),
        *([3, 4], [1, 2], [5, 6]),
    )
    assert asked == [
        Batch([(b"C",), (b"D",)], is_spread=True),
        Batch([(b"A",), (b"B",)], is_atomic=True, is_spread=True),
        Batch([(b"A",), (b"B",)], is_spread=True),
    ]
    assert result == [1, 3, 2, 4]
    refusal = ResponseError("EXECABORT")
    asked, result = feed(side_by_side([page(b"A"), page(b"B")]), refusal, [5, 6])
    assert result == [refusal, refusal]


def test_an_error_is_that_of_its_command() -> None:
    refusal = ResponseError("WRONGTYPE")

    def careful(name: bytes) -> Operation[Any]:
        try:
            yield (name,)
        except ResponseError as error:
            return error

    _, result = feed(side_by_side([careful(b"A"), one_command(b"B")]), [refusal, 2])
    assert result == [refusal, 2]
    closed = []

    def watching() -> Operation[Any]:
        try:
            yield (b"A",)
            yield (b"A",)
        finally:
            closed.append(True)

    with pytest.raises(ResponseError, match="WRONGTYPE"):
        feed(side_by_side([watching(), one_command(b"B")]), [1, refusal])
    assert closed
    assert feed(side_by_side([])) == ([], [])


def test_an_error_of_what_is_asked_alone_is_raised_where_it_was_asked() -> None:
    def careful() -> Operation[Any]:
        try:
            yield Sleep(1)
        except TimeoutError as error:
            return error

    late = TimeoutError()
    assert feed(side_by_side([careful()]), late)[1] == [late]


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
