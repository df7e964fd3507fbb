"""Notify observers of every exchange with a server: metrics, spans, the panel of debug-toolbar.

The drivers use connections and not redis-py's client, so tools that patch the client don't see
their commands. Instead, observers are called here after each exchange, in the thread or task that
sent it. Without observers this costs nothing: the first observer changes the class of the drivers,
and the last one changes it back.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Awaitable, Callable
from time import perf_counter_ns
from typing import Any, TypeAlias, TypeVar

from redisdict import forks
from redisdict.connections.async_driver import AsyncPoolDriver
from redisdict.connections.starters import call_starters
from redisdict.connections.sync_driver import PendingBatch, PoolDriver
from redisdict.wire.combinators import intercept
from redisdict.wire.requests import Batch, Call, Command, Operation, Reply, Request, Sleep, Step

T = TypeVar("T")

logger = logging.getLogger("redisdict.observation")


class Exchange:
    """One request and its outcome, including retries.

    Attributes:
        server: the backend that was asked, with `config.alias`, and `address` without credentials.
        request: a command, or a batch of commands.
        reply: the server's reply; for a batch the list of replies, in which the error of a command
            takes the place of its reply.
        error: the error that was raised instead of a reply, or None.
        duration_ns: from before the request was sent until the reply had arrived.
        is_async: whether a task sent it.
    """

    __slots__ = ("duration_ns", "error", "is_async", "reply", "request", "server")

    def __init__(
        self,
        server: Any,
        request: Command | Batch,
        reply: Reply,
        error: BaseException | None,
        duration_ns: int,
        is_async: bool,
    ) -> None:
        self.server = server
        self.request = request
        self.reply = reply
        self.error = error
        self.duration_ns = duration_ns
        self.is_async = is_async


#: Called after each exchange. It must be quick, and ask nothing of a server.
Observer: TypeAlias = Callable[[Exchange], None]

_observers: tuple[Observer, ...] = ()
_drivers: weakref.WeakSet[PoolDriver | AsyncPoolDriver] = weakref.WeakSet()
_lock = forks.Lock()
#: Observers that have failed; each is told of once.
_failed: set[Observer] = set()


def add_observer(observer: Observer) -> None:
    """Call `observer` after every exchange of the process from now on."""
    global _observers
    with _lock:
        if observer not in _observers:
            _observers = (*_observers, observer)
        _choose_classes()


def remove_observer(observer: Observer) -> None:
    """Call it no longer."""
    global _observers
    with _lock:
        _observers = tuple(one for one in _observers if one is not observer)
        _failed.discard(observer)
        _choose_classes()


def enroll(*drivers: PoolDriver | AsyncPoolDriver) -> None:
    """Let the drivers of one server be observed while there are observers."""
    call_starters()
    with _lock:
        _drivers.update(drivers)
        _choose_classes()


def _choose_classes() -> None:
    for driver in list(_drivers):
        if isinstance(driver, PoolDriver):
            driver.__class__ = ObservedDriver if _observers else PoolDriver
        else:
            driver.__class__ = AsyncObservedDriver if _observers else AsyncPoolDriver


def report(
    server: Any,
    request: Command | Batch,
    reply: Reply,
    error: BaseException | None,
    started_ns: int,
    *,
    is_async: bool,
) -> None:
    """Notify all observers of an exchange that has just ended.

    One that fails is logged once, and is no error of the caller's.
    """
    exchange = Exchange(server, request, reply, error, perf_counter_ns() - started_ns, is_async)
    for observer in _observers:
        try:
            observer(exchange)
        except Exception:
            if observer not in _failed:
                _failed.add(observer)
                logger.exception("An observer of exchanges fails; this isn't logged again.")


def start(server: Any, batch: Batch) -> PendingBatch:
    """Send a batch whose replies are read later, as one of several nodes is asked."""
    return (_ObservedBatch if _observers else PendingBatch)(server, batch)


class _ObservedBatch(PendingBatch):
    """A batch that is reported when its replies were read."""

    def __init__(self, server: Any, batch: Batch) -> None:
        self._started_ns = perf_counter_ns()
        self._server = server
        super().__init__(server, batch)

    def finish(self) -> Reply:
        reply = super().finish()
        error = reply if isinstance(reply, Exception) else None
        answer = None if error else reply
        report(self._server, self._batch, answer, error, self._started_ns, is_async=False)
        return reply


class ObservedDriver(PoolDriver):
    """Does what `PoolDriver` does, and reports it."""

    def run(self, operation: Operation[T]) -> T:
        watch = _Watch(self._server, is_async=False)
        try:
            return super().run(intercept(operation, watch.answer))
        except BaseException as error:
            watch.fail(error)
            raise

    def do(self, step: Step[T]) -> T:
        command = step.command
        if command is None:
            return self.run(step.begin())
        noted = _NotedStep(step)
        started_ns = perf_counter_ns()
        try:
            reply = super().do(noted)
        except BaseException as error:
            if not noted.is_begun:  # else `run()` has reported it
                report(self._server, command, None, error, started_ns, is_async=False)
            raise
        if not noted.is_begun:
            report(self._server, command, reply, None, started_ns, is_async=False)
        return reply


class AsyncObservedDriver(AsyncPoolDriver):
    """Does what `AsyncPoolDriver` does, and reports it."""

    async def run(self, operation: Operation[T]) -> T:
        watch = _Watch(self._server, is_async=True)
        try:
            return await super().run(intercept(operation, watch.answer))
        except BaseException as error:
            watch.fail(error)
            raise

    def send(self, step: Step[T]) -> Awaitable[T | Exception]:
        if step.command is None:
            return self.run(step.begin())
        return self._send(step, step.command)

    async def _send(self, step: Step[T], command: Command) -> T | Exception:
        noted = _NotedStep(step)
        started_ns = perf_counter_ns()
        try:
            reply = await super().send(noted)
        except BaseException as error:
            if not noted.is_begun:
                report(self._server, command, None, error, started_ns, is_async=True)
            raise
        if not noted.is_begun:
            came = reply if isinstance(reply, Exception) else None
            answer = None if came else reply
            report(self._server, command, answer, came, started_ns, is_async=True)
        return reply


class _NotedStep(Step[T]):
    """A step that records whether its operation was begun: then the operation is observed."""

    __slots__ = ("is_begun",)

    def __init__(self, step: Step[T]) -> None:
        self.command = step.command
        self.operation = step.operation
        self.arguments = step.arguments
        self.is_begun = False

    def begin(self) -> Operation[T]:
        self.is_begun = True
        return super().begin()


class _Watch:
    """Watches the exchanges of one operation; at most one is under way."""

    __slots__ = ("_is_async", "_request", "_server", "_started_ns")

    def __init__(self, server: Any, *, is_async: bool) -> None:
        self._server = server
        self._is_async = is_async
        self._request: Command | Batch | None = None
        self._started_ns = 0

    def answer(self, request: Request) -> Operation[Reply]:
        if type(request) is Sleep or type(request) is Call:
            return (yield request)
        self._request = request
        self._started_ns = perf_counter_ns()
        try:
            reply = yield request
        except BaseException as error:
            self.fail(error)
            raise
        self._request = None
        report(self._server, request, reply, None, self._started_ns, is_async=self._is_async)
        return reply

    def fail(self, error: BaseException) -> None:
        """Report the exchange under way as failed; nothing if there is none."""
        request, self._request = self._request, None
        if request is not None:
            started_ns = self._started_ns
            report(self._server, request, None, error, started_ns, is_async=self._is_async)
