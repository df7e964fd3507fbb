"""Replicas that take part from the first write on."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from redisdict.bench.measure import server_pool
from redisdict.bench.measure.server_pool import wait_for_replicas
from redisdict.exceptions import BackendUnavailable
from redisdict.servers.topologies import SentinelTopology
from tests.recorded import RecordedServer
from tests.waiting import LIMIT_S


def test_every_replica_gets_the_first_write() -> None:
    with SentinelTopology() as topology, topology.primary.client() as client:
        wait_for_replicas(client)
        # A replica that has acknowledged nothing yet does so within a second, and holds up a write.
        facts: Any = client.info("replication")
        assert all(facts[f"slave{number}"]["offset"] for number in range(2))
        client.set("first", "1")
        assert client.wait(2, round(LIMIT_S * 1000)) == 2


class Primary:
    """Answers INFO as a primary does whose replicas say these offsets, one after the other."""

    def __init__(self, *offsets: list[int]) -> None:
        self.offsets = list(offsets)

    def info(self, section: str) -> dict[str, Any]:
        assert section == "replication"
        now = self.offsets.pop(0) if len(self.offsets) > 1 else self.offsets[0]
        replicas = {f"slave{number}": {"offset": offset} for number, offset in enumerate(now)}
        return {"connected_slaves": len(now), **replicas}


def test_all_of_them_are_waited_for() -> None:
    primary: Any = Primary([0, 0], [14, 0], [14, 14])
    wait_for_replicas(primary)
    assert primary.offsets == [[14, 14]]


def test_a_server_without_replicas_is_ready() -> None:
    primary: Any = Primary([])
    wait_for_replicas(primary)


def test_replicas_that_tell_no_offset_are_not_waited_for() -> None:
    with RecordedServer("dragonfly", "replica") as server:
        with redis.Redis.from_url(server.url) as client:
            wait_for_replicas(client)


def test_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_pool, "TIMEOUT_S", 0.05)
    primary: Any = Primary([14, 0])
    with pytest.raises(BackendUnavailable, match="A replica hasn't acknowledged anything"):
        wait_for_replicas(primary)
