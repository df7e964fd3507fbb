"""`Backend.leave_connections()`: what begins afterwards has connections opened afterwards."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.wire.combinators import ask
from tests.waiting import wait_until

ASYNC_POOLS = [
    "redisdict.pools.OptimizedAsyncConnectionPool",
    "redisdict.pools.AsyncConnectionPool",
    "redisdict.pools.AsyncBlockingConnectionPool",
    "redis.asyncio.ConnectionPool",
]

POOLS = [
    "redisdict.pools.ConnectionPool",
    "redisdict.pools.BlockingConnectionPool",
    "redis.ConnectionPool",
]

CLIENT_ID = (b"CLIENT", b"ID")


@pytest.fixture
def open_backend(redis_url: str, alias_for: Callable[..., dict[str, Any]]) -> Iterator[Any]:
    backends: list[Backend] = []

    def make(**settings: Any) -> Backend:
        backends.append(Backend(parse_alias("test", alias_for(redis_url, **settings))))
        return backends[-1]

    yield make
    for backend in backends:
        backend.close()


def asked(backend: Backend) -> Any:
    return backend.driver.run(ask(CLIENT_ID))


async def aasked(backend: Backend) -> Any:
    return await backend.async_driver.run(ask(CLIENT_ID))


@pytest.mark.parametrize("pool_class", POOLS)
def test_threads(open_backend: Any, pool_class: str) -> None:
    backend = open_backend(POOL_CLASS=pool_class)
    backend.leave_connections()  # there are none
    first = asked(backend)
    assert asked(backend) == first
    old = backend.pool()
    taken = old.get_connection()
    backend.leave_connections()
    assert asked(backend) not in (first, None)
    # What is under way ends where it began.
    taken.send_command(*CLIENT_ID)
    assert taken.read_response() == first
    old.release(taken)
    with backend.client() as client:
        if pool_class.startswith("redisdict."):
            assert first not in ids(client)


def ids(client: Any) -> set[int]:
    return {int(each["id"]) for each in client.client_list()}


def test_a_client_over_the_pool_goes_on(open_backend: Any) -> None:
    backend = open_backend(OPTIONS={"max_connections": 2})
    with backend.client() as client:
        for _ in range(5):
            assert client.ping()
            backend.leave_connections()
        assert client.ping()


@pytest.mark.parametrize("pool_class", ASYNC_POOLS)
def test_tasks(open_backend: Any, pool_class: str) -> None:
    backend: Backend = open_backend(ASYNC_POOL_CLASS=pool_class)

    async def main() -> None:
        first = await aasked(backend)
        assert await aasked(backend) == first
        thread = threading.Thread(target=backend.leave_connections)
        thread.start()
        await asyncio.to_thread(thread.join)
        second = await aasked(backend)
        assert second != first
        assert await aasked(backend) == second
        await asyncio.to_thread(wait_until, lambda: first not in ids(client))

    with backend.client() as client:
        asyncio.run(main())
        assert ids(client)


@pytest.mark.parametrize("pool_class", ASYNC_POOLS[:3])
def test_what_tasks_have_under_way_ends_where_it_began(open_backend: Any, pool_class: str) -> None:
    async def main() -> None:
        client = backend.async_client()
        popping = asyncio.create_task(client.blpop([f"{backend.config.key_prefix}:list"], 60))
        await asyncio.to_thread(wait_until, blocked)
        asking = asyncio.create_task(aasked(backend))  # the shared connection is being opened
        await asyncio.sleep(0)
        backend.leave_connections()
        first = await asking
        assert await aasked(backend) not in (first, None)
        await backend.async_client().lpush(f"{backend.config.key_prefix}:list", "value")
        assert (await popping)[1] == b"value"
        await asyncio.to_thread(wait_until, lambda: not blocked())

    def blocked() -> list[Any]:
        listed = sync_client.client_list()
        return [each for each in listed if each["cmd"] == "blpop" and each["name"] == name]

    name = secrets.token_hex(6)
    backend: Backend = open_backend(ASYNC_POOL_CLASS=pool_class, OPTIONS={"client_name": name})
    with backend.client() as sync_client:
        asyncio.run(main())


def test_a_loop_that_ends(open_backend: Any) -> None:
    backend: Backend = open_backend()

    async def main() -> None:
        await aasked(backend)
        backend.leave_connections()
        await aasked(backend)

    for _ in range(2):
        asyncio.run(main())
    backend.leave_connections()
