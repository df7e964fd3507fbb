"""One connection for many tasks: order, cancellation, loss, back-pressure, garbage."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio
import uvloop
from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redisdict.pools import OptimizedAsyncConnectionPool, shared_connection
from redisdict.pools.fast_connection import NotSentError
from tests.waiting import LIMIT_S, LoopClock, await_until

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def pool(server_url: str) -> AsyncIterator[OptimizedAsyncConnectionPool]:
    async with opened(server_url) as made:
        yield made


@contextlib.asynccontextmanager
async def faulty_server(handle: Handler) -> AsyncIterator[str]:
    """A server that does what no real one can be made to do."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await handle(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"redis://{host}:{port}/0?protocol=2"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def opened(url: str, **options: object) -> contextlib.aclosing[OptimizedAsyncConnectionPool]:
    """A pool that is closed however the test ends."""
    return contextlib.aclosing(OptimizedAsyncConnectionPool.from_url(url, **options))


async def test_each_task_gets_its_own_reply(pool: OptimizedAsyncConnectionPool) -> None:
    async def work(number: int) -> None:
        for turn in range(20):
            text = b"%d-%d" % (number, turn)
            assert await pool.execute(pack_command((b"ECHO", text))) == text

    await asyncio.gather(*(work(number) for number in range(100)))


async def test_a_batch_gets_a_list_with_errors_in_their_places(
    pool: OptimizedAsyncConnectionPool, key_prefix: str
) -> None:
    commands = [(b"ECHO", b"a"), (b"NONSENSE",), (b"ECHO", b"b")]
    batch = b"".join(map(pack_command, commands))
    single = pool.execute(pack_command((b"ECHO", b"c")))
    replies, alone = await asyncio.gather(pool.execute(batch, 3), single)
    assert replies[0] == b"a"
    assert isinstance(replies[1], ResponseError)
    assert replies[2] == b"b"
    assert alone == b"c"


async def test_one_write_a_turn(pool: OptimizedAsyncConnectionPool) -> None:
    await pool.execute(pack_command((b"PING",)))
    assert pool._shared is not None
    connection = pool._shared
    writes: list[int] = []
    write = connection._write

    def count(packed: bytes) -> None:
        writes.append(len(packed))
        write(packed)

    connection._write = count  # type: ignore[method-assign]  # to look on
    ping = pack_command((b"PING",))
    await asyncio.gather(*(pool.execute(ping) for _ in range(50)))
    assert len(writes) <= 2  # the first may leave at once, the others leave together


async def test_the_reply_of_a_cancelled_task_goes_to_nobody(
    pool: OptimizedAsyncConnectionPool,
) -> None:
    for delay in range(8):  # cancelled at each point a command passes through

        async def echo(text: bytes) -> bytes:
            reply: bytes = await pool.execute(pack_command((b"ECHO", text)))
            return reply

        tasks = [asyncio.create_task(echo(b"%d" % number)) for number in range(20)]
        for _ in range(delay):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for number, result in enumerate(results):
            if isinstance(result, BaseException):
                assert number % 2 == 0
                assert isinstance(result, asyncio.CancelledError)
            else:
                assert result == b"%d" % number
        assert await echo(b"after") == b"after"


async def test_one_connection_is_opened_whoever_asks_and_whoever_gives_up(
    pool: OptimizedAsyncConnectionPool,
) -> None:
    tasks = [asyncio.create_task(pool.execute(pack_command((b"CLIENT", b"ID")))) for _ in range(30)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    ids = await asyncio.gather(*tasks[1:])
    assert len(set(ids)) == 1


async def test_a_lost_connection_is_replaced(pool: OptimizedAsyncConnectionPool) -> None:
    first = await pool.execute(pack_command((b"CLIENT", b"ID")))
    assert pool._shared is not None
    lost = pool._shared
    lost._transport.abort()  # type: ignore[union-attr]  # connected
    await await_until(lambda: not lost.is_open)
    assert await pool.execute(pack_command((b"CLIENT", b"ID"))) != first


async def test_a_retired_connection_ends_what_is_under_way(
    pool: OptimizedAsyncConnectionPool,
) -> None:
    waiting = [asyncio.create_task(pool.execute(pack_command((b"ECHO", b"x")))) for _ in range(5)]
    await asyncio.sleep(0)
    while pool._shared is None:  # noqa: ASYNC110  # it has no event
        await asyncio.sleep(0)
    old = pool._shared
    for _ in range(3):
        await asyncio.sleep(0)
    pool.retire_shared()
    assert await asyncio.gather(*waiting) == [b"x"] * 5
    assert await pool.execute(pack_command((b"PING",))) == b"PONG"
    assert pool._shared is not old
    assert not old.is_open


async def test_a_stuck_server_fails_its_commands_in_time() -> None:
    received = b""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        while data := await reader.read(65536):
            received += data

    async with faulty_server(silent) as url, opened(url, socket_timeout=1000) as pool:
        ping = pack_command((b"PING",))
        stuck = asyncio.gather(*(pool.execute(ping) for _ in range(10)))
        await await_until(lambda: received.count(b"PING") == 10)
        clock = LoopClock()
        clock.advance(900)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not stuck.done()
        clock.advance(100)
        assert all(isinstance(reply, RedisTimeoutError) for reply in await stuck)


async def test_a_server_that_trickles_does_not_keep_a_command_for_ever() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"$1000000000\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    options = {"socket_timeout": 0.3, "socket_connect_timeout": LIMIT_S}
    async with faulty_server(trickle) as url, opened(url, **options) as pool:
        reply = await asyncio.wait_for(pool.execute(pack_command((b"GET", b"k"))), LIMIT_S)
        assert isinstance(reply, RedisTimeoutError)


@pytest.mark.parametrize(
    "answer", [b"garbage\r\n", b"+A\r\n+nobody asked for this\r\n", b"$5\r\nab"]
)
async def test_nonsense_ends_the_connection_and_never_becomes_a_value(answer: bytes) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        await writer.drain()

    async with faulty_server(nonsense) as url, opened(url, socket_timeout=LIMIT_S) as pool:
        reply = await pool.execute(pack_command((b"GET", b"k")))
        assert reply == b"A" or isinstance(reply, RedisConnectionError)
        shared = pool._shared
        assert shared is not None
        await await_until(lambda: not shared.is_open)


async def test_what_had_not_left_is_told_apart() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)

    async with faulty_server(close) as url, opened(url) as pool:
        sent = asyncio.create_task(pool.execute(pack_command((b"PING",))))
        assert isinstance(await sent, RedisConnectionError)
        assert pool._shared is not None
        late = await pool._shared.submit(pack_command((b"PING",)))
        assert isinstance(late, NotSentError)


@pytest.mark.deep
async def test_ten_thousand_tasks_in_bounded_memory(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_connection, "MAX_UNSENT_BYTES", 1024 * 1024)
    value = b"x" * 10_000
    packed = pack_command((b"ECHO", value))
    most = 0

    async def work() -> None:
        nonlocal most
        assert await pool.execute(packed) == value
        assert pool._shared is not None
        most = max(most, pool._shared._unsent_bytes)

    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # On a busy machine the last of them wait for longer than they would by default.
    async with opened(server_url, socket_timeout=300) as pool:
        await asyncio.gather(*(work() for _ in range(10_000)))
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    assert most <= 1024 * 1024 + len(packed)
    assert grown_mib < 80  # 100 MB of replies went through


async def test_commands_in_flight_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_connection, "MAX_IN_FLIGHT", 50)
    answered = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = b""
        while True:
            received += await reader.read(65536)
            await answered.wait()
            count, received = received.count(b"PING"), b""
            writer.write(b"+PONG\r\n" * count)

    async with faulty_server(hold) as url:
        pool = OptimizedAsyncConnectionPool.from_url(url)
        ping = pack_command((b"PING",))
        tasks = [asyncio.create_task(pool.execute(ping)) for _ in range(500)]
        try:
            async with asyncio.timeout(30):
                while pool._shared is None or len(pool._shared._waiters) < 50:  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(0.001)
            for _ in range(100):  # turns of the loop in which a 51st would be sent
                await asyncio.sleep(0)
            assert pool.shared is None  # nothing is to be submitted past those that wait
            assert len(pool._shared._waiters) == 50
        finally:
            answered.set()
        assert await asyncio.gather(*tasks) == [b"PONG"] * 500
        await pool.aclose()


async def test_a_stuck_connection_fails_its_own_commands_and_no_others() -> None:
    connections = received = 0

    async def first_is_stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections, received
        connections += 1
        is_stuck = connections == 1
        while data := await reader.read(65536):
            received += data.count(b"PING")
            if not is_stuck or b"PING" not in data:
                writer.write(b"+fine\r\n" * data.count(b"*"))

    async with faulty_server(first_is_stuck) as url, opened(url, socket_timeout=1000) as pool:
        ping = pack_command((b"PING",))
        stuck = [asyncio.create_task(pool.execute(ping)) for _ in range(5)]
        await await_until(lambda: received == 5)
        client = redis.asyncio.Redis(connection_pool=pool)
        # A pipeline has a connection of its own.
        pipeline = client.pipeline(transaction=False).echo("x").echo("y")
        assert await pipeline.execute() == [b"fine", b"fine"]
        assert not any(task.done() for task in stuck)
        LoopClock().advance(1000)
        replies = await asyncio.gather(*stuck)
        assert all(isinstance(reply, RedisTimeoutError) for reply in replies)
        assert await client.echo("x") == b"fine"
        assert await pool.execute(ping) == b"fine"


async def test_what_holds_a_connection_up_has_one_of_its_own(
    pool: OptimizedAsyncConnectionPool, key_prefix: str
) -> None:
    client = redis.asyncio.Redis(connection_pool=pool)
    who = pack_command((b"CLIENT", b"ID"))
    shared_id = await pool.execute(who)
    blocked = asyncio.create_task(client.blpop([key_prefix], timeout=0))
    async with client.pubsub() as pubsub, client.pipeline() as pipeline:
        await pubsub.subscribe(key_prefix)
        await pipeline.watch(f"{key_prefix}:watched")
        pipeline.multi()
        pipeline.client_id()
        for number in range(50):
            echo = pack_command((b"ECHO", b"%d" % number))
            replies = await asyncio.gather(pool.execute(echo), pool.execute(who))
            assert replies == [b"%d" % number, shared_id]
        assert (await pipeline.execute())[0] != shared_id
        await client.publish(key_prefix, "news")
        look: dict[str, Any] = {"ignore_subscribe_messages": True, "timeout": LIMIT_S}
        message = await pubsub.get_message(**look) or await pubsub.get_message(**look)
        assert message is not None
        assert message["data"] == b"news"
    assert not blocked.done()
    await client.rpush(key_prefix, "x")
    assert list(await blocked) == [key_prefix.encode(), b"x"]
    async with client.client() as own:
        await own.select(5)
        info = await pool.execute(pack_command((b"CLIENT", b"INFO")))
        assert b" db=0 " in bytes(info)
        await own.select(0)


async def test_credentials_name_and_database(plain_url: str) -> None:
    url = plain_url.rsplit("/", 1)[0] + "/3"
    async with opened(url, client_name="shared-test") as pool:
        info = await pool.execute(pack_command((b"CLIENT", b"INFO")))
        assert b"name=shared-test" in bytes(info)
        assert b" db=3 " in bytes(info)
    async with opened(plain_url, username="nobody", password="geheim") as wrong:
        with pytest.raises(RedisConnectionError, match="invalid username-password") as caught:
            await wrong.execute(pack_command((b"PING",)))
        assert "geheim" not in str(caught.value)


def test_uvloop(server_url: str) -> None:
    async def main() -> list[bytes]:
        async with opened(server_url) as pool:
            echo = [pool.execute(pack_command((b"ECHO", b"%d" % number))) for number in range(20)]
            replies: list[bytes] = await asyncio.gather(*echo)
            return replies

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == [b"%d" % number for number in range(20)]
