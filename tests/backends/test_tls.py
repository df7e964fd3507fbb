"""TLS with an authority of the tests' own: alone, behind Sentinel and in a Cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from redisdict import BackendUnavailable, PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.process import ServerProcess, ServerStartError, free_port
from redisdict.servers.programs import Program
from tests.backends.tls import (
    Certificates,
    cluster_by_tls,
    flags_of,
    make_certificates,
    sentinel_by_tls,
)
from tests.conftest import is_installed, program_for_tests
from tests.waiting import wait_until

#: Of the servers by TLS: Dragonfly wants one, or certificates of its clients.
PASSWORD = "secret"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_flags(certificates: Certificates) -> list[str]:
    return flags_of(certificates)


@pytest.fixture(scope="module", params=["redis", *filter(is_installed, ("keydb", "dragonfly"))])
def tls_port(
    request: pytest.FixtureRequest, tls_flags: list[str], certificates: Certificates
) -> Iterator[int]:
    program = program_for_tests(request.param)
    if program.family == "dragonfly":
        with dragonfly_by_tls(program, certificates) as server:
            yield server.port
        return
    port = free_port()
    server = ServerProcess(
        program, arguments=[*tls_flags, "--tls-port", str(port)], password=PASSWORD
    )
    try:
        server.start()
    except ServerStartError:
        if program.family == "redis":
            raise
        pytest.skip(f"{program} was built without TLS")
    yield port
    server.stop()


@contextmanager
def dragonfly_by_tls(program: Program, certificates: Certificates) -> Iterator[ServerProcess]:
    """Its port speaks TLS and nothing else, so whether it is ready is asked by TLS."""
    arguments = [
        "--tls=true",
        f"--tls_cert_file={certificates.certificate}",
        f"--tls_key_file={certificates.key}",
    ]
    server = ServerProcess(program, arguments=arguments, password=PASSWORD)
    try:
        server.launch()
        url = f"rediss://:{PASSWORD}@127.0.0.1:{server.port}"
        with redis.Redis.from_url(url, ssl_ca_certs=str(certificates.authority)) as client:

            def is_ready() -> bool:
                assert server.is_running, server.log
                return _answers(client)

            wait_until(is_ready)
        yield server
    finally:
        server.stop()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def both_colours(backend: Backend) -> list[int]:
    d: PersistentDict[str, int] = PersistentDict("d", backend)

    async def work() -> int:
        value = int(await d.aincr("n"))
        await backend.aclose()
        return value

    try:
        return [int(d.incr("n")), asyncio.run(work())]
    finally:
        backend.close()


def test_the_right_authority(
    tls_port: int, certificates: Certificates, alias_for: Callable[..., dict[str, Any]]
) -> None:
    options = {"ssl_ca_certs": str(certificates.authority)}
    values = alias_for(f"rediss://:{PASSWORD}@127.0.0.1:{tls_port}/0", OPTIONS=options)
    assert both_colours(Backend(parse_alias("test", values))) == [1, 2]


@pytest.mark.parametrize("case", ["unknown authority", "another authority", "another host"])
def test_a_wrong_certificate_is_refused(
    tls_port: int,
    certificates: Certificates,
    case: str,
    tmp_path: Path,
    alias_for: Callable[..., dict[str, Any]],
) -> None:
    host, options = "127.0.0.1", {"ssl_ca_certs": str(certificates.authority)}
    if case == "unknown authority":
        options = {}
    elif case == "another authority":
        options = {"ssl_ca_certs": str(make_certificates(tmp_path).authority)}
    else:
        host = "localhost"
    values = alias_for(f"rediss://:{PASSWORD}@{host}:{tls_port}/0", OPTIONS=options)
    backend = Backend(parse_alias("test", values))
    d: PersistentDict[str, int] = PersistentDict("d", backend)
    calls: list[Callable[[], Any]] = [lambda: d["a"], lambda: asyncio.run(d.agetitem("a"))]
    for call in calls:
        with pytest.raises(BackendUnavailable, match=r"(?i)certificate verify failed") as caught:
            call()
        assert PASSWORD not in str(caught.value)


@pytest.fixture(scope="module")
def tls_cluster(tls_flags: list[str]) -> Iterator[str]:
    """The location of a Cluster of two, whose nodes send clients to one another's TLS ports."""
    with cluster_by_tls(tls_flags) as (_, ports):
        yield f"rediss+cluster://127.0.0.1:{ports[0]}"


def test_a_cluster_by_tls(
    tls_cluster: str, certificates: Certificates, alias_for: Callable[..., dict[str, Any]]
) -> None:
    options = {"ssl_ca_certs": str(certificates.authority)}
    backend = Backend(parse_alias("test", alias_for(tls_cluster, OPTIONS=options)))
    d: PersistentDict[str, int] = PersistentDict("d", backend, shards=8)
    expected = {str(number): number for number in range(100)}
    d.set_many(expected)
    assert asyncio.run(d.acopy()) == expected
    assert len({node.address for node in backend.cluster.nodes if backend.cluster}) >= 2
    assert all(node.address.startswith("rediss://") for node in backend.cluster.nodes)
    client: Any = backend.client()
    client.set("k", "v")
    assert asyncio.run(_get(backend, "k")) == b"v"
    backend.close()
    assert both_colours(Backend(parse_alias("test", alias_for(tls_cluster, OPTIONS=options))))


async def _read(backend: Backend, mapping: PersistentDict[str, int]) -> int:
    value = int(await mapping.aget("n", 0))
    await backend.aclose()
    return value


async def _get(backend: Backend, key: str) -> Any:
    return await backend.async_client().get(key)


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
def test_a_wrong_certificate_of_a_group_is_refused(
    kind: str,
    tls_cluster: str,
    tls_port: int,
    tmp_path: Path,
    alias_for: Callable[..., dict[str, Any]],
) -> None:
    location = (
        tls_cluster if kind == "cluster" else f"rediss+sentinel://127.0.0.1:{tls_port}/mymaster"
    )
    options = {"ssl_ca_certs": str(make_certificates(tmp_path).authority)}
    backend = Backend(parse_alias("test", alias_for(location, OPTIONS=options, RETRY_FOR=0.1)))
    d: PersistentDict[str, int] = PersistentDict("d", backend)
    calls: list[Callable[[], Any]] = [lambda: d["a"], lambda: asyncio.run(d.agetitem("a"))]
    # A sentinel that can't be asked is passed over, whatever the reason is.
    why = "certificate verify failed" if kind == "cluster" else "none of the sentinels that answer"
    for call in calls:
        with pytest.raises(BackendUnavailable, match=f"(?i){why}"):
            call()
    backend.close()


@pytest.mark.parametrize(
    "reading",
    [{}, {"read_from_replicas": True, "availability_zone": "a"}],
    ids=["primary", "replicas"],
)
def test_sentinels_and_servers_by_tls_with_credentials_of_their_own(
    tls_flags: list[str],
    certificates: Certificates,
    alias_for: Callable[..., dict[str, Any]],
    reading: dict[str, Any],
) -> None:
    monitor = 'sentinel monitor shop 127.0.0.1 {port} 1\nsentinel auth-pass shop "for the server"\n'
    passwords = ("for the server", "for the sentinel")
    with sentinel_by_tls(tls_flags, monitor, passwords) as sentinel_port:
        location = (
            f"rediss+sentinel://:for%20the%20server@127.0.0.1:{sentinel_port}/shop/0"
            "?sentinel_password=for%20the%20sentinel"
        )
        options = {"ssl_ca_certs": str(certificates.authority), **reading}
        backend = Backend(parse_alias("test", alias_for(location, OPTIONS=options)))
        assert both_colours(backend) == [1, 2]
        if reading:
            replicas = backend._replicas
            assert replicas is not None
            d: PersistentDict[str, int] = PersistentDict("d", replicas)  # falls back to nothing
            assert d["n"] == 2
            assert asyncio.run(_read(replicas, d)) == 2
            backend.close()
