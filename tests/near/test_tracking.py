"""The connection that hears of changes, over a pair of sockets."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redisdict.near.tracking import NotTracked, TrackingConnection, Wake, wait


class FakeConnection:
    """What redis-py's would be, over a socket pair."""

    def __init__(self, error: Exception | None = None, **options: Any) -> None:
        assert options["protocol"] == 3
        self.error = error
        self.is_closed = False
        self._sock: Any = None

    def connect(self) -> None:
        if self.error is not None:
            raise self.error

    def disconnect(self) -> None:
        self.is_closed = True


class FakePool:
    def __init__(self, **options: Any) -> None:
        self.connection_kwargs = options
        self.made: list[FakeConnection] = []

    def connection_class(self, **options: Any) -> FakeConnection:
        made = FakeConnection(**options)
        self.made.append(made)
        here, self.server = socket.socketpair()
        made._sock = here
        return made


@pytest.fixture
def pool() -> Iterator[FakePool]:
    pool = FakePool()
    yield pool
    for made in pool.made:
        made._sock.close()
    pool.server.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ResponseError("unknown command HELLO"), NotTracked),
        (RedisConnectionError("refused"), RedisConnectionError),
    ],
)
def test_a_connection_that_cant_be_made_is_closed(
    pool: FakePool, error: Exception, expected: type[Exception]
) -> None:
    pool.connection_kwargs["error"] = error
    with pytest.raises(expected):
        TrackingConnection(pool, 0.01, lambda keys: None)  # type: ignore[arg-type]  # a fake
    assert pool.made[0].is_closed


def test_replies_and_pushes_come_in_their_order(pool: FakePool) -> None:
    heard: list[Any] = []
    connection = TrackingConnection(pool, 0.05, heard.append)  # type: ignore[arg-type]  # a fake
    assert connection.address is None
    pool.server.sendall(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n")
    pool.server.sendall(b">2\r\n$7\r\nmessage\r\n$1\r\nx\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n")
    assert connection.receive() == []
    assert heard == [[b"k"], None]
    replies = iter([[], [b"PONG"]])  # first a push alone
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "receive", lambda: next(replies))
        assert connection.ask((b"PING",)) == b"PONG"
    assert pool.server.recv(100) == b"*1\r\n$4\r\nPING\r\n"
    with pytest.raises(RedisTimeoutError):
        connection.receive()
    assert not connection.receive_until(lambda: False)
    pool.server.close()
    with pytest.raises(RedisConnectionError):
        connection.receive()


def test_what_tls_has_decrypted_is_read_as_well(pool: FakePool) -> None:
    class Decrypting:
        """A socket that has more than poll() knows of."""

        def __init__(self) -> None:
            self.parts = [b"+PO", b"NG\r\n"]

        def recv(self, size: int) -> bytes:
            return self.parts.pop(0)

        def pending(self) -> int:
            return len(self.parts)

    connection = TrackingConnection(pool, 0.05, lambda keys: None)  # type: ignore[arg-type]  # a fake
    connection._sock = Decrypting()
    assert connection.receive() == [b"PONG"]


def test_without_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    wake = Wake()
    monkeypatch.delattr(select, "poll")
    assert wait([wake], 0) == []
    wake.wake()
    assert wait([wake], None) == [wake]
    wake.clear()
    assert wait([wake], 0) == []
    wake.close()
    wake.wake()
