"""A name that is moved to another server, as managed services do at a failover."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.connections.backend import Backend
from redisdict.near import session as session_module
from redisdict.servers.process import ServerProcess
from tests.conftest import program_for_tests
from tests.managed.service import ManagedService, managed_service
from tests.near.conftest import make, wait_until_on
from tests.waiting import wait_until

NAME = "cache.moved.test"


class Moved:
    """Two servers, each behind an address of its own with one port, and a name for one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, one: Any, other: Any) -> None:
        self.services: list[ManagedService] = [one, other]
        self.host = one.host
        self.location = f"redis://{NAME}:{one.port}/0"
        resolve = socket.getaddrinfo

        def resolve_moved(host: Any, *args: Any, **options: Any) -> Any:
            return resolve(self.host if host == NAME else host, *args, **options)

        monkeypatch.setattr(socket, "getaddrinfo", resolve_moved)

    def move(self) -> None:
        self.host = self.services[1].host


@pytest.fixture(scope="module")
def servers() -> Iterator[list[ServerProcess]]:
    program = program_for_tests("redis")
    with ServerProcess(program) as one, ServerProcess(program) as other:
        yield [one, other]


@pytest.fixture
def moved(servers: list[ServerProcess], monkeypatch: pytest.MonkeyPatch) -> Iterator[Moved]:
    one, other = servers
    for server in servers:
        with server.client() as client:
            client.execute_command("REPLICAOF", "NO", "ONE")
    monkeypatch.setattr(session_module, "NAME_EVERY_S", 0.0)
    with (
        managed_service(one.port, address=("127.0.0.2", 0)) as first,
        managed_service(other.port, address=("127.0.0.3", first.port)) as second,
    ):
        yield Moved(monkeypatch, first, second)


async def _work(backend: Backend, mapping: Any, move: Callable[[], None]) -> list[Any]:
    await mapping.aset("t", 1)
    move()
    await mapping.aset("t", 2)
    value = await mapping.aget("t")
    await backend.aclose()
    return [value]


@pytest.mark.parametrize("way", ["the old one is gone", "the old one becomes a replica"])
def test_a_moved_name_is_followed(
    moved: Moved,
    servers: list[ServerProcess],
    open_backend: Callable[..., Backend],
    way: str,
) -> None:
    def move() -> None:
        moved.move()
        if way == "the old one is gone":
            moved.services[0].close()
            return
        with servers[0].client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", servers[1].port)

    backend = open_backend(moved.location, RETRY_FOR=60)
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    mapping["a"] = 1
    assert asyncio.run(_work(backend, mapping, move)) == [2]
    mapping["a"] = 2  # over a connection of before
    assert mapping["a"] == 2
    with servers[1].client() as client:
        assert client.exists(f"{backend.config.key_prefix}:h:{{d}}") == 1
    assert {"HSET", "HGET"} <= {*moved.services[1].names}


def test_near_follows_a_name_whose_old_server_stays(
    moved: Moved, servers: list[ServerProcess], open_backend: Callable[..., Backend]
) -> None:
    """Nothing ends the old connections: only the name tells."""
    backend = open_backend(moved.location, RETRY_FOR=60)
    elsewhere = open_backend(servers[1].url)
    mapping, other = make(backend, near=1.0), make(elsewhere, near=None)
    mapping["a"] = 1
    wait_until_on(mapping)
    assert mapping["a"] == 1
    other["a"] = 2
    moved.move()
    wait_until(lambda: mapping["a"] == 2)
    wait_until_on(mapping)
    other["a"] = 3
    wait_until(lambda: mapping["a"] == 3)
