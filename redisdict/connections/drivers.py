"""Define the interface of drivers, which run operations, for threads and for tasks.

`PoolDriver` and `AsyncPoolDriver` do the input and output of one server; those of `routing` choose
among several; those of `middleware` wrap another driver.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Coroutine
from typing import Any, NamedTuple, Protocol, TypeVar

from redisdict.wire.requests import Operation, Step

T = TypeVar("T")


class Driver(Protocol):
    """Runs operations to their end in the calling thread."""

    @abstractmethod
    def run(self, operation: Operation[T]) -> T:
        """Run an operation and give its result.

        Raises:
            BackendUnavailable: the server can't be reached, hung up or didn't answer in time.
            redis.exceptions.ResponseError: the server refused, and the operation let it pass.
        """

    def do(self, step: Step[T]) -> T:
        """Send a step's command and give the reply as it came, or run its operation.

        A driver without a fast path runs the operation.

        Raises: as `run()`.
        """
        return self.run(step.begin())


class AsyncDriver(Protocol):
    """Runs operations to their end in the running event loop."""

    @abstractmethod
    def run(self, operation: Operation[T]) -> Coroutine[Any, Any, T]:
        """Do what `Driver.run()` does."""

    async def do(self, step: Step[T]) -> T:
        """Do what `Driver.do()` does."""
        reply = await self.send(step)
        if isinstance(reply, Exception):
            return await self.recover(step, reply)
        return reply

    def send(self, step: Step[T]) -> Awaitable[T | Exception]:
        """Do the first half of `do()`, for callers that await the reply themselves.

        A driver without a fast path runs the operation, and raises its errors.

        Returns:
            What can be awaited for the reply, or for an error that `recover()` is to be given.
        """
        return self.run(step.begin())

    async def recover(self, step: Step[T], error: Exception) -> T:
        """Do the second half of `do()`, after `send()` has come to an error.

        Raises: as `run()`.
        """
        raise error


class DriverPair(NamedTuple):
    """The drivers for threads and for tasks that do the same."""

    driver: Driver
    async_driver: AsyncDriver


class Endpoint(Protocol):
    """Where a request can be routed to: a server's own drivers, as a backend has them."""

    @property
    def driver(self) -> Driver: ...

    @property
    def async_driver(self) -> AsyncDriver: ...
