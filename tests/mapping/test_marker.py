"""The marker: there with the first timeout, gone with the last, and nothing left behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ResponseError

from redisdict import PersistentDict
from redisdict.connections.backend import Backend
from redisdict.mapping.keys import Names
from redisdict.mapping.layouts.base import CHUNK
from redisdict.mapping.layouts.hash import SCRIPT_OPERATIONS, HashLayout
from redisdict.wire.server_state import Capabilities
from tests.mapping.feeding import feed


@pytest.fixture
def hset_enabled() -> bool:
    return True


@pytest.fixture
def keys(backend: Backend) -> Callable[[], dict[str, str]]:
    """The dict's keys on the server, by what they are for, with their types."""
    names = Names(backend.config.key_prefix, ("d",))
    roles = {"public": names.hash, "relocated": names.relocated, "deadlines": names.deadlines}

    def types() -> dict[str, str]:
        client = backend.client()
        found = {role: client.type(key).decode() for role, key in roles.items()}
        return {role: kind for role, kind in found.items() if kind != "none"}

    return types


RELOCATED = {"public": "string", "relocated": "hash", "deadlines": "zset"}
PLAIN = {"public": "hash"}


def test_a_dict_without_timeouts_is_one_hash(
    mapping: PersistentDict[str, int], keys: Callable[[], dict[str, str]]
) -> None:
    mapping.update(a=1)
    mapping.touch("a", None)
    mapping.transform("a", lambda value: value + 1)
    assert keys() == PLAIN


@pytest.mark.parametrize(
    "last_timeout_goes",
    [
        lambda d: d.touch("t", None),
        lambda d: d.set("t", 1),
        lambda d: d.update(t=1),
        lambda d: d.delete("t"),
        lambda d: d.pop("t"),
        lambda d: d.compare_and_set("t", 1, 2) and d.delete("t"),
    ],
)
def test_the_last_timeout_takes_the_marker_away(
    mapping: PersistentDict[str, int],
    keys: Callable[[], dict[str, str]],
    last_timeout_goes: Callable[[Any], Any],
) -> None:
    mapping["a"] = 0
    mapping.set("t", 1, timeout=60)
    assert keys() == RELOCATED
    last_timeout_goes(mapping)
    assert keys() == PLAIN
    assert mapping["a"] == 0


def test_the_server_forgets_a_dict_whose_items_have_all_died(
    mapping: PersistentDict[str, int], keys: Callable[[], dict[str, str]]
) -> None:
    mapping.set("a", 1, timeout=0.1)
    mapping.set("b", 1, timeout=0.2)
    time.sleep(0.3)
    assert keys() == {}


def test_an_immortal_item_keeps_the_dict(
    mapping: PersistentDict[str, int], keys: Callable[[], dict[str, str]]
) -> None:
    mapping.set("a", 1, timeout=0.1)
    mapping["b"] = 1  # comes after the keys were given an end
    time.sleep(0.2)
    assert mapping.copy() == {"b": 1}
    mapping["c"] = 1
    assert keys() == PLAIN


def test_a_read_that_meets_the_last_dead_item_cleans_up(
    mapping: PersistentDict[str, int], keys: Callable[[], dict[str, str]]
) -> None:
    mapping.update(a=1)
    mapping.set("t", 1, timeout=0.05)
    time.sleep(0.1)
    assert "t" not in mapping
    assert keys() == PLAIN


def test_a_dict_with_an_end_of_its_own_keeps_it_through_the_move(
    mapping: PersistentDict[str, int], backend: Backend
) -> None:
    public_key = Names(backend.config.key_prefix, ("d",)).hash
    mapping.update(a=1)
    mapping.expire(60)
    mapping.set("t", 1, timeout=30)
    mapping.delete("t")
    assert 50_000 < backend.client().pttl(public_key) <= 60_000
    mapping.set("t", 1, timeout=30)
    mapping.expire(None)
    mapping.delete("t")
    assert backend.client().pttl(public_key) == -1


def test_the_end_of_a_dict_goes_with_its_last_item(
    mapping: PersistentDict[str, int], keys: Callable[[], dict[str, str]]
) -> None:
    """As it does without a marker, where an empty hash doesn't exist."""
    mapping.set("dying", 1, timeout=60)
    assert mapping.expire(60)
    mapping.touch("dying", 0.05)
    time.sleep(0.1)
    assert mapping.expire(60) is False
    mapping["new"] = 2
    assert mapping.ttl("new") is None
    assert keys() == PLAIN
    mapping.set("dying", 1, timeout=0.05)
    mapping.expire(60)
    mapping.delete("new")
    time.sleep(0.1)
    mapping.set("new", 2, timeout=300)
    assert (mapping.ttl("new") or 0) > 200


def test_an_item_does_not_outlive_its_dict(mapping: PersistentDict[str, int]) -> None:
    mapping["a"] = 1
    mapping.expire(30)
    assert 20 < (mapping.ttl("a") or 0) <= 30
    mapping.set("long", 1, timeout=600)
    mapping.set("short", 1, timeout=10)
    assert 20 < (mapping.ttl("long") or 0) <= 30
    assert 20 < (mapping.ttl("a") or 0) <= 30
    assert (mapping.ttl("short") or 0) <= 10


@pytest.mark.parametrize("timeout", [None, 60])
@pytest.mark.parametrize("kind", ["string", "list"])
def test_a_key_of_another_program_is_left_alone(
    mapping: PersistentDict[str, int], backend: Backend, kind: str, timeout: float | None
) -> None:
    key = Names(backend.config.key_prefix, ("d",)).hash
    client = backend.client()
    client.set(key, "theirs") if kind == "string" else client.rpush(key, "theirs")
    before = client.dump(key)
    for call in (
        lambda: mapping.set("a", 1, timeout=timeout),
        lambda: mapping.set_many({"a": 1}, timeout=timeout),
        lambda: mapping.add("a", 1, timeout=timeout),
        lambda: mapping.touch("a", timeout),
        lambda: mapping.expire(timeout),
        lambda: mapping.popitem(),
        lambda: list(mapping),
        lambda: mapping.ttl("a"),
    ):
        with pytest.raises(ResponseError, match=f"another program keeps a {kind}"):
            call()
    assert client.dump(key) == before


def test_many_dead_items_hold_nobody_up(
    mapping: PersistentDict[str, int], keys: Callable[[], dict[str, str]]
) -> None:
    """`popitem()` gets through them in slices; a change takes some of them along."""
    mapping["living"] = 0
    mapping.set_many({str(number): number for number in range(5000)}, timeout=0.05)
    time.sleep(0.1)
    assert mapping.popitem() == ("living", 0)
    assert keys() == {}


@pytest.mark.parametrize("lost", ["public", "relocated", "deadlines"])
def test_a_key_that_the_server_has_evicted_is_no_obstacle(
    mapping: PersistentDict[str, int], backend: Backend, lost: str
) -> None:
    """Data is lost then, but the dict is one again."""
    names = Names(backend.config.key_prefix, ("d",))
    mapping["a"] = 1
    mapping.set("t", 2, timeout=0.05)
    backend.client().delete(
        {"public": names.hash, "relocated": names.relocated, "deadlines": names.deadlines}[lost]
    )
    time.sleep(0.1)
    assert len(mapping) == len(mapping.copy())
    mapping.set("t", 3, timeout=60)
    mapping["b"] = 4
    assert mapping["t"] == 3
    assert mapping["b"] == 4
    assert len(mapping) == len(mapping.copy())
    mapping.clear()
    assert backend.client().exists(names.hash, names.relocated, names.deadlines) == 0


def test_a_counter_lives_as_long_as_the_dict_says(
    make: Callable[..., PersistentDict[str, Any]], keys: Callable[[], dict[str, str]]
) -> None:
    mapping = make(timeout=60)
    assert mapping.incr("n") == 1
    assert keys() == RELOCATED
    assert (mapping.ttl("n") or 0) > 50
    mapping.touch("n", 600)
    assert mapping.incr("n", 0.5) == 1.5
    assert (mapping.ttl("n") or 0) > 500
    assert mapping.incr("big", 2**70) == 2**70
    assert mapping.copy() == {"n": 1.5, "big": 2**70}


def test_the_plain_commands_come_back_after_the_marker(
    mapping: PersistentDict[str, int], backend: Backend
) -> None:
    mapping["a"] = 1
    mapping.set("t", 1, timeout=60)
    layout = mapping._bound.layout
    assert layout.get(b"a").command is not None  # this one hasn't met it yet
    assert mapping["a"] == 1
    assert layout.get(b"a").command is None
    mapping.delete("t")
    for _ in range(SCRIPT_OPERATIONS):
        assert mapping["a"] == 1
    assert layout.get(b"a").command is not None


WRONGTYPE = ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")


def test_a_batch_that_meets_a_marker_half_way_does_nothing_twice() -> None:
    """Between the two somebody else may have changed what the first part has done."""
    layout = HashLayout(Names("p", ("d",)), Capabilities())
    fields = [b"%d" % number for number in range(CHUNK + 1)]
    items = [part for field in fields for part in (field, b"v")]
    asked, _ = feed(layout.set_many(items, None), [CHUNK, WRONGTYPE], 1)
    assert len(asked) == 2
    assert len(asked[0].commands) == 2
    assert asked[1][-3:] == (b"", b"%d" % CHUNK, b"v")  # the second chunk alone

    layout = HashLayout(Names("p", ("d",)), Capabilities())
    asked, count = feed(layout.delete_many(fields), [7, WRONGTYPE], 1)
    assert count == 8
    assert asked[1][-1] == b"%d" % CHUNK

    layout = HashLayout(Names("p", ("d",)), Capabilities())
    asked, values = feed(layout.get_many(fields), [[b"v"] * CHUNK, WRONGTYPE], [None])
    assert values == [[b"v"] * CHUNK, [None]]


def test_another_error_of_one_command_of_a_batch_is_raised() -> None:
    layout = HashLayout(Names("p", ("d",)), Capabilities())
    with pytest.raises(ResponseError, match="OOM"):
        feed(layout.set_many([b"f", b"v"], None), [ResponseError("OOM command not allowed")])


def test_a_scan_goes_on_when_the_dict_is_relocated_meanwhile(
    make: Callable[..., PersistentDict[str, int]],
) -> None:
    one, other = make(), make()
    expected = {f"key {number}": number for number in range(5000)}
    one.update(expected)
    for iterate in (iter, lambda d: (key for key, _ in d.items())):
        seen = []
        for position, key in enumerate(iterate(one)):
            seen.append(key)
            if position == 1500:
                other.set("dying", 1, timeout=60)
        other.delete("dying")
        assert sorted(set(seen) - {"dying"}) == sorted(expected)
        assert len(seen) == len(set(seen))


def test_servers_without_the_newer_commands() -> None:
    """HSCAN NOVALUES and HGETDEL are tried once, on every dict of a backend."""
    capabilities = Capabilities()
    layout = HashLayout(Names("p", ("d",)), capabilities)
    page = [b"0", [b"f", b"v"]]
    asked, result = feed(layout.scan_fields(b"0"), ResponseError("syntax error"), page)
    assert result == (b"0", [b"f"])
    assert (asked[0][-1], asked[1][-1]) == (b"NOVALUES", 1000)
    asked, result = feed(layout.scan_fields(b"0"), page)
    assert len(asked) == 1

    unknown = ResponseError("unknown command 'HGETDEL', with args beginning with: ")
    asked, result = feed(layout.pop(b"f"), unknown, b"v")
    assert result == b"v"
    assert asked[1][0] == b"EVALSHA"
    asked, result = feed(HashLayout(Names("p", ("e",)), capabilities).pop(b"f"), b"v")
    assert asked[0][0] == b"EVALSHA"


def test_a_dict_that_ends_between_two_commands_of_a_page_has_no_items() -> None:
    layout = HashLayout(Names("p", ("d",)), Capabilities())
    _, result = feed(layout.scan_records(b"0"), [[b"7", [b"f", b"v"]], -2])
    assert result == (b"0", [])
