"""Timeouts that the kernel keeps: the same errors, and other waits where others are asked for."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hiredis import pack_command
from redis.exceptions import TimeoutError as RedisTimeoutError

from redisdict.pools import ConnectionPool
from redisdict.pools.fast_connection import (
    HAS_KERNEL_TIMEOUTS,
    NotSentError,
    set_kernel_timeout,
)
from tests.connections.faults import faulty_server
from tests.pools.test_fast_connection import answering

pytestmark = pytest.mark.skipif(not HAS_KERNEL_TIMEOUTS, reason="sockets here have none")

PING = pack_command(("PING",))

#: More than both ends of a connection keep.
LARGE = pack_command(("ECHO", "x" * 64 * 1024 * 1024))


@pytest.fixture
def pools() -> Iterator[Callable[..., ConnectionPool]]:
    made: list[ConnectionPool] = []

    def make(url: str, **options: Any) -> ConnectionPool:
        made.append(ConnectionPool.from_url(url, **options))
        return made[-1]

    yield make
    for pool in made:
        pool.disconnect()


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    here, there = socket.socketpair()
    with here, there:
        yield here


def kernels_timeouts(sock: socket.socket) -> list[float]:
    found = []
    for name in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        seconds, microseconds = struct.unpack("@ll", sock.getsockopt(socket.SOL_SOCKET, name, 16))
        found.append(seconds + microseconds / 1_000_000)
    return found


@pytest.mark.parametrize("seconds", [0.02, 1, 2.5, 100_000])
def test_a_timeout_is_handed_to_the_kernel(sock: socket.socket, seconds: float) -> None:
    sock.settimeout(seconds)
    set_kernel_timeout(sock)
    assert sock.gettimeout() is None  # and nothing is polled
    assert kernels_timeouts(sock) == pytest.approx([seconds, seconds], abs=0.011)  # its ticks


def test_the_shortest_timeout_is_not_for_ever(sock: socket.socket) -> None:
    sock.settimeout(1e-9)
    set_kernel_timeout(sock)
    assert all(kernels_timeouts(sock))
    with pytest.raises(BlockingIOError):
        sock.recv(1)


@pytest.mark.parametrize("seconds", [None, 0])
def test_sockets_without_a_timeout_stay_so(sock: socket.socket, seconds: float | None) -> None:
    sock.settimeout(seconds)
    set_kernel_timeout(sock)
    assert sock.gettimeout() == seconds
    assert not any(kernels_timeouts(sock))


def test_sockets_of_tls_are_left_alone() -> None:
    with ssl.create_default_context().wrap_socket(
        socket.socket(), server_hostname="nowhere", do_handshake_on_connect=False
    ) as sock:
        sock.settimeout(5)
        set_kernel_timeout(sock)
        assert sock.gettimeout() == 5


def test_sockets_that_are_not_pythons_are_left_alone() -> None:
    class Green:
        """As gevent's and eventlet's, which would hold up all other tasks if they blocked."""

        def gettimeout(self) -> float:
            return 5

    set_kernel_timeout(Green())  # which has nothing else to call


@pytest.mark.parametrize("is_fast", [True, False])
def test_a_server_that_takes_nothing_is_given_up(
    pools: Callable[..., ConnectionPool], is_fast: bool
) -> None:
    is_over = threading.Event()

    def stop_reading(connection: socket.socket, _number: int) -> bool:
        connection.sendall(b"+PONG\r\n")
        is_over.wait()
        return False

    with faulty_server(stop_reading) as server:
        pool = pools(server.url, protocol=2, socket_timeout=0.1)
        connection = pool.get_connection()
        connection.send_packed_command((PING,))
        assert connection.read_response() == b"PONG"
        try:
            if is_fast:
                with pytest.raises(NotSentError, match="while writing"):
                    connection.execute(LARGE)
            else:
                with pytest.raises(RedisTimeoutError, match="Timeout writing"):
                    connection.send_packed_command((LARGE,))
            assert not connection.is_connected
        finally:
            is_over.set()
        pool.release(connection)


def test_a_wait_for_ever_outlasts_the_timeout(pools: Callable[..., ConnectionPool]) -> None:
    is_time = threading.Event()

    def answer_late(connection: socket.socket, number: int) -> bool:
        if number > 1:
            is_time.wait()
        connection.sendall(b"+PONG\r\n")
        return True

    with faulty_server(answer_late) as server:
        connection = pools(server.url, protocol=2, socket_timeout=0.02).get_connection()
        connection.send_packed_command((PING,))
        assert connection.read_response() == b"PONG"
        timer = threading.Timer(0.2, is_time.set)
        timer.start()
        connection.send_packed_command((PING,))
        assert connection.read_response(timeout=None) == b"PONG"
        timer.join()
        assert connection.sock.gettimeout() is None
        assert kernels_timeouts(connection.sock) == pytest.approx([0.02, 0.02], abs=0.011)


def test_a_timeout_that_redis_py_relaxes_is_pythons(pools: Callable[..., ConnectionPool]) -> None:
    """As a connection does that hears of its server's maintenance."""
    with faulty_server(answering(b"+fine\r\n")) as server:
        connection = pools(server.url, protocol=2, socket_timeout=5).get_connection()
        connection.send_packed_command((PING,))
        assert connection.read_response() == b"PONG"
        for relaxed in (60, -1):
            connection.update_current_socket_timeout(relaxed)
            assert connection.sock.gettimeout() == (60 if relaxed == 60 else 5)
            assert connection.execute(PING) == b"fine"
