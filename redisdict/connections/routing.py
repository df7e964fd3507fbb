"""The drivers of several servers: they run what a router says on the servers' own drivers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from redisdict.connections.cluster import ask
from redisdict.connections.exchange import exchange
from redisdict.wire.requests import Batch, Operation, Step

if TYPE_CHECKING:
    from redisdict.connections.backend import Backend

__all__ = ["AsyncRoutingDriver", "RoutingDriver"]

T = TypeVar("T")


class Router(Protocol):
    """Says which server runs which part of an operation: a Cluster, or a primary with replicas."""

    def route(self, operation: Operation[T]) -> Generator[Any, Any, T]:
        """Yields errands (see `cluster`) and is sent their results."""


class RoutingDriver:
    """Runs operations over a router in the calling thread."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def run(self, operation: Operation[T]) -> T:
        """As `SyncDriver.run()`."""
        route = self._router.route(operation)
        try:
            errand = route.send(None)
            while True:
                try:
                    if isinstance(errand, list):
                        result: Any = exchange(errand)
                    else:
                        node, part = errand
                        result = node.driver.run(part)
                except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
                    errand = route.throw(error)
                else:
                    errand = route.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value

    def do(self, step: Step[T]) -> T:
        """Run a step's operation: a router has no fast path."""
        return self.run(step.begin())


class AsyncRoutingDriver:
    """Runs operations over a router in the running event loop."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def run(self, operation: Operation[T]) -> T:
        """As `AsyncDriver.run()`."""
        route = self._router.route(operation)
        try:
            errand = route.send(None)
            while True:
                try:
                    if isinstance(errand, list):
                        result: Any = await _ask_all(errand)
                    else:
                        node, part = errand
                        result = await node.async_driver.run(part)
                except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
                    errand = route.throw(error)
                else:
                    errand = route.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value

    async def do(self, step: Step[T]) -> T:
        """Run a step's operation: a router has no fast path."""
        return await self.run(step.begin())

    def send(self, step: Step[T]) -> Awaitable[T]:
        """As `do()`; it gives no error that would have to be recovered from."""
        return self.run(step.begin())

    async def recover(self, step: Step[T], error: Exception) -> T:
        """Never needed: `send()` raises its errors."""
        raise error


async def _ask_all(parts: Sequence[tuple[Backend, Batch]]) -> list[Any]:
    """The replies of the nodes, which are asked at once, or the error of one in its place."""
    asking = (node.async_driver.run(ask(batch)) for node, batch in parts)
    return await asyncio.gather(*asking, return_exceptions=True)
