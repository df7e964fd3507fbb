"""The pools for tasks in a forked child, which runs a loop of its own or a copy of its parent's."""

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import redis.asyncio

from redisdict.forks import abandon
from redisdict.pools import (
    AsyncBlockingConnectionPool,
    AsyncConnectionPool,
    OptimizedAsyncConnectionPool,
)
from tests.backends.tls import Certificates
from tests.forks.forking import Child, Fork, fork_in_c, fork_in_python
from tests.forks.test_pools import certificates, tls_url
from tests.missing import need_package

__all__ = ["certificates", "tls_url"]


@pytest.fixture(
    params=[AsyncConnectionPool, AsyncBlockingConnectionPool, OptimizedAsyncConnectionPool]
)
def pool_class(request: pytest.FixtureRequest) -> type[AsyncConnectionPool]:
    chosen: type[AsyncConnectionPool] = request.param
    return chosen


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop of the parent's, which isn't running while it forks."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.parametrize("is_closed", [False, True])
def test_connections_of_uvloop(
    pool_class: type[AsyncConnectionPool], redis_url: str, fork: Fork, is_closed: bool
) -> None:
    uvloop = need_package("uvloop")
    loop = uvloop.new_event_loop()
    client = redis.asyncio.Redis(connection_pool=pool_class.from_url(redis_url))
    assert loop.run_until_complete(mixed_up(client, "before")) == 0
    if is_closed:
        loop.run_until_complete(client.connection_pool.disconnect())

    def live() -> Any:
        return in_a_loop_of_its_own(lambda: mixed_up(client, "child"))

    child = Child(live, fork)
    assert loop.run_until_complete(mixed_up(client, "parent")) == 0
    assert child.result() == 0
    assert loop.run_until_complete(mixed_up(client, "after")) == 0
    loop.run_until_complete(client.connection_pool.disconnect())
    loop.close()


async def mixed_up(client: Any, name: str) -> int:
    """How many of many replies are to another's question."""

    async def is_wrong(text: str) -> bool:
        answer: bytes = await client.echo(text)
        return answer != text.encode()

    wrong = 0
    for round_ in range(50):
        texts = [f"{name}{round_}-{number}" for number in range(5)]
        wrong += sum(await asyncio.gather(*map(is_wrong, texts)))
    return wrong


def in_a_loop_of_its_own(live: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def live_and_close() -> Any:
        return await live()

    return asyncio.run(live_and_close())


@pytest.mark.parametrize(
    ("fork", "is_copy"),
    [
        pytest.param(fork_in_c, False, id="C, own loop"),
        pytest.param(fork_in_python, False, id="Python, own loop"),
        # In C a copy would read what the parent's sockets have before anything here is used.
        pytest.param(fork_in_python, True, id="Python, copy of the loop"),
    ],
)
def test_parent_and_children_ask_side_by_side(
    pool_class: type[AsyncConnectionPool],
    redis_url: str,
    loop: asyncio.AbstractEventLoop,
    fork: Fork,
    is_copy: bool,
) -> None:
    client = redis.asyncio.Redis(connection_pool=pool_class.from_url(redis_url))
    parents = loop.run_until_complete(client.client_info())["id"]
    assert loop.run_until_complete(mixed_up(client, "before")) == 0

    async def work() -> tuple[int, bool]:
        wrong = await mixed_up(client, "child")
        is_other = (await client.client_info())["id"] != parents
        await client.connection_pool.disconnect()
        return wrong, is_other

    def live() -> Any:
        return loop.run_until_complete(work()) if is_copy else asyncio.run(work())

    children = [Child(live, fork) for _ in range(2)]
    assert loop.run_until_complete(mixed_up(client, "parent")) == 0
    assert [child.result() for child in children] == [(0, True)] * 2
    assert loop.run_until_complete(mixed_up(client, "after")) == 0
    loop.run_until_complete(client.connection_pool.disconnect())


def test_all_connections_of_the_parent_taken_are_none_of_the_childs(
    pool_class: type[AsyncConnectionPool], redis_url: str, loop: asyncio.AbstractEventLoop
) -> None:
    pool = pool_class.from_url(redis_url, max_connections=1)
    held: Any = loop.run_until_complete(pool.get_connection())

    async def work() -> Any:
        await pool.release(held)  # which isn't of this process
        connection = await pool.get_connection()
        await connection.send_command("ECHO", "child")
        answer = await connection.read_response()
        await pool.release(connection)
        await pool.disconnect()
        return answer

    assert Child(lambda: in_a_loop_of_its_own(work)).result() == b"child"

    async def go_on() -> Any:
        await held.send_command("ECHO", "parent")
        answer = await held.read_response()
        await pool.release(held)
        await pool.disconnect()
        return answer

    assert loop.run_until_complete(go_on()) == b"parent"


@pytest.mark.parametrize("is_copy", [False, True], ids=["own loop", "copy of the loop"])
def test_tls_of_the_parent_goes_on(
    pool_class: type[AsyncConnectionPool],
    tls_url: str,
    certificates: Certificates,
    loop: asyncio.AbstractEventLoop,
    is_copy: bool,
) -> None:
    pool = pool_class.from_url(tls_url, ssl_ca_certs=str(certificates.authority))
    client = redis.asyncio.Redis(connection_pool=pool)
    parents = loop.run_until_complete(client.client_info())["id"]

    async def work() -> Any:
        other = (await client.client_info())["id"]
        await pool.disconnect()
        return other

    def live() -> Any:
        return loop.run_until_complete(work()) if is_copy else asyncio.run(work())

    assert Child(live).result() != parents
    assert loop.run_until_complete(client.client_info())["id"] == parents
    loop.run_until_complete(pool.disconnect())


async def test_a_number_that_is_in_use_for_something_else_stays_that(redis_url: str) -> None:
    host, port = redis_url.removeprefix("redis://").removesuffix("/0").split(":")
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, port)
    number = transport.get_extra_info("socket").fileno()

    def live() -> bool:
        here, there = socket.socketpair()
        os.dup2(here.fileno(), number)  # which closes it first
        abandon(transport)
        os.write(number, b"x")
        return there.recv(1) == b"x"

    assert Child(live, fork_in_c).result()
    transport.close()
    await asyncio.sleep(0)


def test_nothing_to_let_go_of() -> None:
    abandon(None)
    abandon(asyncio.Transport())
