"""`NearState` step by step: what is kept, what is served, what goes."""

from __future__ import annotations

import os
from typing import Any

import pytest

from redisdict.near.eviction import ENTRY_BYTES, Entry
from redisdict.near.state import MISSING, NEVER, NearState


@pytest.fixture
def state() -> NearState:
    made = NearState(10**6, 1000)
    made.connect()
    made.pong(100.0)
    return made


def fill(state: NearState, key: str, value: Any, **options: Any) -> bool:
    return state.complete_fill(state.begin_fill(key), value, hash(value), **options)


def served(state: NearState, key: str, now: float = 100.0, bound: float = 1.0) -> Any:
    entry = state.lookup(key, now, now - bound)
    return None if entry is None else entry.value


def test_what_was_filled_is_served_within_the_bound(state: NearState) -> None:
    assert fill(state, "k", "v")
    assert served(state, "k") == "v"
    assert served(state, "k", now=101.0) == "v"
    assert served(state, "k", now=101.001) is None
    state.pong(100.5)
    assert served(state, "k", now=101.001) == "v"
    assert (state.hits, state.misses) == (3, 1)


def test_the_watermark_never_goes_back(state: NearState) -> None:
    state.pong(99.0)
    assert state.watermark == 100.0


def test_a_push_drops_the_entry(state: NearState) -> None:
    fill(state, "k", "v")
    state.invalidate(["k", "other"])
    assert served(state, "k") is None
    assert state.items == state.bytes == 0
    assert state.pushes == 2


@pytest.mark.parametrize(
    "event",
    [
        lambda state: state.invalidate(["k"]),
        lambda state: state.drop(["k"]),
        lambda state: state.drop_all(),
        lambda state: state.drop_missing(),
        lambda state: state.flush(),
        lambda state: state.disconnect(),
        lambda state: state.connect(),
        lambda state: (state.disconnect(), state.connect()),
    ],
)
def test_a_reply_is_kept_only_if_nothing_has_come_between(state: NearState, event: Any) -> None:
    token = state.begin_fill("k")
    event(state)
    assert not state.complete_fill(token, "v", 1)
    assert not state.has("k")


def test_what_comes_for_other_keys_doesnt_matter(state: NearState) -> None:
    token = state.begin_fill("k")
    state.invalidate(["other"])
    state.drop(["other"])
    assert state.complete_fill(token, "v", 1)


def test_a_read_of_the_server_drops_what_is_kept(state: NearState) -> None:
    fill(state, "k", "v")
    token = state.begin_fill("k")
    assert not state.has("k")
    state.abandon_fill(token)
    assert not state.has("k")


def test_two_reads_at_once_that_bring_the_same_are_kept(state: NearState) -> None:
    first, second = state.begin_fill("k"), state.begin_fill("k")
    assert state.complete_fill(second, "v", 1)
    assert served(state, "k") == "v"
    assert state.complete_fill(first, "v", 1)
    assert served(state, "k") == "v"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_reads_at_once_that_differ_keep_nothing(
    state: NearState, order: tuple[int, int]
) -> None:
    tokens = [state.begin_fill("k"), state.begin_fill("k")]
    for number in order:
        state.complete_fill(tokens[number], f"v{number}", number)
    assert not state.has("k")
    assert fill(state, "k", "later")


def test_a_read_begun_after_the_first_has_come_is_compared_with_it(state: NearState) -> None:
    first, second = state.begin_fill("k"), state.begin_fill("k")
    state.complete_fill(first, "new", 2)
    third = state.begin_fill("k")
    state.complete_fill(second, "old", 1)
    state.complete_fill(third, "old", 1)
    assert not state.has("k")


def test_a_read_that_may_not_be_kept_drops_what_differs(state: NearState) -> None:
    outdated = state.begin_fill("k")
    state.invalidate(["k"])
    assert fill(state, "k", "v")
    assert not state.complete_fill(outdated, "w", 5)
    assert not state.has("k")


def test_a_read_that_may_not_be_kept_outdates_one_under_way(state: NearState) -> None:
    outdated = state.begin_fill("k")
    state.invalidate(["k"])
    token = state.begin_fill("k")
    state.complete_fill(outdated, "w", 5)
    assert not state.complete_fill(token, "v", 6)
    assert not state.has("k")


def test_an_abandoned_read_outdates_the_others(state: NearState) -> None:
    first, second = state.begin_fill("k"), state.begin_fill("k")
    state.abandon_fill(first)
    assert not state.complete_fill(second, "v", 1)


def test_a_value_is_gone_when_its_time_is_over(state: NearState) -> None:
    fill(state, "k", "v", expires_at=100.5)
    assert served(state, "k", now=100.499) == "v"
    assert served(state, "k", now=100.5) is None


def test_nothing_is_kept_or_served_without_a_connection(state: NearState) -> None:
    fill(state, "k", "v")
    generation = state.generation
    state.disconnect()
    assert state.watermark == NEVER
    assert state.generation > generation
    state.pong(1000.0)
    assert state.watermark == NEVER
    assert not fill(state, "k", "v")
    assert not state.has("k")
    state.connect()
    assert fill(state, "k", "v")
    assert served(state, "k") is None
    state.pong(1000.0)
    assert served(state, "k", now=1000.0) == "v"


def test_items_that_were_missing_can_be_dropped_alone(state: NearState) -> None:
    fill(state, "k", "v")
    assert state.complete_fill(state.begin_fill("gone"), MISSING, None)
    assert served(state, "gone") is MISSING
    state.drop_missing()
    assert not state.has("gone")
    assert served(state, "k") == "v"


def test_bytes_are_bounded() -> None:
    state = NearState(10 * ENTRY_BYTES, 1000)
    state.connect()
    state.pong(100.0)
    for number in range(100):
        assert fill(state, f"k{number}", number)
        assert state.bytes <= 10 * ENTRY_BYTES
    assert state.items == 10
    assert state.evictions == 90
    assert not fill(state, "large", "v", size=11 * ENTRY_BYTES)
    assert state.items == 10


def test_items_are_bounded_and_what_is_read_stays() -> None:
    state = NearState(10**9, 10)
    state.connect()
    state.pong(100.0)
    for number in range(1000):
        fill(state, f"k{number}", number)
        assert served(state, "k3" if number >= 3 else "k0") == min(number, 3) or number < 3
    assert state.items == 10
    assert served(state, "k3") == 3


def test_a_missing_item_is_evicted_like_others() -> None:
    state = NearState(10**9, 1)
    state.connect()
    state.complete_fill(state.begin_fill("gone"), MISSING, None)
    fill(state, "k", "v")
    state.drop_missing()
    assert state.has("k")


def test_without_room_nothing_is_kept() -> None:
    state = NearState(10**9, 0)
    state.connect()
    assert not fill(state, "k", "v")


def test_a_forked_child_begins_empty(state: NearState) -> None:
    fill(state, "k", "v")
    state._lock.acquire()  # as the listener's thread may hold it
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        answer = b"1" if not state.has("k") and not fill(state, "k", "v") else b"0"
        os.write(write, answer)
        os._exit(0)
    state._lock.release()
    os.waitpid(pid, 0)
    assert os.read(read, 1) == b"1"
    os.close(read)
    os.close(write)
    assert served(state, "k") == "v"


def test_it_is_never_taken_for_empty_while_a_reply_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    # A writer that finds it empty after its write drops nothing, and what it has replaced stays.
    state = NearState(10**6, 1)
    state.connect()
    was_empty = []
    add = state._sieve.add

    def look(entry: Entry) -> None:
        was_empty.append(state.is_empty)
        add(entry)
        was_empty.append(state.is_empty)

    monkeypatch.setattr(state._sieve, "add", look)
    for key in (b"a", b"b"):
        assert state.complete_fill(state.begin_fill(key), "value", 1)
    assert was_empty == [False] * 4
    assert not state.is_empty
