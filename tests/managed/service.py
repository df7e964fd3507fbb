"""A proxy to a real server that refuses what a managed service refuses, and rewrites what it says.

It reads the commands that pass, and puts in place of one that is refused a command that the server
doesn't know, so that replies stay in their order, in pipelines and transactions too; on the way
back that error becomes the one of the service.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import hiredis

__all__ = ["Command", "ManagedService", "managed_service", "refusing"]

Command = list[bytes]

#: Gives the text of the error with which a command is refused; None lets it pass.
Rule = Callable[[Command], str | None]

#: Where a service listens that isn't told.
Address = tuple[str, int]
ANY_PORT: Address = ("127.0.0.1", 0)

_BOGUS = b"TESTS.REFUSED.%d"
_ERROR = re.compile(rb"-ERR unknown command [`']TESTS\.REFUSED\.(\d+)[`'][^\r\n]*\r\n")


class ManagedService:
    """Passes commands to the server on a port of this machine, but for those that a rule refuses.

    Attributes:
        commands: all that came.
        refused: how many were refused.
    """

    def __init__(
        self, server_port: int, rule: Rule = lambda _command: None, address: Address = ANY_PORT
    ) -> None:
        self._server_port = server_port
        self.rule = rule
        self._listener = socket.create_server(address)
        self.host, self.port = self._listener.getsockname()
        self.commands: list[Command] = []
        self.refused = 0
        self._texts: list[str] = []
        self._lock = threading.Lock()
        #: The two sides of each connection, with the token that it has authenticated with last.
        self._pairs: dict[tuple[socket.socket, socket.socket], bytes] = {}
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    @property
    def names(self) -> list[str]:
        """The names of the commands that came."""
        return [command[0].decode().upper() for command in self.commands]

    @property
    def tokens(self) -> list[bytes]:
        """What each open connection has authenticated with last."""
        return list(self._pairs.values())

    def end_token(self, token: str) -> int:
        """Hang up on those who have authenticated with a token that has ended; how many."""
        return self._drop(lambda last: last == token.encode())

    def _drop(self, chooses: Callable[[bytes], bool]) -> int:
        chosen = [pair for pair, token in list(self._pairs.items()) if chooses(token)]
        for pair in chosen:
            self._pairs.pop(pair, None)  # its own thread may have done so meanwhile
            for side in pair:
                with suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)
        return len(chosen)

    def hang_up(self) -> None:
        """Refuse connections from now on, and end those there are."""
        if self._accepting.is_alive():
            self._listener.shutdown(socket.SHUT_RDWR)
            self._accepting.join()
            self._listener.close()
        self._drop(lambda _: True)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            self._pairs[client, server] = b""
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for work in (self._pass_commands, self._pass_replies):
                threading.Thread(target=work, args=(client, server), daemon=True).start()

    def _pass_commands(self, client: socket.socket, server: socket.socket) -> None:
        reader: Any = hiredis.Reader(notEnoughData=None)
        with suppress(OSError):
            while data := client.recv(65536):
                reader.feed(data)
                passed = []
                while (command := reader.gets()) is not None:
                    self._note_token((client, server), command)
                    judged: Any = tuple(self._judged(command))
                    passed.append(hiredis.pack_command(judged))
                server.sendall(b"".join(passed))
        self._pairs.pop((client, server), None)
        _close(client, server)

    def _note_token(self, pair: tuple[socket.socket, socket.socket], command: Command) -> None:
        name = command[0].upper()
        if name == b"AUTH":
            token = command[-1]
        elif name == b"HELLO" and b"AUTH" in command:
            token = command[command.index(b"AUTH") + 2]
        else:
            return
        if pair in self._pairs:
            self._pairs[pair] = token

    def _judged(self, command: Command) -> Command:
        with self._lock:
            self.commands.append(command)
            text = self.rule(command)
            if text is None:
                return command
            self.refused += 1
            self._texts.append(text)
            return [_BOGUS % (len(self._texts) - 1)]

    def _pass_replies(self, client: socket.socket, server: socket.socket) -> None:
        held = b""
        with suppress(OSError):
            while data := server.recv(65536):
                held += data
                if held.endswith(b"\r\n"):  # else a part of an error may be missing
                    client.sendall(_ERROR.sub(self._as_refused, held))
                    held = b""
        _close(client, server)

    def _as_refused(self, found: re.Match[bytes]) -> bytes:
        return b"-%s\r\n" % self._texts[int(found[1])].encode()


def _close(*sides: socket.socket) -> None:
    for side in sides:
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
        side.close()


def refusing(*names: str, text: str = "ERR unknown command '{}'") -> Rule:
    """Make a rule that refuses commands by their names, with those of their subcommands."""

    def rule(command: Command) -> str | None:
        words = b" ".join(command[:2]).decode("latin-1").upper()
        for name in names:
            if words.split(" ")[0] == name or words == name:
                return text.format(name)
        return None

    return rule


@contextmanager
def managed_service(
    server_port: int, rule: Rule = lambda _command: None, address: Address = ANY_PORT
) -> Iterator[ManagedService]:
    service = ManagedService(server_port, rule, address)
    try:
        yield service
    finally:
        service.hang_up()
