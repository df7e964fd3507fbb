"""Slots that move and primaries that fail over: nothing old is served."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.crc import key_slot

from redisdict.near import session as session_module
from redisdict.near.barrier import near_barrier
from redisdict.near.clock import clock
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from tests.backends.failover import Fault, fail_over, mend, switches_of
from tests.backends.test_cluster import move_slot, node_of
from tests.conftest import program_for_tests
from tests.near.conftest import (
    is_served,
    listener_of,
    make,
    opened,
    settle,
    wait_until_on,
)
from tests.waiting import wait_until


def test_a_cluster(
    cluster: ClusterTopology, tracking: str, alias_for: Callable[..., dict[str, Any]]
) -> None:
    with opened(alias_for(cluster.location, NEAR_TRACKING=tracking)) as backend:
        with opened(alias_for(cluster.location)) as elsewhere:
            for shards in (None, 6):
                mapping = make(backend, shards=shards)
                other = make(elsewhere, near=None, shards=shards)
                keys = [f"k{number}" for number in range(40)]
                other.update(dict.fromkeys(keys, "old"))
                wait_until(
                    lambda: mapping.get_many(keys) and mapping.near_stats().is_on  # noqa: B023
                )
                settle(mapping)
                assert mapping.get_many(keys) == dict.fromkeys(keys, "old")
                before = mapping.near_stats()
                assert mapping.get_many(keys) == dict.fromkeys(keys, "old")
                assert mapping.near_stats().misses == before.misses
                other.update(dict.fromkeys(keys, "new"))
                wait_until(
                    lambda: mapping.get_many(keys) == dict.fromkeys(keys, "new")  # noqa: B023
                )
                mapping["k1"] = "mine"
                assert mapping["k1"] == "mine"
                by_request = make(backend, near="request", shards=shards)
                for number in range(20):
                    other["k2"] = number
                    with near_barrier():
                        assert by_request["k2"] == number
                mapping.clear()


@pytest.fixture(scope="module")
def whole_cluster() -> Iterator[ClusterTopology]:
    with ClusterTopology(program_for_tests("valkey"), node_timeout_ms=100_000) as topology:
        yield topology


@pytest.fixture
def own_cluster(whole_cluster: ClusterTopology) -> Iterator[ClusterTopology]:
    """A Cluster whose slot of a dict "d", and whose user, the test may change."""
    slot = key_slot(b"d")
    home = node_of(whole_cluster, slot)
    yield whole_cluster
    for node in whole_cluster.primaries:
        with node.client() as client:
            client.execute_command("ACL", "SETUSER", "default", "+@all")
    move_slot(whole_cluster, slot, home)


def test_a_slot_moves(
    own_cluster: ClusterTopology, tracking: str, alias_for: Callable[..., dict[str, Any]]
) -> None:
    with opened(alias_for(own_cluster.location, NEAR_TRACKING=tracking)) as backend:
        with opened(alias_for(own_cluster.location)) as elsewhere:
            mapping = make(backend, near="request")
            other = make(elsewhere, near=None)
            assert other.get("k") is None
            wait_until_on(mapping)
            slot = key_slot(b"d")
            for number in range(3):
                other["k"] = number
                with near_barrier():
                    assert mapping["k"] == number
                    assert mapping.get("missing") is None
                move_slot(own_cluster, slot)
                other["missing"] = number
                other["k"] = "elsewhere"
                with near_barrier():
                    assert mapping["k"] == "elsewhere"
                    assert mapping["missing"] == number
                del other["missing"]
                wait_until_on(mapping)
            with near_barrier():
                mapping["k"]
                wait_until(lambda: is_served(mapping, "k"))


@pytest.mark.parametrize("may_ask", [True, False])
def test_a_slot_that_was_away(
    own_cluster: ClusterTopology,
    alias_for: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    may_ask: bool,
) -> None:
    if not may_ask:  # as its user
        for node in own_cluster.primaries:
            with node.client() as client:
                client.execute_command("ACL", "SETUSER", "default", "-cluster|info")
        # No PING is so soon after another one.
        monkeypatch.setattr(session_module, "LONGEST_GAP_S", 0.0)
    slot = key_slot(b"d")
    move_slot(own_cluster, slot)  # from the last node, to which no further one leads
    with opened(alias_for(own_cluster.location)) as backend:
        mapping = make(backend)
        wait_until_on(mapping)
        state = mapping._near.reader_of(b"k").state
        assert mapping.get("k") is None
        wait_until(lambda: is_served(mapping, "k"))
        # It isn't pushed that there is none any more: the key was never there.
        home = node_of(own_cluster, slot)
        while True:
            move_slot(own_cluster, slot)
            if node_of(own_cluster, slot) is home:
                break
        assert state.has(b"k")
        settle(mapping)
        assert not state.has(b"k")


@pytest.mark.parametrize("fault", ["killed", pytest.param("hung", marks=pytest.mark.deep)])
def test_a_failover_behind_sentinels(
    alias_for: Callable[..., dict[str, Any]], fault: Fault
) -> None:
    with SentinelTopology(program_for_tests("valkey"), down_after_ms=2000) as topology:
        values = alias_for(topology.location, OPTIONS={"socket_timeout": 1}, RETRY_FOR=60)
        with opened(values) as backend, opened(values) as elsewhere:
            # By a bound that nobody waits for, a primary that hangs isn't noticed.
            mapping = make(backend, near=1.0)
            other = make(elsewhere, near=None)
            wait_until_on(mapping)
            mapping["k"] = "old"
            wait_until(lambda: is_served(mapping, "k"))
            with switches_of(topology) as switches:
                lost = fail_over(topology, fault)
                switches.wait_for(1)
            other["k"] = fault
            wait_until(lambda: mapping.get("k") == fault)
            mend(topology, lost)
            wait_until_on(mapping)
            mapping.clear()


@pytest.mark.parametrize(
    "pool_class",
    [
        "OptimizedAsyncConnectionPool",
        pytest.param("AsyncBlockingConnectionPool", marks=pytest.mark.deep),
    ],
)
def test_what_an_old_primary_says_is_not_kept(
    alias_for: Callable[..., dict[str, Any]], pool_class: str
) -> None:
    # A loop that asked nothing meanwhile still has its connection to the old one, which goes on
    # for a while when it comes back. What is read there, the new one never says to be replaced.
    with SentinelTopology(program_for_tests("valkey"), down_after_ms=2000) as topology:
        values = alias_for(
            topology.location,
            OPTIONS={"socket_timeout": 1},
            RETRY_FOR=60,
            ASYNC_POOL_CLASS=f"redisdict.pools.{pool_class}",
        )
        with opened(values) as backend, opened(values) as elsewhere, asyncio.Runner() as runner:
            mapping = make(backend)
            other = make(elsewhere, near=None)
            other.update(dict.fromkeys("kl", "old"))
            wait_until_on(mapping)
            assert runner.run(mapping.aget("k")) == "old"
            with switches_of(topology) as switches:
                lost = fail_over(topology, "hung")
                switches.wait_for(1)
            other["k"] = other["l"] = "new"
            # In the place of a near read in another thread, which would have to wait for the old
            # one's time to run out.
            listener_of(backend).close()
            wait_until_on(mapping)
            os.kill(lost.pid, signal.SIGCONT)
            wait_until(lambda: _role(lost) == "master")
            assert runner.run(mapping.aget("l")) == "new"
            assert mapping["l"] == "new"
            mend(topology, lost)
            runner.run(backend.aclose())


def _role(server: ServerProcess) -> str:
    with server.client() as client:
        role: str = client.info("replication")["role"]
        return role


def test_the_sentinels_know_another_primary(
    sentinel: SentinelTopology,
    alias_for: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with opened(alias_for(sentinel.location)) as backend:
        mapping = make(backend, near="request")
        wait_until_on(mapping)
        monkeypatch.setattr(session_module, "SENTINELS_EVERY_S", -1.0)
        assert listener_of(backend).ping_after(clock())
        monkeypatch.setattr(listener_of(backend), "_primary_address", lambda: ("other", 1))
        assert not listener_of(backend).ping_after(clock())
        assert "another primary" in mapping.near_stats().reason


def test_a_primary_that_has_become_a_replica(
    sentinel: SentinelTopology,
    alias_for: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with opened(alias_for(sentinel.location)) as backend:
        mapping = make(backend, near="request")
        wait_until_on(mapping)
        take = session_module.Session._take
        monkeypatch.setattr(
            session_module.Session, "_take", lambda session, reply: take(session, [b"slave"])
        )
        assert not listener_of(backend).ping_after(clock())
        assert "is a replica" in mapping.near_stats().reason
