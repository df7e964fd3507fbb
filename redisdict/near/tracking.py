"""Open the connection over which a server reports changed keys: RESP3 and CLIENT TRACKING."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import hiredis
import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from redisdict.connections.announced import is_address
from redisdict.near.clock import clock
from redisdict.wire.requests import Command, Reply

READ_SIZE: Final = 65536

_NO_REPLY: Final = object()


class NotTracked(Exception):
    """The server can't or won't report changes; the text says why."""


class TrackingConnection:
    """A connection of its own, made as those of a pool are, with RESP3.

    Pushes are applied when they are read, in their order, before any reply behind them is given.

    Args:
        pool: whose connections lead to the server; none of them is taken.
        timeout_s: how long to wait for a reply.
        apply: is given the keys of each push; None for all keys.

    Raises:
        NotTracked: the server doesn't speak RESP3.
        redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError: it can't be
            reached.
    """

    def __init__(
        self,
        pool: redis.ConnectionPool,
        timeout_s: float,
        apply: Callable[[Sequence[bytes] | None], None],
    ) -> None:
        options = {
            **pool.connection_kwargs,
            "protocol": 3,
            "health_check_interval": 0,
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        self._connection: Any = pool.connection_class(**options)
        self._timeout_s = timeout_s
        self._apply = apply
        self._reader = hiredis.Reader(replyError=ResponseError, notEnoughData=_NO_REPLY)
        try:
            self._connection.connect()
        except ResponseError as error:
            self.close()
            raise NotTracked(f"it doesn't speak RESP3 ({error})") from error
        except BaseException:
            self.close()
            raise
        self._sock: Any = self._connection._sock  # there is no public way to it
        self._sock.settimeout(timeout_s)

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port that it leads to; None of a unix socket."""
        host = getattr(self._connection, "host", None)
        return None if host is None else (host, self._connection.port)

    def leads_elsewhere(self) -> bool:
        """Return whether its server's name leads to other addresses only by now.

        One question to the resolver, where there is a name; of one that doesn't answer nothing is
        concluded.
        """
        address = self.address
        if address is None or is_address(address[0]):
            return False
        try:
            found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
            here = self._sock.getpeername()[0]
        except OSError:
            return False
        return all(each[4][0] != here for each in found)

    def fileno(self) -> int:
        """Return the descriptor, for poll()."""
        number: int = self._sock.fileno()
        return number

    def send(self, commands: Sequence[Command]) -> None:
        """Send commands, whose replies `receive()` will give."""
        packed = b"".join(hiredis.pack_command(command) for command in commands)  # type: ignore[arg-type]  # its stub has tuples of one
        self._sock.sendall(packed)

    def receive(self) -> list[Reply]:
        """Read the available bytes, at least one; apply the pushes and return the replies.

        Raises:
            redis.exceptions.ConnectionError: the server has hung up.
            redis.exceptions.TimeoutError: nothing came in time.
        """
        try:
            data = self._sock.recv(READ_SIZE)
        except TimeoutError:
            raise RedisTimeoutError("Timeout reading from socket") from None
        if not data:
            raise RedisConnectionError("Connection closed by server.")
        pending = getattr(self._sock, "pending", None)  # TLS may have more than poll() knows of
        self._reader.feed(data)
        while pending is not None and pending():
            self._reader.feed(self._sock.recv(READ_SIZE))
        replies = []
        while (reply := self._reader.gets()) is not _NO_REPLY:
            if not isinstance(reply, hiredis.PushNotification):
                replies.append(reply)
            elif reply[0] == b"invalidate":
                self._apply(reply[1])
        return replies

    def ask(self, command: Command) -> Reply:
        """Send a command and wait for its reply; nothing else may be under way.

        Raises:
            redis.exceptions.ResponseError: the server refused.
            redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError: it is lost.
        """
        self.send([command])
        while not (replies := self.receive()):
            pass
        if isinstance(replies[0], ResponseError):
            raise replies[0]
        return replies[0]

    def receive_until(self, is_so: Callable[[], bool]) -> bool:
        """Apply pushes until the condition holds; return whether it did in time."""
        deadline = clock() + self._timeout_s
        while not is_so():
            left_s = deadline - clock()
            if left_s <= 0:
                return False
            if wait([self], left_s):
                self.receive()
        return True

    def close(self) -> None:
        """Close the socket; in a forked child the parent's stays open."""
        self._connection.disconnect()


def wait(sources: Sequence[Any], timeout_s: float | None) -> list[Any]:
    """Wait until there is something to read; give those that have it, none after the timeout."""
    if not hasattr(select, "poll"):
        return select.select(sources, [], [], timeout_s)[0]
    # Not `selectors`, whose best choice is an epoll, that a forked child would share.
    poll = select.poll()
    by_number = {source.fileno(): source for source in sources}
    for number in by_number:
        poll.register(number, select.POLLIN)
    ready = poll.poll(None if timeout_s is None else max(0, timeout_s * 1000))
    return [by_number[number] for number, _ in ready]


class Wake:
    """Lets a thread wake another one that waits for a socket."""

    def __init__(self) -> None:
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable."""
        return self._here.fileno()

    def wake(self) -> None:
        """Wake the thread, now or when it waits next."""
        with suppress(OSError):  # it has been woken often enough, or is gone
            self._there.send(b"\0")

    def clear(self) -> None:
        """Reset after a wake-up."""
        with suppress(BlockingIOError):
            while self._here.recv(READ_SIZE):
                pass

    def close(self) -> None:
        self._here.close()
        self._there.close()
