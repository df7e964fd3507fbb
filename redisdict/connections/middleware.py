"""A hook around whatever a server is asked, for OpenTelemetry, Sentry and the like.

Such tools patch redis-py's client, which the drivers here don't use. The setting TRACER names a
function instead, which is called with the alias, the name of the command and the number of commands
that go out together, and gives a context manager: it is entered before they are sent, and left when
their replies are there, or with the error that came instead. Retries happen inside it.

It is chosen when the drivers are made. Without a tracer there is nothing of this in their way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias, TypeVar, cast

from redisdict.wire.requests import Batch, Call, Command, Operation, Request, Sleep, Step

__all__ = ["AsyncTracedDriver", "TracedDriver", "Tracer"]

#: Called with the alias, the command's name ("HGET", or "GET PTTL" for different commands sent
#: together), and how many commands there are.
Tracer: TypeAlias = Callable[[str, str, int], AbstractContextManager[object]]

T = TypeVar("T")


class TracedDriver:
    """A blocking driver whose requests are traced."""

    def __init__(self, driver: Any, tracer: Tracer, alias: str) -> None:
        self._driver = driver
        self._tracer = tracer
        self._alias = alias

    def run(self, operation: Operation[T]) -> T:
        """As the driver's own."""
        spans = _Spans(self._tracer, self._alias)
        try:
            result: T = self._driver.run(spans.around(operation))
            return result
        except BaseException as error:
            spans.end(error)
            raise

    def do(self, step: Step[T]) -> T:
        """Run a step's operation: the fast path would have no span."""
        return self.run(step.begin())


class AsyncTracedDriver:
    """An async driver whose requests are traced."""

    def __init__(self, driver: Any, tracer: Tracer, alias: str) -> None:
        self._driver = driver
        self._tracer = tracer
        self._alias = alias

    async def run(self, operation: Operation[T]) -> T:
        """As the driver's own."""
        spans = _Spans(self._tracer, self._alias)
        try:
            result: T = await self._driver.run(spans.around(operation))
            return result
        except BaseException as error:
            spans.end(error)
            raise

    async def do(self, step: Step[T]) -> T:
        """Run a step's operation: the fast path would have no span."""
        return await self.run(step.begin())

    def send(self, step: Step[T]) -> Awaitable[T]:
        """As `do()`; it gives no error that would have to be recovered from."""
        return self.run(step.begin())

    async def recover(self, step: Step[T], error: Exception) -> T:
        """Never needed: `send()` raises its errors."""
        raise error


class _Spans:
    """The spans of one operation, of which one at most is open."""

    def __init__(self, tracer: Tracer, alias: str) -> None:
        self._tracer = tracer
        self._alias = alias
        self._open: AbstractContextManager[object] | None = None

    def around(self, operation: Operation[T]) -> Operation[T]:
        """The same operation, with a span around each request to the server.

        What the driver raises itself never comes by here, so it has to be told to `end()`.
        """
        step: Callable[[Any], Request] = operation.send
        value: Any = None
        try:
            while True:
                request = step(value)
                self._begin(request)
                try:
                    value = yield request
                except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
                    self.end(error)
                    step, value = operation.throw, error
                else:
                    self.end(None)
                    step = operation.send
        except StopIteration as stop:
            return cast(T, stop.value)

    def end(self, error: BaseException | None) -> None:
        span, self._open = self._open, None
        if span is None:
            return
        if error is None:
            span.__exit__(None, None, None)
        else:
            span.__exit__(type(error), error, error.__traceback__)

    def _begin(self, request: Request) -> None:
        if isinstance(request, (Sleep, Call)):
            return
        commands = request.commands if isinstance(request, Batch) else [request]
        names = dict.fromkeys(_name(command) for command in commands)
        span = self._tracer(self._alias, " ".join(names), len(commands))
        span.__enter__()
        self._open = span


def _name(command: Command) -> str:
    verb = command[0]
    return verb.decode() if isinstance(verb, bytes) else str(verb)
