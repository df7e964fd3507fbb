"""Accept connections to a port of this machine, for servers that tests make up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

__all__ = ["ANY_PORT", "Acceptor", "Address"]

#: Where one listens: host and port.
Address = tuple[str, int]
ANY_PORT: Address = ("127.0.0.1", 0)


class Acceptor:
    """Listens from the start, and gives each connection to `take`, in a thread of its own.

    `take` may not wait: the next connection is accepted when it returns.
    """

    def __init__(self, take: Callable[[socket.socket], None], address: Address = ANY_PORT) -> None:
        self._take = take
        self._listener = socket.create_server(address)
        self.host, self.port = self._listener.getsockname()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Refuse connections from now on; those that were taken stay.

        Closing alone would not end an `accept()` that waits.
        """
        if self._accepting.is_alive():
            self._listener.shutdown(socket.SHUT_RDWR)
            self._accepting.join()
            self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._take(connection)
