"""Stored bytes that can't be read are an error for whoever reads them, and stay as they are."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from redisdict import DeserializationError, PersistentDict, SerializationError
from redisdict.connections.backend import Backend
from redisdict.mapping.keys import Names
from tests.mapping.conftest import Face

#: Of a format that there isn't, damaged, cut off, of another program, a pickle.
DAMAGED = [
    b"\x8f12345678",
    b"\x80\xa1aXXXX",
    b"\x80",
    b"",
    b"text of another program",
    pickle.dumps([1]),
]

READING: dict[str, Callable[[Face], Any]] = {
    "d[key]": lambda d: d.getitem("k"),
    "get": lambda d: d.get("k", 1),
    "get_many": lambda d: d.get_many(["a", "k"]),
    "values": lambda d: d.values(),
    "items": lambda d: d.items(),
    "copy": lambda d: d.copy(),
    "pop": lambda d: d.pop("k"),
    "setdefault": lambda d: d.setdefault("k", 1),
    "incr": lambda d: d.incr("k"),
    "incr by a float": lambda d: d.incr("k", 0.5),
    "compare_and_set": lambda d: d.compare_and_set("k", 1, 2),
    "transform": lambda d: d.transform("k", lambda value: 1),
    "editing": lambda d: d.edit("k", lambda value: None),
    "get_or_set": lambda d: d.get_or_set("k", lambda: 1),
}


@pytest.fixture
def stored(backend: Backend, mapping: PersistentDict[str, Any], hset_enabled: bool) -> Any:
    """Reads and writes the bytes under a key, as another program could."""
    names = Names(backend.config.key_prefix, ("d",))
    client = backend.client()

    class Stored:
        def put(self, key: str, value: bytes) -> None:
            if hset_enabled:
                client.hset(names.hash.decode(), key, value)
            else:
                client.set(names.item_prefix + key.encode(), value)

        def get(self, key: str) -> bytes | None:
            if hset_enabled:
                return client.hget(names.hash.decode(), key)
            return client.get(names.item_prefix + key.encode())

    return Stored()


@pytest.mark.parametrize("damaged", DAMAGED, ids=repr)
def test_it_stays_as_it_is(face: Face, stored: Any, damaged: bytes) -> None:
    face.set("a", 1)
    stored.put("k", damaged)
    for name, read in READING.items():
        with pytest.raises(DeserializationError):
            read(face)
        assert stored.get("k") == damaged, name
    assert face.len() == 2
    assert face.contains("k")
    assert sorted(face.keys()) == ["a", "k"]
    face.set("k", 2)
    assert face.getitem("k") == 2


def test_any_item_that_cannot_be_read_stays_too(face: Face, stored: Any) -> None:
    stored.put("k", b"\x80")
    for _ in range(3):
        with pytest.raises(DeserializationError):
            face.popitem()
    assert stored.get("k") == b"\x80"


def test_a_clone_of_it_stops(
    make: Callable[..., PersistentDict[str, Any]], face: Face, stored: Any
) -> None:
    other = make("other", serializer="pickle")
    stored.put("k", b"\x80")
    with pytest.raises(DeserializationError):
        face.clone_to(other)
    assert stored.get("k") == b"\x80"
    assert len(other) == 0
    # Between dicts of one codec it goes as it is.
    assert face.clone_to(make("same")) == 1


@pytest.mark.parametrize("read", ["get_many", "values", "items", "copy"])
def test_of_many_it_is_named(face: Face, stored: Any, read: str) -> None:
    keys = [str(number) for number in range(100)]
    face.set_many(dict.fromkeys(keys, 1))
    stored.put("77", b"\x80")
    with pytest.raises(DeserializationError) as raised:
        READING[read](face) if read != "get_many" else face.get_many(keys)
    assert raised.value.__notes__ == ["It is the value of '77'."]


def test_of_many_the_one_that_cannot_be_stored_is_named(face: Face) -> None:
    with pytest.raises(SerializationError) as raised:
        face.set_many({"a": 1, "b": object()})
    assert raised.value.__notes__ == ["It is the value of 'b'."]
