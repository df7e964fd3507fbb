"""Writes that are waited for: what they ask of the server, and what is said when it can't."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from redisdict import (
    ConfigurationError,
    NoReplica,
    NotDurable,
    PersistentDict,
    ServerUnsupported,
)
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.connections.durability import Durability
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import Family
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from redisdict.wire.combinators import intercept
from redisdict.wire.requests import Batch, GuaranteeRefused, Operation, Sleep
from tests.backends.conftest import SERVERS
from tests.conftest import program_for_tests
from tests.mapping.feeding import feed
from tests.recorded import RecordedServer
from tests.waiting import wait_until

APPEND_ONLY = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture(scope="module")
def appending() -> Iterator[ServerProcess]:
    with ServerProcess(program_for_tests("valkey"), arguments=APPEND_ONLY) as server:
        yield server


@pytest.fixture
def connect(alias_for: Callable[..., dict[str, Any]]) -> Iterator[Callable[..., Backend]]:
    made: list[Backend] = []

    def make(url: str, **settings: Any) -> Backend:
        made.append(Backend(parse_alias("test", alias_for(url, **settings))))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


def calls_of(server: ServerProcess, command: str) -> int:
    with server.client() as client:
        stats: Any = client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))


@pytest.mark.parametrize("hset_enabled", [True, False], ids=["hash", "keys"])
def test_every_write_is_waited_for_and_no_read(
    appending: ServerProcess, connect: Callable[..., Backend], hset_enabled: bool
) -> None:
    d: PersistentDict[str, int] = PersistentDict(
        "d", connect(appending.url), hset_enabled=hset_enabled, durable="aof"
    )
    d["first"] = 0  # before it the server is asked whether it can
    writes: list[Callable[[], Any]] = [
        lambda: d.__setitem__("a", 1),
        lambda: d.incr("a"),
        lambda: d.set("b", 1, timeout=60),
        lambda: d.set_many({"a": 1, "c": 2}),
        lambda: d.delete("c"),
        lambda: d.compare_and_set("a", 1, 5),
        lambda: asyncio.run(d.aset("a", 6)),
    ]
    for write in writes:
        before = calls_of(appending, "waitaof")
        write()
        assert calls_of(appending, "waitaof") > before
    before = calls_of(appending, "waitaof")
    assert (d["a"], d.get("x"), len(d), d.ttl("first")) == (6, None, 3, None)
    if not hset_enabled:
        assert calls_of(appending, "waitaof") == before
    d.clear()


def test_a_child_and_the_alias_have_it_too(
    appending: ServerProcess, connect: Callable[..., Backend]
) -> None:
    backend = connect(appending.url, DURABLE="aof")
    for d in (PersistentDict("d", backend), PersistentDict("d", backend).child("c")):
        before = calls_of(appending, "waitaof")
        d["a"] = 1
        assert calls_of(appending, "waitaof") > before
        d.clear()


def test_many_tasks_wait_side_by_side(
    appending: ServerProcess, connect: Callable[..., Backend]
) -> None:
    backend = connect(appending.url)
    d: PersistentDict[str, int] = PersistentDict("many", backend, durable="aof")

    async def write() -> None:
        await asyncio.gather(*(d.aset(str(number), number) for number in range(200)))
        assert await d.alen() == 200
        await backend.aclose()

    asyncio.run(write())
    d.clear()


def test_a_server_without_an_append_only_file_is_refused_before_the_write(
    valkey_url: str, connect: Callable[..., Backend]
) -> None:
    d: PersistentDict[str, int] = PersistentDict("d", connect(valkey_url), durable="aof")
    with pytest.raises(
        ServerUnsupported, match=r"Valkey 9\..* start it with --appendonly yes\. Nothing was"
    ):
        d["a"] = 1
    assert "a" not in d


def test_a_server_without_waitaof_is_refused_before_the_write(
    redis_url: str, connect: Callable[..., Backend]
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        if b"waitaof" in client.command_list():
            pytest.skip("this Redis has WAITAOF, as those from 7.2 on have")
    d: PersistentDict[str, int] = PersistentDict("d", connect(redis_url), durable="aof")
    with pytest.raises(ServerUnsupported, match=r"Redis 7\.0\.\d+ has no WAITAOF"):
        d["a"] = 1
    assert "a" not in d


@pytest.fixture(params=["keydb-alone", "dragonfly-alone", "valkey"])
def alone_url(request: pytest.FixtureRequest, valkey_url: str) -> Iterator[str]:
    """A server without replicas."""
    if request.param == "valkey":
        yield valkey_url
        return
    with RecordedServer(*request.param.split("-")) as server:
        yield server.url


@pytest.mark.parametrize("hset_enabled", [True, False], ids=["hash", "keys"])
def test_without_a_replica_nothing_is_written(
    alone_url: str, connect: Callable[..., Backend], hset_enabled: bool
) -> None:
    backend = connect(alone_url)
    d: PersistentDict[str, int] = PersistentDict(
        "d", backend, hset_enabled=hset_enabled, durable="replicas"
    )
    plain: PersistentDict[str, int] = PersistentDict("d", backend, hset_enabled=hset_enabled)
    sharded: PersistentDict[str, int] = PersistentDict(
        "s", backend, hset_enabled=hset_enabled, durable="replicas", shards=4
    )
    plain["there"] = 1
    writes: list[Callable[[], Any]] = [
        lambda: d.__setitem__("a", 1),
        lambda: d.set("a", 1, timeout=60),
        lambda: d.set_many({str(number): number for number in range(5000)}),
        lambda: d.add("a", 1),
        lambda: d.incr("there"),
        lambda: d.pop("there"),
        lambda: d.compare_and_set("there", 1, 2),
        lambda: d.touch("there", 60),
        lambda: d.get_or_set("a", lambda: 1),
        lambda: d.delete_many(["there"]),
        lambda: d.clear(),
        lambda: d.lock().acquire(),
        lambda: sharded.set_many({"a": 1, "b": 2}),
        lambda: asyncio.run(d.aset("a", 1)),
        lambda: asyncio.run(d.aset_many({"a": 1, "b": 2})),
        lambda: asyncio.run(d.aincr("there")),
        lambda: asyncio.run(sharded.aset_many({"a": 1, "b": 2})),
    ]
    for write in writes:
        with pytest.raises(NoReplica, match=r"no replica is connected.* Nothing was w") as caught:
            write()
        assert isinstance(caught.value, ServerUnsupported)
        assert not caught.value.outcome_unknown
    assert (plain, d.ttl("there")) == ({"there": 1}, None)
    assert backend.pool()._available_connections
    plain.clear()


def test_a_replica_that_is_lost_is_noticed_by_all_connections(
    connect: Callable[..., Backend],
) -> None:
    program = program_for_tests("valkey")
    with ServerProcess(program, listen="tcp") as primary, ExitStack() as stack:
        follow = ("--replicaof", f"127.0.0.1 {primary.port}", "--repl-diskless-sync-delay", "0")
        replica = stack.enter_context(ServerProcess(program, listen="tcp", arguments=follow))
        backend = connect(primary.url)
        d: PersistentDict[str, int] = PersistentDict("d", backend, durable="replicas")
        patient = connect(primary.url, RETRY_FOR=60)
        # No write is made before the replica is there, and then it is.
        PersistentDict("d", patient, durable="replicas")["first"] = 1
        with asyncio.Runner() as runner:
            runner.run(d.aset("a", 0))
            d["a"] = 1
            before = calls_of(primary, "info")
            d["a"] = 1
            assert calls_of(primary, "info") == before + 2  # that of `calls_of` is one
            replica.kill()
            with primary.client() as client:
                wait_until(lambda: not client.info("replication")["connected_slaves"])
            with pytest.raises(NotDurable, match=r"no replica was connected any more\.") as caught:
                d["a"] = 2
            assert caught.value.outcome_unknown
            assert d["a"] == 2
            with pytest.raises(NoReplica):
                runner.run(d.aset("a", 3))
            with pytest.raises(NoReplica):
                d["a"] = 3
            assert d["a"] == 2
            replica.start()
            PersistentDict("d", patient, durable="replicas")["a"] = 4
            d["a"] = 5


#: What makes a replica of each kind begin at once, and KeyDB's take writes as well.
FOLLOWING = {
    "redis": ("--repl-diskless-sync-delay", "0"),
    "valkey": ("--repl-diskless-sync-delay", "0"),
    "keydb": ("--repl-diskless-sync-delay", "0", "--active-replica", "yes"),
    "dragonfly": (),
}
HERE = [name for name in FOLLOWING if name in ("redis", "valkey") or name in SERVERS]


@pytest.mark.parametrize("family", HERE)
def test_a_replica_of_each_kind(connect: Callable[..., Backend], family: Family) -> None:
    program = program_for_tests(family)
    servers = [ServerProcess(program, listen="tcp", arguments=FOLLOWING[family]) for _ in range(2)]
    with servers[0] as primary, servers[1] as replica, ExitStack() as stack:
        with replica.client(timeout_s=20) as client:
            client.replicaof("127.0.0.1", primary.port)
        if family == "keydb":
            with primary.client(timeout_s=20) as client:
                client.replicaof("127.0.0.1", replica.port)
        backend = connect(primary.url, RETRY_FOR=60)
        d: PersistentDict[str, int] = PersistentDict("d", backend, durable="replicas")
        copy: PersistentDict[str, int] = PersistentDict("d", connect(replica.url))
        with asyncio.Runner() as runner:
            for number in range(20):
                d["a"] = number
                assert copy["a"] == number
                runner.run(d.aset("b", number))
                assert copy["b"] == number
            d.update({str(number): number for number in range(3000)})
            assert len(copy) == 3002
            runner.run(backend.aclose())
        replica.kill()
        client = stack.enter_context(primary.client())
        wait_until(lambda: not client.info("replication")["connected_slaves"])
        other: PersistentDict[str, int] = PersistentDict(
            "d", connect(primary.url), durable="replicas"
        )
        with pytest.raises(NoReplica):
            other["a"] = 21
        assert other["a"] == 19
        with pytest.raises(NotDurable, match="no replica"):
            d["a"] = 20
        assert other["a"] == 20


def test_an_append_only_file_that_is_turned_off(connect: Callable[..., Backend]) -> None:
    with ServerProcess(program_for_tests("valkey"), arguments=APPEND_ONLY) as server:
        backend = connect(server.url)
        d: PersistentDict[str, int] = PersistentDict("d", backend, durable="aof")
        d["a"] = 1
        with server.client() as client:
            client.config_set("appendonly", "no")
        with pytest.raises(NotDurable, match=r"but WAITAOF was refused \(.*appendonly"):
            d["a"] = 2
        for write in (lambda: d.set("a", 3), lambda: asyncio.run(d.aset("a", 3))):
            with pytest.raises(ServerUnsupported, match="Nothing was written"):
                write()
        assert d["a"] == 2
        with server.client() as client:
            client.config_set("appendonly", "yes")
        d["a"] = 4


@pytest.mark.parametrize("durable", ["aof", "replicas"])
def test_every_node_of_a_cluster_is_asked(connect: Callable[..., Backend], durable: str) -> None:
    program = program_for_tests("valkey")
    with ClusterTopology(program) as topology, ExitStack() as stack:
        able = topology.members[0]
        with able.client() as client:
            if durable == "aof":
                client.config_set("appendonly", "yes")
            else:
                replica = stack.enter_context(
                    ServerProcess(
                        program,
                        listen="tcp",
                        arguments=(
                            *("--replicaof", f"127.0.0.1 {able.port}"),
                            *("--repl-diskless-sync-delay", "0"),
                        ),
                    )
                )
                assert replica.is_running
                wait_until(lambda: _is_online(client, 0))
        backend = connect(topology.location, RETRY_FOR=0)
        sharded: PersistentDict[str, int] = PersistentDict("s", backend, durable=durable, shards=64)
        plain: PersistentDict[str, int] = PersistentDict("s", backend, shards=64)
        plain["first"] = 1  # stores the number of shards, too
        plain.clear()
        assert sharded == {}  # and now it is known
        items = {str(number): number for number in range(100)}
        for write in (
            lambda: sharded.set_many(items),
            lambda: asyncio.run(sharded.aset_many(items)),
        ):
            with pytest.raises(ServerUnsupported, match="Nothing was written") as caught:
                write()
            assert f"127.0.0.1:{able.port}/" not in str(caught.value)
            assert plain == {}
        written = refused = 0
        for key in items:
            try:
                sharded[key] = 1
                written += 1
            except ServerUnsupported:
                refused += 1
        assert written
        assert refused
        assert len(plain) == written


def test_replicas_are_counted_where_role_has_no_list_of_them(
    connect: Callable[..., Backend],
) -> None:
    with RecordedServer("keydb", "active-replica") as keydb:
        d: PersistentDict[str, int] = PersistentDict("d", connect(keydb.url), durable="replicas")
        d["a"] = 1
        d["a"] = 2
        asyncio.run(d.aset("a", 3))
        waits = [call[1] for call in keydb.calls if call[0] == "WAIT"]
    assert waits == ["0", "1", "1", "0", "1"]


def test_a_server_that_looks_seldom_is_asked_often(connect: Callable[..., Backend]) -> None:
    with RecordedServer("dragonfly", "replica") as dragonfly:
        backend = connect(dragonfly.url)
        d: PersistentDict[str, int] = PersistentDict("d", backend, durable="replicas")
        d["a"] = 1
        first = [call for call in dragonfly.calls if call[0] == "WAIT"]
        asyncio.run(d.aset("a", 1))
        second = [call for call in dragonfly.calls if call[0] == "WAIT"][len(first) :]
    # Its replica's answer has not come yet when it was recorded, and has at the longer wait.
    assert first[1:-1] == [("WAIT", "0", "1")] * (len(first) - 2)
    assert len(first) > 5
    assert first[-1] == ("WAIT", "1", "2500")
    assert second == first


def test_that_all_have_it_can_be_told_at_once() -> None:
    wait = Durability("replicas", "redis://h:6379/0", 5)._wait
    two = b"role:master\r\nconnected_slaves:2\r\n" + b"".join(
        b"slave%d:ip=127.0.0.1,port=%d,state=%b,lag=1\r\n" % (number, 7000 + number, state)
        for number, state in enumerate([b"online", b"stable_sync", b"full_sync"])
    )
    asked, reason = feed(wait.after(two), 1, None, 2)
    assert [request for request in asked if isinstance(request, tuple)] == [(b"WAIT", 0, 1)] * 2
    assert reason == ""
    hidden = b"role:master\r\nconnected_slaves:3\r\n"
    assert feed(wait.after(hidden), 3)[1] == ""
    assert feed(wait.before("redis://h"), hidden, 0)[1] is True
    assert feed(wait.before("redis://h"), b"role:slave\r\nconnected_slaves:0\r\n")[1] is False


def guarded(durability: Durability, operation: Operation[Any]) -> Operation[Any]:
    return intercept(operation, durability.intercept().answer)


def test_what_was_written_before_it_was_refused_is_told() -> None:
    durability = Durability("replicas", "redis://h:6379/0", 5, retry_for_s=60)

    def write_twice() -> Operation[Any]:
        yield (b"SET", b"a", b"1")
        yield (b"SET", b"b", b"1")

    refusal = GuaranteeRefused("no replica", is_for_now=True)
    again = (None, (["OK"], ""))
    asked, _ = feed(guarded(durability, write_twice()), refusal, *again, refusal, *again)
    assert [type(request) for request in asked] == [Batch, Sleep, Batch] * 2
    durability = Durability("replicas", "redis://h:6379/0", 5)
    with pytest.raises(NoReplica, match=r"no replica\. What .* before is safe; the rest was not w"):
        feed(guarded(durability, write_twice()), (["OK"], ""), refusal)
    refusal.is_partial = True
    with pytest.raises(NotDurable, match="not on all servers that it was meant for: no replica"):
        feed(guarded(durability, write_twice()), refusal)


def test_a_replica_has_it(sentinel: SentinelTopology, connect: Callable[..., Backend]) -> None:
    d: PersistentDict[str, int] = PersistentDict(
        "d", connect(sentinel.location), durable="replicas"
    )
    d.update(a=1, b=2)
    with sentinel.primary.client() as client:
        wait_until(lambda: client.wait(1, 1000) >= 1)
    assert d == {"a": 1, "b": 2}
    d.clear()


def test_all_connected_replicas_have_it(connect: Callable[..., Backend]) -> None:
    program = program_for_tests("valkey")
    with ServerProcess(program, listen="tcp") as primary, ExitStack() as stack:
        follow = ("--replicaof", f"127.0.0.1 {primary.port}", "--repl-diskless-sync-delay", "0")
        replicas = [
            stack.enter_context(ServerProcess(program, listen="tcp", arguments=follow))
            for _ in range(2)
        ]
        with primary.client() as client:
            wait_until(lambda: all(_is_online(client, number) for number in range(2)))
            client.set(b"first", b"")
            # A new replica speaks up once a second.
            wait_until(lambda: client.wait(2, 1000) == 2)
        backend = connect(primary.url, OPTIONS={"socket_timeout": 1})
        d: PersistentDict[str, int] = PersistentDict("d", backend, durable="replicas")
        patient: PersistentDict[str, int] = PersistentDict(
            "d", connect(primary.url), durable="replicas"
        )
        patient["a"] = 1
        os.kill(replicas[1].pid, signal.SIGSTOP)
        try:
            with pytest.raises(
                NotDurable, match=r"not all of its replicas \(2\) had it within 0\.5 s"
            ):
                d["a"] = 2
            with pytest.raises(NotDurable, match="not all of its replicas"):
                asyncio.run(d.aincr("a"))
        finally:
            os.kill(replicas[1].pid, signal.SIGCONT)
        assert patient.incr("a") == 4
        replicas[1].kill()
        patient["a"] = 5  # one that is gone isn't waited for


def _is_online(primary: Any, number: int) -> bool:
    state = primary.info("replication").get(f"slave{number}", {}).get("state")
    return bool(state == "online")


def test_a_wrong_word_is_named(alias_for: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(ConfigurationError, match="durable is 'disk'; \"aof\""):
        PersistentDict("d", durable="disk")
    with pytest.raises(ConfigurationError, match=r'REDISDICT\["test"\]\["DURABLE"\] is True'):
        parse_alias("test", alias_for("redis://localhost", DURABLE=True))
