"""Writes that are waited for: what they ask of the server, and what is said when it can't."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from redisdict import ConfigurationError, NotDurable, PersistentDict, ServerUnsupported
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import SentinelTopology
from tests.conftest import program_for_tests

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
    d: PersistentDict[str, int] = PersistentDict("d", connect(redis_url), durable="aof")
    with pytest.raises(ServerUnsupported, match=r"Redis 7\.0\.\d+ has no WAITAOF"):
        d["a"] = 1
    assert "a" not in d


def test_a_write_that_no_replica_has_raises_and_is_there(
    valkey_url: str, connect: Callable[..., Backend]
) -> None:
    backend = connect(valkey_url, OPTIONS={"socket_timeout": 0.5})
    d: PersistentDict[str, int] = PersistentDict("d", backend, durable="replicas")
    with pytest.raises(NotDurable, match=r"but no replica had it within 0\.25 s") as caught:
        d["a"] = 1
    assert caught.value.outcome_unknown
    assert d["a"] == 1
    with pytest.raises(NotDurable):
        asyncio.run(d.aincr("a"))
    assert d["a"] == 2
    assert backend.pool()._available_connections  # type: ignore[attr-defined]  # still of use
    PersistentDict("d", backend).clear()


def test_a_replica_has_it(sentinel: SentinelTopology, connect: Callable[..., Backend]) -> None:
    d: PersistentDict[str, int] = PersistentDict(
        "d", connect(sentinel.location), durable="replicas"
    )
    d.update(a=1, b=2)
    with sentinel.primary.client() as client:
        assert client.wait(1, 1000) >= 1
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
            while not all(_is_online(client, number) for number in range(2)):
                time.sleep(0.05)
            client.set(b"first", b"")
            assert client.wait(2, 5000) == 2  # a new replica speaks up once a second
        backend = connect(primary.url, OPTIONS={"socket_timeout": 1})
        d: PersistentDict[str, int] = PersistentDict("d", backend, durable="replicas")
        d["a"] = 1
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
        assert d.incr("a") == 4
        replicas[1].kill()
        d["a"] = 5  # one that is gone isn't waited for


def _is_online(primary: Any, number: int) -> bool:
    state = primary.info("replication").get(f"slave{number}", {}).get("state")
    return bool(state == "online")


def test_a_wrong_word_is_named(alias_for: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(ConfigurationError, match="durable is 'disk'; \"aof\""):
        PersistentDict("d", durable="disk")
    with pytest.raises(ConfigurationError, match=r'REDISDICT\["test"\]\["DURABLE"\] is True'):
        parse_alias("test", alias_for("redis://localhost", DURABLE=True))
