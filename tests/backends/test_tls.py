"""TLS with an authority of the tests' own: alone and behind Sentinel."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from redisdict import BackendUnavailable, PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.listeners import free_port
from redisdict.servers.process import ServerProcess
from tests.conftest import program_for_tests


@dataclass
class Certificates:
    """A certificate for 127.0.0.1, its key, and the authority that signed it."""

    authority: Path
    certificate: Path
    key: Path


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=30)


def make_certificates(directory: Path) -> Certificates:
    authority, authority_key = directory / "ca.crt", directory / "ca.key"
    request, certificate, key = (directory / f"server.{kind}" for kind in ("csr", "crt", "key"))
    names = directory / "names"
    names.write_text("subjectAltName=IP:127.0.0.1\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=Tests", "-keyout", authority_key,
            "-out", authority)  # fmt: skip
    openssl("req", *curve, "-subj", "/CN=server", "-keyout", key, "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", authority, "-CAkey", authority_key,
            "-CAcreateserial", "-days", "2", "-extfile", names, "-out", certificate)  # fmt: skip
    return Certificates(authority, certificate, key)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_flags(certificates: Certificates) -> list[str]:
    return [
        *("--tls-cert-file", str(certificates.certificate)),
        *("--tls-key-file", str(certificates.key)),
        *("--tls-ca-cert-file", str(certificates.authority)),
        *("--tls-auth-clients", "no", "--tls-replication", "yes"),
    ]


@pytest.fixture(scope="module")
def tls_port(tls_flags: list[str]) -> Iterator[int]:
    port = free_port()
    arguments = [*tls_flags, "--tls-port", str(port)]
    with ServerProcess(program_for_tests("redis"), arguments=arguments):
        yield port


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
    values = alias_for(f"rediss://127.0.0.1:{tls_port}/0", OPTIONS=options)
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
    values = alias_for(f"rediss://:secret@{host}:{tls_port}/0", OPTIONS=options)
    backend = Backend(parse_alias("test", values))
    d: PersistentDict[str, int] = PersistentDict("d", backend)
    calls: list[Callable[[], Any]] = [lambda: d["a"], lambda: asyncio.run(d.agetitem("a"))]
    for call in calls:
        with pytest.raises(BackendUnavailable, match=r"(?i)certificate verify failed") as caught:
            call()
        assert "secret" not in str(caught.value)


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
