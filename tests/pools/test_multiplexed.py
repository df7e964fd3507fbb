"""A plain `redis.asyncio.Redis` whose commands share one connection, and those that can't."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest
import redis.asyncio
import uvloop
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redisdict.pools import OptimizedAsyncConnectionPool
from redisdict.pools.multiplexed import multiplexed
from tests.pools.test_shared import faulty_server, opened
from tests.waiting import LIMIT_S

Client = redis.asyncio.Redis
Open = Callable[..., Client]


@pytest.fixture
async def open_client(server_url: str) -> AsyncIterator[Open]:
    pools = []

    def open_one(url: str = server_url, **options: object) -> Client:
        pools.append(OptimizedAsyncConnectionPool.from_url(url, **options))
        return Client(connection_pool=pools[-1])

    yield open_one
    for pool in pools:
        await pool.aclose()


@pytest.fixture
def client(open_client: Open) -> Client:
    return open_client(client_name="sharing")


async def connections(client: Client) -> int:
    """How many this test has, without the one that asks."""
    names = [entry["name"] for entry in await client.client_list()]
    return names.count("sharing") - 1


async def test_many_tasks_share_one_connection(client: Client, key_prefix: str) -> None:
    async def work(number: int) -> None:
        key = f"{key_prefix}{number}"
        for turn in range(10):
            await client.set(key, f"{number} {turn}", px=60_000)
            assert await client.get(key) == f"{number} {turn}".encode()
        assert await client.delete(key) == 1

    await asyncio.gather(*(work(number) for number in range(200)))
    assert await connections(client) == 1


async def test_a_cancelled_task_s_reply_goes_to_nobody(client: Client) -> None:
    rng = random.Random(1)

    async def work(number: int) -> None:
        for turn in range(20):
            text = f"{number} {turn}".encode()
            assert await client.echo(text) == text

    tasks = [asyncio.create_task(work(number)) for number in range(100)]
    cancelled = rng.sample(tasks, 50)
    for task in cancelled:
        await asyncio.sleep(0)
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {type(None), asyncio.CancelledError}
    assert not any(outcomes[tasks.index(task)] for task in tasks if task not in cancelled)
    assert not client.connection_pool._in_use_connections


async def test_a_reply_that_was_not_read_is_not_the_next_one_s(client: Client) -> None:
    pool = client.connection_pool
    connection = await pool.get_connection()
    await connection.send_command("ECHO", "old")
    await pool.release(connection)
    again = await pool.get_connection()
    assert again is connection
    await again.send_command("ECHO", "new")
    assert await again.read_response() == b"new"
    await pool.release(again)


async def test_replies_are_text_where_that_is_asked_for(open_client: Open, key_prefix: str) -> None:
    client = open_client(decode_responses=True)
    await client.hset(key_prefix, mapping={"a": "1", "ä": "ö"})
    assert await client.hgetall(key_prefix) == {"a": "1", "ä": "ö"}
    assert await client.hmget(key_prefix, ["ä", "b"]) == ["ö", None]
    assert await client.hlen(key_prefix) == 2
    await client.delete(key_prefix)
    await client.sadd(key_prefix, "ü")
    assert await client.smembers(key_prefix) == {"ü"}
    await client.delete(key_prefix)


async def test_refusals_are_raised(client: Client) -> None:
    with pytest.raises(ResponseError, match="unknown command"):
        await client.execute_command("NONSENSE")
    assert await client.ping() is True


async def test_what_blocks_holds_nobody_up(client: Client, key_prefix: str) -> None:
    waiting = asyncio.create_task(client.blpop([key_prefix], timeout=0))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(LIMIT_S):
        assert await client.get(key_prefix + "other") is None
        await client.rpush(key_prefix, "x")
        assert tuple(await waiting) == (key_prefix.encode(), b"x")


async def test_a_transaction_is_its_own(client: Client, key_prefix: str) -> None:
    await client.set(key_prefix, 1)
    async with client.pipeline() as pipeline:
        await pipeline.watch(key_prefix)
        assert await pipeline.get(key_prefix) == b"1"
        await client.set(key_prefix, 2)  # by another
        pipeline.multi()
        pipeline.set(key_prefix, 3)
        with pytest.raises(WatchError):
            await pipeline.execute()
    async with client.pipeline() as pipeline:
        assert await pipeline.incr(key_prefix).get(key_prefix).delete(key_prefix).execute() == [
            3,
            b"3",
            1,
        ]


async def test_subscribers_have_their_own(client: Client, key_prefix: str) -> None:
    async with client.pubsub() as subscriber:
        await subscriber.subscribe(key_prefix)
        assert await client.publish(key_prefix, "news") == 1
        messages = [await subscriber.get_message(timeout=LIMIT_S) for _ in range(2)]
        assert messages[1]["data"] == b"news"
        await subscriber.unsubscribe(key_prefix)
    assert await client.ping() is True


async def test_another_database_is_one_client_s_alone(client: Client, key_prefix: str) -> None:
    await client.set(key_prefix, "here")
    async with client.client() as single:
        assert await single.get(key_prefix) == b"here"
        await single.select(1)
        assert await single.get(key_prefix) is None
        assert await client.get(key_prefix) == b"here"
        await single.select(0)
    assert await client.delete(key_prefix) == 1


async def test_who_asks_about_its_writes_sends_them_along(client: Client, key_prefix: str) -> None:
    await client.set(key_prefix, "x")
    for words in (("WAIT", 0, 10), ("waitaof", 0, 0, 10)):
        with pytest.raises(RedisError, match="Send it in a pipeline together with the writes"):
            await client.execute_command(*words)
    pipeline = client.pipeline(transaction=False).delete(key_prefix).wait(0, 10)
    assert await pipeline.execute() == [1, 0]


async def test_one_that_is_connected_by_hand_is_its_own(open_client: Open) -> None:
    pool = open_client(health_check_interval=1, client_name="by-hand").connection_pool
    connection = await pool.get_connection()
    await connection.connect()
    await connection.send_command("ECHO", "x")
    assert await connection.read_response() == b"x"
    assert pool._shared is None
    await pool.release(connection)


async def test_more_tasks_than_connections(open_client: Open) -> None:
    client = open_client(client_name="sharing", max_connections=2)
    texts = [f"{number}".encode() for number in range(100)]
    assert await asyncio.gather(*map(client.echo, texts)) == texts
    assert await connections(client) == 1


@pytest.mark.parametrize("retries", [0, 1])
async def test_a_lost_connection_is_an_error_or_is_tried_again(
    open_client: Open, retries: int
) -> None:
    count = 0

    async def first_hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        is_first = count == 1
        while await reader.read(65536) and not is_first:
            writer.write(b"+PONG\r\n")

    async with faulty_server(first_hangs_up) as url:
        client = open_client(url, retry=Retry(NoBackoff(), retries))
        if retries:
            assert await client.ping() is True
        else:
            with pytest.raises(RedisConnectionError):
                await client.ping()
        assert await client.ping() is True
        assert count == 2


def test_on_uvloop(server_url: str, key_prefix: str) -> None:
    async def main() -> None:
        async with opened(server_url) as pool:
            client = Client(connection_pool=pool)
            texts = [f"{number}".encode() for number in range(200)]
            assert await asyncio.gather(*map(client.echo, texts)) == texts
            waiting = asyncio.create_task(client.blpop([key_prefix], timeout=0))
            await asyncio.sleep(0.01)
            await client.rpush(key_prefix, "x")
            assert (await waiting)[1] == b"x"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_a_reply_that_does_not_come_in_time(open_client: Open) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with faulty_server(silent) as url:
        pool = open_client(url).connection_pool
        connection = await pool.get_connection()
        await connection.send_command("GET", "a")
        with pytest.raises(RedisTimeoutError, match=r"0\.05 s"):
            await connection.read_response(timeout=0.05)
        await pool.release(connection)
        client = open_client(url, socket_timeout=0.05, retry=Retry(NoBackoff(), 0))
        with pytest.raises(RedisTimeoutError):
            await client.get("a")


async def test_who_meets_a_replica_has_the_next_one_connect_anew(open_client: Open) -> None:
    async def replica(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(
                b"-READONLY You can't write against a read only replica.\r\n"
                if b"SET" in data
                else b"+OK\r\n"
            )

    async with faulty_server(replica) as url:
        client = open_client(url)
        assert await client.get("a") == b"OK"
        first = client.connection_pool._shared
        with pytest.raises(ReadOnlyError):
            await client.set("a", "b")
        assert await client.get("a") == b"OK"
        assert client.connection_pool._shared is not first


def test_there_is_one_class_for_each_of_redis_py_s() -> None:
    made = multiplexed(redis.asyncio.Connection)
    assert made is multiplexed(redis.asyncio.Connection) is multiplexed(made)
    assert made.__name__ == "MultiplexedConnection"
    assert issubclass(made, redis.asyncio.Connection)
