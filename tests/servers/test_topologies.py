import time
from pathlib import Path

import pytest
import redis
from redis.cluster import RedisCluster

from redisdict.servers.process import ServerStartError
from redisdict.servers.programs import Program, find_sentinel_program
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from tests.conftest import program_for_tests
from tests.servers.conftest import eventually, is_alive
from tests.waiting import LIMIT_S


@pytest.mark.deep
def test_the_sentinels_agree_and_follow_a_lost_primary() -> None:
    with SentinelTopology(program_for_tests("redis"), down_after_ms=1000) as topology:
        pids = [member.pid for member in topology.members]
        ports = [sentinel.port for sentinel in topology.sentinels]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        assert topology.location == f"redis+sentinel://{hosts}/mymaster/0"

        for port in ports:
            with redis.Redis(port=port) as client:
                state = client.sentinel_master("mymaster")
                assert state["num-slaves"] == 2
                assert state["num-other-sentinels"] == 2
                assert state["quorum"] == 2

        old = topology.current_primary()
        assert old is topology.primary
        with old.client() as client:
            client.set("key", "value")
            assert eventually(lambda: client.wait(2, 1000) == 2)
        old.kill()
        assert eventually(lambda: topology.current_primary() is not old)

        new = topology.current_primary()
        assert new in topology.replicas
        with new.client() as client:
            assert eventually(lambda: client.role()[0] == b"master")
            assert client.get("key") == b"value"
        with redis.Redis(port=ports[0]) as client:
            assert eventually(lambda: client.sentinel_master("mymaster")["port"] == new.port)

    assert not any(map(is_alive, pids))


def test_sentinels_have_their_usual_pace_again(sentinel: SentinelTopology) -> None:
    for server in sentinel.sentinels:
        with server.client() as client:
            periods = client.execute_command("SENTINEL", "DEBUG")
        assert periods[b"INFO-PERIOD"] == b"10000"
        assert periods[b"PUBLISH-PERIOD"] == b"2000"


def test_a_topology_that_does_not_come_up_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redisdict.servers.topologies._AGREEMENT_TIMEOUT_S", 0.0)
    topology = SentinelTopology(program_for_tests("valkey"))
    began = time.monotonic()
    with pytest.raises(ServerStartError, match="in vain"):
        topology.start()
    assert time.monotonic() - began < LIMIT_S
    assert topology.members == []


def test_a_cluster_answers_for_every_slot(cluster: ClusterTopology) -> None:
    with RedisCluster(host="127.0.0.1", port=cluster.primaries[0].port) as client:
        names = [f"test-topologies-{number}" for number in range(100)]
        for name in names:
            client.set(name, name, ex=60)
        assert [client.get(name) for name in names] == [name.encode() for name in names]
        owners = {client.get_node_from_key(name).port for name in names}
    assert owners == {primary.port for primary in cluster.primaries}
    assert cluster.location == "redis+cluster://" + ",".join(
        primary.address for primary in cluster.primaries
    )


@pytest.mark.deep
def test_a_cluster_has_its_replicas() -> None:
    with ClusterTopology(program_for_tests("redis"), replicas_each=1) as cluster:
        assert len(cluster.members) == 6
        for replica in cluster.replicas:
            with replica.client() as client:
                role = client.role()
            assert role[0] == b"slave"
            assert role[2] in {primary.port for primary in cluster.primaries}
            assert role[3] == b"connected"


def test_sentinels_run_the_program_of_their_servers_if_it_can_be_one() -> None:
    keydb = Program("keydb", Path("/usr/bin/keydb-server"), "PATH")
    dragonfly = Program("dragonfly", Path("/opt/dragonfly"), "PATH")
    assert SentinelTopology(keydb).sentinel_program == keydb
    assert SentinelTopology(dragonfly).sentinel_program == find_sentinel_program()
    other = find_sentinel_program()
    assert SentinelTopology(keydb, sentinel_program=other).sentinel_program == other
