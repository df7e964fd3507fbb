"""TLS with an authority of the tests' own: alone, behind Sentinel and in a Cluster."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from redisdict import BackendUnavailable, PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.process import ServerProcess, ServerStartError, free_port
from redisdict.servers.programs import Program
from tests.conftest import is_installed, program_for_tests
from tests.waiting import wait_until

#: Of the servers by TLS: Dragonfly wants one, or certificates of its clients.
PASSWORD = "secret"


@dataclass
class Certificates:
    """A certificate, its key, and the authority that signed it."""

    authority: Path
    certificate: Path
    key: Path


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=30)


def make_certificates(directory: Path, name: str = "IP:127.0.0.1") -> Certificates:
    """Make a certificate for a name as openssl writes it, of an authority of its own."""
    authority, authority_key = directory / "ca.crt", directory / "ca.key"
    request, certificate, key = (directory / f"server.{kind}" for kind in ("csr", "crt", "key"))
    names = directory / "names"
    # What Python 3.13 and later want to see of an authority and of what it has signed.
    usage = "keyUsage=critical,keyCertSign,cRLSign"
    names.write_text(
        f"subjectAltName={name}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=Tests", "-addext", usage,
            "-keyout", authority_key, "-out", authority)  # fmt: skip
    openssl("req", *curve, "-subj", "/CN=server", "-keyout", key, "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", authority, "-CAkey", authority_key,
            "-CAcreateserial", "-days", "2", "-extfile", names, "-out", certificate)  # fmt: skip
    return Certificates(authority, certificate, key)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_flags(certificates: Certificates) -> list[str]:
    return flags_of(certificates)


def flags_of(certificates: Certificates) -> list[str]:
    return [
        *("--tls-cert-file", str(certificates.certificate)),
        *("--tls-key-file", str(certificates.key)),
        *("--tls-ca-cert-file", str(certificates.authority)),
        *("--tls-auth-clients", "no", "--tls-replication", "yes"),
    ]


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
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                ServerProcess(
                    program_for_tests("redis"),
                    arguments=[
                        *(*tls_flags, "--tls-port", str(port)),
                        *("--cluster-enabled", "yes", "--tls-cluster", "yes"),
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
            wait_until(
                lambda client=client: (
                    b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO")
                )
            )
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


def test_sentinels_and_servers_by_tls_with_credentials_of_their_own(
    tls_flags: list[str], certificates: Certificates, alias_for: Callable[..., dict[str, Any]]
) -> None:
    program = program_for_tests("redis")
    port, sentinel_port = free_port(), free_port()
    with ExitStack() as stack:
        stack.enter_context(
            ServerProcess(
                program,
                arguments=[*tls_flags, "--tls-port", str(port)],
                password="for the server",
            )
        )
        config = (
            f'sentinel monitor shop 127.0.0.1 {port} 1\nsentinel auth-pass shop "for the server"\n'
        )
        stack.enter_context(
            ServerProcess(
                program,
                arguments=[*tls_flags, "--tls-port", str(sentinel_port), "--sentinel"],
                config=config,
                password="for the sentinel",
            )
        )
        location = (
            f"rediss+sentinel://:for%20the%20server@127.0.0.1:{sentinel_port}/shop/0"
            "?sentinel_password=for%20the%20sentinel"
        )
        options = {"ssl_ca_certs": str(certificates.authority)}
        values = alias_for(location, OPTIONS=options)
        assert both_colours(Backend(parse_alias("test", values))) == [1, 2]
