"""A TCP proxy to a real server that spoils what passes through it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["FAULTS", "Proxy", "proxy_to"]


class Proxy:
    """Passes bytes both ways. A `fault` that is set strikes once, the next bytes that it is for.

    `before_commands` is called with the bytes of commands before they go on, which wait meanwhile.
    """

    def __init__(self, port: int, before_commands: Callable[[bytes], None] | None = None) -> None:
        self._port = port
        self._before_commands = before_commands
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.fault: str | None = None
        self.spent = 0
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Hang up on everybody. Closing alone would not end an `accept()` that waits."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for side in self._sockets:
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def lead_to(self, port: int) -> None:
        """Have connections from now on lead to another server; those that are open stay."""
        self._port = port

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                client.close()
                continue
            self._sockets += (client, server)
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, target in ((client, server), (server, client)):
                is_reply = source is server
                arguments = (source, target, is_reply)
                threading.Thread(target=self._pass_on, args=arguments, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_reply: bool) -> None:
        is_silent = False
        with suppress(OSError):
            while data := source.recv(65536):
                if is_silent:
                    continue
                if self._before_commands is not None and not is_reply:
                    self._before_commands(data)
                fault = self._take(is_reply)
                pieces = [data] if fault is None else FAULTS[fault](data)
                for piece in pieces:
                    if not piece:
                        raise OSError("the fault ends the connection")
                    target.sendall(piece)
                # Nothing may follow what was left out: no network loses bytes amid a stream.
                is_silent = fault is not None and "silence" in fault
        for side in (source, target):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()

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
