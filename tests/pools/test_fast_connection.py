"""The fast path over a connection for threads: the same replies and errors as redis-py's way."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redisdict.pools import BlockingConnectionPool, ConnectionPool, fast_connection
from redisdict.pools.fast_connection import FAST_PATH_UNAVAILABLE, NotSentError
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program
from tests.connections.faults import Answer, FaultyServer, faulty_server

PING = pack_command(("PING",))

#: What a server can answer -> what comes of it.
REPLIES = [
    (b"$3\r\nabc\r\n", b"abc"),
    (b"$0\r\n\r\n", b""),
    (b"$-1\r\n", None),
    (b":-5\r\n", -5),
    (b"+OK\r\n", b"OK"),
    (b"*2\r\n$1\r\na\r\n:1\r\n", [b"a", 1]),
    (b"*0\r\n", []),
    (b"%1\r\n$1\r\na\r\n:1\r\n", {b"a": 1}),
    (b"#f\r\n", False),
    (b",1.5\r\n", 1.5),
    (b"_\r\n", None),
]

#: Error replies, and nonsense -> the exception, and whether the connection ends.
ERRORS = [
    (b"-ERR no\r\n", ResponseError, False),
    (b"-WRONGTYPE it isn't\r\n", ResponseError, False),
    (b"-READONLY it isn't\r\n", ReadOnlyError, True),
    (b"-LOADING it is\r\n", RedisConnectionError, True),
    (b"-NOAUTH Authentication required.\r\n", RedisConnectionError, True),
    (b"*1\r\n-LOADING it is\r\n", RedisConnectionError, True),
    (b"garbage\r\n", InvalidResponse, True),
]


@pytest.fixture
def pools() -> Iterator[Callable[..., ConnectionPool]]:
    made: list[ConnectionPool] = []

    def make(url: str, pool_class: type[ConnectionPool] = ConnectionPool, **options: Any) -> Any:
        made.append(pool_class.from_url(url, **options))
        return made[-1]

    yield make
    for pool in made:
        pool.disconnect()


def answering(*replies: bytes) -> Answer:
    """Answers the first command with PONG, then with these, in turn; the last one for ever."""

    def answer(connection: socket.socket, number: int) -> bool:
        reply = b"+PONG\r\n" if number == 1 else replies[min(number - 2, len(replies) - 1)]
        connection.sendall(reply)
        return True

    return answer


def connected(pools: Callable[..., ConnectionPool], server: FaultyServer, **options: Any) -> Any:
    """A pool with one connection, over which redis-py has read a reply."""
    pool = pools(server.url, **options)
    client = redis.Redis(connection_pool=pool)
    assert client.execute_command("PING") in (b"PONG", True)
    return pool


@pytest.mark.parametrize(("answer", "reply"), REPLIES)
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_every_reply_in_pieces_of_any_size(
    pools: Callable[..., ConnectionPool], answer: bytes, reply: Any, size: int
) -> None:
    def pieces(connection: socket.socket, number: int) -> bool:
        text = b"+PONG\r\n" if number == 1 else answer
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(text), size):
            connection.sendall(text[start : start + size])
            time.sleep(0.0005)
        return True

    with faulty_server(pieces) as server:
        pool = connected(pools, server)
        for _ in range(2):
            assert pool.execute(PING) == reply
            assert type(pool.execute(PING)) is type(reply)


@pytest.mark.parametrize(("answer", "error", "ends"), ERRORS)
def test_every_error_is_what_redis_py_makes_of_it(
    pools: Callable[..., ConnectionPool], answer: bytes, error: type[RedisError], ends: bool
) -> None:
    with faulty_server(answering(answer, answer, b"+fine\r\n")) as server:
        pool = connected(pools, server)
        theirs = redis.ConnectionPool.from_url(server.url)
        connection = theirs.get_connection()
        connection.send_packed_command((PING,))
        with pytest.raises(error) as expected:
            connection.read_response(disable_decoding=True)
        with pytest.raises(error) as caught:
            pool.execute(PING)
        assert type(caught.value) is type(expected.value)
        assert str(caught.value) == str(expected.value)
        [connection] = pool._available_connections
        assert connection.is_connected is not ends
        theirs.disconnect()


def test_pushes_are_handled_and_passed_over(
    pools: Callable[..., ConnectionPool],
) -> None:
    push = b">2\r\n$4\r\nnews\r\n:1\r\n"
    with faulty_server(answering(push + push + b"+fine\r\n", push + b"$1\r\nx\r\n")) as server:
        pool = connected(pools, server, protocol=2)
        [connection] = pool._available_connections
        seen: list[Any] = []
        connection._parser.pubsub_push_handler_func = seen.append
        connection.protocol = 3  # as after HELLO 3, which this server doesn't know
        assert pool.execute(PING) == b"fine"
        assert pool.execute(PING) == b"x"
        assert seen == [[b"news", 1]] * 3


def test_no_reply_in_time_closes_the_connection(pools: Callable[..., ConnectionPool]) -> None:
    with faulty_server(answering(b"$10\r\nhalf")) as server:
        pool = connected(pools, server, socket_timeout=0.1)
        begun = time.monotonic()
        with pytest.raises(
            RedisTimeoutError, match=f"Timeout reading from 127.0.0.1:{server.port}"
        ):
            pool.execute(PING)
        assert time.monotonic() - begun > 0.09
        assert len(server.commands) == 2  # it hasn't been sent again
        [connection] = pool._available_connections
        assert not connection.is_connected


def test_a_server_that_hangs_up_before_or_in_a_reply(pools: Callable[..., ConnectionPool]) -> None:
    for part in (b"", b"$10\r\nhalf"):

        def hang_up(connection: socket.socket, number: int, part: bytes = part) -> bool:
            connection.sendall(b"+PONG\r\n" if number == 1 else part)
            return number == 1

        with faulty_server(hang_up) as server:
            pool = connected(pools, server)
            with pytest.raises(RedisConnectionError, match=f"127.0.0.1:{server.port}") as caught:
                pool.execute(PING)
            assert not isinstance(caught.value, NotSentError)
            assert pool.execute(PING) is FAST_PATH_UNAVAILABLE


def test_what_had_not_left_is_told_apart(pools: Callable[..., ConnectionPool]) -> None:
    with faulty_server(answering(b"+fine\r\n")) as server:
        pool = connected(pools, server)
        assert pool.execute(PING) == b"fine"
        [connection] = pool._available_connections
        connection._sock.shutdown(socket.SHUT_WR)
        with pytest.raises(NotSentError, match=r"Error while writing to 127\.0\.0\.1"):
            pool.execute(PING)


def test_an_interrupt_in_mid_reply_closes_the_connection(
    pools: Callable[..., ConnectionPool], plain_url: str
) -> None:
    pool = pools(plain_url)
    redis.Redis(connection_pool=pool).ping()
    assert pool.execute(PING) == b"PONG"
    [connection] = pool._available_connections

    class Interrupted:
        def __init__(self, sock: Any) -> None:
            self.sendall, self.shutdown, self.close = sock.sendall, sock.shutdown, sock.close

        def recv(self, size: int) -> bytes:
            raise KeyboardInterrupt

    connection.sock = Interrupted(connection.sock)
    with pytest.raises(KeyboardInterrupt):
        pool.execute(pack_command(("ECHO", "left behind")))
    assert not connection.is_connected
    assert redis.Redis(connection_pool=pool).echo("next") == b"next"


def test_it_steps_aside(pools: Callable[..., ConnectionPool], plain_url: str) -> None:
    """Where more than one plain exchange is needed, redis-py's methods do it."""
    unreachable = pools("redis://127.0.0.1:1/0")
    with pytest.raises(RedisConnectionError):
        unreachable.get_connection()
    assert unreachable.execute(PING) is FAST_PATH_UNAVAILABLE
    assert pools(plain_url).execute(PING) is FAST_PATH_UNAVAILABLE  # no connection is there yet
    for options in (
        {"health_check_interval": 10},
        {"connection_class": type("Own", (redis.Connection,), {})},
    ):
        pool = pools(plain_url, **options)
        client = redis.Redis(connection_pool=pool)
        client.ping()
        assert pool.execute(PING) is FAST_PATH_UNAVAILABLE
        assert client.ping()


def test_a_credential_provider_costs_nothing(
    pools: Callable[..., ConnectionPool], plain_url: str
) -> None:
    pool = pools(plain_url, credential_provider=redis.UsernamePasswordCredentialProvider())
    redis.Redis(connection_pool=pool).ping()
    assert pool.execute(PING) == b"PONG"


def test_a_connection_idle_for_long_is_polled_first(
    pools: Callable[..., ConnectionPool], plain_url: str
) -> None:
    pool = pools(plain_url)
    redis.Redis(connection_pool=pool).ping()
    [connection] = pool._available_connections
    connection.returned_at -= 10
    assert pool.execute(PING) is FAST_PATH_UNAVAILABLE
    assert time.monotonic() - connection.returned_at > 9


def test_a_reply_left_behind_is_not_taken_for_an_answer(
    pools: Callable[..., ConnectionPool],
) -> None:
    with faulty_server(answering(b"+one\r\n+two\r\n")) as server:
        pool = connected(pools, server)
        [connection] = pool._available_connections
        connection.send_packed_command((PING,))
        assert connection.read_response() == b"one"
        assert pool.execute(PING) is FAST_PATH_UNAVAILABLE


def test_one_marked_for_reconnection_is_reconnected(
    pools: Callable[..., ConnectionPool], plain_url: str
) -> None:
    pool = pools(plain_url)
    redis.Redis(connection_pool=pool).ping()
    [connection] = pool._available_connections
    assert pool.execute(PING) == b"PONG"
    connection.mark_for_reconnect()
    assert pool.execute(PING) is FAST_PATH_UNAVAILABLE
    pool.release(pool.get_connection())
    assert not connection.is_connected


def test_one_that_waits_gets_the_connection(
    pools: Callable[..., ConnectionPool], plain_url: str
) -> None:
    """The fast path returns a connection as `release()` does: a waiting thread is woken."""
    pool = pools(plain_url, BlockingConnectionPool, max_connections=1, timeout=60)
    redis.Redis(connection_pool=pool).ping()
    done: list[float] = []

    def work() -> None:
        client = redis.Redis(connection_pool=pool)
        for _ in range(300):
            if pool.execute(PING) is FAST_PATH_UNAVAILABLE:
                client.ping()
        done.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 8
    assert pool._created_connections == 1


def test_redis_pys_classes_are_replaced_and_no_others(plain_url: str) -> None:
    assert ConnectionPool.from_url(plain_url).connection_class is fast_connection.Connection
    assert ConnectionPool().connection_class is fast_connection.Connection
    assert (
        ConnectionPool.from_url("unix:///nowhere").connection_class
        is fast_connection.UnixDomainSocketConnection
    )
    assert (
        ConnectionPool.from_url("rediss://nowhere").connection_class
        is fast_connection.SSLConnection
    )
    own = type("Own", (redis.Connection,), {})
    assert ConnectionPool(own).connection_class is own


def test_over_a_unix_socket(pools: Callable[..., ConnectionPool]) -> None:
    with ServerProcess(find_program("valkey"), listen="unix") as server:
        pool = pools(server.url)
        redis.Redis(connection_pool=pool).ping()
        assert pool.execute(PING) == b"PONG"
        assert pool.execute(pack_command(("ECHO", "x" * 1_000_000))) == b"x" * 1_000_000


def test_tls_has_the_timeouts_of_its_own_sockets() -> None:
    """TLS reports a timeout in its own way; `tests/backends` runs everything over TLS."""
    assert issubclass(ssl.SSLError, OSError)
    error = fast_connection.SSLConnection()._lost(
        TimeoutError("The read operation timed out"), is_sent=True
    )
    assert isinstance(error, RedisTimeoutError)
