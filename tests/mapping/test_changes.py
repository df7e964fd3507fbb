"""Values are changed such that no change of another's is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import NoPermissionError, ResponseError

from redisdict import (
    ConcurrentUpdate,
    DeserializationError,
    PersistentDict,
    SerializationError,
)
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.mapping.background import IN_THREADS
from redisdict.mapping.bound import ABSENT
from redisdict.mapping.changes import EAGER_ATTEMPTS
from redisdict.mapping.compute_options import parse_options
from redisdict.mapping.keys import Names
from redisdict.mapping.layouts.base import DEFAULT, LEAST_BYTES
from redisdict.wire.requests import Batch, Call, Sleep
from redisdict.wire.scan import SMALL_COUNT
from tests.mapping.conftest import Face
from tests.mapping.feeding import feed


def test_an_edited_value_is_stored(face: Face) -> None:
    face.set("k", {"a": [1]}, timeout=60)
    face.edit("k", lambda value: value["a"].append(2))
    assert face.getitem("k") == {"a": [1, 2]}
    assert 50 < face.ttl("k") <= 60
    face.edit("k", lambda value: None)
    assert face.getitem("k") == {"a": [1, 2]}


def test_an_edit_of_nothing(face: Face) -> None:
    with pytest.raises(KeyError, match="'k'"):
        face.edit("k", lambda value: None)


def test_an_edit_that_fails_stores_nothing(face: Face) -> None:
    def fail(value: list[int]) -> None:
        value.append(2)
        raise ZeroDivisionError

    face.set("k", [1])
    with pytest.raises(ZeroDivisionError):
        face.edit("k", fail)
    with pytest.raises(SerializationError):
        face.edit("k", lambda value: value.append(object()))
    assert face.getitem("k") == [1]


def test_an_edit_never_undoes_what_another_did(face: Face) -> None:
    for meanwhile, left in (
        (lambda: face.mapping.set("k", [5]), {"k": [5]}),
        (lambda: face.mapping.delete("k"), {}),
    ):
        face.set("k", [1])

        def change(value: list[int], meanwhile: Callable[[], Any] = meanwhile) -> None:
            value.append(2)
            meanwhile()

        with pytest.raises(ConcurrentUpdate, match=r"'k' of .* was changed by somebody else"):
            face.edit("k", change)
        assert face.copy() == left


def test_a_transform_begins_again(face: Face) -> None:
    """Each time with the value that is there by then."""
    given = []

    def add_three(value: int) -> int:
        given.append(value)
        if len(given) < 7:
            face.mapping.incr("n", 10)
        return value + 3

    face.set("n", 1)
    assert face.transform("n", add_three) == 64
    assert given == [1, 11, 21, 31, 41, 51, 61]
    assert face.getitem("n") == 64


def operations(is_hash: bool = True) -> PersistentDict[str, Any]:
    """A dict whose operations are given their replies, so that it needs no server."""
    nowhere = Backend(parse_alias("test", {"LOCATION": "redis://nowhere", "KEY_PREFIX": "p"}))
    nowhere.capabilities.runs_scripts = True
    return PersistentDict("d", nowhere, hset_enabled=is_hash)


def test_a_transform_waits_when_others_are_always_faster() -> None:
    failing = [b"1", 2, 0] * (EAGER_ATTEMPTS - 1)
    asked, result = feed(
        operations()._transform_operation("k", lambda value: value + 1, ABSENT),
        *failing,
        *(b"1", 2, 0),
        *(None, b"1", 2, 1),
    )
    assert result == 2
    kinds = [type(request) for request in asked if type(request) in (Call, Sleep)]
    assert kinds == [Call] * EAGER_ATTEMPTS + [Sleep, Call]


def test_an_item_that_comes_and_goes_between_two_commands() -> None:
    """Each step of an operation may find what another has left it."""
    assert feed(operations()._setdefault_operation("k", 1), None, 0, b"5")[1] == 5
    assert feed(operations()._setdefault_operation("k", 1), None, 0, None, 1)[1] == 1
    assert feed(operations()._compare_and_set_operation("k", 1, 2), b"1", 0, b"1", 1)[1] is True
    assert feed(operations()._compare_and_set_operation("k", 1, 2), b"1", 0, None)[1] is False


def test_an_item_that_was_taken_out_and_cannot_be_read_is_put_back() -> None:
    """Unless somebody has stored another meanwhile."""
    popping = operations(is_hash=False)._pop_operation("k", ABSENT)
    asked = [popping.send(None), popping.send(b"\x80")]
    assert [(request[0], request[-1]) for request in asked] == [
        (b"GETDEL", Names("p", ("d",)).item_prefix + b"k"),
        (b"SET", b"NX"),
    ]
    with pytest.raises(DeserializationError):
        popping.send(None)


def test_an_unknown_error_of_counting_is_passed_on() -> None:
    with pytest.raises(ResponseError, match="OOM"):
        feed(operations()._incr_operation("k", 1), ResponseError("OOM command not allowed"))


def test_any_item_when_the_first_one_is_gone_by_then() -> None:
    """And the walk begins anew before it says that there is none."""
    keys = operations(is_hash=False)
    prefix = Names("p", ("d",)).item_prefix
    page = [b"9", [prefix + b"a", prefix + b"b"]]
    assert feed(keys._popitem_operation(), page, None, b"1")[1] == ("b", 1)
    asked, result = feed(keys._popitem_operation(), [b"9", []], [b"7", [prefix + b"c"]], b"2")
    assert result == ("c", 2)
    asked, result = feed(
        keys._popitem_operation(), [b"0", []], [b"4", []], [b"0", [prefix + b"d"]], b"3"
    )
    assert result == ("d", 3)
    assert [request[1] for request in asked[:3]] == [b"9", b"0", b"4"]
    with pytest.raises(KeyError):
        feed(keys._popitem_operation(), [b"0", []], [b"0", []])


def test_a_walk_that_finds_nothing_on_a_page_goes_on() -> None:
    keys = operations(is_hash=False)
    key = Names("p", ("d",)).item_prefix + b"a"
    nothing, end, last = [[b"5", []]], [[b"0", []]], [[b"0", [key]]]
    assert feed(keys._is_empty_operation(), nothing, [[b"3", [key]]])[1] is False
    assert feed(keys._is_empty_operation(), nothing, end)[1] is True
    asked, is_there = feed(keys._expire_operation(5), nothing, end)
    assert (len(asked), is_there) == (2, False)
    assert feed(keys._bound.layout.length().begin(), nothing, last)[1] == 1
    assert feed(keys._bound.layout.clear(), nothing, end)[1] is None
    assert feed(keys._bound.layout.memory_usage(), nothing, last, [77])[1] == 77


@pytest.mark.parametrize("is_thrown", [True, False])
def test_a_page_that_is_refused_in_a_transaction_is_asked_for_as_a_small_one(
    is_thrown: bool,
) -> None:
    refusal = ResponseError("ERR not allowed in transactions")
    keys = operations(is_hash=False)
    asked, length = feed(
        keys._bound.layout.length().begin(), refusal if is_thrown else [refusal], [b"0", []]
    )
    assert length == 0
    assert asked[0].is_atomic
    assert asked[1] == (*asked[0].commands[0][:-1], SMALL_COUNT)
    with pytest.raises(ResponseError, match="unknown"):
        feed(
            keys._bound.layout.length().begin(),
            refusal,
            ResponseError("ERR unknown command 'SCAN'"),
        )


def test_a_key_takes_memory_whatever_the_server_says() -> None:
    """Dragonfly says 0 of what lies in its table; None is no key."""
    keys = operations(is_hash=False)
    names = [b"p:k:{d}:%d" % number for number in range(3)]
    assert (
        feed(keys._bound.layout.memory_usage(), [[b"0", names]], [0, None, 80])[1]
        == LEAST_BYTES + 80
    )
    assert (
        feed(operations(is_hash=True)._bound.layout.memory_usage(), [64, 0, None])[1]
        == 64 + LEAST_BYTES
    )


@pytest.mark.parametrize(("is_hash", "before"), [(True, []), (False, [[[b"0", [b"p:k:{d}:a"]]]])])
def test_who_may_not_ask_for_memory_is_told(is_hash: bool, before: list[Any]) -> None:
    refusal = NoPermissionError("User u has no permissions to run the 'memory|usage' command")
    with pytest.raises(NoPermissionError, match="memory"):
        feed(operations(is_hash=is_hash)._bound.layout.memory_usage(), *before, [refusal])


def test_an_error_in_a_batch_of_keys_is_raised() -> None:
    keys = operations(is_hash=False)
    with pytest.raises(ResponseError, match="OOM"):
        feed(keys._set_many_operation({"a": 1}, None), [ResponseError("OOM command not allowed")])


def test_a_page_of_items_that_end_while_it_is_read() -> None:
    keys = operations(is_hash=False)
    prefix = Names("p", ("d",)).item_prefix
    page = [[b"0", [prefix + b"a", prefix + b"b", prefix + b"c"]]]
    scan = keys._scan_records()
    asked, records = feed(scan.next_page(), page, [b"1", -1, None, -2, b"3", -2])
    assert records == [(b"a", b"1", -1)]
    assert isinstance(asked[1], Batch)
    assert asked[1].is_atomic
    scan = keys._scan_items()
    assert list(feed(scan.next_page(), page, [[b"1", None, b"3"]])[1]) == [("a", 1), ("c", 3)]


def get_or_set(stale: float = 0, **times: Any) -> Any:
    one = operations()
    return one._get_or_set_operation(
        "k", lambda: 9, parse_options(60_000, stale, **times), IN_THREADS
    )


def test_a_lease_that_another_process_has() -> None:
    """Its value is taken when it comes, also between the last look and the lease."""
    asked, result = feed(get_or_set(), None, None, None, 0, None, None, b"5")
    assert result == 5
    assert [type(request) for request in asked].count(Sleep) == 1
    assert feed(get_or_set(), None, b"OK", b"6", 1)[1] == 6
    # A stale value is good enough while another has the lease.
    assert feed(get_or_set(stale=60), [b"4", 30_000], None)[1] == 4


@pytest.mark.parametrize("answers", [[None, None], [None, None, b"OK"]], ids=["before", "after"])
def test_a_computation_whose_connection_is_lost_asks_for_nothing_more(answers: list[Any]) -> None:
    """Its lease goes with its time; others in this process needn't wait for that."""
    one = operations()
    options = parse_options(60_000)
    computing = one._get_or_set_operation("k", lambda: 9, options, IN_THREADS)
    for answer in answers:
        computing.send(answer)
    computing.close()
    again = one._get_or_set_operation("k", lambda: 9, options, IN_THREADS)
    assert feed(again, None, None, b"5")[1] == 5


@pytest.mark.parametrize("answers", [[None], [None, None]], ids=["under way", "waiting"])
def test_a_lock_whose_task_is_cancelled_is_released(answers: list[Any]) -> None:
    acquiring = operations()._bound.locks.acquire(b"n", b"token", 60, None)
    for answer in answers:
        acquiring.send(answer)
    release = acquiring.throw(asyncio.CancelledError())
    assert release[0] == b"EVALSHA"
    assert release[-1] == b"token"
    with pytest.raises(asyncio.CancelledError):
        acquiring.send(1)


def test_a_lock_that_the_server_refuses_is_not_released() -> None:
    with pytest.raises(ResponseError, match="NOPERM"):
        feed(
            operations()._bound.locks.acquire(b"n", b"t", 60, None),
            ResponseError("NOPERM no rights"),
        )


def test_a_default_shows_as_what_it_is() -> None:
    assert repr(DEFAULT) == "DEFAULT"


async def test_views_have_twins_that_iterate(
    backend: Backend, mapping: PersistentDict[str, int]
) -> None:
    mapping.update(a=1)
    assert [key async for key in mapping.akeys()] == ["a"]
    assert [value async for value in mapping.avalues()] == [1]
    assert [item async for item in mapping.aitems()] == [("a", 1)]
    await backend.aclose()
