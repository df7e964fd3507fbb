"""Add a fast path for one command to redis-py's connections for threads.

redis-py 8.1 spends 1.8 µs of Python between `send_packed_command()` and the reply: it builds the
server's name for an error that doesn't happen, asks for the protocol, and calls three methods.
`execute()` does the same in one: it writes to the same socket, reads into the same hiredis reader,
and raises the same exceptions. Everything else is done by redis-py's own methods.

The socket is known from `_connect()`, the method that redis-py leaves to its connection classes,
and the reader from the parser of this package. With another parser `execute()` does nothing and
reports that.

With this parser the kernel ends each wait after `socket_timeout`; Python would call poll() before
each read and write instead, a tenth of the cost of a command. The time limits each single wait, so
a long command may take longer as long as the server goes on reading it; and a signal whose handler
returns restarts a wait.
"""

from __future__ import annotations

import _socket
import math
import os
import socket
import ssl
import struct
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import hiredis
import redis.connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redisdict.forks import own, take_over
from redisdict.pools.parser import NO_REPLY, READ_SIZE, Parser
from redisdict.wire.packing import pack_command
from redisdict.wire.requests import Command, Reply, Witnessed
from redisdict.wire.server_state import Known

#: What of a connection's description tells where the server is.
PLACE: Final = frozenset({"host", "port", "path"})

#: Linux's `struct timeval` of 64 bits: seconds and microseconds.
TIMEVAL: Final = struct.Struct("@ll")

#: Whether sockets here have timeouts of that form.
HAS_KERNEL_TIMEOUTS: Final = sys.platform == "linux" and TIMEVAL.size == 16

#: In place of a reply: nothing was sent, for that takes redis-py's own methods.
FAST_PATH_UNAVAILABLE: Final = object()


class NotSentError(RedisConnectionError):
    """The connection was lost before the whole command was sent, so it can't be carried out."""


def set_kernel_timeout(sock: Any) -> None:
    """Let the kernel end waits that are longer than a socket's timeout: BlockingIOError.

    Not changed are sockets without a timeout, sockets of gevent or eventlet, which mustn't block,
    and TLS, which polls by itself.
    """
    seconds = sock.gettimeout()
    is_plain = isinstance(sock, _socket.socket) and not isinstance(sock, ssl.SSLSocket)
    if not (seconds and is_plain and HAS_KERNEL_TIMEOUTS):
        return
    parts, whole = math.modf(seconds)
    timeval = TIMEVAL.pack(int(whole), max(1, int(parts * 1_000_000)))  # twice 0 were for ever
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
    sock.settimeout(None)


def no_fast_path(_packed: bytes | Command) -> Reply:
    """Send nothing, in place of an `execute()` that there isn't."""
    return FAST_PATH_UNAVAILABLE


class FastConnection(redis.connection.AbstractConnection):
    """Adds the fast path to a connection class of redis-py."""

    #: What is known of the server, once it was asked; see `known_of()`.
    incarnation: Known | None = None
    #: What it is connected by, for the parser.
    sock: Any = None
    _own_parser: Parser | None = None
    #: The parser's reader, while it can be used without looking at anything else.
    _ready_reader: Any = None
    #: Whether it was connected in the process that this one was forked from, and not since.
    _was_left = False

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("parser_class", Parser)
        super().__init__(*args, **options)

    def on_parser(self, parser: Parser) -> None:
        """Handle the parser that reads from the new socket."""
        self._own_parser = parser
        set_kernel_timeout(self.sock)

    def execute(self, packed: bytes | Command) -> Reply:
        """Send a packed command and read its reply, undecoded.

        Args:
            packed: or a command to whose end belongs the name of the server's incarnation, or one
                that is `Witnessed`.

        Returns:
            The reply; or `FAST_PATH_UNAVAILABLE`, and nothing was sent: the connection isn't open,
            was opened with another parser, has a health check to be made, or the name isn't known
            yet.

        Raises:
            NotSentError: the connection was lost before the whole command had left.
            redis.exceptions.ConnectionError: it was lost after that, or the server ended it.
            redis.exceptions.TimeoutError: there was no reply within `socket_timeout`.
            redis.exceptions.ResponseError: the server refused the command.

        The connection is closed when there may be a reply that wasn't read.
        """
        sock = self.sock  # first, for `disconnect()` in another thread takes it away last
        reader = self._ready_reader
        if reader is None and (reader := self._find_reader()) is None:
            return FAST_PATH_UNAVAILABLE
        witness = None
        if isinstance(packed, tuple):
            known = self.incarnation
            if known is None or known.name is None:
                return FAST_PATH_UNAVAILABLE
            if type(packed) is Witnessed:
                witness = known.name
                packed = pack_command(packed)
            else:
                command = packed + (known.name,)  # noqa: RUF005  # half the time
                packed = pack_command(command)
        reply: Any = NO_REPLY
        is_sent = False
        try:
            sock.sendall(packed)
            is_sent = True
            while reply is NO_REPLY:
                data = sock.recv(READ_SIZE)
                if not data:
                    raise ConnectionResetError("it closed the connection")
                reader.feed(data)
                reply = reader.gets(False)
        except OSError as error:
            self.disconnect()
            raise self._lost(error, is_sent) from error
        except BaseException:
            self.disconnect()
            raise
        kind = type(reply)
        if kind is bytes or kind is int or reply is None:
            return reply
        reply = self._checked(reply)
        if witness is not None:
            reply.append(witness)
        return reply

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Write bytes, as redis-py does, whose TimeoutError the kernel's timeout is, too."""
        try:
            super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]  # redis-py's
        except RedisConnectionError as error:
            if isinstance(error.__context__, BlockingIOError):
                raise RedisTimeoutError("Timeout writing to socket") from error
            raise

    def leave(self) -> None:
        """Leave the socket to the parent process; the next command here isn't sent.

        That command may rely on an earlier one, such as a WATCH, that was sent over the socket.
        """
        was_connected = self.is_connected
        self.disconnect()  # it isn't shut down, for redis-py knows whose it is
        self.pid = os.getpid()
        self._was_left = was_connected

    def check_health(self) -> None:
        """Look after the connection, as redis-py does before it sends.

        Raises:
            NotSentError: it was connected in the process that this one was forked from.
        """
        if not own[0]:
            take_over()
        if self._was_left:
            self._was_left = False
            raise NotSentError("The connection belongs to the process that this one is a fork of.")
        if self.health_check_interval:
            super().check_health()  # type: ignore[no-untyped-call]  # redis-py's

    def mark_for_reconnect(self) -> None:
        """Let the pool connect again when it is checked in; until then there is no fast path."""
        self._ready_reader = None
        super().mark_for_reconnect()  # type: ignore[no-untyped-call]  # redis-py's

    def set_re_auth_token(self, token: Any) -> None:
        """Let the pool authenticate with a new token first; until then there is no fast path."""
        super().set_re_auth_token(token)
        self._ready_reader = None

    def disconnect(self, *args: Any, **options: Any) -> None:
        """Close the connection, as redis-py does; the next use opens it again."""
        self._ready_reader = self._own_parser = None
        self._was_left = False
        super().disconnect(*args, **options)  # type: ignore[no-untyped-call]  # redis-py's
        self.sock = None

    def _connect(self) -> Any:
        self.sock = super()._connect()  # type: ignore[no-untyped-call, safe-super]  # each class has one
        return self.sock

    def _find_reader(self) -> hiredis.Reader | None:
        """Find the reader, if nothing but it is needed for a command."""
        parser = self._own_parser
        if parser is None or self.health_check_interval:
            return None
        if self.should_reconnect():  # type: ignore[no-untyped-call]  # redis-py's
            return None
        if parser.reader is None or parser.reader.has_data():
            return None  # redis-py will find out what it is
        self._ready_reader = parser.reader
        if self._re_auth_token is not None:  # looked at last, for another thread may set it
            self._ready_reader = None
            return None
        return parser.reader

    def _lost(self, error: OSError, is_sent: bool) -> Exception:
        server = ":".join(str(value) for name, value in self.repr_pieces() if name in PLACE)  # type: ignore[no-untyped-call]  # redis-py's
        if not is_sent:
            return NotSentError(f"Error while writing to {server}: {error.args}")
        if isinstance(error, (TimeoutError, BlockingIOError)):
            return RedisTimeoutError(f"Timeout reading from {server}")
        return RedisConnectionError(f"Error while reading from {server}: {error.args}")

    def _checked(self, reply: Any) -> Any:
        """Check a reply that is more than bytes or an integer: an error is raised."""
        if isinstance(reply, hiredis.PushNotification):
            assert self._own_parser is not None  # who has a reader has the parser
            self._own_parser.handle_push_response(reply)
            return self.read_response(True, disconnect_on_error=True)
        first = reply[0] if isinstance(reply, list) and reply else reply
        if isinstance(first, RedisConnectionError | ReadOnlyError):
            self.disconnect()
            raise first
        if isinstance(reply, ResponseError):
            raise reply
        return reply


class Connection(FastConnection, redis.connection.Connection):
    """Over TCP."""


class SSLConnection(FastConnection, redis.connection.SSLConnection):
    """Over TLS."""


class UnixDomainSocketConnection(FastConnection, redis.connection.UnixDomainSocketConnection):
    """Over a unix socket."""


#: redis-py's classes -> those here that take their place.
FAST_CLASSES: Mapping[type[Any], type[Any]] = MappingProxyType(
    {
        redis.connection.Connection: Connection,
        redis.connection.SSLConnection: SSLConnection,
        redis.connection.UnixDomainSocketConnection: UnixDomainSocketConnection,
    }
)
