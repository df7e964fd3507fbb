"""One value at a time, in both colours, on each of the servers."""

from __future__ import annotations

import datetime
import math
import sys
import threading
import time
import uuid
import warnings
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import CacheKeyWarning, caches
from redis.exceptions import ResponseError

from redisdict.cache import DictCache
from redisdict.exceptions import NotANumberError, SerializationError
from tests.cache.conftest import Face

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    2**63,
    -(2**200),
    1.5,
    math.inf,
    "",
    "text",
    "ünï\0code 🎉",
    b"",
    b"\x80\x05bytes\xff",
    [1, (2, 3), {4}],
    {"a": {1: [None]}},
    Decimal("1.10"),
    uuid.UUID(int=5),
    datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC),
    datetime.timedelta(days=3),
]

KEYS = ["k", "ünï 🎉", "with space", "a\nb\0c", "*?[x]", "k" * 1000, "{tag}x", b"raw\xff", 5, ""]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back(face: Face, value: Any) -> None:
    assert face.set("k", value) is True
    found = face.get("k", "default")
    assert found == value
    assert type(found) is type(value)
    assert face.get_many(["k", "other"]) == {"k": value}
    assert face.get_or_set("k", "other") == value


@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_any_key_works(face: Face, key: Any) -> None:
    assert face.get(key) is None
    assert face.has_key(key) is False
    face.set(key, "v")
    assert face.get(key) == "v"
    assert face.has_key(key) is True
    assert face.set_many({key: "w"}) == []
    assert face.get_many([key]) == {key: "w"}
    assert face.keys() == [str(key)]
    assert face.delete(key) is True
    assert face.delete(key) is False
    assert face.delete_many([key]) == 0


def test_keys_are_what_django_makes(face: Face) -> None:
    face.set("a", 1)
    face.set("b", "x", version=7)
    client = face.cache.client
    prefix = face.cache.key_prefix
    assert client.get(f"{prefix}:1:a") == b"1"
    assert client.exists(f"{prefix}:7:b") == 1


def test_django_warns_of_keys(face: Face) -> None:
    for key in ("with space", "k" * 251):
        with pytest.warns(CacheKeyWarning):
            face.set(key, 1)
        with pytest.warns(CacheKeyWarning):
            face.get_many([key])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        face.set("ünïcode", 1)


def test_a_subclass_may_check_keys_itself(face: Face) -> None:
    class Strict(DictCache):
        def validate_key(self, key: str) -> None:
            raise RuntimeError(key)

    cache = face.cache
    strict = Face(Strict(cache._location, cache._params), face.runner)
    with pytest.raises(RuntimeError, match="plain"):
        strict.get("plain")


def test_a_lone_surrogate_in_a_key_has_a_form(face: Face) -> None:
    face.set("\udcff", 1)
    assert face.get("\udcff") == 1
    assert face.keys() == ["\udcff"]


@pytest.mark.parametrize(
    ("timeout", "left_ms"),
    [(300, 300_000), (0.5, 500), (1.0001, 1001), (True, 1000), (None, None)],
    ids=repr,
)
def test_timeouts(face: Face, timeout: Any, left_ms: int | None) -> None:
    for store in (face.set, face.add):
        face.delete("k")
        assert store("k", 1, timeout) is True
        left = face.pttl("k")
        assert left == left_ms if left_ms is None else 0 < left <= left_ms
    face.set_many({"k": 1}, timeout)
    left = face.pttl("k")
    assert left == left_ms if left_ms is None else 0 < left <= left_ms


def test_the_default_timeout_is_that_of_the_settings(face: Face) -> None:
    face.set("k", 1)
    assert 200_000 < face.pttl("k") <= 300_000
    face.cache.default_timeout = None
    face.set("k", 1)
    assert face.pttl("k") is None


@pytest.mark.parametrize("timeout", [0, -1, -0.5, -math.inf])
def test_a_time_that_is_over_deletes(face: Face, timeout: float) -> None:
    face.set("k", 1)
    assert face.set("k", 2, timeout) is True
    assert face.get("k") is None
    assert face.set("k", 2, timeout) is False
    assert face.add("k", 2, timeout) is True
    assert face.get("k") is None
    face.set("k", 1)
    assert face.add("k", 2, timeout) is False
    assert face.get("k") == 1
    face.set_many({"k": 1, "l": 2}, timeout)
    assert face.get("k") is None
    face.set("k", 1)
    assert face.touch("k", timeout) is True
    assert face.touch("k", timeout) is False


@pytest.mark.parametrize("timeout", [sys.maxsize, math.inf, 10**30])
def test_a_very_long_time_is_a_thousand_years(face: Face, timeout: float) -> None:
    face.set("k", 1, timeout)
    assert face.ttl("k") > 900 * 365 * 86400


@pytest.mark.parametrize("timeout", ["5", math.nan, object()], ids=["text", "nan", "object"])
def test_what_is_no_time(face: Face, timeout: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="timeout is"):
        face.set("k", 1, timeout)
    assert face.get("k") is None


def test_a_value_ends(face: Face) -> None:
    face.set("k", 1, 0.05)
    while face.has_key("k"):
        time.sleep(0.01)
    assert face.get("k", "gone") == "gone"
    assert face.ttl("k") == 0


def test_set_if(face: Face) -> None:
    assert face.set("k", 1, xx=True) is False
    assert face.set("k", 1, nx=True) is True
    assert face.set("k", 2, nx=True) is False
    assert face.set("k", 3, 60, xx=True) is True
    assert face.get("k") == 3
    assert 0 < face.ttl("k") <= 60
    with pytest.raises(ValueError, match="exclude"):
        face.set("k", 1, nx=True, xx=True)


def test_counting(face: Face) -> None:
    for method in (face.incr, face.decr):
        with pytest.raises(ValueError, match="'k' not found"):
            method("k")
    assert face.get("k") is None
    face.set("k", 41, 60)
    assert face.incr("k") == 42
    assert face.decr("k", 50) == -8
    assert face.get("k") == -8
    assert 0 < face.ttl("k") <= 60


def test_counting_from_nothing(face: Face) -> None:
    assert face.incr("k", 5, ignore_key_check=True) == 5
    assert face.incr("k", ignore_key_check=True) == 6
    assert face.ttl("k") is None


@pytest.mark.parametrize(
    ("number", "delta", "total"),
    [
        (2**53, 1, 2**53 + 1),  # beyond a double's 53 bits
        (2**63 - 1, 1, 2**63),  # beyond the server's 64
        (2**100, -1, 2**100 - 1),
        (1.5, 1, 2.5),
        (1, 0.5, 1.5),
    ],
)
def test_counting_what_the_server_cannot(face: Face, number: Any, delta: Any, total: Any) -> None:
    face.set("k", number, 60)
    assert face.incr("k", delta) == total
    assert face.get("k") == total
    assert 0 < face.ttl("k") <= 60
    assert face.decr("k", delta) == number


@pytest.mark.parametrize("value", ["text", None, [1], True])
def test_only_numbers_are_counted(face: Face, value: Any) -> None:
    face.set("k", value)
    with pytest.raises(NotANumberError) as caught:
        face.incr("k")
    assert isinstance(caught.value, ResponseError)
    assert isinstance(caught.value, TypeError)
    assert "NotAnIntegerError" in repr(caught.value)
    assert face.get("k") == value


@pytest.mark.parametrize("value", [lambda: 1, object, pytest], ids=["lambda", "class", "module"])
def test_what_cannot_be_stored_names_the_option(face: Face, value: Any) -> None:
    face.set("k", "before")
    for store in (
        lambda: face.set("k", value),
        lambda: face.add("new", value),
        lambda: face.set_many({"k": 1, "l": value}),
        lambda: face.get_or_set("new", lambda: value),
    ):
        with pytest.raises(SerializationError, match='"SERIALIZER": "pickle"'):
            store()
    assert face.get("k") == "before"
    assert face.keys() == ["k"]


def test_touching(face: Face) -> None:
    assert face.touch("k") is False
    face.set("k", 1, 5)
    assert face.touch("k", 100) is True
    assert 5 < face.ttl("k") <= 100
    assert face.touch("k", None) is True
    assert face.ttl("k") is None
    assert face.touch("k", None) is True  # also of one that had no time to live
    assert face.touch("k") is True
    assert 100 < face.ttl("k") <= 300


def test_one_of_many_adds(cache: DictCache) -> None:
    barrier = threading.Barrier(8)
    results: list[bool] = []

    def add() -> None:
        barrier.wait()
        results.append(caches["default"].add("k", threading.get_ident()))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 7 + [True]


def test_huge_values(face: Face) -> None:
    value = "é" * 10_000_000
    face.set("k", value)
    assert face.get("k") == value
    many = {f"k{number}": b"x" * 1_000_000 for number in range(12)}
    face.set_many(many)
    assert face.get_many(many) == many


def test_many(face: Face) -> None:
    items = {f"k{number}": number for number in range(5000)}
    assert face.set_many(items, 60) == []
    assert face.get_many(iter([*items, "other"])) == items
    assert 0 < face.ttl("k4999") <= 60
    assert face.delete_many(iter(list(items)[:4000])) == 4000
    assert face.get_many(items) == dict(list(items.items())[4000:])
    face.set_many(items, None)
    assert face.ttl("k0") is None
    assert face.get_many([]) == {}
    assert face.set_many({}) == []
    assert face.delete_many([]) is None


def test_get_many_of_a_key_twice_and_of_another_type(face: Face) -> None:
    face.set_many({"a": 1, 2: "two"}, version=9)
    assert face.get_many(["a", "a", 2, "2"], version=9) == {"a": 1, "2": "two"}
    assert face.get_many(["a", "a"], version=9) == {"a": 1}
    assert face.get_many(["a"]) == {}
