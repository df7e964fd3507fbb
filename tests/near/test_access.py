"""Which commands drop what: entries under whole keys, and commands that name no key."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils.safestring import mark_safe

from redisdict.connections.backend import Backend
from redisdict.near.access import Access
from redisdict.near.state import NearState
from redisdict.near.values import immutable_size
from redisdict.near.watches import Watch
from tests.near.conftest import make


def state_with(*keys: bytes) -> NearState:
    state = NearState(10**6, 100)
    state.connect()
    for key in keys:
        fill(state, key)
    return state


def fill(state: NearState, key: bytes) -> None:
    assert state.complete_fill(state.begin_fill(key), "v", 1)


def test_entries_under_the_rest_and_under_the_whole_key() -> None:
    rest, whole = state_with(b"a", b"b"), state_with(b"p:a", b"p:b", b"q:a")
    access = Access([Watch(b"p:", rest), Watch(b"p:", whole, has_whole_keys=True)])
    access.drop([(b"SET", b"p:a", b"v")])
    assert (rest.has(b"a"), rest.has(b"b")) == (False, True)
    assert [whole.has(key) for key in (b"p:a", b"p:b", b"q:a")] == [False, True, True]


def test_a_push_names_whole_keys() -> None:
    state = state_with(b"p:a", b"p:b")
    access = Access([Watch(b"p:", state, has_whole_keys=True)])
    access._watches.invalidate([b"p:a", b"other"])
    assert (state.has(b"p:a"), state.has(b"p:b"), state.pushes) == (False, True, 1)


@pytest.mark.parametrize("name", [b"FLUSHDB", b"FLUSHALL"])
def test_what_empties_a_database_drops_all(name: bytes) -> None:
    state = state_with(b"p:a", b"p:b")
    Access([Watch(b"p:", state, has_whole_keys=True)]).drop([(name,)])
    assert state.items == 0
    fill(state, b"p:a")
    assert state.is_connected


def test_watches_can_be_replaced() -> None:
    old, new = state_with(b"p:a"), state_with(b"p:a")
    access = Access([Watch(b"p:", old, has_whole_keys=True)])
    access.watch([Watch(b"", new, has_whole_keys=True)])
    access.drop([(b"DEL", b"p:a")])
    assert (old.has(b"p:a"), new.has(b"p:a")) == (True, False)


def test_safe_text_cant_be_changed() -> None:
    value: Any = mark_safe("<b>")
    assert (immutable_size(value) or 0) > 0
    with pytest.raises(AttributeError):
        value.more = 1


def test_nobody_has_the_fast_path_of_what_drops_nothing(backend: Backend) -> None:
    mapping = make(backend)
    mapping.get("k")
    assert mapping._bound.driver._access.concerns((b"GET", b"k"))
