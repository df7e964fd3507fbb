"""A server for threads that does what no real one can be made to do, and counts what it is sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import hiredis

from tests.accepting import Acceptor

Answer = Callable[[socket.socket, int], bool]


class FaultyServer:
    """Answers each command by `answer(connection, number)`; False closes the connection."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.commands: list[Any] = []
        self._connections: list[socket.socket] = []
        self._acceptor = Acceptor(self._begin)
        self.port = self._acceptor.port

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0?protocol=2"

    def close(self) -> None:
        """Hang up on everybody."""
        self._acceptor.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _begin(self, connection: socket.socket) -> None:
        self._connections.append(connection)
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        reader = hiredis.Reader()
        with connection, suppress(OSError):  # who hangs up amid a reply resets the connection
            while data := connection.recv(65536):
                reader.feed(data)
                while command := reader.gets():
                    if command[0] in (b"CLIENT", b"SELECT"):
                        connection.sendall(b"+OK\r\n")
                        continue
                    self.commands.append(command)
                    if not self._answer(connection, len(self.commands)):
                        return


@contextmanager
def faulty_server(answer: Answer) -> Iterator[FaultyServer]:
    server = FaultyServer(answer)
    try:
        yield server
    finally:
        server.close()
