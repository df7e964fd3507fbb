"""What goes wrong with the listener, the server and the process: nothing old is served."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from redis.crc import key_slot

from redisdict import PersistentDict, close_all
from redisdict.connections.backend import Backend
from redisdict.exceptions import BackendUnavailable
from redisdict.near import session as session_module
from redisdict.near.barrier import near_barrier
from redisdict.near.clock import clock
from redisdict.near.listener import Listener
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from tests.backends.failover import fail_over, mend, switches_of
from tests.backends.test_cluster import move_slot, node_of
from tests.conftest import program_for_tests
from tests.forks.forking import FORKS, Child, Fork
from tests.near.conftest import AGES, is_served, make, opened, settle, wait_until_on
from tests.waiting import wait_until


@pytest.fixture
def mapping(own_backend: Backend) -> Any:
    mapping = make(own_backend)
    wait_until_on(mapping)
    return mapping


@pytest.fixture
def other(own_elsewhere: Backend) -> Any:
    return make(own_elsewhere, near=None)


def listener_of(backend: Backend) -> Listener:
    found: Listener = backend.attachments["near"].listener  # type: ignore[attr-defined]
    return found


def kept(mapping: Any, value: Any = "old") -> None:
    """Have a value in memory."""
    mapping["k"] = value
    settle(mapping)
    assert mapping["k"] == value
    assert is_served(mapping, "k")


def kill_listeners(client: Any) -> int:
    """Cut the connections that track, as an operator may."""
    tracking = [each for each in client.client_list() if "t" in each["flags"]]
    for each in tracking:
        client.client_kill_filter(_id=each["id"])
    return len(tracking)


def test_a_lost_connection_is_made_again(
    mapping: Any, other: Any, own_server: ServerProcess
) -> None:
    with own_server.client() as client:
        for number in range(3):
            kept(mapping, number)
            assert kill_listeners(client) == 1
            other["k"] = "new"
            wait_until(lambda: mapping["k"] == "new")
            wait_until_on(mapping)


def test_everything_goes_with_the_server(
    mapping: Any, other: Any, own_server: ServerProcess
) -> None:
    with own_server.client() as client:
        kept(mapping)
        client.flushall()
        wait_until(lambda: mapping.get("k") is None)
        kept(mapping)
        client.script_flush()
        assert mapping["k"] == "old"
        client.flushdb()
        wait_until(lambda: mapping.get("k") is None)
    kept(mapping)
    own_server.kill()
    wait_until(lambda: not mapping.near_stats().is_on)
    with pytest.raises(BackendUnavailable):
        mapping["k"]
    own_server.start()
    wait_until(lambda: _get(mapping, "k") == (True, None))
    other["k"] = "new"
    wait_until_on(mapping)
    assert mapping["k"] == "new"


def _get(mapping: Any, key: str) -> tuple[bool, Any]:
    try:
        return True, mapping.get(key)
    except BackendUnavailable:
        return False, None


def test_a_stopped_server_answers_no_ping(own_backend: Backend, own_server: ServerProcess) -> None:
    bound = 0.3
    mapping = make(own_backend, near=bound)
    wait_until_on(mapping)
    mapping["k"] = "old"
    wait_until(lambda: is_served(mapping, "k"))
    os.kill(own_server.pid, signal.SIGSTOP)
    stopped_at = clock()
    try:
        while True:
            began = clock()
            try:
                mapping["k"]
            except BackendUnavailable:
                break
            assert began - stopped_at <= bound
    finally:
        os.kill(own_server.pid, signal.SIGCONT)
    wait_until(lambda: is_served_or_lost(mapping))


def is_served_or_lost(mapping: Any) -> bool:
    try:
        return is_served(mapping, "k")
    except BackendUnavailable:
        return False


def test_a_ping_that_isnt_answered_ends_the_connection(
    own_backend: Backend, own_server: ServerProcess
) -> None:
    mapping = make(own_backend, near="request")
    wait_until_on(mapping)
    kept_by_request(mapping)
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        with near_barrier(), pytest.raises(BackendUnavailable):
            mapping["k"]
        wait_until(lambda: not mapping.near_stats().is_on)
        assert "wasn't answered" in mapping.near_stats().reason
    finally:
        os.kill(own_server.pid, signal.SIGCONT)
    wait_until(lambda: _get(mapping, "k") == (True, "old"))


def kept_by_request(mapping: Any) -> None:
    mapping["k"] = "old"
    settle(mapping)
    assert mapping["k"] == "old"
    with near_barrier():
        assert is_served(mapping, "k")


@pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)
def test_a_forked_child_has_a_listener_of_its_own(mapping: Any, other: Any, fork: Fork) -> None:
    kept(mapping)

    def in_child() -> tuple[Any, Any, bool]:
        first = mapping["k"]
        wait_until_on(mapping)
        kept(mapping, "by the child")
        mapping["k"] = "last"
        is_on: bool = mapping.near_stats().is_on
        return first, mapping["k"], is_on

    child = Child(in_child, fork)
    assert child.result() == ("old", "last", True)
    wait_until(lambda: mapping["k"] == "last")
    assert mapping.near_stats().is_on
    kept(mapping, "by the parent")
    other["k"] = "new"
    wait_until(lambda: mapping["k"] == "new")


def test_two_processes(mapping: Any, own_server: ServerProcess, key_prefix: str) -> None:
    kept(mapping, 0)
    program = f"""
import django
from django.conf import settings
settings.configure(REDISDICT={{"default": {{"LOCATION": {own_server.url!r},
                                           "KEY_PREFIX": {key_prefix!r}}}}})
django.setup()
from redisdict import PersistentDict
d = PersistentDict("d", hset_enabled=False, near=1.0)
for number in range(1, 301):
    d["k"] = number
    assert d["k"] == number
"""
    process = subprocess.Popen([sys.executable, "-W", "error", "-c", program])
    seen = [0]
    while seen[-1] < 300:
        assert process.poll() in (None, 0)
        value = mapping["k"]
        if value != seen[-1]:
            assert value > seen[-1]
            seen.append(value)
    assert process.wait(60) == 0


def test_two_event_loops_and_a_thread(mapping: Any, other: Any) -> None:
    mapping["k"] = 0
    wrong: list[Any] = []
    is_over = threading.Event()

    def watch(read: Callable[[], Any]) -> None:
        last = 0
        while not is_over.is_set():
            value = read()
            if value < last:
                wrong.append((last, value))
            last = value

    async def watch_in_task() -> None:
        last = 0
        while not is_over.is_set():
            value = await mapping.aget("k")
            if value < last:
                wrong.append((last, value))
            last = value
            await asyncio.sleep(0)

    threads = [
        threading.Thread(target=lambda: asyncio.run(watch_in_task())),
        threading.Thread(target=lambda: asyncio.run(watch_in_task())),
        threading.Thread(target=lambda: watch(lambda: mapping["k"])),
    ]
    for thread in threads:
        thread.start()
    for number in range(1, 300):
        (other if number % 2 else mapping)["k"] = number
    wait_until(lambda: mapping["k"] == 299)
    is_over.set()
    for thread in threads:
        thread.join()
    assert wrong == []


# The end, and beginning again


def threads_of_listeners() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "redisdict-near"]


def test_closing_ends_thread_and_connection(
    url: str, alias_for: Callable[..., dict[str, Any]]
) -> None:
    before = len(threads_of_listeners())
    with override_settings(REDISDICT={"default": alias_for(url)}):
        mapping: Any = PersistentDict("d", hset_enabled=False, near=AGES)
        assert len(threads_of_listeners()) == before  # not before its first use
        wait_until_on(mapping)
        kept(mapping)
        assert len(threads_of_listeners()) == before + 1
        close_all()
        assert len(threads_of_listeners()) == before
        stats = mapping.near_stats()
        assert (stats.is_on, stats.reason) == (False, "the connection was closed")
        assert mapping["k"] == "old"
        wait_until_on(mapping)
        kept(mapping)
        mapping.clear()
    assert len(threads_of_listeners()) == before


def test_closing_what_isnt_open(backend: Backend) -> None:
    mapping = make(backend)
    assert mapping.near_stats().reason == "nothing was read yet"
    backend.close()
    wait_until_on(mapping)


def test_the_end_of_a_process_is_silent(own_server: ServerProcess, key_prefix: str) -> None:
    program = f"""
import django
from django.conf import settings
settings.configure(REDISDICT={{"default": {{"LOCATION": {own_server.url!r},
                                           "KEY_PREFIX": {key_prefix!r}}}}})
django.setup()
from redisdict import PersistentDict
d = PersistentDict("d", hset_enabled=False, near=1.0)
while not d.near_stats().is_on:
    d.get("k")
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program], capture_output=True, timeout=100, check=True
    )
    assert "near" not in done.stderr.decode()


# Servers that don't tell


@pytest.fixture
def warnings_(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, logger="redisdict")
    return lambda: [each.getMessage() for each in caplog.records if "near" in each.getMessage()]


def test_tracking_is_refused(
    own_server: ServerProcess,
    alias_for: Callable[..., dict[str, Any]],
    warnings_: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with own_server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-client|tracking"
        )
    values = alias_for(own_server.url, OPTIONS={"username": "app", "password": "secret"})
    with opened(values) as backend:
        mapping = make(backend)
        mapping["k"] = "v"
        wait_until(lambda: mapping["k"] == "v" and warnings_())
        for _ in range(10):
            assert mapping["k"] == "v"
            assert mapping.get_many(["k"]) == {"k": "v"}
        stats = mapping.near_stats()
        assert not stats.is_on
        assert stats.hits == 0
        assert "refuses CLIENT TRACKING" in stats.reason
        monkeypatch.setattr(listener_of(backend), "_retry_at", 0.0)
        wait_until(lambda: mapping["k"] == "v" and listener_of(backend)._retry_at > 0)
        [warning] = warnings_()
        assert "refuses CLIENT TRACKING" in warning
        assert "secret" not in warning
        with own_server.client() as client:
            client.execute_command("ACL", "SETUSER", "app", "+@all")
        monkeypatch.setattr(listener_of(backend), "_retry_at", 0.0)
        wait_until_on(mapping)


def test_the_rights_of_a_dict_are_enough(
    own_server: ServerProcess, alias_for: Callable[..., dict[str, Any]], key_prefix: str
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "servers.md").read_text()
    [rights] = re.findall(r"^ACL SETUSER shop on >PASSWORD ~redisdict:\* (.*)$", page, re.MULTILINE)
    with own_server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "shop", "on", ">PASSWORD", f"~{key_prefix}:*", *rights.split()
        )
    values = alias_for(own_server.url, OPTIONS={"username": "shop", "password": "PASSWORD"})
    with opened(values) as backend:
        mapping = make(backend)
        wait_until_on(mapping)
        kept(mapping)


def test_the_probe_cant_be_written(
    own_server: ServerProcess, alias_for: Callable[..., dict[str, Any]], key_prefix: str
) -> None:
    with own_server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "app", "on", ">secret", f"~{key_prefix}:k:*", "+@all"
        )
    values = alias_for(own_server.url, OPTIONS={"username": "app", "password": "secret"})
    with opened(values) as backend:
        mapping = make(backend)
        mapping["k"] = "v"
        wait_until(lambda: mapping["k"] == "v" and "provoke" in mapping.near_stats().reason)


def test_a_server_that_says_yes_and_sends_nothing(
    own_backend: Backend,
    warnings_: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask_for_nothing(session: Any, prefixes: Any) -> None:
        assert session._connection.ask((b"PING",)) == b"PONG"

    monkeypatch.setattr(session_module.Session, "_begin_tracking", ask_for_nothing)
    mapping = make(own_backend)
    mapping["k"] = "v"
    wait_until(lambda: mapping["k"] == "v" and warnings_())
    assert "sent no push" in mapping.near_stats().reason


def test_an_error_of_our_own_is_logged(
    own_backend: Backend, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(session: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(session_module.Session, "run", fail)
    mapping = make(own_backend)
    wait_until(lambda: mapping.get("k") is None and "logged" in mapping.near_stats().reason)
    assert "a bug" in caplog.text


# Several servers


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


@pytest.fixture
def own_cluster() -> Iterator[ClusterTopology]:
    with ClusterTopology(program_for_tests("valkey")) as topology:
        yield topology


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


def test_a_failover_behind_sentinels(alias_for: Callable[..., dict[str, Any]]) -> None:
    with SentinelTopology(program_for_tests("valkey")) as topology:
        values = alias_for(topology.location, OPTIONS={"socket_timeout": 1}, RETRY_FOR=60)
        with opened(values) as backend, opened(values) as elsewhere:
            # By a bound that nobody waits for, a primary that hangs isn't noticed.
            mapping = make(backend, near=1.0)
            other = make(elsewhere, near=None)
            wait_until_on(mapping)
            for fault in ("killed", "hung"):
                mapping["k"] = "old"
                wait_until(lambda: is_served(mapping, "k"))
                with switches_of(topology) as switches:
                    lost = fail_over(topology, fault)  # type: ignore[arg-type]
                    switches.wait_for(1)
                other["k"] = fault
                wait_until(lambda: mapping.get("k") == fault)  # noqa: B023
                mend(topology, lost)
                wait_until_on(mapping)
            mapping.clear()


@pytest.mark.parametrize(
    "pool_class", ["OptimizedAsyncConnectionPool", "AsyncBlockingConnectionPool"]
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


# PINGs


def test_pings_are_sent_only_while_somebody_reads(
    own_backend: Backend, own_server: ServerProcess
) -> None:
    mapping = make(own_backend, near=0.1)
    wait_until_on(mapping)
    client = own_backend.client()

    def pings() -> int:
        return int(client.info("commandstats")["cmdstat_ping"]["calls"])

    before = pings()
    wait_until(lambda: mapping.get("k") is None and pings() > before + 5)
    # The thread says by when it wants to be woken at last: never.
    idle = threading.Event()
    turn = session_module.Session._turn

    def look(session: Any) -> float | None:
        left_s = turn(session)
        if left_s is None:
            idle.set()
        return left_s

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_module.Session, "_turn", look)
        assert idle.wait(100)
    wait_until(lambda: is_served(mapping, "k"))


def test_more_prefixes_than_a_connection_has(
    own_backend: Backend, own_elsewhere: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    mappings = [make(own_backend, name=f"d{number}") for number in range(100)]
    others = [make(own_elsewhere, near=None, name=f"d{number}") for number in range(100)]
    wait_until_on(*mappings)
    for mapping, other in zip(mappings, others, strict=True):
        other["k"] = "old"
        wait_until(lambda: mapping.get("k") == "old")  # noqa: B023
    for mapping, other in zip(mappings, others, strict=True):
        other["k"] = "new"
        wait_until(lambda: mapping.get("k") == "new")  # noqa: B023
