"""The parser of the pools' connections does what redis-py's own does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redisdict.pools import ConnectionPool
from redisdict.pools.fast_connection import FAST_PATH_UNAVAILABLE
from redisdict.pools.parser import Parser
from tests.connections.faults import faulty_server
from tests.pools.test_fast_connection import ERRORS, REPLIES, answering
from tests.waiting import LIMIT_S

PING = pack_command(("PING",))


@pytest.fixture
def connect() -> Iterator[Callable[..., Any]]:
    """Makes connections of this package's pools, or of redis-py's."""
    pools: list[redis.ConnectionPool] = []

    def make(url: str, pool_class: type[Any] = ConnectionPool, **options: Any) -> Any:
        pools.append(pool_class.from_url(url, **options))
        return pools[-1].get_connection()

    yield make
    for pool in pools:
        pool.disconnect()


@pytest.fixture(params=[2, 3])
def client(request: pytest.FixtureRequest, plain_url: str) -> Iterator[redis.Redis]:
    pool = ConnectionPool.from_url(plain_url, protocol=request.param, decode_responses=True)
    yield redis.Redis(connection_pool=pool)
    pool.disconnect()


@contextmanager
def soon(function: Callable[..., Any], *arguments: Any) -> Iterator[None]:
    """Calls a function in another thread during the block; it has returned after it."""
    timer = threading.Timer(0.05, function, arguments)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def outcome(connection: Any, **options: Any) -> Any:
    connection.send_packed_command((PING,))
    try:
        return connection.read_response(**options)
    except RedisError as error:
        return type(error), str(error), connection.is_connected


@pytest.mark.parametrize("reply", [reply for reply, *_ in (*REPLIES, *ERRORS)])
@pytest.mark.parametrize("options", [{}, {"decode_responses": True}], ids=["bytes", "text"])
@pytest.mark.parametrize("disable_decoding", [False, True])
def test_every_reply_is_redis_pys(
    connect: Callable[..., Any], reply: bytes, options: dict[str, Any], disable_decoding: bool
) -> None:
    def answer(sock: socket.socket, _number: int) -> bool:
        sock.sendall(reply)
        return True

    with faulty_server(answer) as server:
        own, theirs = (
            outcome(
                connect(server.url, pool_class, protocol=2, **options),
                disable_decoding=disable_decoding,
            )
            for pool_class in (ConnectionPool, redis.ConnectionPool)
        )
    assert own == theirs


@pytest.mark.parametrize(("errors", "expected"), [("replace", "\ufffd!"), ("ignore", "!")])
def test_text_that_cannot_be_decoded(
    connect: Callable[..., Any], errors: str, expected: str
) -> None:
    with faulty_server(answering(b"$2\r\n\xff!\r\n")) as server:
        connection = connect(server.url, protocol=2, decode_responses=True, encoding_errors=errors)
        assert outcome(connection) == "PONG"
        assert outcome(connection) == expected


def test_whether_there_is_something_to_read(connect: Callable[..., Any]) -> None:
    with faulty_server(answering(b"+one\r\n+two\r\n", b"")) as server:
        connection = connect(server.url, protocol=2, socket_timeout=60)
        own_timeout = connection.sock.gettimeout()  # None where the kernel keeps it
        assert outcome(connection) == b"PONG"
        assert connection.can_read() is False
        begun = time.monotonic()
        assert connection.can_read(timeout=0.05) is False
        assert 0.04 < time.monotonic() - begun < 60  # not the socket's own time
        connection.send_packed_command((PING,))
        assert connection.can_read(timeout=LIMIT_S) is True
        assert connection.can_read() is True  # nothing was lost by looking
        assert connection.read_response() == b"one"
        assert connection.can_read() is True
        assert connection.read_response() == b"two"
        assert connection.can_read() is False
        connection.send_packed_command((PING,))
        with pytest.raises(RedisTimeoutError):
            connection.read_response(timeout=0.05, disconnect_on_error=False)
        with pytest.raises(RedisTimeoutError):
            connection.read_response(timeout=0, disconnect_on_error=False)
        assert connection.is_connected
        assert connection.sock.gettimeout() == own_timeout


def test_a_server_that_has_hung_up(connect: Callable[..., Any]) -> None:
    def hang_up(sock: socket.socket, _number: int) -> bool:
        sock.sendall(b"+PONG\r\n")
        return False

    with faulty_server(hang_up) as server:
        connection = connect(server.url, protocol=2)
        assert outcome(connection) == b"PONG"
        with pytest.raises(RedisConnectionError, match="closed by server"):
            connection.can_read(timeout=LIMIT_S)
        with pytest.raises(RedisConnectionError, match="closed by server"):
            connection.read_response()
        assert not connection.is_connected
    parser = Parser(socket_read_size=1000)
    for use in (parser.can_read, parser.read_response):
        with pytest.raises(RedisConnectionError, match="closed by server"):
            use()


def test_garbage_is_an_error_and_the_end(connect: Callable[..., Any]) -> None:
    with faulty_server(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        connection = connect(server.url, protocol=2)
        assert outcome(connection) == b"PONG"
        connection.send_packed_command((PING,))
        with pytest.raises(InvalidResponse):
            connection.read_response()
        assert not connection.is_connected


def test_messages_of_channels(client: redis.Redis, key_prefix: str) -> None:
    channel = f"{key_prefix}news"
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(channel)
        assert pubsub.get_message(timeout=LIMIT_S) is None  # the subscription's own
        assert pubsub.get_message(timeout=0.01) is None
        for text in ("one", "two" * 100_000):
            client.publish(channel, text)
        messages: list[Any] = []
        while len(messages) < 2:
            message = pubsub.get_message(timeout=LIMIT_S)
            assert message is not None
            messages.append(message["data"])
        assert messages == ["one", "two" * 100_000]
        with soon(client.publish, channel, "three"):
            assert next(pubsub.listen())["data"] == "three"


def test_what_waits_for_others(client: redis.Redis, key_prefix: str) -> None:
    key = f"{key_prefix}list"
    assert client.blpop([key], timeout=0.05) is None
    with soon(client.rpush, key, "x"):
        assert tuple(client.blpop([key], timeout=LIMIT_S)) == (key, "x")


def test_errors_inside_of_a_transaction(client: redis.Redis, key_prefix: str) -> None:
    key = f"{key_prefix}text"
    with client.pipeline() as pipeline:
        pipeline.set(key, "a").incr(key).get(key)
        done, refused, value = pipeline.execute(raise_on_error=False)
    assert (done, value) == (True, "a")
    assert isinstance(refused, ResponseError)
    client.delete(key)


def test_pushes_between_replies(
    connect: Callable[..., Any], plain_url: str, key_prefix: str
) -> None:
    """As a cache on the client gets them: which of the keys that it has read were changed."""
    key = f"{key_prefix}watched"
    connection = connect(plain_url, protocol=3)
    seen: list[Any] = []
    connection._own_parser.set_invalidation_push_handler(seen.append)
    for command in (("CLIENT", "TRACKING", "ON"), ("GET", key)):
        connection.send_command(*command)
        connection.read_response()
    other = redis.Redis.from_url(plain_url)
    for turn in (1, 2):
        other.set(key, turn)
        assert connection.can_read(timeout=LIMIT_S)
        connection.send_command("GET", key)
        assert connection.read_response() == b"%d" % turn
        assert seen == [[b"invalidate", [key.encode()]]] * turn
    other.delete(key)
    pushed = connection.read_response(push_request=True, timeout=LIMIT_S)
    assert pushed is None  # what the handler returned
    assert len(seen) == 3
    other.close()


def test_another_parser_is_left_alone(connect: Callable[..., Any], plain_url: str) -> None:
    class Own(redis.connection.DefaultParser):  # type: ignore[misc, valid-type]  # a choice
        pass

    connection = connect(plain_url, parser_class=Own)
    assert outcome(connection) in (b"PONG", True)
    assert connection.execute(PING) is FAST_PATH_UNAVAILABLE
