"""A Cluster in use: slots moved, a primary killed, and where a dict's keys lie."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.crc import key_slot

from redisdict import BackendUnavailable, ConfigurationError, PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.connections.shards import Shard, nodes_by_slot, read_shards
from redisdict.mapping.catalog import find_dicts
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import ClusterTopology
from redisdict.wire.commands import slot_of
from redisdict.wire.requests import Batch, Once
from tests.backends.load import Load, under_load
from tests.conftest import program_for_tests
from tests.waiting import wait_until

#: For a node that hangs; more often than there it may seem to on a busy machine.
HASTY = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}


@pytest.fixture(scope="module")
def topology() -> Iterator[ClusterTopology]:
    program = program_for_tests("valkey")
    with ClusterTopology(program, replicas_each=1, node_timeout_ms=3000) as made:
        yield made


@pytest.fixture
def backend(
    topology: ClusterTopology, alias_for: Callable[..., dict[str, Any]]
) -> Iterator[Backend]:
    made = Backend(parse_alias("test", alias_for(topology.location)))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("request_", "key"),
    [
        ((b"GET", b"p:k:{d}:x"), b"d"),
        (Once((b"INCR", b"p:k:{d}:{e}")), b"d"),
        ((b"MGET", "p:k:{d}:x", "p:k:{d}:y"), b"d"),
        ((b"EVALSHA", b"digest", 3, b"p:h:{d}", b"p:f:{d}", b"p:t:{d}"), b"d"),
        ((b"MEMORY", b"USAGE", b"p:h:{d}"), b"d"),
        ((b"SCAN", b"0", b"MATCH", rb"p\[:k:{a\*b}:*", b"COUNT", 10), b"a*b"),
        (Batch([(b"SCAN", b"0", b"MATCH", b"p:k:{d}:*")], is_atomic=True, is_spread=True), b"d"),
        (Batch([(b"INFO",), (b"GET", b"p:k:{d}:x")]), b"d"),
        ((b"INFO",), None),
        (Batch([(b"WAIT", 1, 0)]), None),
    ],
)
def test_the_slot_of_a_request(request_: Any, key: bytes | None) -> None:
    assert slot_of(request_) == (None if key is None else key_slot(key))


def test_the_nodes_of_slots() -> None:
    reply = [
        [0, 1, [b"h1", 7000, b"id", []], [b"h2", 7001, b"id", []]],
        [2, 2, [None, 7002, b"id", []]],
    ]
    nodes = {0: ("h1", 7000), 1: ("h1", 7000), 2: ("asked", 7002)}
    assert nodes_by_slot(read_shards(reply, ("asked", 1)), primary_of) == nodes
    shards = read_shards(reply, ("asked", 1), with_replicas=True)
    assert [list(shard.replicas) for shard in shards] == [[("h2", 7001)], []]


def primary_of(shard: Shard) -> tuple[str, int]:
    return shard.primary


def nodes_of(topology: ClusterTopology) -> dict[int, ServerProcess]:
    """The primaries of the slots as they are now, for tests before this may have moved them."""
    alive = next(member for member in topology.members if member.is_running)
    with alive.client() as client:
        client.response_callbacks.clear()
        reply: Any = client.execute_command("CLUSTER", "SLOTS")
    shards = read_shards(reply, ("127.0.0.1", alive.port))
    members = {member.port: member for member in topology.members}
    return {slot: members[port] for slot, (_, port) in nodes_by_slot(shards, primary_of).items()}


def node_of(topology: ClusterTopology, slot: int) -> ServerProcess:
    return nodes_of(topology)[slot]


def move_slot(topology: ClusterTopology, slot: int, target: ServerProcess | None = None) -> None:
    """Move a slot with all its keys to that or another node, as a resharding does."""
    nodes = nodes_of(topology)
    source = nodes[slot]
    if target is source:
        return
    target = target or next(node for node in nodes.values() if node is not source)
    with source.client() as giver, target.client() as taker:
        source_id, target_id = (each.execute_command("CLUSTER", "MYID") for each in (giver, taker))
        taker.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        giver.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while keys := giver.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
            giver.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            time.sleep(0.01)  # so that the dict is used while it is in two places
        for client in (taker, giver):
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)


@pytest.mark.deep
def test_slots_move_under_load(topology: ClusterTopology, backend: Backend) -> None:
    with under_load(Load(backend)) as load:
        for tag in (b"thread-0", b"thread-1", b"thread-2%:1:3", b"task-0", b"task-3%:0:3"):
            load.wait_for_acks_after(time.monotonic())
            move_slot(topology, key_slot(tag))
        load.wait_for_acks_after(time.monotonic())
    assert load.errors == []
    load.check(is_durable=True)


@pytest.mark.deep
def test_a_primary_is_killed_under_load(
    topology: ClusterTopology, alias_for: Callable[..., dict[str, Any]]
) -> None:
    values = alias_for(topology.location, DURABLE="replicas", RETRY_FOR=60)
    backend = Backend(parse_alias("test", values))
    lost = node_of(topology, key_slot(b"thread-0"))
    with under_load(Load(backend, pause_s=0.01)) as load:
        load.wait_for_acks_after(time.monotonic())
        lost.kill()
        while node_of(topology, key_slot(b"thread-0")) is lost:
            time.sleep(0.1)
        time.sleep(1)
        lost.start()
        load.wait_for_acks_after(time.monotonic())
    load.check(is_durable=True)
    assert all(error.outcome_unknown for error in load.errors)
    backend.close()


def test_no_node_is_an_error(alias_for: Callable[..., dict[str, Any]]) -> None:
    location = "redis+cluster://:secret@127.0.0.1:1,127.0.0.1:2"
    backend = Backend(parse_alias("test", alias_for(location, RETRY_FOR=0.1)))
    d: PersistentDict[str, int] = PersistentDict("d", backend)
    with pytest.raises(BackendUnavailable, match=r"redis\+cluster://127.0.0.1:1,") as caught:
        d.incr("a")
    assert not caught.value.outcome_unknown
    assert "secret" not in str(caught.value)
    with pytest.raises(BackendUnavailable):
        asyncio.run(d.aincr("a"))


def test_dicts_are_found_on_every_node(backend: Backend) -> None:
    dicts = [PersistentDict[str, int](f"d{number}", backend) for number in range(20)]
    for each in dicts:
        each["a"] = 1
    found: list[str] = []
    cursor = b"0"
    while True:
        page = backend.driver.run(find_dicts(backend.config.key_prefix, cursor))
        found += [one.path[0] for one in page.dicts]
        cursor = page.cursor
        if cursor == b"0":
            break
    assert sorted(found) == sorted(each.name for each in dicts)
    for each in dicts:
        each.clear()


@pytest.mark.parametrize("hset_enabled", [True, False], ids=["hash", "keys"])
def test_shards_lie_on_all_nodes(
    topology: ClusterTopology, backend: Backend, hset_enabled: bool
) -> None:
    d: PersistentDict[str, int] = PersistentDict("d", backend, hset_enabled, shards=12)
    expected = {str(number): number for number in range(3000)}
    d.set_many(expected)
    kind = "h" if hset_enabled else "k"
    nodes = {node_of(topology, key_slot(b"d%%:%d:12" % n)).port: n for n in range(12)}
    assert len(nodes) == len(topology.primaries)
    for port in nodes:
        with next(one for one in topology.members if one.port == port).client() as client:
            assert list(client.scan_iter(f"{backend.config.key_prefix}:{kind}:*", count=5000))
    assert d.copy() == expected
    assert len(d) == 3000

    async def in_tasks() -> None:
        assert await d.acopy() == expected
        assert await d.aget_many(expected) == expected
        await d.aclear()
        await backend.aclose()

    asyncio.run(in_tasks())
    assert not d


def test_a_lost_node_is_told_and_the_others_have_answered(
    cluster: ClusterTopology, alias_for: Callable[..., dict[str, Any]]
) -> None:
    values = alias_for(cluster.location, OPTIONS=HASTY, RETRY_FOR=0.1)
    backend = Backend(parse_alias("test", values))
    patient = Backend(parse_alias("patient", alias_for(cluster.location)))
    d: PersistentDict[str, int] = PersistentDict("d", backend, shards=5)
    all_of_it: PersistentDict[str, int] = PersistentDict("d", patient, shards=5)
    items = {str(number): number for number in range(100)}
    all_of_it.set_many(items)

    def is_connected() -> bool:
        """To every node, and knows how many shards there are."""
        with suppress(BackendUnavailable):
            return d.get_many(items) == items
        return False

    wait_until(is_connected)
    hung = node_of(cluster, key_slot(b"d%:0:5"))
    os.kill(hung.pid, signal.SIGSTOP)
    try:
        with pytest.raises(BackendUnavailable) as removing:
            d.delete_many(items)
        with pytest.raises(BackendUnavailable) as reading:
            d.get_many(items)
        with pytest.raises(BackendUnavailable):
            asyncio.run(d.aget_many(items))
    finally:
        os.kill(hung.pid, signal.SIGCONT)
    assert not reading.value.outcome_unknown
    assert removing.value.outcome_unknown
    wait_until_whole(cluster)
    left = all_of_it.get_many(items)
    assert len(left) < 100
    assert left.items() <= items.items()
    for node in backend.cluster.nodes if backend.cluster else ():
        assert not node.pool()._in_use_connections
    all_of_it.clear()
    patient.close()
    backend.close()


def wait_until_whole(topology: ClusterTopology) -> None:
    """Wait until every node has all nodes up, after one of them was hung."""
    for node in topology.members:
        with node.client() as client:
            wait_until(
                lambda client=client: (
                    b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO")
                )
            )


def test_clients_of_redis_py(backend: Backend, key_prefix: str) -> None:
    client: Any = backend.client()
    assert type(client) is redis.RedisCluster
    assert backend.client() is client
    client.set(key_prefix, b"v")

    async def ask() -> Any:
        first, second = backend.async_client(), backend.async_client()
        assert type(first) is redis.asyncio.RedisCluster
        assert first is second
        return await first.get(key_prefix)

    assert asyncio.run(ask()) == b"v"
    assert asyncio.run(ask()) == b"v"  # in another loop it is another one
    client.delete(key_prefix)


def test_a_client_of_redis_py_that_has_lost_a_connection_is_closed(
    backend: Backend, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own `aclose()` takes it for one that has yet to be opened."""

    async def lose(*_: Any, **__: Any) -> None:
        raise redis.exceptions.ConnectionError("lost")

    async def ask() -> list[Any]:
        client: Any = backend.async_client()
        await client.get(key_prefix)
        nodes = client.get_primaries()
        with monkeypatch.context() as patch:
            patch.setattr(AsyncClusterNode, "execute_command", lose)
            with pytest.raises(redis.exceptions.ConnectionError, match="lost"):
                await client.ping(target_nodes=nodes[0])
        known = [*client.nodes_manager.nodes_cache.values(), *client.startup_nodes]
        connected = [each for node in known for each in node._connections if each.is_connected]
        assert connected
        return connected

    assert not any(connection.is_connected for connection in asyncio.run(ask()))


def test_an_option_that_cluster_clients_lack_is_named(
    topology: ClusterTopology, alias_for: Callable[..., dict[str, Any]]
) -> None:
    backend = Backend(parse_alias("test", alias_for(topology.location, OPTIONS={"lib_nam": "x"})))

    async def ask() -> None:
        backend.async_client()

    with pytest.raises(ConfigurationError, match=r"(?s)OPTIONS.*RedisCluster.*lib_nam"):
        asyncio.run(ask())


def test_a_cluster_has_no_single_pool(backend: Backend) -> None:
    with pytest.raises(ConfigurationError, match="which has a pool for each node"):
        backend.pool()
