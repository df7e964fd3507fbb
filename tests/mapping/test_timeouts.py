"""Items that live for a time: alike in both layouts and on every server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.connections.backend import Backend
from tests.mapping.conftest import Face
from tests.waiting import wait_until

SHORT_S = 0.15


def outlive() -> None:
    time.sleep(SHORT_S + 0.05)


def test_an_item_dies_for_everybody(face: Face) -> None:
    face.set("kept", 1)
    face.set("dying", 2, timeout=60)
    assert face.copy() == {"kept": 1, "dying": 2}
    assert 0 < face.ttl("dying") <= 60
    assert face.ttl("kept") is None
    face.set("dying", 2, timeout=SHORT_S)
    outlive()
    assert face.len() == 1
    assert face.keys() == ["kept"]
    assert face.items() == [("kept", 1)]
    assert face.values() == [1]
    assert not face.contains("dying")
    assert face.get("dying") is None
    assert face.get_many(["kept", "dying"]) == {"kept": 1}
    assert face.delete("dying") is False
    assert face.touch("dying", 5) is False
    with pytest.raises(KeyError):
        face.ttl("dying")
    assert face.pop("dying", "gone") == "gone"
    assert face.add("dying", 3) is True
    assert face.ttl("dying") is None


def test_milliseconds_count(face: Face) -> None:
    def lives_for_more_than_whole_seconds() -> bool:
        face.set("k", 1, timeout=1000.2345)
        left_s: float = face.ttl("k")
        assert left_s <= 1000.2345 + 0.001
        return left_s > 1000

    wait_until(lives_for_more_than_whole_seconds)  # a busy machine may take 0.2 s for the question


def test_overwriting_clears_the_timeout(face: Face) -> None:
    for overwrite in (
        lambda: face.set("k", 2),
        lambda: face.set_many({"k": 2}),
        lambda: face.update({"k": 2}),
        lambda: face.touch("k", None),
    ):
        face.set("k", 1, timeout=60)
        overwrite()
        assert face.ttl("k") is None
    face.set("k", 1, timeout=SHORT_S)
    face.set("k", 2)
    outlive()
    assert face.contains("k")


def test_changing_keeps_the_timeout(face: Face) -> None:
    face.set("k", 1, timeout=60)
    face.incr("k")
    assert face.ttl("k") is not None
    assert face.compare_and_set("k", 2, 3)
    assert face.ttl("k") is not None
    face.transform("k", lambda value: value + 1)
    assert 50 < face.ttl("k") <= 60
    assert face.getitem("k") == 4


def test_touch_gives_another_time(face: Face) -> None:
    face.set("k", 1)
    assert face.touch("k", 30) is True
    assert face.ttl("k") <= 30
    assert face.touch("k", 60) is True
    assert 50 < face.ttl("k") <= 60
    assert face.touch("k", SHORT_S) is True
    outlive()
    assert not face.contains("k")
    face.set("k", 1)
    assert face.touch("missing", 5) is False
    assert face.touch("missing", None) is False
    assert face.touch("k", 0) is True
    assert not face.contains("k")


def test_a_time_that_is_over_keeps_nothing(face: Face) -> None:
    face.set("k", 1)
    face.set("k", 2, timeout=0)
    assert not face.contains("k")
    face.set_many({"a": 1, "b": 2}, timeout=-1)
    assert face.len() == 0
    assert face.add("k", 1, timeout=0) is True
    assert face.len() == 0


def test_many_and_add_with_a_timeout(face: Face) -> None:
    items = {f"k{n}": n for n in range(3000)}
    face.set_many(items, timeout=60)
    assert face.add("added", 1, timeout=60) is True
    assert face.add("added", 2, timeout=600) is False
    assert 0 < face.ttl("added") <= 60
    assert face.len() == 3001
    # On a busy machine the first of so many are dead before the last are stored.
    face.set_many(items, timeout=SHORT_S)
    face.delete("added")
    assert face.add("added", 1, timeout=SHORT_S) is True
    outlive()
    assert face.len() == 0
    assert face.keys() == []
    with pytest.raises(KeyError):
        face.popitem()


def test_the_last_timeout_gone_everything_is_as_before(face: Face) -> None:
    face.set_many({"a": 1, "b": 2})
    face.set("dying", 3, timeout=SHORT_S)
    outlive()
    face.set("c", 4)
    assert face.copy() == {"a": 1, "b": 2, "c": 4}
    assert face.delete("a")
    assert face.popitem() in [("b", 2), ("c", 4)]
    assert face.len() == 1


def test_the_whole_dict_has_a_timeout(face: Face) -> None:
    assert face.expire(5) is False
    face.set("a", 1)
    face.set("b", 2, timeout=60)
    assert face.expire(SHORT_S) is True
    outlive()
    assert face.len() == 0
    face.set("a", 1)
    assert face.copy() == {"a": 1}
    face.expire(60)
    face.expire(None)
    assert face.ttl("a") is None
    assert face.copy() == {"a": 1}
    assert face.expire(0) is True
    assert face.len() == 0


def test_clear_clears_the_timeouts_too(face: Face) -> None:
    face.set("k", 1, timeout=SHORT_S)
    face.clear()
    face.set("k", 2)
    outlive()
    assert face.copy() == {"k": 2}


def test_the_dict_has_a_timeout_of_its_own(
    make: Callable[..., PersistentDict[Any, Any]],
) -> None:
    mapping = make(timeout=60)
    mapping["a"] = 1
    mapping.setdefault("b", 1)
    mapping.update(c=1)
    mapping.set("for ever", 1, timeout=None)
    assert all(50 < (mapping.ttl(key) or 0) <= 60 for key in "abc")
    assert mapping.ttl("for ever") is None


def test_another_client_learns_of_a_timeout(
    make: Callable[..., PersistentDict[Any, Any]], runner: Any
) -> None:
    """Both used the dict before; each of its plain commands meets the other's marker."""
    one = make()
    calls: list[Callable[[Face], Any]] = [
        lambda d: d.getitem("a"),
        lambda d: d.get("a"),
        lambda d: d.setitem("b", 2),
        lambda d: d.contains("a"),
        lambda d: d.len(),
        lambda d: d.keys(),
        lambda d: d.copy(),
        lambda d: d.get_many(["a"]),
        lambda d: d.update(b=2),
        lambda d: d.delete("b"),
        lambda d: d.add("b", 2),
        lambda d: d.incr("n"),
        lambda d: d.pop("b"),
    ]
    one["a"] = 1
    for call in calls:
        other = Face(make(), runner)
        one.set("dying", 1, timeout=60)
        call(other)
        assert other.getitem("a") == 1
        assert one.ttl("dying") is not None
        one.delete("dying")
    assert one.copy() == {"a": 1, "n": 1}


@pytest.mark.parametrize("hset_enabled", [True], ids=["hash"])
def test_a_foreign_key_of_another_type_is_left_alone(
    backend: Backend, make: Callable[..., PersistentDict[Any, Any]]
) -> None:
    mapping = make()
    key = mapping._bound.layout._key  # type: ignore[attr-defined]  # the hash's
    backend.client().set(key, "somebody else's")
    for call in (lambda: mapping["a"], lambda: len(mapping), lambda: mapping.set("a", 1)):
        with pytest.raises(Exception, match="WRONGTYPE"):
            call()
    assert backend.client().get(key) == b"somebody else's"


@pytest.mark.parametrize(
    ("timeout", "error", "message"),
    [
        ("5", TypeError, "timeout is str; seconds as a number"),
        (True, TypeError, "timeout is bool"),
        (float("nan"), ValueError, "timeout is nan s"),
        (float("inf"), ValueError, "None lasts for ever"),
    ],
)
def test_a_wrong_timeout_is_named(
    mapping: PersistentDict[str, int], timeout: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        mapping.set("k", 1, timeout=timeout)
    assert len(mapping) == 0


def test_large_numbers_keep_all_their_digits(face: Face) -> None:
    for timeout in (None, 60):
        face.set("n", 2**62, timeout=timeout)
        assert face.incr("n") == 2**62 + 1
        assert face.getitem("n") == 2**62 + 1


def test_the_sum_of_floats_is_a_float(face: Face) -> None:
    for timeout in (None, 60):
        face.set("n", 1, timeout=timeout)
        total = face.incr("n", 1.0)
        assert (total, type(total)) == (2.0, float)
