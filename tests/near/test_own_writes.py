"""What this process writes or reads by another way makes what was in memory go at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.connections.backend import Backend
from tests.near.conftest import is_served, make, settle, wait_until_on
from tests.near.faces import Face, face, mapping, other

__all__ = ["face", "mapping", "other"]


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


@pytest.mark.each_value_once
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


@pytest.mark.each_value_once
def test_a_lost_write_that_isnt_repeated(own_backend: Backend) -> None:
    mapping = make(own_backend)
    mapping["k"] = 1
    wait_until_on(mapping)
    settle(mapping)
    assert mapping["k"] == 1
    state = mapping._near.reader_of(b"k").state
    client = own_backend.client()
    client.execute_command("CLIENT", "PAUSE", 100_000, "WRITE")
    with pytest.raises(Exception, match=r"(?i)time") as caught:
        mapping.incr("k")
    assert not state.has(b"k")
    assert caught.value.__traceback__ is not None  # so the operation is still there
    client.execute_command("CLIENT", "UNPAUSE")
