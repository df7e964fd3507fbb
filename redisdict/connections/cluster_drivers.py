"""The drivers of a Cluster: they run what its router says on the nodes' own drivers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from redisdict.connections.cluster import Cluster, ask
from redisdict.connections.exchange import exchange
from redisdict.connections.requests import Batch, Operation

if TYPE_CHECKING:
    from redisdict.connections.backend import Backend

__all__ = ["AsyncClusterDriver", "ClusterDriver"]

T = TypeVar("T")


class ClusterDriver:
    """Runs operations on a Cluster in the calling thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def run(self, operation: Operation[T]) -> T:
        """As `SyncDriver.run()`."""
        route = self._cluster.route(operation)
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

    def ask(self, _command: Any, operation: Callable[..., Operation[T]], *arguments: Any) -> T:
        """As `SyncDriver.ask()`, but there is no shorter way."""
        return self.run(operation(*arguments))


class AsyncClusterDriver:
    """Runs operations on a Cluster in the running event loop."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def run(self, operation: Operation[T]) -> T:
        """As `AsyncDriver.run()`."""
        route = self._cluster.route(operation)
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

    async def ask(
        self, _command: Any, operation: Callable[..., Operation[T]], *arguments: Any
    ) -> T:
        """As `AsyncDriver.ask()`, but there is no shorter way."""
        return await self.run(operation(*arguments))


async def _ask_all(parts: Sequence[tuple[Backend, Batch]]) -> list[Any]:
    """The replies of the nodes, which are asked at once, or the error of one in its place."""
    asking = (node.async_driver.run(ask(batch)) for node, batch in parts)
    return await asyncio.gather(*asking, return_exceptions=True)
