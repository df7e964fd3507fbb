"""Options of redis-py's connections, obeyed by all that this package opens, or refused."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.cache import CacheConfig
from redis.maint_notifications import MaintNotificationsConfig

from redisdict import BackendUnavailable, ConfigurationError, PersistentDict
from redisdict.connections.backend import Backend
from tests.managed.service import ManagedService
from tests.near.conftest import is_served, make, settle, wait_until_on
from tests.waiting import await_until

POOLED = "redisdict.pools.AsyncBlockingConnectionPool"


def options_of(sock: Any) -> tuple[int, int]:
    return (
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (1, 30)),  # redis-py's defaults
        ({"socket_keepalive_options": {socket.TCP_KEEPIDLE: 77}}, (1, 77)),
        ({"socket_keepalive": False}, (0, None)),
    ],
    ids=["default", "77 s", "off"],
)
def test_keepalive(
    service: ManagedService,
    open_backend: Callable[..., Backend],
    options: dict[str, Any],
    expected: tuple[int, int | None],
) -> None:
    backend = open_backend(service.url, OPTIONS=options)
    pooled = open_backend(service.url, OPTIONS=options, ASYNC_POOL_CLASS=POOLED)
    mapping = make(backend)
    wait_until_on(mapping)
    listener: Any = mapping._near._readers[0].listener
    connection: Any = backend.pool().get_connection()
    found = [options_of(connection._sock), options_of(listener._connection._sock)]
    backend.pool().release(connection)

    async def in_tasks() -> None:
        await mapping.aset("a", 1)
        pool: Any = backend.async_pool()
        found.append(options_of(pool.shared._transport.get_extra_info("socket")))
        connection: Any = await pooled.async_pool().get_connection()
        found.append(options_of(connection._writer.get_extra_info("socket")))
        await pooled.async_pool().release(connection)
        await backend.aclose()
        await pooled.aclose()

    asyncio.run(in_tasks())
    assert len(found) == 4
    for on, idle_s in found:
        assert on == expected[0]
        assert expected[1] in (None, idle_s)


def test_keepalive_options_that_the_socket_refuses(
    service: ManagedService, open_backend: Callable[..., Backend]
) -> None:
    options = {"socket_keepalive_options": {socket.TCP_KEEPIDLE: -1}}
    backend = open_backend(service.url, OPTIONS=options)
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    with pytest.raises(BackendUnavailable):
        mapping["a"] = 1
    with pytest.raises(BackendUnavailable, match="doesn't take the socket_keepalive_options"):
        asyncio.run(mapping.aset("a", 1))


class Connecting:
    """A `redis_connect_func` for both colours, which names the connection."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, connection: Any) -> Any:
        self.calls += 1
        if isinstance(connection, redis.connection.AbstractConnection):
            connection.on_connect()
            connection.send_command("CLIENT", "SETNAME", "by-function")
            return connection.read_response()
        return self._connect(connection)

    async def _connect(self, connection: Any) -> None:
        await connection.on_connect()
        await connection.send_command("CLIENT", "SETNAME", "by-function")
        await connection.read_response()


def test_a_function_that_connects(
    service: ManagedService, open_backend: Callable[..., Backend]
) -> None:
    """Also the shared connection, which carries on with what redis-py has connected."""
    function = Connecting()
    backend = open_backend(service.url, OPTIONS={"redis_connect_func": function})
    mapping = make(backend)
    mapping["a"] = 1
    wait_until_on(mapping)
    settle(mapping)
    assert mapping["a"] == 1
    assert is_served(mapping, "a")
    assert function.calls >= 2
    plain: PersistentDict[str, int] = PersistentDict("e", backend)

    async def in_tasks() -> None:
        assert await asyncio.gather(*(plain.aincr("n") for _ in range(50)))
        assert await plain.aget("n") == 50
        pool: Any = backend.async_pool()
        name = await pool.execute(b"*2\r\n$6\r\nCLIENT\r\n$7\r\nGETNAME\r\n")
        assert name == b"by-function"
        first = pool.shared
        service.end_token("")  # hangs up
        await await_until(lambda: not first.is_open)
        assert await plain.aget("n") == 50
        assert pool.shared is not first
        await backend.aclose()

    asyncio.run(in_tasks())
    assert function.calls >= 4
    plain.clear()


def test_a_function_that_connects_to_a_unix_socket(
    valkey_url: str, open_backend: Callable[..., Backend]
) -> None:
    function = Connecting()
    backend = open_backend(valkey_url, OPTIONS={"redis_connect_func": function})
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)

    async def in_tasks() -> None:
        assert await mapping.aincr("n") == 1
        await mapping.aclear()
        await backend.aclose()

    asyncio.run(in_tasks())
    assert function.calls == 1


def test_a_coroutine_function_that_connects(
    service: ManagedService, open_backend: Callable[..., Backend]
) -> None:
    """Threads can't await it, and are told; as redis-py has it, tasks can."""
    function = Connecting()._connect
    backend = open_backend(service.url, OPTIONS={"redis_connect_func": function})
    mapping: PersistentDict[str, int] = PersistentDict("d", backend)

    async def in_tasks() -> None:
        assert await mapping.aincr("n") == 1
        await mapping.aclear()
        await backend.aclose()

    asyncio.run(in_tasks())
    with pytest.raises(ConfigurationError, match=r"redis_connect_func.*coroutine function"):
        mapping["a"] = 1


@pytest.mark.parametrize("name", ["cache_config", "cache"])
@pytest.mark.parametrize("kind", ["redis", "redis+cluster"])
def test_a_cache_on_the_clients_side(
    name: str, kind: str, open_backend: Callable[..., Backend]
) -> None:
    with pytest.raises(ConfigurationError, match=rf'"{name}".*near=1\.0'):
        open_backend(f"{kind}://127.0.0.1:1", OPTIONS={name: CacheConfig()})


def test_maintenance_notifications_are_off(
    service: ManagedService, open_backend: Callable[..., Backend]
) -> None:
    mapping: PersistentDict[str, int] = PersistentDict("d", open_backend(service.url))
    mapping["a"] = 1
    assert b"MAINT_NOTIFICATIONS" not in [word for command in service.commands for word in command]


def test_maintenance_notifications_are_handed_through(
    service: ManagedService, open_backend: Callable[..., Backend]
) -> None:
    """Threads' connections ask for them; the shared one and the listener open anew when told."""
    config = MaintNotificationsConfig(enabled="auto")
    backend = open_backend(service.url, OPTIONS={"maint_notifications_config": config})
    pooled = open_backend(
        service.url,
        OPTIONS={"maint_notifications_config": config},
        ASYNC_POOL_CLASS=POOLED,
    )

    def count() -> int:
        return sum(b"MAINT_NOTIFICATIONS" in command for command in service.commands)

    mapping: PersistentDict[str, int] = PersistentDict("d", backend)
    mapping["a"] = 1
    assert mapping["a"] == 1
    assert count() == 1  # refused, and "auto" goes on without
    near = make(backend, name="near")
    wait_until_on(near)
    listener: Any = near._near._readers[0].listener
    assert not listener._connection._connection.maint_notifications_config.enabled
    assert count() > 1  # threads have connections anew since

    async def in_tasks() -> None:
        before = count()
        assert await mapping.aget("a") == 1
        await backend.aclose()
        assert count() == before
        d: PersistentDict[str, int] = PersistentDict("d", pooled)
        assert await d.aget("a") == 1
        await pooled.aclose()
        assert count() == before + 1

    asyncio.run(in_tasks())
    with pytest.raises(ConfigurationError, match="Maintenance notifications"):
        open_backend(
            service.url,
            OPTIONS={
                "maint_notifications_config": MaintNotificationsConfig(enabled=True),
                "protocol": 2,
            },
        ).pool()
