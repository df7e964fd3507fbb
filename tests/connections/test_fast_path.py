"""The fast path of one command, in both drivers: its replies, and what becomes of its failures."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.exceptions import BackendUnavailable
from redisdict.wire.requests import Once, Operation, Step
from tests.connections.faults import Answer, faulty_server

Ask = Callable[[Backend, Any], Any]

GET = (b"GET", b"k")
INCR = Once((b"INCR", b"k"))


def operation(command: Any) -> Operation[Any]:
    reply = yield command
    return "the long way", reply


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Iterator[Ask]:
    """Asks over a connection that has been used before, as the fast path wants it."""
    if request.param == "sync":
        yield lambda backend, command: backend.driver.do(Step(command, operation, (command,)))
        return
    with asyncio.Runner() as runner:
        yield lambda backend, command: runner.run(
            backend.async_driver.do(Step(command, operation, (command,)))
        )


@pytest.fixture
def connect(ask: Ask) -> Iterator[Callable[..., Backend]]:
    made: list[Backend] = []

    def make(url: str, **options: Any) -> Backend:
        made.append(Backend(parse_alias("test", {"LOCATION": url, "OPTIONS": options})))
        assert ask(made[-1], (b"PING",)) == ("the long way", b"PONG")
        return made[-1]

    yield make
    for backend in made:
        backend.close()


def then(*answers: bytes | None) -> Answer:
    """PONG, then these in turn, of which None hangs up, then `+fine` for ever."""

    def answer(connection: socket.socket, number: int) -> bool:
        given = [b"+PONG\r\n", *answers, b"+fine\r\n"]
        reply = given[min(number, len(given)) - 1]
        if reply is not None:
            connection.sendall(reply)
        return reply is not None

    return answer


def test_the_reply_as_it_came(ask: Ask, connect: Callable[..., Backend], redis_url: str) -> None:
    assert ask(connect(redis_url), (b"ECHO", b"x")) == b"x"


@pytest.mark.parametrize("refusal", [b"-WRONGTYPE of\r\n", b"-READONLY now\r\n", b"-LOADING\r\n"])
@pytest.mark.parametrize("command", [GET, INCR])
def test_a_refusal_is_answered_by_the_operation(
    ask: Ask, connect: Callable[..., Backend], refusal: bytes, command: Any
) -> None:
    with faulty_server(then(refusal)) as server:
        assert ask(connect(server.url), command) == ("the long way", b"fine")
        assert server.commands[1:] == [list(command)] * 2


def test_what_may_be_repeated_is(ask: Ask, connect: Callable[..., Backend]) -> None:
    with faulty_server(then(None)) as server:
        assert ask(connect(server.url), GET) == ("the long way", b"fine")


@pytest.mark.parametrize("answer", [None, b"garbage\r\n", b"$9\r\nhalf"])
def test_what_may_not_is_not_and_the_error_says_so(
    ask: Ask, connect: Callable[..., Backend], answer: bytes | None
) -> None:
    with faulty_server(then(answer)) as server:
        backend = connect(server.url, socket_timeout=1)
        with pytest.raises(BackendUnavailable, match="it might count twice") as caught:
            ask(backend, INCR)
        assert caught.value.outcome_unknown
        assert server.commands[1:] == [[b"INCR", b"k"]]
        assert ask(backend, INCR) in (b"fine", ("the long way", b"fine"))


def test_what_has_not_left_is_sent_again(redis_url: str, key_prefix: str) -> None:
    backend = Backend(parse_alias("test", {"LOCATION": redis_url}))
    key = key_prefix.encode()
    backend.driver.run(operation((b"SET", key, b"1", b"PX", 10_000)))
    [connection] = backend.pool()._available_connections
    connection._sock.shutdown(socket.SHUT_WR)
    incr = Once((b"INCR", key))
    assert backend.driver.do(Step(incr, operation, (incr,))) == ("the long way", 2)
    backend.close()


def test_without_a_command_it_is_the_long_way(
    ask: Ask, connect: Callable[..., Backend], redis_url: str
) -> None:
    backend = connect(redis_url)
    assert backend.driver.do(Step(None, operation, ((b"PING",),))) == ("the long way", b"PONG")


def test_over_another_pool_it_is_the_long_way(redis_url: str) -> None:
    async def main() -> Any:
        return await backend.async_driver.do(Step((b"PING",), operation, ((b"PING",),)))

    options = {
        "POOL_CLASS": "redis.ConnectionPool",
        "ASYNC_POOL_CLASS": "redis.asyncio.ConnectionPool",
    }
    backend = Backend(parse_alias("test", {"LOCATION": redis_url, **options}))
    for _ in range(2):
        reply = backend.driver.do(Step((b"PING",), operation, ((b"PING",),)))
        assert reply == asyncio.run(main()) == ("the long way", b"PONG")
    backend.close()


async def test_a_dict_whose_task_is_cancelled_at_any_point(redis_url: str, key_prefix: str) -> None:
    backend = Backend(parse_alias("test", {"LOCATION": redis_url, "KEY_PREFIX": key_prefix}))
    mapping: PersistentDict[str, int] = PersistentDict("d", using=backend)
    await mapping.aset_many({"a": 1, "b": 2})
    calls: list[Callable[[], Any]] = [
        lambda: mapping.aget("a"),
        lambda: mapping.agetitem("a"),
        lambda: mapping.aset("a", 1),
        lambda: mapping.acontains("a"),
        lambda: mapping.adelete("c"),
    ]
    for call in calls:
        for turns in range(5):
            tasks = [asyncio.create_task(call()) for _ in range(4)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            assert await mapping.aget("b") == 2
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert results[1] == results[3] == await call()
    await mapping.aclear()
    await backend.aclose()


async def test_a_lost_connection_comes_to_the_dicts_methods_for_tasks() -> None:
    """A DEL may have been carried out, so it isn't sent again; everything else is."""
    with faulty_server(then(None, b"$1\r\n7\r\n", None)) as server:
        backend = Backend(parse_alias("test", {"LOCATION": server.url}))
        mapping: PersistentDict[str, int] = PersistentDict("d", using=backend, hset_enabled=False)
        assert await backend.async_driver.do(Step((b"PING",), operation, ((b"PING",),)))
        assert await mapping.aget("a") == 7
        with pytest.raises(BackendUnavailable) as caught:
            await mapping.adelete("a")
        assert caught.value.outcome_unknown
        await backend.aclose()


async def test_errors_come_to_the_dicts_methods_for_tasks(redis_url: str, key_prefix: str) -> None:
    """What is relocated is refused at first, and found by the operation."""
    backend = Backend(parse_alias("test", {"LOCATION": redis_url, "KEY_PREFIX": key_prefix}))
    mapping: PersistentDict[str, int] = PersistentDict("d", using=backend)
    await mapping.aset_many({"a": 1, "b": 2})
    await PersistentDict[str, int]("d", using=backend).aset("a", 1, timeout=60)
    calls: list[tuple[Callable[[PersistentDict[str, int]], Any], Any]] = [
        (lambda d: d.aget("a"), 1),
        (lambda d: d.agetitem("b"), 2),
        (lambda d: d.aset("c", 3), None),
        (lambda d: d.acontains("c"), True),
        (lambda d: d.adelete("c"), True),
    ]
    for call, result in calls:
        fresh: PersistentDict[str, int] = PersistentDict("d", using=backend)
        first, *_ = await asyncio.gather(call(fresh), *(fresh.aget("a") for _ in range(20)))
        assert first == result
    with pytest.raises(KeyError):
        await PersistentDict[str, int]("d", using=backend).adelitem("c")
    await mapping.aclear()
    await backend.aclose()


def test_a_forked_child_asks_over_a_connection_of_its_own(redis_url: str, key_prefix: str) -> None:
    backend = Backend(parse_alias("test", {"LOCATION": redis_url, "KEY_PREFIX": key_prefix}))
    mapping: PersistentDict[str, int] = PersistentDict("d", using=backend)
    mapping["a"] = 0
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  # runs in the child, where coverage doesn't look
        try:
            for number in range(200):
                mapping["child"] = number
            os.write(writer, b"y" if mapping["child"] == 199 else b"n")
        finally:
            os._exit(0)
    for number in range(200):
        mapping["a"] = number
        assert mapping["a"] == number
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b"y"
    os.close(reader)
    os.close(writer)
    mapping.clear()
    backend.close()
