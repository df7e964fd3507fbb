"""Dicts in a forked child: alone, behind Sentinel, in a Cluster, with a borrowed pool."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import redis

from redisdict import PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from tests.forks.forking import Child, Fork

KEYS = 50


@pytest.fixture(params=["alone", "sentinel", "replicas", "zones", "cluster", "cluster in shards"])
def mapping(
    request: pytest.FixtureRequest, alias_for: Callable[..., dict[str, Any]]
) -> Iterator[PersistentDict[str, int]]:
    """A dict with KEYS items, whose backend has connections already."""
    values: dict[str, Any] = {}
    if request.param in ("sentinel", "replicas", "zones"):
        sentinel: SentinelTopology = request.getfixturevalue("sentinel")
        values = alias_for(sentinel.location)
        if request.param != "sentinel":
            values["OPTIONS"] = {"read_from_replicas": True}
        if request.param == "zones":
            values["OPTIONS"]["availability_zone"] = "elsewhere"
    elif request.param.startswith("cluster"):
        cluster: ClusterTopology = request.getfixturevalue("cluster")
        values = alias_for(cluster.location)
    else:
        values = alias_for(request.getfixturevalue("redis_url"))
    backend = Backend(parse_alias("test", values))
    shards = 4 if "shards" in request.param else None
    mapping: PersistentDict[str, int] = PersistentDict("d", backend, shards=shards)
    mapping.update({f"k{number}": number for number in range(KEYS)})
    if request.param in ("replicas", "zones"):
        while len(mapping) < KEYS:
            pass
    assert wrong_reads(mapping) == 0
    yield mapping
    mapping.clear()
    backend.close()


def wrong_reads(mapping: PersistentDict[str, int]) -> int:
    wrong = 0
    for _ in range(4):
        wrong += sum(mapping[f"k{number}"] != number for number in range(KEYS))
        found = mapping.get_many([f"k{number}" for number in range(KEYS)])
        wrong += found != {f"k{number}": number for number in range(KEYS)}
    return wrong


async def wrong_async_reads(mapping: PersistentDict[str, int]) -> int:
    async def is_wrong(number: int) -> bool:
        return await mapping.aget(f"k{number}") != number

    wrong = 0
    for _ in range(4):
        wrong += sum(await asyncio.gather(*map(is_wrong, range(KEYS))))
    return wrong


def test_threads_read_side_by_side(mapping: PersistentDict[str, int], fork: Fork) -> None:
    children = [Child(lambda: wrong_reads(mapping), fork) for _ in range(3)]
    assert wrong_reads(mapping) == 0
    assert [child.result() for child in children] == [0, 0, 0]
    assert wrong_reads(mapping) == 0


def test_tasks_read_side_by_side(mapping: PersistentDict[str, int], fork: Fork) -> None:
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(wrong_async_reads(mapping)) == 0
    children = [Child(lambda: asyncio.run(wrong_async_reads(mapping)), fork) for _ in range(2)]
    assert loop.run_until_complete(wrong_async_reads(mapping)) == 0
    assert [child.result() for child in children] == [0, 0]
    assert loop.run_until_complete(wrong_async_reads(mapping)) == 0
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_a_lock_is_somebody_elses_in_the_child(
    mapping: PersistentDict[str, int], fork: Fork
) -> None:
    def take() -> bool:
        return mapping.lock("l", timeout=30, wait=0).acquire()

    with mapping.lock("l", timeout=30):
        assert not Child(take, fork).result()
    assert Child(take, fork).result()
    assert not take()


def test_a_child_waits_for_no_thread_of_its_parent(
    mapping: PersistentDict[str, int], fork: Fork
) -> None:
    is_computing, is_over = threading.Event(), threading.Event()

    def compute() -> int:
        is_computing.set()
        is_over.wait()
        return 1

    thread = threading.Thread(
        target=mapping.get_or_set, args=("new", compute), kwargs={"lock_timeout": 60}
    )
    thread.start()
    is_computing.wait()

    def live() -> bool:
        in_flight = mapping._bound.in_flight
        value, is_ours = in_flight.join(b"new", 60)
        in_flight.resolve(b"new", Future(), None)  # of what was begun before the fork
        return is_ours and in_flight.join(b"new", 60) == (value, False)

    try:
        assert Child(live, fork).result()
    finally:
        is_over.set()
        thread.join()
    assert mapping["new"] == 1


def test_locks_of_a_backend_are_free(
    alias_for: Callable[..., dict[str, Any]], sentinel: SentinelTopology, fork: Fork
) -> None:
    backend = Backend(parse_alias("test", alias_for(sentinel.location)))
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    mapping["a"] = 1
    route: Any = backend.pool().connection_kwargs["connection_pool"]
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        pools = [client.connection_pool for client in route.sentinel_manager.sentinels]
        with backend._lock, route._asking, pools[0]._lock, pools[0]._fork_lock:
            is_held.set()
            is_over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait()
    try:
        assert Child(lambda: mapping["a"], fork).result() == 1
    finally:
        is_over.set()
        thread.join()
    mapping.clear()
    backend.close()


@pytest.mark.parametrize("is_async", [False, True])
def test_redis_pys_clients_of_a_cluster(
    cluster: ClusterTopology, alias_for: Callable[..., dict[str, Any]], fork: Fork, is_async: bool
) -> None:
    backend = Backend(parse_alias("test", alias_for(cluster.location)))
    loop = asyncio.new_event_loop()

    # Of each node, for each counts by itself.
    async def aids() -> set[tuple[str, int]]:
        client: Any = backend.async_client()
        nodes = client.get_primaries()
        return {(node.name, await client.client_id(target_nodes=node)) for node in nodes}

    async def initialized_ids() -> set[tuple[str, int]]:
        await backend.async_client().initialize()
        return await aids()

    def ids() -> set[tuple[str, int]]:
        if is_async:
            return loop.run_until_complete(initialized_ids())
        client: Any = backend.client()
        nodes = client.get_primaries()
        return {(node.name, client.client_id(target_nodes=node)) for node in nodes}

    def childs_ids() -> set[tuple[str, int]]:
        return asyncio.run(initialized_ids()) if is_async else ids()

    parents = ids()
    assert not Child(childs_ids, fork).result() & parents
    assert ids() == parents
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    backend.close()


@pytest.mark.parametrize("pool_class", ["redis.ConnectionPool", "redis.BlockingConnectionPool"])
def test_redis_pys_own_pools(redis_url: str, pool_class: str, fork: Fork) -> None:
    """What a pool borrowed from django-redis is unless CONNECTION_POOL_CLASS says otherwise."""
    values = {"LOCATION": redis_url, "POOL_CLASS": pool_class}
    backend = Backend(parse_alias("test", values))
    client: redis.Redis = backend.client()
    parents = client.client_id()
    assert Child(client.client_id, fork).result() != parents
    assert client.client_id() == parents
    backend.close()
