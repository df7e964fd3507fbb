"""Both drivers: requests, retries, lost connections, interrupted calls."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.exceptions import ResponseError

from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.exceptions import BackendUnavailable
from redisdict.wire.requests import Batch, Call, Once, Operation, Sleep
from tests.connections.faults import faulty_server

Run = Callable[[Backend, Operation[Any]], Any]

ASYNC_POOLS = ["AsyncConnectionPool", "AsyncBlockingConnectionPool", "OptimizedAsyncConnectionPool"]


@pytest.fixture(params=["ConnectionPool", "BlockingConnectionPool", *ASYNC_POOLS])
def pool_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(pool_name: str) -> Iterator[Run]:
    """Runs an operation by the driver that the pool belongs to."""
    if "Async" not in pool_name:
        yield lambda backend, operation: backend.driver.run(operation)
        return
    with asyncio.Runner() as runner:
        yield lambda backend, operation: runner.run(backend.async_driver.run(operation))


@pytest.fixture
def connect(pool_name: str) -> Iterator[Callable[..., Backend]]:
    made: list[Backend] = []

    def make(url: str, **options: Any) -> Backend:
        key = "ASYNC_POOL_CLASS" if "Async" in pool_name else "POOL_CLASS"
        values = {"LOCATION": url, key: f"redisdict.pools.{pool_name}", "OPTIONS": options}
        made.append(Backend(parse_alias("test", values)))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


def ask(*requests: Any) -> Operation[list[Any]]:
    """Yields the requests one by one, and returns the answers, errors among them."""
    answers: list[Any] = []
    for request in requests:
        try:
            answers.append((yield request))
        except ResponseError as error:
            answers.append(error)
    return answers


def test_every_request(
    run: Run, connect: Callable[..., Backend], server_url: str, key_prefix: str
) -> None:
    key = key_prefix.encode()
    answers = run(
        connect(server_url),
        ask(
            (b"SET", key, b"1", b"PX", 10_000),
            Once((b"INCR", key)),
            (b"HGET", key, b"f"),
            Batch([(b"GET", key), (b"HGET", key, b"f"), (b"INCR", key)]),
            Batch([(b"GET", key)]),
            Batch([(b"GET", key), (b"INCR", key)], is_atomic=True),
            Sleep(0.001),
            Call(lambda number: number + 1, (1,)),
            (b"GET", key),
        ),
    )
    assert answers[:2] == [b"OK", 2]
    assert str(answers[2]).startswith("WRONGTYPE")
    assert answers[3][0] == b"2"
    assert str(answers[3][1]).startswith("WRONGTYPE")
    assert answers[3][2] == 3
    assert answers[4:] == [[b"3"], [b"3", 4], None, 2, b"4"]


def test_an_error_of_the_users_function_reaches_the_operation(
    run: Run, connect: Callable[..., Backend], redis_url: str
) -> None:
    undone = []

    def operation() -> Operation[None]:
        try:
            yield Call(lambda: 1 // 0)
        except ZeroDivisionError:
            undone.append((yield (b"PING",)))
            raise

    with pytest.raises(ZeroDivisionError):
        run(connect(redis_url), operation())
    assert undone == [b"PONG"]


def test_an_error_that_the_users_function_returns_is_its_result(
    run: Run, connect: Callable[..., Backend], redis_url: str
) -> None:
    returned = ResponseError("returned")

    def operation() -> Operation[object]:
        return (yield Call(lambda: returned))

    assert run(connect(redis_url), operation()) is returned


def test_the_async_driver_awaits_the_users_function(redis_url: str) -> None:
    async def function() -> int:
        await asyncio.sleep(0)
        return 5

    backend = Backend(parse_alias("test", {"LOCATION": redis_url}))
    assert asyncio.run(backend.async_driver.run(ask(Call(function)))) == [5]


def test_no_connection_is_held_outside_of_commands(
    run: Run, connect: Callable[..., Backend], redis_url: str
) -> None:
    backend = connect(redis_url, max_connections=1)

    def nested() -> Operation[list[Any]]:
        yield (b"PING",)
        if asyncio._get_running_loop() is None:
            return (yield Call(lambda: backend.driver.run(ask((b"PING",)))))
        return (yield Call(lambda: backend.async_driver.run(ask((b"PING",)))))

    assert run(backend, nested()) == [b"PONG"]


def hang_up_first(connection: socket.socket, number: int) -> bool:
    if number == 1:
        return False
    connection.sendall(b"+fine\r\n")
    return True


def test_a_repeatable_command_is_sent_again(run: Run, connect: Callable[..., Backend]) -> None:
    with faulty_server(hang_up_first) as server:
        assert run(connect(server.url), ask((b"GET", b"k"))) == [b"fine"]
        assert len(server.commands) == 2


def test_another_is_not_and_the_error_says_so(run: Run, connect: Callable[..., Backend]) -> None:
    with faulty_server(hang_up_first) as server:
        backend = connect(server.url)
        with pytest.raises(
            BackendUnavailable, match="whether the server carried it out is unknown"
        ) as caught:
            run(backend, ask(Once((b"INCR", b"k"))))
        assert caught.value.outcome_unknown
        assert len(server.commands) == 1
        assert run(backend, ask(Once((b"INCR", b"k")))) == [b"fine"]


def test_a_batch_with_such_a_command_is_not_repeated(
    run: Run, connect: Callable[..., Backend]
) -> None:
    with faulty_server(hang_up_first) as server:
        with pytest.raises(BackendUnavailable) as caught:
            run(connect(server.url), ask(Batch([(b"INCR", b"k")], is_repeatable=False)))
        assert caught.value.outcome_unknown
        assert len(server.commands) == 1


def test_a_server_that_always_hangs_up(run: Run, connect: Callable[..., Backend]) -> None:
    with faulty_server(lambda connection, number: False) as server:
        with pytest.raises(
            BackendUnavailable, match=r'REDISDICT\["test"\] \(redis://127'
        ) as caught:
            run(connect(server.url), ask((b"GET", b"k")))
        assert not caught.value.outcome_unknown
        assert len(server.commands) == 2


def test_a_server_that_never_answers(run: Run, connect: Callable[..., Backend]) -> None:
    def silent(connection: socket.socket, number: int) -> bool:
        return True

    with faulty_server(silent) as server:
        backend = connect(server.url, socket_timeout=0.1)
        with pytest.raises(BackendUnavailable, match=r"(?i)time|answer"):
            run(backend, ask((b"GET", b"k")))


def test_half_a_reply_is_never_a_value(run: Run, connect: Callable[..., Backend]) -> None:
    def half(connection: socket.socket, number: int) -> bool:
        connection.sendall(b"$10\r\nhalf")
        return False

    with faulty_server(half) as server:
        with pytest.raises(BackendUnavailable):
            run(connect(server.url), ask((b"GET", b"k")))


def test_nobody_there(run: Run, connect: Callable[..., Backend]) -> None:
    with pytest.raises(BackendUnavailable, match=r"127.0.0.1:1/0\) is unavailable") as caught:
        run(connect("redis://:geheim@127.0.0.1:1/0"), ask(Once((b"INCR", b"k"))))
    assert not caught.value.outcome_unknown
    assert "geheim" not in str(caught.value)
    assert caught.value.__notes__ == [
        'Check that a server runs there, and the address in REDISDICT["test"].'
        ' With "embedded:///PATH" as its LOCATION, a server is started for you.'
    ]


@pytest.mark.parametrize(
    "url", ["unix:///nowhere/server.sock", "redis://nowhere.invalid:6379/0"], ids=["unix", "name"]
)
def test_an_address_that_does_not_exist(
    run: Run, connect: Callable[..., Backend], url: str
) -> None:
    with pytest.raises(BackendUnavailable) as caught:
        run(connect(url), ask((b"PING",)))
    assert "Check that a server runs there" in caught.value.__notes__[0]


def test_no_advice_where_a_server_hangs_up(run: Run, connect: Callable[..., Backend]) -> None:
    with faulty_server(lambda connection, number: False) as server:
        with pytest.raises(BackendUnavailable) as caught:
            run(connect(server.url), ask((b"GET", b"k")))
    assert not hasattr(caught.value, "__notes__")


def test_a_wrong_password_is_not_tried_twice(
    run: Run, connect: Callable[..., Backend], redis_url: str
) -> None:
    url = redis_url.replace("redis://", "redis://nobody:geheim@")
    with pytest.raises(BackendUnavailable, match="invalid username-password") as caught:
        run(connect(url), ask((b"PING",)))
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("is_held", [False, True], ids=["of the pool", "held"])
@pytest.mark.parametrize("is_batch", [False, True], ids=["a command", "a batch"])
def test_an_interrupted_call_leaves_no_reply_to_the_next(
    redis_url: str, is_held: bool, is_batch: bool
) -> None:
    """KeyboardInterrupt between sending and reading: the connection must not be used again."""
    backend = Backend(parse_alias("test", {"LOCATION": redis_url}))
    pool = backend.pool()
    connection: Any = pool.get_connection()
    pool.release(connection)
    interrupted: Any = (b"ECHO", b"interrupted")
    if is_batch:
        interrupted = Batch([interrupted])

    def operation() -> Operation[Any]:
        if is_held:
            yield Batch([(b"PING",)])
        connection.sock = connection._own_parser.sock = _Interrupted(connection.sock)
        yield interrupted

    with pytest.raises(KeyboardInterrupt):
        backend.driver.run(operation())
    assert not connection.is_connected
    assert backend.driver.run(ask((b"ECHO", b"next"))) == [b"next"]
    backend.close()


class _Interrupted:
    """A socket whose reader is interrupted when the command has left."""

    def __init__(self, sock: Any) -> None:
        self.sendall, self.shutdown, self.close = sock.sendall, sock.shutdown, sock.close

    def recv(self, size: int) -> bytes:
        raise KeyboardInterrupt


@pytest.mark.parametrize("pool_class", ASYNC_POOLS)
async def test_a_task_cancelled_at_any_point_leaves_no_reply_to_the_next(
    redis_url: str, pool_class: str
) -> None:
    backend = Backend(
        parse_alias(
            "test",
            {
                "LOCATION": redis_url,
                "ASYNC_POOL_CLASS": f"redisdict.pools.{pool_class}",
                "OPTIONS": {"max_connections": 3},
            },
        )
    )
    for turns in range(25):
        task = asyncio.create_task(backend.async_driver.run(ask((b"ECHO", b"%d" % turns))))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await backend.async_driver.run(ask((b"ECHO", b"next"))) == [b"next"]
    pool = backend.async_pool()
    assert not pool._in_use_connections
    await backend.aclose()
