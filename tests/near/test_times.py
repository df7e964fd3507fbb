"""Nothing is served from memory for longer than it lives."""

from __future__ import annotations

from typing import Any

import pytest

from redisdict.connections.backend import Backend
from redisdict.near import clock as clock_module
from redisdict.wire.requests import Call
from tests.near.conftest import is_served, make, settle, wait_until_on
from tests.near.faces import Face, face, mapping, other
from tests.waiting import wait_until

__all__ = ["face", "mapping", "other"]


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


def test_without_a_clock_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(clock_module.time, "CLOCK_BOOTTIME", raising=False)
    assert clock_module._choose() is clock_module.time.monotonic
