"""Sentinel: failovers under load with the primary killed and hung, and the way to the primary."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from redisdict import BackendUnavailable, PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.topologies import SentinelTopology
from tests.backends.failover import Fault, fail_over, mend, switches_of
from tests.backends.load import Load, under_load
from tests.conftest import is_installed, program_for_tests
from tests.connections.faults import faulty_server

#: Longer than a busy machine holds a reply up, for what is then under way may not be repeated.
OPTIONS = {"socket_timeout": 3, "socket_connect_timeout": 3, "client_name": "load"}


#: Each server and each fault once; the others in the deep suite.
FAULTS = [
    ("redis", "killed"),
    ("valkey", "hung"),
    pytest.param("redis", "hung", marks=pytest.mark.deep),
    pytest.param("valkey", "killed", marks=pytest.mark.deep),
    *(
        pytest.param(family, fault, marks=pytest.mark.deep)
        for family in filter(is_installed, ("keydb", "dragonfly"))
        for fault in ("killed", "hung")
    ),
]


@pytest.fixture(scope="module")
def topology(request: pytest.FixtureRequest) -> Iterator[SentinelTopology]:
    with SentinelTopology(program_for_tests(request.param), down_after_ms=1000) as made:
        yield made


@pytest.mark.parametrize(("topology", "fault"), FAULTS, indirect=["topology"])
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
    load.check(is_durable=False)
    # Only what was under way when the primary went, and must not be repeated, has failed.
    assert all(error.outcome_unknown for error in load.errors)
    # One a worker; and of another failover if the machine held a primary up.
    assert len(load.errors) <= 8 * len(switches.times)
    with lost.client() as client:
        names = [entry["name"] for entry in client.client_list()]
    assert "load" not in names
    assert not backend.pool()._in_use_connections
    backend.close()


def silent_first(topology: SentinelTopology, port: int) -> str:
    """The topology's location, with something before the sentinels that doesn't answer."""
    return topology.location.replace("redis+sentinel://", f"redis+sentinel://127.0.0.1:{port},")


def test_many_ask_at_once_and_no_sentinel_is_forgotten(
    sentinel: SentinelTopology, alias_for: Callable[..., dict[str, Any]]
) -> None:
    with faulty_server(lambda *_: False) as not_a_sentinel:
        location = silent_first(sentinel, not_a_sentinel.port)
        backend = Backend(parse_alias("test", alias_for(location)))
        route = backend.pool().connection_kwargs["connection_pool"]
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda _: route.get_master_address(), range(64)))
        assert len(set(map(id, route.sentinel_manager.sentinels))) == 4

        async def ask() -> None:
            route = backend.async_pool().connection_kwargs["connection_pool"]
            await asyncio.gather(*(route.get_master_address() for _ in range(64)))
            assert len(set(map(id, route.sentinel.sentinels))) == 4
            await backend.aclose()

        asyncio.run(ask())
        backend.close()


def test_no_primary_within_the_time_is_an_error(alias_for: Callable[..., dict[str, Any]]) -> None:
    values = alias_for(
        "redis+sentinel://:secret@127.0.0.1:1/shop?sentinel_password=s3", RETRY_FOR=0.2
    )
    backend = Backend(parse_alias("test", values))
    d: PersistentDict[str, int] = PersistentDict("d", backend)
    message = "none of the sentinels that answer knows a primary of 'shop' that is up"
    with pytest.raises(BackendUnavailable, match=message) as caught:
        d.incr("a")
    assert not caught.value.outcome_unknown
    with pytest.raises(BackendUnavailable, match=message):
        asyncio.run(d.aincr("a"))
