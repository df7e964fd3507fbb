"""Parse replies for redis-py's connections by hiredis, and give the connection the reader.

redis-py lets the user of a connection choose the parser (`parser_class`) and calls five methods of
it. This one does what redis-py's own does with hiredis. In addition the connection gets the reader,
so that it can have a fast path to a reply (`fast_connection`).
"""

from __future__ import annotations

import ssl
from typing import Any, Final

import hiredis
from redis.connection import DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.utils import SENTINEL

from redisdict.forks import own, take_over

#: What a reader gives while no reply is complete: a reply can be anything else.
NO_REPLY: Final = object()

#: Bytes taken from a socket at once.
READ_SIZE: Final = 65536

#: What a socket with a timeout of 0 raises when there is nothing to read.
NOTHING_YET: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

CLOSED = "Connection closed by server."


class Parser(DefaultParser):  # type: ignore[misc, valid-type]  # redis-py chooses it at import
    """Reads replies from the socket of a `redisdict.pools.fast_connection` connection.

    The handlers of pushes, and the exceptions for error replies, are those of redis-py's parser.
    """

    #: Both None while nothing is connected.
    reader: hiredis.Reader | None = None
    sock: Any = None

    def on_connect(self, connection: Any) -> None:
        """Read from this connection's socket from now on."""
        encoder = connection.encoder
        self.sock = connection.sock
        self.reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=self.parse_error,
            encoding=encoder.encoding if encoder.decode_responses else None,
            errors=encoder.encoding_errors,
            notEnoughData=NO_REPLY,
        )
        connection.on_parser(self)

    def on_disconnect(self) -> None:
        """Discard bytes that were read and not parsed."""
        self.reader = self.sock = None

    def can_read(self, timeout: float | None = 0) -> bool:
        """Return whether there is a byte to read, waiting `timeout` seconds for it, None for ever.

        It is read at once, and kept until `read_response()` wants it.

        Raises:
            redis.exceptions.ConnectionError: the server has closed the connection.
        """
        if self._reader_now().has_data():
            return True
        try:
            self._read(timeout)
        except RedisTimeoutError:
            return False
        return True

    def read_response(
        self,
        disable_decoding: bool = False,
        push_request: bool = False,
        timeout: Any = SENTINEL,
    ) -> Any:
        """Read the next reply; an error reply is returned as its exception.

        Args:
            disable_decoding: leave texts as bytes.
            push_request: return a push of RESP3 as well, once it has been handled.
            timeout: seconds to wait for each part of it, instead of the connection's own.

        Raises:
            redis.exceptions.ConnectionError: the server has closed the connection, or says so.
            redis.exceptions.TimeoutError: nothing came in that time.
            redis.exceptions.InvalidResponse: what came is no RESP.
            OSError: as the socket raised it.
        """
        reader = self._reader_now()
        should_decode = not disable_decoding
        while True:
            reply = reader.gets(should_decode)
            while reply is NO_REPLY:
                self._read(timeout)
                reply = reader.gets(should_decode)
            if type(reply) is not hiredis.PushNotification:
                break
            handled = self.handle_push_response(reply)
            if push_request:
                return handled
        first = reply[0] if type(reply) is list and reply else reply
        if isinstance(first, RedisConnectionError):
            raise first
        return reply

    def _reader_now(self) -> Any:
        """Return the reader, which another thread may take away by closing the connection."""
        reader = self.reader
        if reader is None:
            raise RedisConnectionError(CLOSED)
        return reader

    def _read(self, timeout: Any = SENTINEL) -> None:
        """Wait for the next bytes, and feed them to the reader."""
        if not own[0]:
            take_over()  # what comes there may be the parent's, and the socket is gone then
        sock, reader = self.sock, self._reader_now()
        try:
            data = sock.recv(READ_SIZE) if timeout is SENTINEL else _receive(sock, timeout)
        except (TimeoutError, *NOTHING_YET) as error:
            raise RedisTimeoutError("Timeout reading from socket") from error
        if not data:
            raise RedisConnectionError(CLOSED)
        reader.feed(data)


def _receive(sock: Any, timeout: float | None) -> bytes:
    """Read bytes that come within `timeout` seconds; then restore the socket's own timeout."""
    own_timeout = sock.gettimeout()
    sock.settimeout(timeout)
    try:
        while True:
            try:
                received: bytes = sock.recv(READ_SIZE)
                return received
            except BlockingIOError:
                if timeout is not None:
                    raise
                # It was the kernel's, which `set_kernel_timeout()` has set.
    finally:
        sock.settimeout(own_timeout)
