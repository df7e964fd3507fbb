"""Every server that the package is for, one after another, and a dict on each.

The forms of a dict are paired here (a hash with sync, keys with async): what differs between
servers doesn't depend on the colour, and `tests/mapping` tries all four.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import Program, ProgramMissing, program_at
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from tests.conftest import UNPACKAGED, is_installed, program_for_tests, unpackaged_server
from tests.mapping.conftest import backend, face, hset_enabled, make, mapping
from tests.missing import end_without

__all__ = ["backend", "face", "hset_enabled", "make", "mapping"]

FETCHED = Path(__file__).parents[2] / "var" / "servers"


def fetched(name: str) -> Program:
    """A program that `.ci/servers` has fetched."""
    try:
        return program_at(FETCHED / name)
    except ProgramMissing as error:
        end_without(f"{error} (.ci/servers fetches it, on Debian)")


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


@contextmanager
def emulated_cluster(program: Program) -> Iterator[str]:
    """One server that answers as if it were a Cluster."""
    with ServerProcess(program, arguments=["--cluster_mode=emulated"]) as server:
        yield f"redis+cluster://{server.address}"


SERVERS: dict[str, Callable[[], AbstractContextManager[str]]] = {
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
# Those that aren't here are skipped once, by test_servers.py, and not in every test.
for family in UNPACKAGED:
    SERVERS[family] = functools.partial(unpackaged_server, family)
if is_installed("keydb"):
    SERVERS["sentinel-keydb"] = lambda: behind_sentinels(program_for_tests("keydb"))
    SERVERS["cluster-keydb"] = lambda: in_a_cluster(program_for_tests("keydb"))
if is_installed("dragonfly"):
    # As one that isn't told: with the keys of a dict on several threads.
    SERVERS["dragonfly-keys-apart"] = lambda: alone(
        program_for_tests("dragonfly"), ["--lock_on_hashtags=false"]
    )
    SERVERS["sentinel-dragonfly"] = lambda: behind_sentinels(program_for_tests("dragonfly"))
    SERVERS["cluster-dragonfly"] = lambda: emulated_cluster(program_for_tests("dragonfly"))


#: What the quick suite adds to the two servers that all other tests run on.
QUICK = ("cluster-valkey",)

PARAMS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.deep) for name in SERVERS]


@pytest.fixture(scope="session", params=PARAMS)
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with SERVERS[request.param]() as url:
        yield url


@pytest.fixture
def runner(hset_enabled: bool) -> Iterator[asyncio.Runner | None]:
    if hset_enabled:
        yield None
        return
    with asyncio.Runner() as running:
        yield running
