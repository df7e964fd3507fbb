"""Every server that the package is for, one after another, and a dict on each.

The forms of a dict are paired here (a hash with sync, keys with async): what differs between
servers doesn't depend on the colour, and `tests/mapping` tries all four.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import Family, Program, ProgramMissing, find_program, program_at
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from tests.conftest import program_for_tests
from tests.mapping.conftest import backend, face, hset_enabled, make, mapping

__all__ = ["backend", "face", "hset_enabled", "make", "mapping"]

FETCHED = Path(__file__).parents[2] / "var" / "servers"


def fetched(name: str) -> Program:
    """A program that `.ci/servers` has fetched."""
    try:
        return program_at(FETCHED / name)
    except ProgramMissing as error:
        message = f"{error} (.ci/servers fetches it, on Debian)"
        if os.environ.get("CI"):
            pytest.fail(f"CI is set, and no server may be missing there. {message}")
        pytest.skip(message)


@contextmanager
def alone(program: Program, arguments: Sequence[str] = ()) -> Iterator[str]:
    with ServerProcess(program, arguments=arguments) as server:
        yield server.url


@contextmanager
def behind_sentinels(program: Program) -> Iterator[str]:
    with SentinelTopology(program) as topology:
        yield topology.location


@contextmanager
def in_a_cluster(program: Program) -> Iterator[str]:
    with ClusterTopology(program) as topology:
        yield topology.location


def unpackaged(family: Family) -> AbstractContextManager[str] | None:
    """A server that no package brings: at an address from the environment, or on PATH."""
    address = os.environ.get(f"REDISDICT_TEST_{family.upper()}")
    if address is not None:
        return nullcontext(address)
    try:
        return alone(find_program(family))
    except ProgramMissing:
        return None


def dragonfly_with_keys_apart() -> AbstractContextManager[str] | None:
    """A Dragonfly that keeps the keys of a dict on several threads, as one does that isn't told."""
    try:
        return alone(find_program("dragonfly"), ["--lock_on_hashtags=false"])
    except ProgramMissing:
        return None


SERVERS: dict[str, Callable[[], AbstractContextManager[str] | None]] = {
    "redis-installed": lambda: alone(program_for_tests("redis")),
    "redis-6.2": lambda: alone(fetched("redis-6.2")),
    "redis-8.2": lambda: alone(fetched("redis-8.2")),
    "valkey-installed": lambda: alone(program_for_tests("valkey")),
    "valkey-8.0": lambda: alone(fetched("valkey-8.0")),
    "sentinel-redis": lambda: behind_sentinels(program_for_tests("redis")),
    "sentinel-valkey": lambda: behind_sentinels(program_for_tests("valkey")),
    "cluster-redis": lambda: in_a_cluster(program_for_tests("redis")),
    "cluster-valkey": lambda: in_a_cluster(program_for_tests("valkey")),
}
UNPACKAGED: dict[str, Callable[[], AbstractContextManager[str] | None]] = {
    "keydb": lambda: unpackaged("keydb"),
    "dragonfly": lambda: unpackaged("dragonfly"),
    "dragonfly-keys-apart": dragonfly_with_keys_apart,
}
# Those that aren't here are skipped once, by test_servers.py, and not in every test.
SERVERS |= {name: start for name, start in UNPACKAGED.items() if start() is not None}


@pytest.fixture(scope="session", params=SERVERS)
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    server = SERVERS[request.param]()
    assert server is not None
    with server as url:
        yield url


@pytest.fixture
def runner(hset_enabled: bool) -> Iterator[asyncio.Runner | None]:
    if hset_enabled:
        yield None
        return
    with asyncio.Runner() as running:
        yield running
