"""What is kept of dicts ends with them, but for the last ones."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

from redis.crc import key_slot

from redisdict.connections.backend import Backend
from redisdict.near.service import LEFT_SPACES, SlotListener, near_service
from redisdict.near.space import NearSpace
from redisdict.near.state import NearState
from redisdict.near.watches import Watch
from redisdict.servers.topologies import ClusterTopology
from tests.near.conftest import is_served, make, opened, settle, wait_until_on
from tests.waiting import wait_until


def test_what_is_kept_of_a_dict_ends_with_its_handles(backend: Backend, elsewhere: Backend) -> None:
    kept = make(backend, name="kept")
    wait_until_on(kept)
    names = [f"d{number}" for number in range(LEFT_SPACES + 20)]
    for name in names:
        mapping = make(backend, name=name)
        mapping["k"] = "v"
        assert mapping["k"] == "v"
    del mapping
    gc.collect()
    listener = near_service(backend).listener
    listener.let_go()
    states = listener._watches.states
    assert len(states) == LEFT_SPACES + 1
    assert listener.watches(kept._near.reader_of(b"k").state)
    # The last ones are as they were left, and those before begin anew.
    identity = ((names[-1],), False, None)
    assert near_service(backend).find_of_dict(identity) is not None
    for name in (names[0], names[-1]):
        mapping, other = make(backend, name=name), make(elsewhere, near=None, name=name)
        wait_until_on(mapping)
        other["k"] = "new"
        settle(mapping)
        assert mapping["k"] == "new"
        assert is_served(mapping, "k")
    make(backend, name=names[1])["k"] = "w"  # lets go of what is gone, by itself
    for name in names:
        make(elsewhere, near=None, name=name).clear()


def test_a_handle_keeps_what_is_kept(backend: Backend) -> None:
    mapping = make(backend)
    wait_until_on(mapping)
    mapping["k"] = "v"
    settle(mapping)
    assert mapping["k"] == "v"
    for number in range(LEFT_SPACES + 1):
        assert make(backend, name=f"other {number}").get("k") is None
    gc.collect()
    assert is_served(mapping, "k")
    assert make(backend).near_stats().items == mapping.near_stats().items
    assert make(backend, near=None).near_stats().items == mapping.near_stats().items


def test_shards_of_a_cluster(
    cluster: ClusterTopology, tracking: str, alias_for: Callable[..., dict[str, Any]]
) -> None:
    with opened(alias_for(cluster.location, NEAR_TRACKING=tracking)) as backend:
        mapping = make(backend, shards=3)
        keys = [f"key {number}" for number in range(40)]
        wait_until(lambda: mapping.get_many(keys) == {} and mapping.near_stats().is_on)
        states = [reader.state for reader in mapping._near._readers]
        tellers = [reader.listener for reader in mapping._near._readers]
        for teller, state in zip(tellers, states, strict=True):
            teller.forget(state)
            teller._listener.let_go()
            assert not teller._listener.watches(state)


def test_a_slot_that_no_node_is_known_of(
    cluster: ClusterTopology, alias_for: Callable[..., dict[str, Any]]
) -> None:
    with opened(alias_for(cluster.location)) as backend:
        state = NearState(1, 1)
        teller = SlotListener(backend, key_slot(b"k"), [Watch(b"k", state)], b"k:p:")
        teller.forget(state)
        assert not teller.track(state, [b"k"])
        assert not asyncio.run(teller.atrack(state, [b"k"]))
        assert not teller.is_plain


def test_two_handles_at_once_make_one(backend: Backend) -> None:
    service = near_service(backend)
    first, second = (service.space_of_dict("one", lambda: NearSpace([])) for _ in range(2))
    assert first is second
    assert service.find_of_dict("one") is first
    assert service.spaces() == [(None, first)]


def test_two_handles_make_one_space(backend: Backend) -> None:
    service = near_service(backend)
    made = [service.space("identity", lambda: [number]) for number in range(2)]  # noqa: B023
    assert made == [[0], [0]]
    assert service.find("identity") is made[0]
