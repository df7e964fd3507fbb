"""The cache with NEAR: what memory answers, and for how long."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.http import HttpResponse
from django.utils.safestring import SafeString, mark_safe
from redis.exceptions import ResponseError

from redisdict.cache import DictCache, cached
from redisdict.exceptions import DeserializationError
from redisdict.near.clock import clock
from tests.cache.conftest import Face
from tests.cache.near.conftest import is_served, settle, write_elsewhere
from tests.waiting import wait_until

IMMUTABLE = ["text", 5, 2**70, None, b"bytes", (1, "a"), mark_safe("<b>")]
CHANGEABLE = [[1], {"a": [1]}, {1, 2}]


@pytest.mark.parametrize("value", [*IMMUTABLE, *CHANGEABLE], ids=repr)
def test_a_value_is_read_once_and_then_served(
    face: Face, cache: DictCache, elsewhere: Any, value: Any
) -> None:
    write_elsewhere(elsewhere, cache, "k", value)
    settle(cache)
    assert face.get("k", "default") == value
    before = cache.near_stats()
    found = face.get("k", "default")
    assert (found, type(found)) == (value, type(value))
    assert face.has_key("k")
    assert "k" in cache
    assert face.get_many(["k"]) == {"k": value}
    assert face.get_or_set("k", lambda: pytest.fail("it is there")) == value
    after = cache.near_stats()
    assert (after.hits - before.hits, after.misses) == (5, before.misses)


@pytest.mark.parametrize("value", CHANGEABLE, ids=repr)
def test_a_value_that_can_be_changed_is_a_new_one_each_time(face: Face, value: Any) -> None:
    face.set("k", value)
    for _ in range(3):
        found = face.get("k")
        assert found == value
        found.clear()
        many = face.get_many(["k"])
        assert many == {"k": value}
        many["k"].clear()


def test_a_response_is_a_new_one_each_time(face: Face, cache: DictCache) -> None:
    face.set("k", HttpResponse(b"page", headers={"X-Made": "once"}))
    responses = [face.get("k") for _ in range(3)]
    assert is_served(cache, "k")
    responses[1].content = b"other"
    responses[1]["X-Made"] = "twice"
    assert responses[2].content == face.get("k").content == b"page"
    assert face.get("k")["X-Made"] == "once"


def test_safe_text_is_kept_as_it_is(cache: DictCache) -> None:
    cache.set("k", mark_safe("<b>"))
    cache.get("k")
    found = cache.get("k")
    assert type(found) is SafeString
    assert cache.get("k") is found


def test_a_missing_key_is_remembered_until_there_is_one(
    face: Face, cache: DictCache, elsewhere: Any
) -> None:
    settle(cache)
    assert face.get("k", 5) == 5
    before = cache.near_stats().misses
    assert face.get("k") is None
    assert face.get_many(["k"]) == {}
    assert not face.has_key("k")
    assert cache.near_stats().misses == before
    write_elsewhere(elsewhere, cache, "k", "v")
    wait_until(lambda: face.has_key("k"))
    assert face.get("k") == "v"


def test_has_key_of_what_is_not_known_reads_it(face: Face, cache: DictCache) -> None:
    assert not face.has_key("k")
    face.set("k", "v")
    settle(cache)
    assert face.has_key("k")
    before = cache.near_stats().misses
    assert (face.get("k"), cache.near_stats().misses) == ("v", before)


def test_has_key_of_what_cannot_be_read(face: Face, cache: DictCache, elsewhere: Any) -> None:
    elsewhere.set(cache.make_key("k"), b"\xc1nothing of ours")
    settle(cache)
    assert face.has_key("k")
    with pytest.raises(DeserializationError):
        face.get("k")


def test_a_key_of_another_type(face: Face, cache: DictCache, elsewhere: Any) -> None:
    elsewhere.rpush(cache.make_key("k"), "item")
    settle(cache)
    for _ in range(2):
        assert face.get_many(["k", "l"]) == {}
        assert face.has_key("k")
        assert not face.has_key("l")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            face.get("k")


def test_a_value_ends_at_its_time_and_no_later(
    face: Face, cache: DictCache, elsewhere: Any
) -> None:
    write_elsewhere(elsewhere, cache, "k", "v", px=300)
    settle(cache)
    begun = time.monotonic()
    while face.get("k") == "v":
        began_at = time.monotonic()
        assert began_at - begun < 60
    face.set("k", "v", 1000)
    settle(cache)
    assert face.get("k") == "v"
    [reader] = cache._near._readers  # type: ignore[attr-defined]  # it has NEAR
    kept = reader.find(cache.make_key("k").encode())
    assert 990 < kept.expires_at - clock() <= 1000
    assert face.ttl("k") in (999, 1000)
    face.touch("k", None)
    assert is_served(cache, "k")
    assert reader.find(cache.make_key("k").encode()).expires_at == float("inf")


def test_what_is_stale_or_due_is_computed_anew(face: Face, cache: DictCache) -> None:
    assert face.get_or_set("k", lambda: 1, 1000, stale=1000) == 1
    settle(cache)
    assert face.get_or_set("k", lambda: pytest.fail("it is fresh"), 1000, stale=1000) == 1
    before = cache.near_stats().misses
    assert face.get_or_set("k", lambda: pytest.fail("it is fresh"), 1000, stale=900) == 1
    assert cache.near_stats().misses == before
    # It has less than 2,000 s left, so that it is stale under these.
    assert face.get_or_set("k", lambda: 2, 5, stale=2500) == 2
    assert face.get("k") == 2
    face.set("l", 1, 1000)
    assert face.get("l") == 1
    assert face.get_or_set("l", lambda: 2, 2000, refresh_ahead=1500) == 1
    wait_until(lambda: face.get("l") == 2)  # in the background
    # What lives for ever is neither.
    face.set("m", 1, None)
    face.get("m")
    assert face.get_or_set("m", lambda: pytest.fail("it is there"), 5, stale=5) == 1
    with pytest.raises(ValueError, match="stale"):
        face.get_or_set("m", 1, None, stale=5)


def test_get_or_set_of_what_is_not_there(face: Face, cache: DictCache) -> None:
    assert face.get("k") is None
    assert face.get_or_set("k", "v") == "v"
    assert face.get_or_set("l", lambda: None) is None
    assert face.get("l", "default") is None
    assert is_served(cache, "l")


def test_a_function_is_answered_from_memory(cache: DictCache) -> None:
    calls = []

    @cached(timeout=100, name="tests.near.total")
    def total(number: int) -> int:
        calls.append(number)
        return number * 2

    assert total(3) == 6
    settle(cache)
    assert total(3) == 6
    before = cache.near_stats().misses
    assert total(3) == 6
    assert (calls, cache.near_stats().misses) == ([3], before)
    total.invalidate(3)
    assert total(3) == 6
    assert calls == [3, 3]
