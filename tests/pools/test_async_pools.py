"""The pools for tasks: limits, waiting, order, idle connections, and redis-py's client."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError

from redisdict.pools import (
    AsyncBlockingConnectionPool,
    AsyncConnectionPool,
    OptimizedAsyncConnectionPool,
)
from redisdict.pools import asynchronous as async_pools
from tests.waiting import LIMIT_S, await_until

ALL = [AsyncConnectionPool, AsyncBlockingConnectionPool, OptimizedAsyncConnectionPool]


@pytest.fixture(params=ALL)
def pool_class(request: pytest.FixtureRequest) -> type[AsyncConnectionPool]:
    chosen: type[AsyncConnectionPool] = request.param
    return chosen


def test_they_are_redis_pys(pool_class: type[AsyncConnectionPool]) -> None:
    assert issubclass(pool_class, redis.asyncio.ConnectionPool)
    assert issubclass(AsyncBlockingConnectionPool, redis.asyncio.BlockingConnectionPool)


async def test_redis_pys_client_works_over_them(
    pool_class: type[AsyncConnectionPool], server_url: str, key_prefix: str
) -> None:
    async with redis.asyncio.Redis(connection_pool=pool_class.from_url(server_url)) as client:

        async def work(number: int) -> None:
            key = f"{key_prefix}:{number}"
            await client.set(key, number, px=10_000)
            assert await client.get(key) == b"%d" % number
            async with client.pipeline(transaction=True) as pipe:
                pipe.incr(key).pexpire(key, 10_000)
                assert await pipe.execute() == [number + 1, True]

        await asyncio.gather(*(work(number) for number in range(40)))
        assert not client.connection_pool._in_use_connections
        await client.connection_pool.aclose()


async def test_a_full_pool_refuses_or_waits(plain_url: str) -> None:
    refusing = AsyncConnectionPool.from_url(plain_url, max_connections=1)
    taken = await refusing.get_connection()
    with pytest.raises(MaxConnectionsError):
        await refusing.get_connection()
    await refusing.release(taken)
    await refusing.release(taken)  # a second time changes nothing
    assert await refusing.get_connection() is taken
    await refusing.aclose()

    waiting = AsyncBlockingConnectionPool.from_url(plain_url, max_connections=1, timeout=0.1)
    taken = await waiting.get_connection()
    begun = time.monotonic()
    with pytest.raises(RedisConnectionError, match=r"within 0.1 s \(timeout\); all 1 are in use"):
        await waiting.get_connection()
    assert time.monotonic() - begun >= 0.1
    await waiting.release(taken)
    assert await waiting.get_connection() is taken
    await waiting.release(taken)
    await waiting.aclose()


async def test_first_come_first_served(plain_url: str) -> None:
    pool = AsyncBlockingConnectionPool.from_url(plain_url, max_connections=1)
    served: list[int] = []

    async def work(number: int) -> None:
        connection = await pool.get_connection()
        await asyncio.sleep(0.001)
        served.append(number)
        await pool.release(connection)

    await asyncio.gather(*(work(number) for number in range(20)))
    assert served == list(range(20))
    await pool.aclose()


async def test_a_cancelled_wait_leaves_its_place_to_another(plain_url: str) -> None:
    pool = AsyncBlockingConnectionPool.from_url(plain_url, max_connections=1)
    taken = await pool.get_connection()
    waiting = [asyncio.create_task(pool.get_connection()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[1].cancel()
    await pool.release(taken)
    assert await asyncio.wait_for(waiting[2], LIMIT_S) is taken
    await pool.release(taken)
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await asyncio.wait_for(pool.get_connection(), LIMIT_S) is taken
    await pool.release(taken)
    await pool.aclose()


async def test_a_connection_that_cannot_be_made_is_not_lost(
    pool_class: type[AsyncConnectionPool],
) -> None:
    pool = pool_class.from_url("redis://127.0.0.1:1/0", max_connections=1)
    client = redis.asyncio.Redis(connection_pool=pool)
    for _ in range(3):
        with pytest.raises(RedisConnectionError):
            await client.get("a")
    assert not pool._in_use_connections


async def test_one_that_the_server_closed_while_idle_is_replaced(
    pool_class: type[AsyncConnectionPool], plain_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_pools, "IDLE_POLL_AFTER_S", 0.0)
    pool = pool_class.from_url(plain_url)
    connection = await pool.get_connection()
    await connection.send_command("CLIENT", "ID")
    victim = await connection.read_response()
    await pool.release(connection)
    async with redis.asyncio.Redis.from_url(plain_url) as killer:
        await killer.client_kill_filter(_id=victim)
        await await_until(connection._reader.at_eof)
        again = await pool.get_connection()
        await again.send_command("CLIENT", "ID")
        assert await again.read_response() != victim
        await pool.release(again)
    await pool.aclose()
