"""What a dict does, this one does: in both colours, both layouts, on every server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from redisdict import PersistentDict, SerializationError
from tests.mapping.conftest import Face

VALUES = [None, True, 0, -5, 10**30, 1.5, "text", "é\0", b"\xff", [1, [2]], (1, 2), {"a": {1: 2}}]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back(face: Face, value: object) -> None:
    face.set("k", value)
    back = face.getitem("k")
    assert (back, type(back)) == (value, type(value))
    assert face.get("k", "other") == value


def test_a_missing_key(face: Face) -> None:
    for call in (face.getitem, face.delitem, face.pop, face.ttl):
        with pytest.raises(KeyError, match="'k'"):
            call("k")
    with pytest.raises(KeyError, match="the dict is empty"):
        face.popitem()
    assert face.get("k") is None
    assert face.get("k", 1) == 1
    assert face.pop("k", None) is None
    assert face.delete("k") is False
    assert face.contains("k") is False
    assert face.len() == 0


def test_none_is_a_value(face: Face) -> None:
    face.set("k", None)
    assert face.contains("k")
    assert face.getitem("k") is None
    assert face.setdefault("k", 1) is None
    assert face.pop("k", 1) is None
    assert not face.contains("k")


def test_items_are_listed(face: Face) -> None:
    expected = {f"k{number}": number for number in range(2500)}
    face.set_many(expected)
    assert face.len() == 2500
    assert sorted(face.keys()) == sorted(expected)
    assert sorted(face.values()) == sorted(expected.values())
    assert dict(face.items()) == expected == face.copy()


def test_many(face: Face) -> None:
    face.set_many({"a": 1, "b": 2, "c": 3})
    assert face.get_many(["a", "x", "c"]) == {"a": 1, "c": 3}
    assert face.get_many([]) == {}
    assert face.delete_many(["a", "x"]) == 1
    assert face.delete_many([]) == 0
    face.set_many({})
    face.update([("d", 4)], e=5)
    assert face.copy() == {"b": 2, "c": 3, "d": 4, "e": 5}


def test_more_than_one_batch_of_commands(face: Face) -> None:
    expected = {str(number): number for number in range(40_000)}
    face.set_many(expected)
    assert face.get_many(expected) == expected
    assert face.delete_many(expected) == 40_000


def test_taking_out(face: Face) -> None:
    face.set_many({"a": 1, "b": 2})
    assert face.pop("a") == 1
    assert face.popitem() == ("b", 2)
    assert face.len() == 0
    face.set("a", 1)
    face.delitem("a")
    face.clear()
    assert face.copy() == {}


def test_one_of_two_adds_wins(face: Face) -> None:
    assert face.add("k", 1) is True
    assert face.add("k", 2) is False
    assert face.setdefault("k", 3) == 1
    assert face.setdefault("new", 3) == 3
    assert face.copy() == {"k": 1, "new": 3}


def test_counting(face: Face) -> None:
    assert face.incr("n") == 1
    assert face.incr("n", 10) == 11
    assert face.decr("n", 5) == 6
    assert face.getitem("n") == 6
    assert face.incr("f", 1.5) == 1.5
    face.set("f", 2.25)  # in the serializer's form, with which the server can't count
    assert face.incr("f", 0.5) == 2.75
    face.set("big", 2**63 - 1)
    assert face.incr("big") == 2**63
    face.set("text", "1")
    with pytest.raises(TypeError, match="'text' is str, not a number"):
        face.incr("text")
    with pytest.raises(TypeError, match="delta is str"):
        face.incr("n", "1")
    assert face.getitem("text") == "1"


def test_safe_changes(face: Face) -> None:
    face.set("k", {"a": 1})
    assert face.compare_and_set("k", {"a": 2}, {"a": 3}) is False
    assert face.compare_and_set("k", {"a": 1}, {"a": 3}) is True
    assert face.compare_and_set("missing", None, 1) is False
    assert face.transform("k", lambda value: {**value, "b": 1}) == {"a": 3, "b": 1}
    assert face.transform("new", lambda value: value + 1, 0) == 1
    with pytest.raises(KeyError):
        face.transform("missing", lambda value: value)
    assert face.copy() == {"k": {"a": 3, "b": 1}, "new": 1}


def test_get_or_set_computes_what_is_missing(face: Face) -> None:
    assert face.get_or_set("k", lambda: 1) == 1
    assert face.get_or_set("k", lambda: 2) == 1
    assert face.get_or_set("v", 3) == 3
    assert face.get_or_set("none", lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        face.get_or_set("bad", lambda: 1 // 0)
    assert face.get_or_set("bad", lambda: 4) == 4  # the failed one has freed the way


def test_a_value_that_cannot_be_stored_changes_nothing(face: Face) -> None:
    face.set("k", 1)
    for call in (
        lambda: face.set("k", object()),
        lambda: face.set_many({"a": 1, "k": object()}),
        lambda: face.add("new", object()),
        lambda: face.setdefault("new", object()),
        lambda: face.transform("k", lambda _: object()),
        lambda: face.compare_and_set("k", 1, object()),
    ):
        with pytest.raises(SerializationError):
            call()
    assert face.copy() == {"k": 1}


def test_a_key_of_another_type_is_refused(face: Face) -> None:
    for call in (face.getitem, face.get, face.contains, face.delete, face.pop, face.incr):
        with pytest.raises(TypeError, match="A key of this dict is str, not int"):
            call(1)
    with pytest.raises(TypeError, match="A key of this dict is str"):
        face.set(None, 1)


UGLY = ["", " ", "\0", "a:b", "*", "[a-z]", "?", "\\", "{d}", "é", "\ud800", "😀", "x" * 10_000]


def test_any_text_is_a_key(face: Face) -> None:
    expected = {key: key for key in UGLY}
    face.set_many(expected)
    assert face.copy() == expected
    for key in UGLY:
        assert face.getitem(key) == key
        face.delitem(key)
    assert face.len() == 0


def test_dicts_of_any_name_never_see_one_anothers_items(
    make: Callable[..., PersistentDict[Any, Any]],
) -> None:
    dicts = {name: make(name) for name in UGLY}
    for name, mapping in dicts.items():
        mapping["k"] = name
        mapping[name] = "own"
    for name, mapping in dicts.items():
        assert mapping.copy() == {"k": name, name: "own"}
        assert len(mapping) == (1 if name == "k" else 2)
    dicts["*"].clear()
    assert len(dicts[""]) == 2


def test_operators(mapping: PersistentDict[str, int]) -> None:
    mapping["a"] = 1
    assert mapping == {"a": 1}
    assert mapping != {"a": 2}
    assert mapping != [("a", 1)]
    assert mapping | {"b": 2} == {"a": 1, "b": 2}
    assert {"a": 0, "b": 2} | mapping == {"a": 1, "b": 2}
    mapping |= {"b": 2}
    mapping |= [("c", 3)]
    assert mapping == {"a": 1, "b": 2, "c": 3}
    assert bool(mapping)
    mapping.clear()
    assert not mapping
    with pytest.raises(TypeError):
        hash(mapping)
    with pytest.raises(TypeError):
        mapping | 3  # type: ignore[operator]  # the point


def test_views(mapping: PersistentDict[str, int]) -> None:
    mapping.update(a=1, b=2)
    assert mapping.keys() & {"a", "x"} == {"a"}
    assert mapping.keys() == {"a", "b"}
    assert ("a", 1) in mapping.items()
    assert ("a", 2) not in mapping.items()
    assert 2 in mapping.values()
    assert 3 not in mapping.values()
    assert len(mapping.values()) == 2


def test_a_fetched_value_is_a_copy(mapping: PersistentDict[str, Any]) -> None:
    mapping["a"] = {"b": 1}
    mapping["a"]["b"] = 2
    assert mapping["a"] == {"b": 1}


def test_typed_keys(make: Callable[..., PersistentDict[Any, Any]]) -> None:
    numbers = make("numbers", key_type=int)
    numbers[-7] = "seven"
    assert list(numbers) == [-7]
    with pytest.raises(TypeError, match="is int, not str"):
        numbers["7"]
