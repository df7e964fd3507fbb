"""Certificates that have names, of servers that are announced by addresses or by names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from redisdict import BackendUnavailable, PersistentDict
from redisdict.connections.backend import Backend
from redisdict.connections.locations import Address
from redisdict.servers.process import ServerProcess
from tests.backends.tls import (
    Certificates,
    cluster_by_tls,
    flags_of,
    has_all_slots,
    make_certificates,
    sentinel_by_tls,
)
from tests.near.conftest import is_served, make, settle, wait_until_on


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"), "DNS:localhost")


def by_name(announced: Address) -> Address:
    return "localhost", announced[1]


async def _incr(backend: Backend, mapping: Any) -> int:
    total = int(await mapping.aincr("n"))
    await backend.aclose()
    return total


def check(backend: Backend) -> None:
    mapping: PersistentDict[str, int] = PersistentDict("d", backend, shards=8)
    mapping.set_many({str(number): number for number in range(50)})
    mapping.pop("n", None)
    assert mapping.incr("n") == 1
    assert asyncio.run(_incr(backend, mapping)) == 2
    near = make(backend, name="near")
    near["a"] = 1
    wait_until_on(near)
    settle(near)
    assert near["a"] == 1
    assert is_served(near, "a")


@dataclass
class ClusterOfNames:
    """Its nodes, and the port where the first of them speaks TLS."""

    nodes: list[ServerProcess]
    port: int

    def prefer(self, endpoint: str) -> None:
        """Have the nodes announce themselves so."""
        for node in self.nodes:
            with node.client() as client:
                client.config_set("cluster-preferred-endpoint-type", endpoint)


@pytest.fixture(scope="module")
def cluster_of_names(named: Certificates) -> Iterator[ClusterOfNames]:
    """Two nodes that tell their address as well as their name, and by TLS their names alone."""
    announced = ("--cluster-announce-hostname", "localhost")
    with cluster_by_tls(flags_of(named), *announced, is_ready=is_whole) as (nodes, ports):
        yield ClusterOfNames(nodes, ports[0])


def is_whole(client: Any) -> bool:
    """Whether a node has all slots covered, and knows the names of both."""
    return (
        has_all_slots(client)
        and str(client.execute_command("CLUSTER", "SLOTS")).count("localhost") == 2
    )


@pytest.mark.parametrize("endpoint", ["ip", "hostname", "unknown-endpoint"])
def test_a_cluster(
    cluster_of_names: ClusterOfNames,
    named: Certificates,
    open_backend: Callable[..., Backend],
    endpoint: str,
) -> None:
    cluster_of_names.prefer(endpoint)
    options: dict[str, Any] = {"ssl_ca_certs": str(named.authority)}
    if endpoint == "unknown-endpoint":  # all nodes are behind one name
        options["address_remap"] = by_name
    check(open_backend(f"rediss+cluster://localhost:{cluster_of_names.port}", OPTIONS=options))


def test_a_cluster_by_address(
    cluster_of_names: ClusterOfNames, named: Certificates, open_backend: Callable[..., Backend]
) -> None:
    """Who connects by address is refused by the certificates, unless names aren't checked."""
    cluster_of_names.prefer("ip")
    options: dict[str, Any] = {"ssl_ca_certs": str(named.authority)}
    location = f"rediss+cluster://127.0.0.1:{cluster_of_names.port}"
    backend = open_backend(location, OPTIONS=options, RETRY_FOR=0)
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    with pytest.raises(BackendUnavailable, match=r"(?i)certificate verify failed"):
        mapping.get("a")
    check(open_backend(location, OPTIONS={**options, "ssl_check_hostname": False}))


@contextmanager
def sentinel_of_names(named: Certificates, announces_names: bool) -> Iterator[str]:
    flag = "yes" if announces_names else "no"
    config = (
        "sentinel resolve-hostnames yes\n"
        f"sentinel announce-hostnames {flag}\n"
        "sentinel monitor shop localhost {port} 1\n"
    )
    with sentinel_by_tls(flags_of(named), config) as port:
        yield f"rediss+sentinel://localhost:{port}/shop/0"


def test_sentinels_that_announce_names(
    named: Certificates, open_backend: Callable[..., Backend]
) -> None:
    with sentinel_of_names(named, True) as location:
        check(open_backend(location, OPTIONS={"ssl_ca_certs": str(named.authority)}))


def test_sentinels_that_announce_addresses(
    named: Certificates, open_backend: Callable[..., Backend]
) -> None:
    options: dict[str, Any] = {"ssl_ca_certs": str(named.authority)}
    with sentinel_of_names(named, False) as location:
        backend = open_backend(location, OPTIONS=options, RETRY_FOR=0)
        mapping: PersistentDict[str, int] = PersistentDict("d", backend)
        with pytest.raises(BackendUnavailable, match=r"(?i)certificate verify failed"):
            mapping.get("a")
        check(open_backend(location, OPTIONS={**options, "address_remap": by_name}))
        check(open_backend(location, OPTIONS={**options, "ssl_check_hostname": False}))
