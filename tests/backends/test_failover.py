"""Sentinel failovers under load: the primary killed, and hung."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.topologies import SentinelTopology
from tests.backends.failover import Fault, fail_over, mend, switches_of
from tests.backends.load import Load, under_load
from tests.conftest import program_for_tests

OPTIONS = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "client_name": "load"}


@pytest.fixture(scope="module", params=["redis", "valkey"])
def topology(request: pytest.FixtureRequest) -> Iterator[SentinelTopology]:
    with SentinelTopology(program_for_tests(request.param), down_after_ms=1000) as made:
        yield made


@pytest.mark.parametrize("fault", ["killed", "hung"])
def test_writes_go_on_with_the_new_primary(
    topology: SentinelTopology, fault: Fault, alias_for: Callable[..., dict[str, Any]]
) -> None:
    backend = Backend(parse_alias("test", alias_for(topology.location, OPTIONS=OPTIONS)))
    with switches_of(topology) as switches, under_load(Load(backend)) as load:
        load.wait_for_acks_after(0)
        lost = fail_over(topology, fault)
        switched_at = switches.wait_for(1)
        load.wait_for_acks_after(switched_at)
    mend(topology, lost)
    last = switches.times[-1]
    assert load.first_ack_after(last) - last < 1
    load.check(is_durable=False)
    # Only what was under way when the primary went, and must not be repeated, has failed.
    assert all(error.outcome_unknown for error in load.errors)
    assert len(load.errors) <= 8  # one a worker
    with lost.client() as client:
        names = [entry["name"] for entry in client.client_list()]
    assert "load" not in names
    assert not backend.pool()._in_use_connections  # type: ignore[attr-defined]  # redis-py's name
    backend.close()
