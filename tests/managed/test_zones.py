"""Replicas in the availability zone of this process are read, on servers that announce theirs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from redisdict import ConfigurationError, PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections import observation, zones
from redisdict.connections.backend import Backend
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from tests.backends.failover import fail_over, mend, switches_of
from tests.conftest import program_for_tests
from tests.logs import logged_by
from tests.mapping.conftest import Face
from tests.waiting import wait_until

Topology = ClusterTopology | SentinelTopology

ITEMS = {str(number): number for number in range(40)}

#: A node that hangs is given up early; the patient backend writes.
HASTY = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}


def zones_of(topology: Topology) -> dict[int, str]:
    """The zone of each server: c for primaries, a and b for one replica each of every primary."""
    count = len(topology.replicas) // 2
    primaries = topology.primaries if isinstance(topology, ClusterTopology) else [topology.primary]
    return {
        **{server.port: "c" for server in primaries},
        **{server.port: "a" for server in topology.replicas[:count]},
        **{server.port: "b" for server in topology.replicas[count:]},
    }


def announce(server: ServerProcess, zone: str) -> None:
    with server.client() as client:
        client.config_set("availability-zone", zone)


def servers_of(topology: Topology) -> list[ServerProcess]:
    ports = zones_of(topology)
    return [member for member in topology.members if member.port in ports]


def server_in(topology: Topology, zone: str) -> ServerProcess:
    """The first server in a zone."""
    found = zones_of(topology)
    return next(server for server in servers_of(topology) if found[server.port] == zone)


@pytest.fixture(scope="module")
def in_cluster() -> Iterator[ClusterTopology]:
    """Two primaries with two replicas each. A node that hangs or is down isn't left out soon."""
    program = program_for_tests("valkey")
    with ClusterTopology(program, primaries=2, replicas_each=2, node_timeout_ms=100_000) as made:
        yield made


@pytest.fixture(scope="module")
def behind_sentinels() -> Iterator[SentinelTopology]:
    program = program_for_tests("valkey")
    with SentinelTopology(program, sentinels=1, down_after_ms=100_000) as made:
        yield made


@pytest.fixture(params=["cluster", "sentinel"])
def topology(request: pytest.FixtureRequest) -> Topology:
    name = "in_cluster" if request.param == "cluster" else "behind_sentinels"
    made: Topology = request.getfixturevalue(name)
    for server in servers_of(made):
        announce(server, zones_of(made)[server.port])
    return made


@pytest.fixture
def stored(topology: Topology, open_backend: Callable[..., Backend]) -> Iterator[None]:
    """The items are on all replicas; a writer without zones wrote them."""
    d: PersistentDict[str, int] = PersistentDict(
        "d", open_backend(topology.location, DURABLE="replicas"), shards=8
    )
    d.set_many(ITEMS)
    wait_until(lambda: all(map(is_in_step, servers_of(topology))))
    yield
    d.clear()


def is_in_step(server: ServerProcess) -> bool:
    with server.client() as client:
        info: Any = client.info("replication")
    return info["role"] == "master" or (
        info["master_link_status"] == "up" and not info["master_sync_in_progress"]
    )


class Reader:
    """A dict that is read, and which servers were asked for it.

    Args:
        runner: of tasks; None reads in this thread.
    """

    def __init__(self, topology: Topology, backend: Backend, runner: asyncio.Runner | None) -> None:
        self.topology = topology
        self.backend = backend
        self.face = Face(PersistentDict("d", backend, shards=8), runner)
        #: The number of shards, which is asked for once.
        self.face.get("0")

    def zones(self) -> set[str]:
        """The zones of the servers that a read of everything, by one and together, is sent to."""
        before = self._counts()
        assert [self.face.get(key) for key in ITEMS] == [*ITEMS.values()]
        assert self.face.get_many(ITEMS) == ITEMS
        after = self._counts()
        found = zones_of(self.topology)
        return {found[port] for port in after if after[port] > before.get(port, 0)}

    def _counts(self) -> dict[int, int]:
        counts = {}
        for server in servers_of(self.topology):
            with suppress(Exception), server.client() as client:
                counts[server.port] = calls(client, "hget", "hmget")
        return counts


def calls(client: Any, *names: str) -> int:
    stats: Any = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names)


@pytest.fixture
def reader(
    topology: Topology,
    stored: None,
    open_backend: Callable[..., Backend],
    runner: asyncio.Runner | None,
) -> Iterator[Callable[..., Reader]]:
    """Makes a reader of a zone, with further options."""
    made: list[Reader] = []

    def make(zone: Any, location: str = topology.location, **options: Any) -> Reader:
        given = {"read_from_replicas": True, "availability_zone": zone, **options}
        made.append(Reader(topology, open_backend(location, OPTIONS=given), runner))
        return made[-1]

    yield make
    if runner is not None:
        for each in made:
            runner.run(each.backend.aclose())


@pytest.mark.parametrize("zone", ["a", "b", "c"])
def test_servers_in_the_zone_are_read(reader: Callable[..., Reader], zone: str) -> None:
    """In c there are primaries alone."""
    assert reader(zone).zones() == {zone}


def test_without_a_server_in_the_zone_replicas_are_read(reader: Callable[..., Reader]) -> None:
    read = reader("elsewhere").zones()
    assert read
    assert read <= {"a", "b"}


def test_servers_that_announce_no_zone(topology: Topology, reader: Callable[..., Reader]) -> None:
    for server in servers_of(topology):
        announce(server, "")
    read = reader("a").zones()
    assert read
    assert read <= {"a", "b"}


def test_one_server_announces_no_zone(topology: Topology, reader: Callable[..., Reader]) -> None:
    announce(server_in(topology, "b"), "")
    assert reader("a").zones() == {"a"}


def test_changes_go_to_the_primary(topology: Topology, reader: Callable[..., Reader]) -> None:
    face = reader("a").face
    face.set("0", 100)
    assert face.incr("0") == 101
    assert face.transform("0", lambda value: value - 101) == 0
    assert {**face.copy()} == ITEMS


def test_a_zone_that_a_function_finds(
    reader: Callable[..., Reader], runner: asyncio.Runner | None
) -> None:
    threads = []

    def find() -> str:
        threads.append(threading.current_thread())
        return "b"

    one = reader(find)
    assert one.zones() == {"b"}
    [thread] = threads
    # A loop goes on while a thread waits for the cloud's metadata service.
    assert (thread is threading.main_thread()) is (runner is None)


def test_a_function_that_fails(
    reader: Callable[..., Reader], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> str:
        raise OSError("no metadata service")

    with caplog.at_level(logging.WARNING, "redisdict"):
        assert reader(fail).zones() <= {"a", "b"}
    assert [record.levelname for record in logged_by(caplog, "zones")] == ["WARNING"]


@pytest.fixture
def exchanges() -> Iterator[list[tuple[str, str]]]:
    """The address of every server that was sent a request, and its first word."""
    seen: list[tuple[str, str]] = []

    def observe(exchange: Any) -> None:
        request = exchange.request
        [first, *_] = getattr(request, "commands", (request,))
        seen.append((exchange.server.address, bytes(first[0]).decode()))

    observation.add_observer(observe)
    yield seen
    observation.remove_observer(observe)


def count_info(exchanges: list[tuple[str, str]], server: ServerProcess) -> int:
    return sum(
        name == "INFO" and address.endswith(f":{server.port}/0") for address, name in exchanges
    )


def test_each_server_is_asked_once(
    topology: Topology, reader: Callable[..., Reader], exchanges: list[tuple[str, str]]
) -> None:
    exchanges.clear()
    one = reader("a")
    for _ in range(3):
        one.zones()
        learn_anew(one)
    assert [count_info(exchanges, server) for server in servers_of(topology)] == [1] * len(
        zones_of(topology)
    )


def learn_anew(reader: Reader) -> None:
    replicas = reader.backend._replicas
    assert replicas is not None
    group: Any = replicas._group
    group._by_slot, group._chosen = {}, None


def test_without_the_option_none_is_asked(
    topology: Topology, stored: None, open_backend: Callable[..., Backend],
    exchanges: list[tuple[str, str]], runner: asyncio.Runner | None,
) -> None:  # fmt: skip
    exchanges.clear()
    backend = open_backend(topology.location, OPTIONS={"read_from_replicas": True})
    assert Reader(topology, backend, runner).zones() <= {"a", "b"}
    if runner is not None:
        runner.run(backend.aclose())
    assert "INFO" not in {name for _, name in exchanges}


def test_a_user_who_may_not_send_info(topology: Topology, reader: Callable[..., Reader]) -> None:
    for server in servers_of(topology):
        with server.client() as client:
            rules = ("on", ">pass", "~*", "&*", "+@all", "-info")
            client.execute_command("ACL", "SETUSER", "limited", *rules)
    location = topology.location.replace("://", "://limited:pass@")
    read = reader("c", location).zones()
    assert read
    assert read <= {"a", "b"}  # not known to be in c, the primaries aren't preferred


@pytest.mark.each_value_once("topology")
@pytest.mark.parametrize("zone", ["a", "b"], ids=["in the zone", "in another"])
def test_a_server_that_hangs_from_the_beginning(
    topology: Topology,
    reader: Callable[..., Reader],
    exchanges: list[tuple[str, str]],
    zone: str,
) -> None:
    """It is asked once; what others are read for goes on without it."""
    hung = server_in(topology, zone)
    os.kill(hung.pid, signal.SIGSTOP)
    try:
        exchanges.clear()
        one = reader("a", **HASTY)
        for _ in range(3):
            assert one.face.get_many(ITEMS) == ITEMS
            learn_anew(one)
        assert one.face.get_many(ITEMS) == ITEMS
    finally:
        os.kill(hung.pid, signal.SIGCONT)
    assert count_info(exchanges, hung) == 1
    names = [name for address, name in exchanges if address.endswith(f":{hung.port}/0")]
    assert {*names} <= {"INFO", "CLUSTER"}


@pytest.mark.each_value_once("topology")
def test_a_replica_that_is_lost_and_comes_back(
    topology: Topology,
    reader: Callable[..., Reader],
    exchanges: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = reader("a")
    assert one.zones() == {"a"}
    lost = server_in(topology, "a")
    lost.kill()
    try:
        assert one.face.get_many(ITEMS) == ITEMS
        exchanges.clear()
        assert one.zones() <= {"a", "b"}
        assert not [name for address, name in exchanges if address.endswith(f":{lost.port}/0")]
    finally:
        lost.start()
    announce(lost, "a")  # it may not have its copy yet: then it isn't read
    wait_until_read_again(one, "a", monkeypatch)


@pytest.mark.parametrize("topology", ["cluster"], indirect=True)
def test_the_primary_in_the_zone_is_replaced(
    topology: ClusterTopology, reader: Callable[..., Reader]
) -> None:
    """A replica of another zone is promoted, and the former primary is a replica in this zone."""
    one = reader("c")
    assert one.zones() == {"c"}
    for zone in ("b", "c"):
        with server_in(topology, zone).client() as client:
            client.execute_command("CLUSTER", "FAILOVER")
            wait_until(partial(is_primary, client))
        wait_until(lambda: all(map(is_in_step, servers_of(topology))))
        assert one.zones() == {"c"}
        learn_anew(one)
        assert one.zones() == {"c"}


def is_primary(client: Any) -> bool:
    return bool(client.info("replication")["role"] == "master")


@pytest.mark.deep
def test_the_primary_in_the_zone_is_killed(
    open_backend: Callable[..., Backend],
    runner: asyncio.Runner | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reads go on before, during and after the failover; later the former primary is read again."""
    program = program_for_tests("valkey")
    with SentinelTopology(program, sentinels=1, down_after_ms=1000) as own:
        for server in servers_of(own):
            announce(server, zones_of(own)[server.port])
        writer: PersistentDict[str, int] = PersistentDict(
            "d", open_backend(own.location, DURABLE="replicas"), shards=8
        )
        writer.set_many(ITEMS)
        options = {"read_from_replicas": True, "availability_zone": "c"}
        one = Reader(own, open_backend(own.location, OPTIONS=options), runner)
        assert one.zones() == {"c"}
        with switches_of(own) as switches:
            lost = fail_over(own, "killed")
            assert one.zones() <= {"a", "b"}
            switches.wait_for(1)
            assert one.zones() <= {"a", "b"}
        mend(own, lost)
        wait_until(lambda: is_in_step(lost))
        announce(lost, "c")
        wait_until_read_again(one, "c", monkeypatch)
        if runner is not None:
            runner.run(one.backend.aclose())


def wait_until_read_again(reader: Reader, zone: str, patch: pytest.MonkeyPatch) -> None:
    """Put the clock forward for each read, until the others list the server that is back."""
    ahead_s = 0.0

    def is_read() -> bool:
        nonlocal ahead_s
        ahead_s += zones.LOOK_AGAIN_S
        return reader.zones() == {zone}

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead_s)
    patch.setattr(zones, "time", clock)
    wait_until(is_read)


@pytest.mark.parametrize(
    ("location", "options", "expected"),
    [
        ("redis://h", {}, r"availability_zone.*announce one another's addresses"),
        ("redis://h", {"read_from_replicas": "redis://r"}, r"availability_zone.*redis\+sentinel"),
        ("redis+cluster://h", {}, r'availability_zone.*set "read_from_replicas": True beside it'),
        ("redis+sentinel://h/m", {"read_from_replicas": False}, r"but none are read"),
        ("redis+cluster://h", {"availability_zone": 1}, r"is 1; the name of a zone is expected"),
        ("redis+cluster://h", {"availability_zone": ""}, r"is ''; the name of a zone is expected"),
        (
            "redis://h",
            {"availability_zone": None, "availability_zon": "a"},
            r"did you mean 'availability_zone'\?",
        ),
    ],
)
def test_wrong_options(location: str, options: dict[str, Any], expected: str) -> None:
    given = {"availability_zone": "a", **options}
    with pytest.raises(ConfigurationError, match=expected):
        Backend(parse_alias("test", {"LOCATION": location, "OPTIONS": given})).factory.verify()


def test_no_zone_is_as_if_the_option_were_left_out() -> None:
    options = {"read_from_replicas": True, "availability_zone": None}
    for location in ("redis+sentinel://h/m", "redis+cluster://h"):
        backend = Backend(parse_alias("test", {"LOCATION": location, "OPTIONS": options}))
        replicas = backend._replicas
        assert replicas is not None
        assert getattr(replicas._group, "_zones", None) is None
