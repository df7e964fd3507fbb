"""Put middleware between operations and a driver: durability, and tracing.

A middleware answers the requests of each operation with an operation of its own; the driver carries
out what that yields. It is chosen when the drivers are made: without one it costs nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias, TypeVar

from redisdict.connections.drivers import AsyncDriver, Driver
from redisdict.wire.combinators import intercept
from redisdict.wire.requests import (
    Call,
    Command,
    Operation,
    Reply,
    Request,
    Sleep,
    Step,
    commands_of,
)

T = TypeVar("T")

#: Called with the alias, the command's name ("HGET", or "GET PTTL" for different commands sent
#: together), and how many commands there are.
Tracer: TypeAlias = Callable[[str, str, int], AbstractContextManager[object]]


class Interceptor(Protocol):
    """The object that a middleware makes for one operation."""

    def answer(self, request: Request) -> Operation[Reply]:
        """Answer a request of the operation, by whatever that takes."""

    def fail(self, error: BaseException) -> None:
        """Handle an error of the driver itself; it never comes by `answer()`."""


class Middleware(Protocol):
    def intercept(self) -> Interceptor:
        """Make the interceptor of one operation."""

    def concerns(self, command: Command) -> bool:
        """Whether a step's command has to be intercepted, without a fast path."""


class MiddlewareDriver(Driver):
    """A blocking driver with a middleware before it."""

    def __init__(self, driver: Driver, middleware: Middleware) -> None:
        self._driver = driver
        self._middleware = middleware

    def run(self, operation: Operation[T]) -> T:
        interceptor = self._middleware.intercept()
        try:
            return self._driver.run(intercept(operation, interceptor.answer))
        except BaseException as error:
            interceptor.fail(error)
            raise

    def do(self, step: Step[T]) -> T:
        if step.command is None or self._middleware.concerns(step.command):
            return self.run(step.begin())
        return self._driver.do(step)


class AsyncMiddlewareDriver(AsyncDriver):
    """An async driver with a middleware before it."""

    def __init__(self, driver: AsyncDriver, middleware: Middleware) -> None:
        self._driver = driver
        self._middleware = middleware

    async def run(self, operation: Operation[T]) -> T:
        interceptor = self._middleware.intercept()
        try:
            return await self._driver.run(intercept(operation, interceptor.answer))
        except BaseException as error:
            interceptor.fail(error)
            raise

    def send(self, step: Step[T]) -> Awaitable[T | Exception]:
        if step.command is None or self._middleware.concerns(step.command):
            return self.run(step.begin())
        return self._driver.send(step)

    async def recover(self, step: Step[T], error: Exception) -> T:
        return await self._driver.recover(step, error)


class Tracing:
    """A hook around all requests to a server, for OpenTelemetry, Sentry and the like.

    Such tools patch redis-py's client, which the drivers here don't use. The setting TRACER names a
    function instead, which is called with the alias, the name of the command and the number of
    commands that go out together, and gives a context manager: it is entered before they are sent,
    and left when their replies are there, or with the error that came instead. Retries happen
    inside it.
    """

    def __init__(self, tracer: Tracer, alias: str) -> None:
        self._tracer = tracer
        self._alias = alias

    def intercept(self) -> Interceptor:
        return _Spans(self._tracer, self._alias)

    def concerns(self, command: Command) -> bool:
        return True  # the fast path would have no span


class _Spans:
    """The spans of one operation; at most one is open."""

    def __init__(self, tracer: Tracer, alias: str) -> None:
        self._tracer = tracer
        self._alias = alias
        self._open: AbstractContextManager[object] | None = None

    def answer(self, request: Request) -> Operation[Reply]:
        if isinstance(request, (Sleep, Call)):
            return (yield request)
        commands = commands_of(request)
        names = dict.fromkeys(_name(command) for command in commands)
        span = self._tracer(self._alias, " ".join(names), len(commands))
        span.__enter__()
        self._open = span
        try:
            reply = yield request
        except BaseException as error:
            self.fail(error)
            raise
        self._open = None
        span.__exit__(None, None, None)
        return reply

    def fail(self, error: BaseException) -> None:
        span, self._open = self._open, None
        if span is not None:
            span.__exit__(type(error), error, error.__traceback__)


def _name(command: Command) -> str:
    verb = command[0]
    return verb.decode() if isinstance(verb, bytes) else str(verb)
