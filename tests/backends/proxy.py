"""A TCP proxy to a real server that spoils what passes through it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.backends.relay import MOST, Relay

__all__ = ["FAULTS", "Proxy", "proxy_to"]


class Proxy(Relay):
    """Passes bytes both ways. A `fault` that is set strikes once, the next bytes that it is for.

    `before_commands` is called with the bytes of commands before they go on, which wait meanwhile.
    """

    def __init__(
        self, server_port: int, before_commands: Callable[[bytes], None] | None = None
    ) -> None:
        self._before_commands = before_commands
        self.fault: str | None = None
        self.spent = 0
        self._lock = threading.Lock()
        super().__init__(server_port)

    def pass_commands(self, client: socket.socket, server: socket.socket) -> None:
        self._pass_on(client, server, is_reply=False)

    def pass_replies(self, client: socket.socket, server: socket.socket) -> None:
        self._pass_on(server, client, is_reply=True)

    def _pass_on(self, source: socket.socket, target: socket.socket, *, is_reply: bool) -> None:
        is_silent = False
        while data := source.recv(MOST):
            if is_silent:
                continue
            if self._before_commands is not None and not is_reply:
                self._before_commands(data)
            fault = self._take(is_reply)
            pieces = [data] if fault is None else FAULTS[fault](data)
            for piece in pieces:
                if not piece:
                    return  # the fault ends the connection
                target.sendall(piece)
            # Nothing may follow what was left out: no network loses bytes amid a stream.
            is_silent = fault is not None and "silence" in fault

    def _take(self, is_reply: bool) -> str | None:
        """The fault that strikes now, if any: on the way there or on the way back."""
        with self._lock:
            fault = self.fault
            if fault is None or (fault == "close before the command") == is_reply:
                return None
            self.fault = None
            self.spent += 1
            return fault


def _late(data: bytes) -> Iterator[bytes]:
    time.sleep(2.5)
    yield data


def _by_single_bytes(data: bytes) -> Iterator[bytes]:
    for position in range(len(data)):
        time.sleep(0.0002)
        yield data[position : position + 1]


#: What is sent in place of the data; an empty piece closes the connection.
FAULTS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "close before the command": lambda data: iter([b""]),
    "close before the reply": lambda data: iter([b""]),
    "close amid the reply": lambda data: iter([data[: len(data) // 2] or b"", b""]),
    "close after the reply": lambda data: iter([data, b""]),
    "half a reply, then silence": lambda data: iter([data[: max(1, len(data) // 2)]]),
    "silence in place of a reply": lambda data: iter([]),
    "a late reply": _late,
    "garbage": lambda data: iter([b"\x00\xffgarbage\r\n" + data]),
    "single bytes": _by_single_bytes,
}


@contextmanager
def proxy_to(port: int, before_commands: Callable[[bytes], None] | None = None) -> Iterator[Proxy]:
    proxy = Proxy(port, before_commands)
    try:
        yield proxy
    finally:
        proxy.close()
