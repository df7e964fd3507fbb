"""Take the steps of a process: a request arrives at the server in one, and is answered in another.

So a push can come before or after a reply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from redisdict.wire.requests import Call, Operation, Sleep
from redisdict.wire.server_state import is_asked_anew, is_identified, named
from tests.modelcache.near.telling_server import NOW, TellingServer

__all__ = ["Process"]


@dataclass
class Process:
    """A reader, a writer, or the renewal of the lease.

    Attributes:
        confirms_at_once: whether it takes any PING for the one that it waits for.
        ping_from: it waits for the answer to a PING after the one with this number.
        incarnation: the one that its connection leads to, once it was asked for that.
    """

    name: str
    server: TellingServer
    is_reader: bool = False
    confirms_at_once: bool = False
    operation: Operation[Any] | None = None
    request: Any = None
    reply: Any = None
    has_reply: bool = False
    began_at: float | None = None
    committed_at_begin: int = 0
    least: int = 0
    wake_at: float = 0
    ping_from: int | None = None
    result: Any = None
    is_over: bool = False
    history: list[Any] = field(default_factory=list)
    incarnation: bytes | None = None

    def state(self) -> Any:
        return (
            self.is_over,
            self.began_at,
            self.committed_at_begin,
            self.least,
            self.wake_at if isinstance(self.request, Sleep) else None,
            self.ping_from,
            self.has_reply and repr(self.reply),
            self.incarnation,
            *self.history,
        )

    def begin(self, operation: Operation[Any]) -> None:
        self.operation = operation
        self._send(None)

    def step(self, *, at_once: bool = False) -> None:
        """Take the next step.

        Args:
            at_once: a request that arrives at the server is answered in the same step.
        """
        request = self.request
        if isinstance(request, Sleep):
            if self.is_reader:  # it is where it was before, however often
                self.history = []
            self.history.append("slept")
            self._send(None)
        elif isinstance(request, Call):
            answer = request.function(*request.arguments)
            self.history.append(repr(answer))
            self._send(answer)
        elif not self.has_reply:
            try:
                self.reply = self._ask_server()
            except ResponseError as error:
                self.reply = error
            self.has_reply = True
            if at_once:
                self.step()
        else:
            self.has_reply = False
            reply, self.reply = self.reply, None
            self.history.append(repr(reply))
            if isinstance(reply, Exception):
                self._throw(reply)
            else:
                self._send(reply)

    def _send(self, answer: Any) -> None:
        assert self.operation is not None
        try:
            self.request = self.operation.send(answer)
        except StopIteration as stop:
            self.is_over, self.result = True, stop.value
        self._note_request()

    def _throw(self, error: Exception) -> None:
        assert self.operation is not None
        self.request = self.operation.throw(error)
        self._note_request()

    def _note_request(self) -> None:
        self.ping_from = None
        request = self.request
        if isinstance(request, Sleep):
            self.wake_at = NOW[0] + request.seconds
        elif isinstance(request, Call) and request.function == self.server.ping_after:
            self.ping_from = -1 if self.confirms_at_once else self.server.pings_sent

    def _ask_server(self) -> Any:
        request = self.request
        if is_identified(request):
            if self.incarnation is None or is_asked_anew(request):
                self.incarnation = self.server.model.incarnation
            request = named(request, self.incarnation)
        return self.server.execute(request)
