"""Certificates that have names, of servers that are announced by addresses or by names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest

from redisdict import BackendUnavailable, PersistentDict
from redisdict.connections.backend import Backend
from redisdict.connections.locations import Address
from redisdict.servers.process import ServerProcess, free_port
from tests.backends.test_tls import Certificates, flags_of, make_certificates
from tests.conftest import program_for_tests
from tests.near.conftest import is_served, make, settle, wait_until_on
from tests.waiting import wait_until


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


@pytest.fixture(scope="module")
def cluster_of_names(named: Certificates) -> Iterator[list[ServerProcess]]:
    """Two nodes that tell their address as well as their name, and by TLS their names alone."""
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                ServerProcess(
                    program_for_tests("redis"),
                    arguments=[
                        *(*flags_of(named), "--tls-port", str(port)),
                        *("--cluster-enabled", "yes", "--tls-cluster", "yes"),
                        *("--cluster-announce-hostname", "localhost"),
                    ],
                )
            )
            for port in ports
        ]
        clients = [stack.enter_context(node.client()) for node in nodes]
        clients[0].execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        clients[1].execute_command("CLUSTER", "SET-CONFIG-EPOCH", 2)
        clients[1].execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", ports[1])
        for client in clients:
            wait_until(partial(is_whole, client))
        for node, port in zip(nodes, ports, strict=True):
            node.tls_port = port  # type: ignore[attr-defined]  # for the tests here
        yield nodes


def is_whole(client: Any) -> bool:
    """Whether a node has all slots covered, and knows the names of both."""
    return (
        b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO")
        and str(client.execute_command("CLUSTER", "SLOTS")).count("localhost") == 2
    )


@pytest.mark.parametrize("endpoint", ["ip", "hostname", "unknown-endpoint"])
def test_a_cluster(
    cluster_of_names: list[Any],
    named: Certificates,
    open_backend: Callable[..., Backend],
    endpoint: str,
) -> None:
    for node in cluster_of_names:
        with node.client() as client:
            client.config_set("cluster-preferred-endpoint-type", endpoint)
    options: dict[str, Any] = {"ssl_ca_certs": str(named.authority)}
    port = cluster_of_names[0].tls_port
    if endpoint == "unknown-endpoint":  # all nodes are behind one name
        options["address_remap"] = by_name
    check(open_backend(f"rediss+cluster://localhost:{port}", OPTIONS=options))


def test_a_cluster_by_address(
    cluster_of_names: list[Any], named: Certificates, open_backend: Callable[..., Backend]
) -> None:
    """Who connects by address is refused by the certificates, unless names aren't checked."""
    for node in cluster_of_names:
        with node.client() as client:
            client.config_set("cluster-preferred-endpoint-type", "ip")
    options: dict[str, Any] = {"ssl_ca_certs": str(named.authority)}
    location = f"rediss+cluster://127.0.0.1:{cluster_of_names[0].tls_port}"
    backend = open_backend(location, OPTIONS=options, RETRY_FOR=0)
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    with pytest.raises(BackendUnavailable, match=r"(?i)certificate verify failed"):
        mapping.get("a")
    check(open_backend(location, OPTIONS={**options, "ssl_check_hostname": False}))


@contextmanager
def sentinel_of_names(named: Certificates, announces_names: bool) -> Iterator[str]:
    program = program_for_tests("redis")
    port, sentinel_port = free_port(), free_port()
    flag = "yes" if announces_names else "no"
    config = (
        "sentinel resolve-hostnames yes\n"
        f"sentinel announce-hostnames {flag}\n"
        f"sentinel monitor shop localhost {port} 1\n"
    )
    with ExitStack() as stack:
        flags = flags_of(named)
        stack.enter_context(ServerProcess(program, arguments=[*flags, "--tls-port", str(port)]))
        stack.enter_context(
            ServerProcess(
                program,
                arguments=[*flags, "--tls-port", str(sentinel_port), "--sentinel"],
                config=config,
            )
        )
        yield f"rediss+sentinel://localhost:{sentinel_port}/shop/0"


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
