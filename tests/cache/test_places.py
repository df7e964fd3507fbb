"""Caches on a Cluster, behind Sentinel, and with replicas to read from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.core.cache import caches

from redisdict.cache import DictCache
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from tests.cache.conftest import Face, entry
from tests.conftest import program_for_tests


@pytest.fixture(params=["cluster", "sentinel", "sentinel-replicas"])
def place(request: pytest.FixtureRequest, key_prefix: str, configure: Any, runner: Any) -> Face:
    kind, _, replicas = str(request.param).partition("-")
    topology: ClusterTopology | SentinelTopology = request.getfixturevalue(kind)
    options = {"read_from_replicas": True} if replicas else {}
    configure(default=entry(topology.location, key_prefix, OPTIONS=options))
    made: Any = caches["default"]
    assert isinstance(made, DictCache)
    return Face(made, runner)


def at_last(read: Any, expected: Any) -> None:
    """What replicas have, once they have it."""
    while read() != expected:
        pass


def test_everything_once(place: Face) -> None:
    face = place
    items = {f"k{number}": number for number in range(300)}
    assert face.set("a", {"x": 1}) is True
    at_last(lambda: face.get("a"), {"x": 1})
    assert face.add("a", 1) is False
    assert face.set_many(items) == []
    at_last(lambda: face.get_many(items), items)
    assert face.incr("k5", 10) == 15
    at_last(lambda: 0 < face.ttl("k5") <= 300, True)
    assert face.touch("k5", None) is True
    at_last(lambda: face.ttl("k5"), None)
    assert sorted(face.keys("k1?")) == [f"k1{number}" for number in range(10)]
    assert face.delete_pattern("k1?") == 10
    assert face.delete_many(["k2", "k3", "other"]) == 2
    for number in range(4, 10):
        assert face.incr_version(f"k{number}") == 2
        expected = 15 if number == 5 else number
        at_last(lambda: face.get(f"k{number}", version=2), expected)  # noqa: B023  # used at once
    at_last(lambda: face.get("k4"), None)
    assert face.get_or_set("computed", lambda: 5) == 5
    with pytest.raises(ValueError, match="not found"):
        face.incr("missing")
    with pytest.raises(ValueError, match="not found"):
        face.incr_version("missing")
    face.clear()
    assert face.keys() == []
    at_last(lambda: face.get_many(items, version=2), {})


def test_hash_tags_in_patterns_and_prefixes(
    cluster: ClusterTopology, configure: Any, key_prefix: str, runner: Any
) -> None:
    configure(
        default=entry(cluster.location, key_prefix),
        tagged=entry(cluster.location, f"{key_prefix}{{t}}"),
    )
    for name in ("default", "tagged"):
        made: Any = caches[name]
        face = Face(made, runner)
        face.set_many({f"{{{number}}}x": number for number in range(50)})
        face.set("other", 1)
        assert len(face.keys("{*}x")) == 50
        assert face.keys("{7}*") == ["{7}x"]
        assert face.delete_pattern("{1?}x") == 10
        assert face.incr_version("{7}x") == 2
        face.clear()
        assert face.keys("*") == face.keys("*", version=2) == []


def test_the_client_of_a_cluster(cluster: ClusterTopology, configure: Any, key_prefix: str) -> None:
    configure(default=entry(cluster.location, key_prefix))
    made: Any = caches["default"]
    made.set("k", 5)
    assert isinstance(made.client, redis.RedisCluster)
    assert made.client.get_client().get(made.make_key("k")) == b"5"
    made.clear()


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[ClusterTopology]:
    with ClusterTopology(program_for_tests("valkey")) as topology:
        yield topology


def test_clear_of_the_database_of_a_cluster(
    own_cluster: ClusterTopology, configure: Any, runner: Any
) -> None:
    configure(default=entry(own_cluster.location, "p", OPTIONS={"CLEAR": "database"}))
    made: Any = caches["default"]
    face = Face(made, runner)
    face.set_many({f"k{number}": number for number in range(50)})
    made.client.set("other", 1)
    face.clear()
    assert face.keys() == []
    assert not made.client.exists("other")


@pytest.fixture
def primary_and_replica() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    program = program_for_tests("valkey")
    with ServerProcess(program, listen="tcp") as primary:
        host, port = primary.address.split(":")
        with ServerProcess(
            program, listen="tcp", arguments=["--replicaof", f"{host} {port}"]
        ) as replica:
            yield primary, replica


def test_reads_go_to_the_replicas_of_a_list(
    primary_and_replica: tuple[ServerProcess, ServerProcess], configure: Any, runner: Any
) -> None:
    primary, replica = primary_and_replica
    configure(
        default=entry(f"{primary.url},{replica.url}"),
        single=entry(primary.url),
        listed=entry("", LOCATION=[primary.url, replica.url]),
    )
    made: Any = caches["default"]
    face = Face(made, runner)
    face.set("k", 1)
    at_last(lambda: face.get("k"), 1)
    with redis.Redis.from_url(replica.url) as client:
        client.config_set("replica-read-only", "no")
        client.set(":1:k", b"2")
        assert face.get("k") == 2
        assert face.get_many(["k"]) == {"k": 2}
        other: Any = caches["listed"]
        assert Face(other, runner).get("k") == 2
        alone: Any = caches["single"]
        assert Face(alone, runner).get("k") == 1
        assert face.incr("k") == 2  # the primary's
    replica.kill()
    assert face.get("k") == 2  # of the primary, for the replica is away
