"""Nodes of a Cluster that announce themselves by names that lead nowhere from here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from redisdict import BackendUnavailable, ConfigurationError, PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.announced import AddressBook
from redisdict.connections.backend import Backend
from redisdict.connections.locations import Address
from redisdict.mapping.catalog import find_dicts
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from tests.backends.test_cluster import move_slot, node_of
from tests.conftest import program_for_tests
from tests.managed.service import managed_service
from tests.near.conftest import is_served, make, settle, wait_until_on
from tests.waiting import wait_until

SUFFIX = ".inner.invalid"


@pytest.fixture(scope="module")
def hidden() -> Iterator[ClusterTopology]:
    """Each node announces a name of its own that nobody can resolve, to clients alone."""
    program = program_for_tests("valkey")
    with ClusterTopology(program, replicas_each=1) as topology:
        for member in topology.members:
            with member.client() as client:
                client.config_set("cluster-announce-hostname", f"node{member.port}{SUFFIX}")
                client.config_set("cluster-preferred-endpoint-type", "hostname")
        for member in topology.members:
            with member.client() as client:
                wait_until(partial(knows_all_names, client, topology))
        yield topology


def knows_all_names(client: Any, topology: ClusterTopology) -> bool:
    client.response_callbacks.clear()
    slots = client.execute_command("CLUSTER", "SLOTS")
    nodes = [node for _, _, *nodes in slots for node in nodes]
    return len(nodes) == len(topology.members) and all(
        node[0] == f"node{node[1]}{SUFFIX}".encode() for node in nodes
    )


def outer(announced: Address) -> Address:
    host, port = announced
    if host == "127.0.0.1":
        return announced
    assert host == f"node{port}{SUFFIX}"
    return "127.0.0.1", port


REMAP = {"address_remap": outer}


def test_without_a_remap_they_lead_nowhere(
    hidden: ClusterTopology, open_backend: Callable[..., Backend]
) -> None:
    backend = open_backend(hidden.location, RETRY_FOR=0)
    mapping: PersistentDict[str, int] = PersistentDict("d", backend, shards=8)
    with pytest.raises(BackendUnavailable, match="is unavailable"):
        mapping.set_many({str(number): number for number in range(100)})


@pytest.mark.parametrize(
    "remap", [outer, "tests.managed.test_addresses.outer"], ids=["function", "dotted path"]
)
def test_dicts_scans_and_clients(
    hidden: ClusterTopology, open_backend: Callable[..., Backend], key_prefix: str, remap: Any
) -> None:
    options = {"address_remap": remap, "dynamic_startup_nodes": False}
    backend = open_backend(hidden.location, OPTIONS=options)
    mapping: PersistentDict[str, int] = PersistentDict("d", backend, shards=8)
    items = {str(number): number for number in range(300)}
    mapping.set_many(items)
    assert mapping.copy() == items
    assert mapping.delete_many(["1", "2"]) == 2
    cluster = backend.cluster
    assert cluster is not None
    assert len({node.address for node in cluster.nodes}) == len(hidden.primaries)
    found, cursor = [], b""
    while cursor != b"0":
        page = backend.driver.run(find_dicts(key_prefix, cursor or b"0"))
        found += [one.path for one in page.dicts]
        cursor = page.cursor
    assert set(found) == {("d",)}
    client: Any = backend.client()
    client.set(key_prefix, b"v")

    async def in_tasks() -> None:
        assert await mapping.acopy() == mapping.copy()
        assert len(await mapping.aget_many(items)) == 298
        assert await backend.async_client().get(key_prefix) == b"v"
        await mapping.aclear()
        await backend.aclose()

    asyncio.run(in_tasks())
    client.delete(key_prefix)


def test_redirections_are_followed(
    hidden: ClusterTopology, open_backend: Callable[..., Backend]
) -> None:
    from redis.crc import key_slot

    backend = open_backend(hidden.location, OPTIONS=REMAP)
    mapping: PersistentDict[str, int] = PersistentDict("moved", backend)
    mapping["n"] = 1
    before = node_of(hidden, key_slot(b"moved"))
    move_slot(hidden, key_slot(b"moved"))
    assert mapping.incr("n") == 2
    assert node_of(hidden, key_slot(b"moved")) is not before
    assert asyncio.run(_incr(backend, mapping)) == 3


async def _incr(backend: Backend, mapping: Any) -> int:
    total = int(await mapping.aincr("n"))
    await backend.aclose()
    return total


def test_near(hidden: ClusterTopology, open_backend: Callable[..., Backend]) -> None:
    backend, elsewhere = (open_backend(hidden.location, OPTIONS=REMAP) for _ in range(2))
    mapping, other = make(backend), make(elsewhere, near=None)
    mapping["a"] = 1
    wait_until_on(mapping)
    settle(mapping)
    assert mapping["a"] == 1
    assert is_served(mapping, "a")
    other["a"] = 2
    wait_until(lambda: mapping["a"] == 2)


@pytest.mark.parametrize("hset_enabled", [True, False], ids=["hash", "keys"])
def test_replicas(
    hidden: ClusterTopology,
    open_backend: Callable[..., Backend],
    hset_enabled: bool,
) -> None:
    """Reads go to replicas, writes to primaries; what was read for a write comes from there."""
    options = {**REMAP, "read_from_replicas": True}
    backend = open_backend(hidden.location, OPTIONS=options, DURABLE="replicas")
    mapping: PersistentDict[str, int] = PersistentDict("d", backend, hset_enabled, shards=8)
    items = {str(number): number for number in range(100)}
    mapping.set_many(items)
    replicas = backend._replicas
    assert replicas is not None

    def count_reads() -> dict[int, int]:
        counts = {}
        for member in hidden.members:
            with member.client() as client:
                stats: Any = client.info("commandstats")
                names = ("hget", "hmget", "hlen", "get", "mget")
                counts[member.port] = sum(
                    stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names
                )
        return counts

    before = count_reads()
    assert mapping.get_many(items) == items
    assert mapping["7"] == 7

    async def in_tasks() -> None:
        assert await mapping.aget_many(items) == items
        assert await mapping.aget("7") == 7
        await backend.aclose()

    asyncio.run(in_tasks())
    after = count_reads()
    read = {port for port in after if after[port] > before[port]}
    # The number of shards is asked for once, and by which node doesn't matter.
    assert len(read & {node.port for node in hidden.replicas}) >= 2
    assert mapping.transform("7", lambda value: value + 1) == 8
    assert mapping.ttl("7") is None
    mapping.clear()


def test_without_replicas_the_primaries_are_read(
    cluster: ClusterTopology, open_backend: Callable[..., Backend]
) -> None:
    backend = open_backend(cluster.location, OPTIONS={"read_from_replicas": True})
    mapping: PersistentDict[str, int] = PersistentDict("d", backend, shards=4)
    mapping["a"] = 1
    assert mapping["a"] == 1
    assert mapping.get_many(["a", "b"]) == {"a": 1}
    with pytest.raises(KeyError):
        mapping["b"]
    mapping.clear()


def test_a_reader_endpoint(
    redis_server: ServerProcess, open_backend: Callable[..., Backend]
) -> None:
    with managed_service(redis_server.port) as reader, managed_service(redis_server.port) as writer:
        backend = open_backend(writer.url, OPTIONS={"read_from_replicas": reader.url})
        mapping: PersistentDict[str, int] = PersistentDict("d", backend)
        mapping["a"] = 1
        assert mapping["a"] == 1
        assert "HGET" in reader.names
        assert "HSET" in writer.names
        assert not {"HGET", "HSET"} <= {*reader.names} | ({*writer.names} - {"HSET"})
    mapping_alone: PersistentDict[str, int] = PersistentDict("d", open_backend(redis_server.url))
    mapping_alone.clear()


def test_a_reader_endpoint_that_is_down(
    redis_server: ServerProcess, open_backend: Callable[..., Backend]
) -> None:
    backend = open_backend(
        redis_server.url, OPTIONS={"read_from_replicas": "redis://127.0.0.1:1/0"}
    )
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    mapping["a"] = 1
    assert mapping["a"] == 1
    mapping.clear()


@pytest.mark.parametrize("remembers", [True, False])
def test_who_is_asked_where_the_slots_are(
    cluster: ClusterTopology, open_backend: Callable[..., Backend], remembers: bool
) -> None:
    """A name that leads to any node is asked anew, and not nodes that may be gone."""
    with managed_service(cluster.primaries[0].port) as service:
        location = f"redis+cluster://{service.host}:{service.port}"
        options = {} if remembers else {"dynamic_startup_nodes": False}
        backend = open_backend(location, OPTIONS=options)
        mapping: PersistentDict[str, int] = PersistentDict("d", backend, shards=8)
        mapping.set_many({str(number): number for number in range(50)})
        found = backend.cluster
        assert found is not None
        found._by_slot = {}
        asked = service.names.count("CLUSTER")
        mapping.clear()
        # The first node that is known is the location's own.
        assert service.names.count("CLUSTER") >= asked
        found._nodes = {key: found._nodes[key] for key in sorted(found._nodes, reverse=True)}
        found._nodes.pop((service.host, service.port), None)
        found._by_slot = {}
        asked = service.names.count("CLUSTER")
        assert mapping.get("a") is None
        assert (service.names.count("CLUSTER") == asked) is remembers


def test_sentinels(sentinel: SentinelTopology, open_backend: Callable[..., Backend]) -> None:
    asked: list[Address] = []

    def remap(announced: Address) -> Address:
        asked.append(announced)
        return announced

    options = {"address_remap": remap, "read_from_replicas": True}
    backend = open_backend(sentinel.location, OPTIONS=options)
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    mapping["n"] = 1
    wait_until(lambda: mapping.get("n") == 1)
    assert asyncio.run(_incr(backend, mapping)) == 2
    ports = {port for _, port in asked}
    assert sentinel.primary.port in ports
    assert len(ports) > 1  # a replica's, too
    mapping.clear()


@pytest.mark.parametrize(
    ("location", "options", "expected"),
    [
        ("redis://h", {"address_remap": outer}, r"address_remap.*announce one another's addresses"),
        ("redis://h", {"dynamic_startup_nodes": True}, r"dynamic_startup_nodes.*redis\+cluster"),
        ("redis+sentinel://h/m", {"dynamic_startup_nodes": False}, r"dynamic_startup_nodes"),
        ("redis+cluster://h", {"dynamic_startup_nodes": 1}, r"is 1; True or False"),
        ("redis+cluster://h", {"address_remap": 1}, r"is 1; a function from \(host, port\)"),
        ("redis+cluster://h", {"address_remap": "no.such"}, r"no\.such.*can't be imported"),
        ("redis+cluster://h", {"read_from_replicas": "redis://r"}, r"goes with a redis://"),
        ("redis://h", {"read_from_replicas": "redis+cluster://r"}, r"goes with a redis://"),
        ("redis://h", {"read_from_replicas": 1}, r"True, False or the location"),
        ("redis://h", {"read_from_replicas": True}, r"neither behind sentinels nor a Cluster"),
        ("redis://h", {"read_from_replicas": "nonsense"}, r"read_from_replicas.*no scheme"),
    ],
)
def test_wrong_options(location: str, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        Backend(parse_alias("test", {"LOCATION": location, "OPTIONS": options}))


def test_a_remap_that_gives_nonsense(
    cluster: ClusterTopology, open_backend: Callable[..., Backend]
) -> None:
    backend = open_backend(cluster.location, OPTIONS={"address_remap": lambda _: "h:1"})
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    with pytest.raises(ConfigurationError, match=r"address_remap.*gives 'h:1'.*host and port"):
        mapping.get("a")


@pytest.mark.parametrize(
    ("node", "prefers_names", "expected"),
    [
        ([b"10.0.0.1", 7, b"id"], True, ("10.0.0.1", 7)),
        ([b"10.0.0.1", 7, b"id", []], True, ("10.0.0.1", 7)),
        ([b"10.0.0.1", 7, b"id", [b"hostname", b"n"]], True, ("n", 7)),
        ([b"10.0.0.1", 7, b"id", {b"hostname": b"n"}], True, ("n", 7)),
        ([b"10.0.0.1", 7, b"id", {b"hostname": b""}], True, ("10.0.0.1", 7)),
        ([b"10.0.0.1", 7, b"id", {b"hostname": b"n"}], False, ("10.0.0.1", 7)),
        ([b"name", 7, b"id", {b"ip": b"10.0.0.1"}], True, ("name", 7)),
        ([None, 7, b"id", []], True, ("asked", 7)),
    ],
)
def test_entries_of_cluster_slots(node: Any, prefers_names: bool, expected: Address) -> None:
    book = AddressBook(prefers_names=prefers_names)
    assert book.read_node(node, ("asked", 1)) == expected
    if expected == ("n", 7):
        assert book.reach(("10.0.0.1", 7)) == expected  # as a redirection has it
