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
from contextlib import contextmanager
from typing import Any

import hiredis

from tests.accepting import ANY_PORT, Address
from tests.backends.relay import MOST, Relay

__all__ = ["Command", "ManagedService", "managed_service", "refusing"]

Command = list[bytes]

#: Gives the text of the error with which a command is refused; None lets it pass.
Rule = Callable[[Command], str | None]

_BOGUS = b"TESTS.REFUSED.%d"
_ERROR = re.compile(rb"-ERR unknown command [`']TESTS\.REFUSED\.(\d+)[`'][^\r\n]*\r\n")


class ManagedService(Relay):
    """Passes commands to the server on a port of this machine, but for those that a rule refuses.

    Attributes:
        commands: all that came.
        refused: how many were refused.
    """

    def __init__(
        self, server_port: int, rule: Rule = lambda _command: None, address: Address = ANY_PORT
    ) -> None:
        self.rule = rule
        self.commands: list[Command] = []
        self.refused = 0
        self._texts: list[str] = []
        self._lock = threading.Lock()
        #: The token that a connection has authenticated with last.
        self._tokens: dict[socket.socket, bytes] = {}
        super().__init__(server_port, address)

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
        return [self._tokens.get(client, b"") for client, _ in list(self._pairs)]

    def end_token(self, token: str) -> int:
        """Hang up on those who have authenticated with a token that has ended; how many."""
        return self.drop(lambda pair: self._tokens.get(pair[0], b"") == token.encode())

    def pass_commands(self, client: socket.socket, server: socket.socket) -> None:
        reader: Any = hiredis.Reader(notEnoughData=None)
        while data := client.recv(MOST):
            reader.feed(data)
            passed = []
            while (command := reader.gets()) is not None:
                self._note_token(client, command)
                judged: Any = tuple(self._judged(command))
                passed.append(hiredis.pack_command(judged))
            server.sendall(b"".join(passed))

    def _note_token(self, client: socket.socket, command: Command) -> None:
        name = command[0].upper()
        if name == b"AUTH":
            self._tokens[client] = command[-1]
        elif name == b"HELLO" and b"AUTH" in command:
            self._tokens[client] = command[command.index(b"AUTH") + 2]

    def _judged(self, command: Command) -> Command:
        with self._lock:
            self.commands.append(command)
            text = self.rule(command)
            if text is None:
                return command
            self.refused += 1
            self._texts.append(text)
            return [_BOGUS % (len(self._texts) - 1)]

    def pass_replies(self, client: socket.socket, server: socket.socket) -> None:
        held = b""
        while data := server.recv(MOST):
            held += data
            if held.endswith(b"\r\n"):  # else a part of an error may be missing
                client.sendall(_ERROR.sub(self._as_refused, held))
                held = b""

    def _as_refused(self, found: re.Match[bytes]) -> bytes:
        return b"-%s\r\n" % self._texts[int(found[1])].encode()


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
        service.close()
