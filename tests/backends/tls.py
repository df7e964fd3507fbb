"""Certificates of the tests' own, and groups of servers that speak TLS."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redisdict.servers.process import ServerProcess, free_port
from tests.conftest import program_for_tests
from tests.waiting import wait_until

__all__ = [
    "Certificates",
    "cluster_by_tls",
    "flags_of",
    "has_all_slots",
    "make_certificates",
    "sentinel_by_tls",
]


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


def flags_of(certificates: Certificates) -> list[str]:
    return [
        *("--tls-cert-file", str(certificates.certificate)),
        *("--tls-key-file", str(certificates.key)),
        *("--tls-ca-cert-file", str(certificates.authority)),
        *("--tls-auth-clients", "no", "--tls-replication", "yes"),
    ]


def has_all_slots(client: Any) -> bool:
    """Tell whether a node of a Cluster knows who has each slot."""
    return b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO")


@contextmanager
def cluster_by_tls(
    flags: Sequence[str], *arguments: str, is_ready: Callable[[Any], bool] = has_all_slots
) -> Iterator[tuple[list[ServerProcess], list[int]]]:
    """Start a Cluster of two Redis.

    Args:
        flags: those of the certificates.
        arguments: further ones of both servers.
        is_ready: told a client of each node, whether it can be used.

    Yields:
        The servers, and the ports where they speak TLS.
    """
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                ServerProcess(
                    program_for_tests("redis"),
                    arguments=[
                        *(*flags, "--tls-port", str(port)),
                        *("--cluster-enabled", "yes", "--tls-cluster", "yes"),
                        *arguments,
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
            wait_until(partial(is_ready, client))
        yield nodes, ports


@contextmanager
def sentinel_by_tls(
    flags: Sequence[str], config: str, passwords: tuple[str | None, str | None] = (None, None)
) -> Iterator[int]:
    """Start a Redis and a sentinel of it.

    Args:
        flags: those of the certificates.
        config: of the sentinel, in which `{port}` stands for the server's.
        passwords: of the server, and of the sentinel.

    Yields:
        The port where the sentinel speaks TLS.
    """
    program = program_for_tests("redis")
    port, sentinel_port = free_port(), free_port()
    with ExitStack() as stack:
        stack.enter_context(
            ServerProcess(
                program,
                # A sentinel announces the first address of the name; of some hosts' localhost
                # that is ::1.
                arguments=[*flags, "--tls-port", str(port), "--bind", "127.0.0.1", "-::1"],
                password=passwords[0],
            )
        )
        stack.enter_context(
            ServerProcess(
                program,
                arguments=[*flags, "--tls-port", str(sentinel_port), "--sentinel"],
                config=config.format(port=port),
                password=passwords[1],
            )
        )
        yield sentinel_port
