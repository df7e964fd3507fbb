"""Dicts with `near` on real servers: what is served, and what makes it go."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import datetime
import pickle
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.connections.backend import Backend
from redisdict.exceptions import ConfigurationError, DeserializationError
from redisdict.near.barrier import near_barrier
from redisdict.servers.topologies import SentinelTopology
from redisdict.wire.requests import Call
from tests.near.conftest import AGES, is_served, make, opened, settle, wait_until_on
from tests.waiting import wait_until


class Face:
    """Calls a dict's methods in one colour."""

    def __init__(self, mapping: Any, runner: asyncio.Runner | None) -> None:
        self.mapping = mapping
        self.runner = runner

    def __getattr__(self, name: str) -> Any:
        if self.runner is None:
            return getattr(self.mapping, {"getitem": "__getitem__"}.get(name, name))
        runner, method = self.runner, getattr(self.mapping, f"a{name}")

        async def call(*args: Any, **options: Any) -> Any:
            return await method(*args, **options)

        return lambda *args, **options: runner.run(
            call(*args, **options), context=contextvars.copy_context()
        )

    def contains(self, key: Any) -> bool:
        if self.runner is None:
            return key in self.mapping
        context = contextvars.copy_context()
        return bool(self.runner.run(self.mapping.acontains(key), context=context))


@pytest.fixture
def mapping(backend: Backend, is_hash: bool) -> Any:
    mapping = make(backend, hset_enabled=is_hash)
    wait_until_on(mapping)
    return mapping


@pytest.fixture
def face(mapping: Any, runner: asyncio.Runner | None) -> Face:
    return Face(mapping, runner)


@pytest.fixture
def other(elsewhere: Backend, is_hash: bool) -> Any:
    return PersistentDict("d", elsewhere, hset_enabled=is_hash)


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


# Own writes


WRITES: dict[str, tuple[Callable[[Face], Any], Any]] = {
    "set": (lambda face: face.set("k", 2), 2),
    "set with a timeout": (lambda face: face.set("k", 2, timeout=1000), 2),
    "set without time": (lambda face: face.set("k", 2, timeout=0), None),
    "set_many": (lambda face: face.set_many({"k": 2, "l": 3}), 2),
    "update": (lambda face: face.update({"k": 2}), 2),
    "delete": (lambda face: face.delete("k"), None),
    "delete_many": (lambda face: face.delete_many(["k", "l"]), None),
    "pop": (lambda face: face.pop("k"), None),
    "popitem": (lambda face: face.popitem(), None),
    "incr": (lambda face: face.incr("k"), 2),
    "decr": (lambda face: face.decr("k"), 0),
    "incr by a float": (lambda face: face.incr("k", 0.5), 1.5),
    "transform": (lambda face: face.transform("k", lambda value: value + 1), 2),
    "compare_and_set": (lambda face: face.compare_and_set("k", 1, 2), 2),
    "clear": (lambda face: face.clear(), None),
    "touch without time": (lambda face: face.touch("k", 0), None),
    "expire without time": (lambda face: face.expire(0), None),
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("by", ["the same", "another without near"])
def test_own_writes_are_seen_at_once(
    backend: Backend, is_hash: bool, runner: asyncio.Runner | None, name: str, by: str
) -> None:
    write, expected = WRITES[name]
    plain = PersistentDict("d", backend, hset_enabled=is_hash)
    plain["k"] = 1  # so it is bound before
    mapping = make(backend, hset_enabled=is_hash)
    wait_until_on(mapping)
    writer = Face(mapping if by == "the same" else plain, runner)
    # A listener that is told nothing, as if the network were slow.
    backend.attachments["near"].listener._watches.invalidate = lambda keys: None  # type: ignore[attr-defined]
    for _ in range(2):
        mapping["k"] = 1
        settle(mapping)
        assert mapping["k"] == 1
        assert is_served(mapping, "k")
        write(writer)
        assert mapping.get("k") == expected
    mapping.clear()


def test_adding_is_seen_at_once(backend: Backend, is_hash: bool) -> None:
    mapping = make(backend, hset_enabled=is_hash)
    wait_until_on(mapping)
    backend.attachments["near"].listener._watches.invalidate = lambda keys: None  # type: ignore[attr-defined]
    writes: list[Callable[[], Any]] = [
        lambda: mapping.add("k", "v"),
        lambda: mapping.setdefault("k", "v"),
        lambda: mapping.get_or_set("k", lambda: "v"),
        lambda: mapping.transform("k", lambda value: "v", default=None),
    ]
    for write in writes:
        mapping.delete("k")
        settle(mapping)
        assert mapping.get("k") is None
        assert is_served(mapping, "k")
        write()
        assert mapping["k"] == "v"
    with mapping.editing("k"):
        pass
    mapping["k"] = ["a"]
    assert mapping["k"] == ["a"]
    with mapping.editing("k") as value:
        value.append("b")
    assert mapping["k"] == ["a", "b"]
    mapping.clear()


def test_what_an_iteration_shows_is_not_missing(mapping: Any, other: Any, backend: Backend) -> None:
    backend.attachments["near"].listener._watches.invalidate = lambda keys: None  # type: ignore[attr-defined]
    assert mapping.get("k") is None
    assert mapping.get("l") is None
    other.update({"k": "new", "l": "new"})
    assert {key: mapping[key] for key in mapping} == {"k": "new", "l": "new"}
    other.update({"k": "newer", "l": "newer"})
    assert mapping.copy() == {"k": "newer", "l": "newer"}
    assert mapping["k"] == mapping["l"] == "newer"
    mapping.clear()


def test_what_another_handle_reads_is_not_older_afterwards(
    mapping: Any, other: Any, backend: Backend, is_hash: bool, runner: asyncio.Runner | None
) -> None:
    plain = Face(PersistentDict("d", backend, hset_enabled=is_hash), runner)
    backend.attachments["near"].listener._watches.invalidate = lambda keys: None  # type: ignore[attr-defined]
    other["k"] = "old"
    assert mapping["k"] == "old"
    other["k"] = "new"
    assert mapping["k"] == "old"  # within its promise
    assert plain.get("k") == "new"
    assert mapping["k"] == "new"
    other["k"] = "newer"
    assert plain.get_many(["k"]) == {"k": "newer"}
    assert mapping["k"] == "newer"
    mapping.clear()


def test_an_unknown_outcome_drops_as_well(own_backend: Backend, own_server: Any) -> None:
    mapping = make(own_backend)
    mapping["k"] = "v"
    wait_until_on(mapping)
    assert mapping["k"] == "v"
    state = mapping._near.reader_of(b"k").state
    client = own_backend.client()
    client.execute_command("CLIENT", "PAUSE", 100_000, "WRITE")
    with pytest.raises(Exception, match=r"Timeout|timed out|time"):
        mapping["k"] = "w"
    assert not state.has(b"k")
    client.execute_command("CLIENT", "UNPAUSE")


# Times to live


def test_a_value_is_served_no_longer_than_it_lives(mapping: Any, other: Any) -> None:
    other.set("k", "v", timeout=1000)
    settle(mapping)
    assert mapping["k"] == "v"
    assert is_served(mapping, "k")
    entry = mapping._near.find(b"k")
    state = mapping._near.reader_of(b"k").state
    assert state.lookup(b"k", entry.expires_at - 0.001, 0) is entry
    assert state.lookup(b"k", entry.expires_at, 0) is None
    other.set("k", "v", timeout=0.001)
    wait_until(lambda: mapping.get("k") is None)


def test_many_values_are_served_no_longer_than_they_live(mapping: Any, other: Any) -> None:
    other.set("k", "v", timeout=1000)
    other.set("l", "v")
    settle(mapping)
    assert mapping.get_many(["k", "l", "m"]) == {"k": "v", "l": "v"}
    assert mapping._near.find(b"k").expires_at < float("inf")
    assert mapping._near.find(b"l").expires_at == float("inf")
    assert is_served(mapping, "k")


def test_times_are_read_of_a_hash_whose_items_have_their_own(
    backend: Backend, elsewhere: Backend
) -> None:
    mapping, other = make(backend, hset_enabled=True), make(elsewhere, near=None, hset_enabled=True)
    wait_until_on(mapping)
    for _ in range(2):  # the second time it is known that they have
        other.set("k", "v", timeout=1000)
        other["l"] = "v"
        settle(mapping)
        assert mapping.get_many(["k", "l", "m"]) == {"k": "v", "l": "v"}
        assert mapping._near.find(b"k").expires_at < float("inf")
        assert mapping._near.find(b"l").expires_at == float("inf")


def test_an_item_that_ends_between_the_two_questions_is_not_kept(mapping: Any) -> None:
    operation = mapping._near.read(b"k")
    request = operation.send(None)
    if isinstance(request, Call):  # the server is asked to tell of the key
        request = operation.send(request.function(*request.arguments))
    replies = [mapping._bound.codec.encode("v"), *([1] if len(request.commands) == 3 else []), -2]
    with pytest.raises(StopIteration) as stop:
        operation.send(replies)
    assert stop.value.value == "v"
    assert not mapping._near.reader_of(b"k").state.has(b"k")


def test_get_or_set_is_served_while_the_value_is_fresh(face: Face, mapping: Any) -> None:
    calls: list[int] = []

    def compute() -> str:
        calls.append(1)
        return "v"

    for _ in range(3):
        assert face.get_or_set("k", compute, timeout=1000, stale=100) == "v"
        settle(mapping)
    assert is_served(mapping, "k")
    assert len(calls) == 1
    assert face.get_or_set("k", compute, timeout=1000, stale=100_000) == "v"
    assert len(calls) == 2  # it is as good as stale
    assert face.setdefault("k", "w") == "v"
    assert face.setdefault("l", "w") == "w"
    with pytest.raises(ValueError, match="stale"):
        face.get_or_set("k", compute, stale=5)
    mapping.clear()


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

    for mapping in (PersistentDict("d", near=2.0), PersistentDict("d")):
        again = pickle.loads(pickle.dumps(mapping))
        assert type(again) is type(mapping)
        assert again._options == mapping._options
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


# Requests


def test_a_request_sees_all_that_was_before_it(
    backend: Backend, elsewhere: Backend, runner: asyncio.Runner | None
) -> None:
    mapping = make(backend, near="request")
    other = make(elsewhere, near=None)
    wait_until_on(mapping)
    other.update({"k": "v", "l": "v"})
    settle(mapping)
    face = Face(mapping, runner)
    with near_barrier():
        assert face.get_many(["k", "l", "m"]) == {"k": "v", "l": "v"}
    for number in range(200):
        other["k"] = number
        hits = mapping.near_stats().hits
        with near_barrier():
            assert face.get("l") == "v"
            assert face.get("k") == number
            assert face.get("k") == number
            assert face.get_many(["k", "l"]) == {"k": number, "l": "v"}
        assert mapping.near_stats().hits >= hits + 4
    mapping.clear()


def test_a_value_that_is_due_is_computed_anew_in_the_background(face: Face, mapping: Any) -> None:
    face.set("k", 1, timeout=1000)
    settle(mapping)
    assert face.getitem("k") == 1
    assert face.get_or_set("k", lambda: pytest.fail("it is fresh"), 1000, refresh_ahead=1) == 1
    assert face.get_or_set("k", lambda: 2, 2000, refresh_ahead=1500) == 1
    wait_until(lambda: face.get("k") == 2)
    with pytest.raises(ValueError, match="refresh_ahead"):
        face.get_or_set("k", lambda: 3, 10, refresh_ahead=10)
    mapping.clear()


def test_outside_of_a_request_the_server_is_asked(backend: Backend, elsewhere: Backend) -> None:
    mapping = make(backend, near="request")
    other = make(elsewhere, near=None)
    wait_until_on(mapping)
    for number in range(100):
        other["k"] = number
        assert mapping["k"] == number
    settle(mapping)  # else the last change may be told after the next read
    assert not is_served(mapping, "k")
    with near_barrier():
        assert is_served(mapping, "k")
    assert not is_served(mapping, "k")
    mapping.clear()


def test_a_task_that_outlives_its_request_is_served_nothing(backend: Backend) -> None:
    mapping = make(backend, near="request")
    wait_until_on(mapping)
    mapping["k"] = "v"
    settle(mapping)

    async def respond() -> tuple[bool, bool]:
        is_over = asyncio.Event()

        async def look() -> tuple[bool, bool]:
            within = is_served(mapping, "k")
            is_over.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return within, is_served(mapping, "k")

        with near_barrier():
            await mapping.aget("k")
            task = asyncio.create_task(look())
            await is_over.wait()
        return await task

    assert asyncio.run(respond()) == (True, False)
    mapping.clear()


def test_requests_share_a_ping_and_idle_ones_send_none(own_backend: Backend) -> None:
    mapping = make(own_backend, near="request")
    wait_until_on(mapping)
    mapping["k"] = "v"
    settle(mapping)
    assert mapping["k"] == "v"
    client = own_backend.client()

    def pings() -> int:
        return int(client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"])

    before = pings()
    with near_barrier():
        pass
    assert pings() == before
    with near_barrier():
        for _ in range(10):
            assert mapping["k"] == "v"
    assert pings() == before + 1
    ready = threading.Barrier(20)

    def respond() -> None:
        with near_barrier():
            ready.wait()
            assert mapping["k"] == "v"

    threads = [threading.Thread(target=respond) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pings() <= before + 2


def test_two_promises_of_one_dict(backend: Backend, elsewhere: Backend) -> None:
    by_seconds, by_request = make(backend), make(backend, near="request")
    wait_until_on(by_seconds, by_request)
    make(elsewhere, near=None)["k"] = "v"
    settle(by_seconds)
    assert by_seconds["k"] == "v"
    with near_barrier():
        assert is_served(by_request, "k")
    by_request["k"] = "w"
    assert by_seconds["k"] == "w"
    by_seconds.clear()
