"""Where a reply ends, in the bytes of RESP2 and RESP3, so that it can be passed on unread."""

from __future__ import annotations

import socket

__all__ = ["ReplyReader"]

LINES = b"+-:_,#("
BULKS = b"$=!"
AGGREGATES = b"*~>"
PAIRS = b"%|"
PUSH = b">"


class ReplyReader:
    """Reads whole replies from a connection, as the bytes that they came in."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def read(self) -> bytes:
        """The bytes of the next reply, after those of any pushes that came before it.

        Raises:
            ConnectionError: the connection was closed.
        """
        start = 0
        while True:
            end = _end_of_frame(self._buffer, start)
            if end is None:
                received = self._connection.recv(65536)
                if not received:
                    raise ConnectionError("the server has closed the connection")
                self._buffer += received
            elif self._buffer[start : start + 1] == PUSH:
                start = end
            else:
                reply, self._buffer = self._buffer[:end], self._buffer[end:]
                return reply


def _end_of_frame(buffer: bytes, start: int) -> int | None:
    """The position after the reply that begins at `start`; None if it isn't whole yet."""
    line_end = buffer.find(b"\r\n", start)
    if line_end < 0:
        return None
    kind, end = buffer[start : start + 1], line_end + 2
    if kind in LINES:
        return end
    count = int(buffer[start + 1 : line_end])
    if kind in BULKS:
        end = end if count < 0 else end + count + 2
        return end if end <= len(buffer) else None
    assert kind in AGGREGATES + PAIRS, f"no reply begins with {kind!r}"
    for _ in range(count * (1 + (kind in PAIRS))):
        part_end = _end_of_frame(buffer, end)
        if part_end is None:
            return None
        end = part_end
    return end
