"""The floor under every client: a socket, bytes made beforehand, and no client at all."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from redisdict.bench.errors import WrongReply
from redisdict.bench.workloads.calls import Calls, Workload

__all__ = ["RawGet"]


class RawGet(Workload):
    """GET of one key over a bare TCP socket; the reply is compared byte by byte."""

    def __init__(self, port: int, key: str, value: bytes, *, block: int, lead_in: int = 0) -> None:
        self.lead_in = lead_in
        self._port = port
        self._command = b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key.encode())
        self._expected = b"$%d\r\n%b\r\n" % (len(value), value)
        self._block = block

    def open(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def prepare(self) -> Calls:
        return Calls(self._get, [()] * self._block)

    def check(self, replies: Sequence[Any]) -> None:
        if any(reply != self._expected for reply in replies):
            raise WrongReply("A GET over the bare socket was answered with something else.")

    def facts(self) -> dict[str, Any]:
        return {}

    def _get(self) -> bytes:
        self._socket.sendall(self._command)
        reply = self._socket.recv(65_536)
        while len(reply) < len(self._expected):
            reply += self._socket.recv(65_536)
        return reply
