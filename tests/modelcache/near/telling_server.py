"""Answer the processes of a schedule as a server, and tell the listener of changes.

What the listener is told is on its way in a stream, and is received one by one.
"""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from redisdict.modelcache.slots.near_leases import NearLeases
from redisdict.wire.requests import Batch, commands_of
from tests.modelcache.near.leases_model import LeasesModel
from tests.modelcache.schedules import FIRST_GENERATION, ROW, STORE
from tests.modelcache.server_model import Barriers, Cell, Generation, ServerModel, Value

__all__ = ["LEASES", "NOW", "TellingServer"]

#: The clock of all processes.
NOW = [0.0]

LEASES = NearLeases(b"leases", b"signal")


class TellingServer:
    """One row's cell, the leases, and the connection over which the reading process is told.

    Attributes:
        stream: what is on its way to the listener.
        ping: where the PING under way is ("sent" or "arrived"), when it was sent, and its number.
        answered: the number of the last PING whose answer the listener has received.
    """

    def __init__(self) -> None:
        self.model = ServerModel()
        self.cells: dict[bytes, Cell] = self.model.cells
        self.cells[STORE.table_key] = Generation(FIRST_GENERATION)
        self.cells[ROW] = Value(FIRST_GENERATION, STORE.fingerprint + b"0")
        self.leases = LeasesModel(self.model.incarnation, -(10**6), 0)
        self.stream: list[tuple[Any, ...]] = []
        self.pings_sent = 0
        self.ping: tuple[str, float, int] | None = None
        self.answered = 0
        self.is_connected = True

    def snapshot(self) -> Any:
        """Whatever decides how things can go on."""
        leases = self.leases
        return (
            frozenset(self.cells.items()),
            self.model.incarnations,
            self.model.generations,
            (leases.incarnation, leases.begun, leases.number, frozenset(leases.held.items())),
            tuple(self.stream),
            self.ping,
            self.answered,
            self.is_connected,
        )

    # Commands

    def execute(self, request: Any) -> Any:
        replies = []
        for command in commands_of(request):
            try:
                replies.append(self._execute_one(command))
            except ResponseError as error:
                if not isinstance(request, Batch):
                    raise
                replies.append(error)
        return replies if isinstance(request, Batch) else replies[0]

    def _execute_one(self, command: Any) -> Any:
        if command[0] == b"PTTL":
            return -1 if command[1] in self.cells else -2
        if command[3] == LEASES.key:
            signals = self.leases.signals
            answer = self.leases.execute(command, round(1000 * NOW[0]))
            if self.leases.signals != signals:
                self._tell("signal")
            return answer
        before = dict(self.cells)
        answer = self.model.execute(command)
        for key in (ROW, STORE.table_key):
            if self.cells.get(key) != before.get(key) or isinstance(self.cells.get(key), Barriers):
                self._tell("push", key)
        return answer

    # The listener's connection

    def _tell(self, *what: Any) -> None:
        if self.is_connected and ("lost",) not in self.stream and self.stream[-1:] != [what]:
            self.stream.append(what)

    def send_ping(self) -> None:
        self.pings_sent += 1
        self.ping = ("sent", NOW[0], self.pings_sent)

    def answer_ping(self) -> None:
        assert self.ping is not None
        self.ping = ("arrived", *self.ping[1:])
        self._tell("pong", *self.ping[1:])

    def ping_after(self, _start: float) -> bool:
        """What a process calls that waits for a PING; the schedule says when it is answered."""
        return self.is_connected

    def receive(self) -> tuple[Any, ...]:
        """What the listener receives next."""
        what = self.stream.pop(0)
        if what[0] == "pong":
            self.answered, self.ping = what[2], None
        elif what[0] == "lost":
            self.is_connected = False
        return what

    # Faults

    def restart(self, *, loses_leases: bool) -> None:
        self.model.restart(self.cells)
        self.cells = self.model.cells
        if loses_leases:
            self.leases = LeasesModel()
        self._tell("lost")
        self.ping = None

    def flush(self) -> None:
        self.cells.clear()
        self.leases = LeasesModel()
        self._tell("flush")
