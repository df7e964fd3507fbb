"""A TCP relay to a real server; what passes through it is for its subclasses to decide."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.accepting import ANY_PORT, Acceptor, Address

__all__ = ["Relay"]

#: The two sides of a connection: a client's, and that to the server.
Pair = tuple[socket.socket, socket.socket]

#: Bytes that are taken from a socket at once.
MOST = 65536


class Relay:
    """Listens on a port of this machine, and has two threads for each connection, one each way."""

    def __init__(self, server_port: int, address: Address = ANY_PORT) -> None:
        self._server_port = server_port
        self._pairs: list[Pair] = []
        self._acceptor = Acceptor(self._connect, address)
        self.host, self.port = self._acceptor.host, self._acceptor.port

    def pass_commands(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on what a client sends, until it or the server hangs up. Both are closed then."""
        raise NotImplementedError

    def pass_replies(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on what the server replies, likewise."""
        raise NotImplementedError

    def lead_to(self, server_port: int) -> None:
        """Have connections from now on lead to another server; those that are open stay."""
        self._server_port = server_port

    def close(self) -> None:
        """Refuse connections from now on, and end those there are."""
        self._acceptor.close()
        self.drop(lambda _: True)

    def drop(self, is_meant: Callable[[Pair], bool]) -> int:
        """End connections; how many."""
        chosen = [pair for pair in list(self._pairs) if is_meant(pair)]
        for pair in chosen:
            self._end(pair)
        return len(chosen)

    def _end(self, pair: Pair) -> None:
        with suppress(ValueError):  # another thread has done so
            self._pairs.remove(pair)
        for side in pair:
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._server_port))
        except OSError:
            client.close()
            return
        self._pairs.append((client, server))
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for work in (self.pass_commands, self.pass_replies):
            arguments = (work, client, server)
            threading.Thread(target=self._pass, args=arguments, daemon=True).start()

    def _pass(
        self,
        work: Callable[[socket.socket, socket.socket], None],
        client: socket.socket,
        server: socket.socket,
    ) -> None:
        with suppress(OSError):
            work(client, server)
        self._end((client, server))
        client.close()
        server.close()
