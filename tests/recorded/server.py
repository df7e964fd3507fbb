"""A server that answers as a real KeyDB or Dragonfly did, and for the rest asks a real Valkey.

The files beside this one hold commands and the very bytes that were the answer (`record.py` makes
them). What a server does otherwise than by its words is done here: KeyDB carries a SCAN of 100 keys
or more out beside the others, and leaves the commands that came with it until more are sent.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import hiredis

from redisdict.servers.process import ServerProcess
from tests.accepting import Acceptor
from tests.conftest import program_for_tests
from tests.recorded.frames import ReplyReader

__all__ = ["ANY", "RECORDINGS", "RecordedServer", "packed"]

RECORDINGS: Final = {
    "keydb": Path(__file__).with_name("keydb-6.3.4.json"),
    "dragonfly": Path(__file__).with_name("dragonfly-1.40.1.json"),
}

#: As the last word of a recorded command: whatever comes there, and nothing, too.
ANY: Final = "*"

#: A SCAN with this COUNT, or a higher one, KeyDB carries out beside what comes after it.
KEYDB_ASYNC_COUNT: Final = 100


class RecordedServer:
    """Serves on a TCP port what was recorded, with the data of a Valkey of its own.

    Args:
        family: "keydb" or "dragonfly".
        state: how the real one had been started: a name under "states" in the file.

    Attributes:
        name: of the program and how it was started.
        url: its location.
        calls: the commands that it got, each as its words; HELLO and the like too.
        held: how often commands were left lying behind a SCAN.
    """

    def __init__(self, family: str, state: str = "alone") -> None:
        self.name = f"{family}-{state}"
        recording = json.loads(RECORDINGS[family].read_text(encoding="utf-8"))
        exchanges: list[dict[str, Any]] = recording["states"][state]["exchanges"]
        self._replies = {
            (exchange["protocol"], *exchange["command"].casefold().split(" ")): exchange["reply"]
            for exchange in exchanges
        }
        self.calls: list[tuple[str, ...]] = []
        self.held = 0
        self._is_keydb = family == "keydb"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.server = self._stack.enter_context(
            ServerProcess(program_for_tests("valkey"), listen="tcp")
        )
        acceptor = Acceptor(self._begin)
        self._stack.callback(acceptor.close)
        self.port: int = acceptor.port
        self.url = f"redis://127.0.0.1:{self.port}/0"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def reply_to(self, protocol: int, command: Sequence[bytes]) -> bytes | None:
        """The recorded reply; None if the command is the Valkey's to answer."""
        words = [word.decode("utf-8", "replace").casefold() for word in command]
        reply = self._replies.get((protocol, *words))
        for length in range(len(words), 0, -1):
            reply = reply or self._replies.get((protocol, *words[:length], ANY))
        return None if reply is None else reply.encode()

    def _begin(self, client: socket.socket) -> None:
        threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.server.port)) as upstream:
            with suppress(OSError):
                _Conversation(self, client, upstream, self._is_keydb).hold()


class _Conversation:
    """What one connection says and hears."""

    def __init__(
        self, server: RecordedServer, client: socket.socket, upstream: socket.socket, is_keydb: bool
    ) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server = server
        self._client = client
        self._upstream = upstream
        self._replies = ReplyReader(upstream)
        self._is_keydb = is_keydb
        self._protocol = 2
        self._is_in_multi = False

    def hold(self) -> None:
        commands = hiredis.Reader(notEnoughData=None)
        while received := self._client.recv(65536):
            commands.feed(received)
            while command := commands.gets():
                self._client.sendall(self._answer(command))
                if self._is_left_lying_after(command):
                    self._server.held += commands.has_data()
                    break

    def _answer(self, command: list[bytes]) -> bytes:
        name = command[0].upper()
        self._server.calls.append(tuple(word.decode("utf-8", "replace") for word in command))
        if name == b"HELLO" and len(command) > 1:
            self._protocol = int(command[1])
        reply = None if self._is_in_multi else self._server.reply_to(self._protocol, command)
        if name in (b"MULTI", b"EXEC", b"DISCARD"):
            self._is_in_multi = name == b"MULTI"
        if reply is not None and name != b"HELLO":
            return reply
        self._upstream.sendall(packed(command))
        given = self._replies.read()
        return given if reply is None else reply

    def _is_left_lying_after(self, command: list[bytes]) -> bool:
        if not self._is_keydb or self._is_in_multi or command[0].upper() != b"SCAN":
            return False
        words = [word.upper() for word in command]
        count = int(words[words.index(b"COUNT") + 1]) if b"COUNT" in words else 10
        return count >= KEYDB_ASYNC_COUNT


def packed(command: Sequence[bytes]) -> bytes:
    """The bytes of a command."""
    words = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command)
    return b"*%d\r\n%s" % (len(command), words)
