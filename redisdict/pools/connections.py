"""redis-py's connections for threads, with a shorter way to ask one command.

redis-py 8.1 spends 1.8 µs of Python between `send_packed_command()` and the reply: it puts the
server's name together for an error that doesn't happen, asks for the protocol, and goes through
three methods. `exchange()` does the same in one: it writes to the same socket, reads into the same
hiredis reader, and raises the same exceptions. Whatever else is done over these connections is done
by redis-py's own methods.

redis-py has no public way to the socket and to the reader, so this is the one place in the package
that uses what redis-py protects: a connection's `_sock`, `_parser` and `_host_error()`, and the
parser's `_reader`. Where they aren't what is expected, `exchange()` does nothing and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import hiredis
import redis.connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

__all__ = [
    "NOT_READY",
    "QUICK_CLASSES",
    "Connection",
    "NotSentError",
    "QuickExchange",
    "SSLConnection",
    "UnixDomainSocketConnection",
    "never_ready",
]

#: In place of a reply: nothing was sent, for that takes redis-py's own methods.
NOT_READY: Final = object()

#: Bytes taken from a socket at once.
READ_SIZE = 65536


class NotSentError(RedisConnectionError):
    """The connection was lost before the whole command had left, so it can't be carried out."""


def never_ready(_packed: bytes) -> Any:
    """In place of an `execute()` that there isn't: nothing is sent."""
    return NOT_READY


class QuickExchange(redis.connection.AbstractConnection):
    """What makes a connection class of redis-py one of those here."""

    _sock: Any
    _parser: Any
    #: The parser's reader when it was last looked at; and what it gives while no reply is there.
    _known_reader: Any = NOT_READY
    _no_reply: Any = None

    def exchange(self, packed: bytes) -> Any:
        """Send a packed command and read its reply, undecoded.

        Returns:
            The reply; or `NOT_READY`, and nothing was sent: the connection isn't open, was opened
            with another parser, or has a health check to be made.

        Raises:
            NotSentError: the connection was lost before the whole command had left.
            redis.exceptions.ConnectionError: it was lost after that, or the server ended it.
            redis.exceptions.TimeoutError: there was no reply within `socket_timeout`.
            redis.exceptions.ResponseError: the server refused the command.

        The connection is closed when there may be a reply that wasn't read.
        """
        sock = self._sock
        try:
            reader = self._parser._reader
        except AttributeError:  # another parser, or never connected
            return NOT_READY
        if reader is not self._known_reader and not self._knows(reader):
            return NOT_READY
        reply = no_reply = self._no_reply
        is_sent = False
        try:
            sock.sendall(packed)
            is_sent = True
            while reply is no_reply:
                data = sock.recv(READ_SIZE)
                if not data:
                    raise ConnectionResetError("it closed the connection")
                reader.feed(data)
                reply = reader.gets(False)
        except OSError as error:
            self.disconnect()  # type: ignore[no-untyped-call]  # redis-py's
            raise self._lost(error, is_sent) from error
        except BaseException:
            self.disconnect()  # type: ignore[no-untyped-call]  # redis-py's
            raise
        kind = type(reply)
        if kind is bytes or kind is int or reply is None:
            return reply
        return self._checked(reply)

    def mark_for_reconnect(self) -> None:
        """Have the pool connect anew when it is checked in; until then there is no short way."""
        self._known_reader = NOT_READY
        super().mark_for_reconnect()  # type: ignore[no-untyped-call]  # redis-py's

    def _knows(self, reader: Any) -> bool:
        """Look at a reader that wasn't met before; whether it can be used."""
        if self._sock is None or type(reader) is not hiredis.Reader or self.health_check_interval:
            return False
        if self.should_reconnect():  # type: ignore[no-untyped-call]  # redis-py's
            return False
        if reader.has_data():
            return False  # redis-py will find out what it is
        self._known_reader, self._no_reply = reader, reader.gets(False)
        return True

    def _lost(self, error: OSError, is_sent: bool) -> Exception:
        server = self._host_error()  # type: ignore[no-untyped-call]  # redis-py's
        if not is_sent:
            return NotSentError(f"Error while writing to {server}: {error.args}")
        if isinstance(error, TimeoutError):
            return RedisTimeoutError(f"Timeout reading from {server}")
        return RedisConnectionError(f"Error while reading from {server}: {error.args}")

    def _checked(self, reply: Any) -> Any:
        """A reply that is more than bytes or an integer: raised when it is an error."""
        if isinstance(reply, hiredis.PushNotification):
            self._parser.handle_push_response(reply)
            return self.read_response(True, disconnect_on_error=True)
        first = reply[0] if isinstance(reply, list) and reply else reply
        if isinstance(first, RedisConnectionError | ReadOnlyError):
            self.disconnect()  # type: ignore[no-untyped-call]  # redis-py's
            raise first
        if isinstance(reply, ResponseError):
            raise reply
        return reply


class Connection(QuickExchange, redis.connection.Connection):
    """Over TCP."""


class SSLConnection(QuickExchange, redis.connection.SSLConnection):
    """Over TLS."""


class UnixDomainSocketConnection(QuickExchange, redis.connection.UnixDomainSocketConnection):
    """Over a unix socket."""


#: redis-py's classes -> those here that take their place.
QUICK_CLASSES: Mapping[type[Any], type[Any]] = MappingProxyType(
    {
        redis.connection.Connection: Connection,
        redis.connection.SSLConnection: SSLConnection,
        redis.connection.UnixDomainSocketConnection: UnixDomainSocketConnection,
    }
)
