"""The fence: up with the first timeout, down with the last, and nothing left behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.connections.backend import Backend
from redisdict.mapping.names import Names


@pytest.fixture
def hset_enabled() -> bool:
    return True


@pytest.fixture
def keys(backend: Backend) -> Callable[[], dict[str, str]]:
    """The dict's keys on the server, by what they are for, with their types."""
    names = Names(backend.config.key_prefix, ("d",))
    roles = {"home": names.hash, "yard": names.fenced, "deadlines": names.deadlines}

    def types() -> dict[str, str]:
        client = backend.client()
        found = {role: client.type(key).decode() for role, key in roles.items()}
        return {role: kind for role, kind in found.items() if kind != "none"}

    return types


UP = {"home": "string", "yard": "hash", "deadlines": "zset"}
DOWN = {"home": "hash"}


def test_a_dict_without_timeouts_is_one_hash(
    mapping: PersistentDict[str, int], keys: Callable[[], dict[str, str]]
) -> None:
    mapping.update(a=1)
    mapping.touch("a", None)
    mapping.transform("a", lambda value: value + 1)
    assert keys() == DOWN


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
def test_the_last_timeout_takes_the_fence_down(
    mapping: PersistentDict[str, int],
    keys: Callable[[], dict[str, str]],
    last_timeout_goes: Callable[[Any], Any],
) -> None:
    mapping["a"] = 0
    mapping.set("t", 1, timeout=60)
    assert keys() == UP
    last_timeout_goes(mapping)
    assert keys() == DOWN
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
    assert keys() == DOWN


def test_a_read_that_meets_the_last_dead_item_cleans_up(
    mapping: PersistentDict[str, int], keys: Callable[[], dict[str, str]]
) -> None:
    mapping.update(a=1)
    mapping.set("t", 1, timeout=0.05)
    time.sleep(0.1)
    assert "t" not in mapping
    assert keys() == DOWN


def test_a_dict_with_an_end_of_its_own_keeps_it_through_the_fence(
    mapping: PersistentDict[str, int], backend: Backend
) -> None:
    home = Names(backend.config.key_prefix, ("d",)).hash
    mapping.update(a=1)
    mapping.expire(60)
    mapping.set("t", 1, timeout=30)
    mapping.delete("t")
    assert 50_000 < backend.client().pttl(home) <= 60_000
    mapping.set("t", 1, timeout=30)
    mapping.expire(None)
    mapping.delete("t")
    assert backend.client().pttl(home) == -1
