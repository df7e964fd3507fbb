"""Run operations on several servers: a router chooses the server of each request.

A router is a generator, as operations are: it yields `RoutedRequest`s and is sent their results. So
each server behind it has the pools and the drivers of a single one, and sync, async and all pool
classes work there without further code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from redisdict.connections.drivers import AsyncDriver, Driver, Endpoint
from redisdict.connections.sync_driver import PendingBatch
from redisdict.exceptions import BackendUnavailable
from redisdict.wire.combinators import ask, intercept
from redisdict.wire.commands import is_replica_read
from redisdict.wire.requests import Batch, Call, Operation, Reply, Request, Sleep, commands_of

T = TypeVar("T")


class Node(Endpoint, Protocol):
    """A server that a batch can be sent to before the replies of others are read."""

    def start(self, batch: Batch) -> PendingBatch: ...


#: Where an operation is to be run; or batches for several nodes that go out at once, of which the
#: result is a list, with the error of a node that didn't answer in its place.
RoutedRequest: TypeAlias = "tuple[Endpoint, Operation[Any]] | list[tuple[Node, Batch]]"

Routing: TypeAlias = Generator[RoutedRequest, Reply, T]


class Router(Protocol):
    """Chooses the server for each part of an operation: a Cluster, or a primary with replicas."""

    def route(self, operation: Operation[T]) -> Routing[T]:
        """Run an operation, request by request, each where it belongs."""


class RoutingDriver(Driver):
    """Runs operations over a router in the calling thread."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def run(self, operation: Operation[T]) -> T:
        routing = self._router.route(operation)
        try:
            routed = routing.send(None)
            while True:
                try:
                    if isinstance(routed, list):
                        result = _ask_at_once(routed)
                    else:
                        endpoint, part = routed
                        result = endpoint.driver.run(part)
                except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
                    routed = routing.throw(error)
                else:
                    routed = routing.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value


class AsyncRoutingDriver(AsyncDriver):
    """Runs operations over a router in the running event loop."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def run(self, operation: Operation[T]) -> T:
        routing = self._router.route(operation)
        try:
            routed = routing.send(None)
            while True:
                try:
                    if isinstance(routed, list):
                        asking = (node.async_driver.run(ask(batch)) for node, batch in routed)
                        result = await asyncio.gather(*asking, return_exceptions=True)
                    else:
                        endpoint, part = routed
                        result = await endpoint.async_driver.run(part)
                except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
                    routed = routing.throw(error)
                else:
                    routed = routing.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value


def _ask_at_once(parts: Sequence[tuple[Node, Batch]]) -> list[Reply]:
    """Ask several nodes at once, and give the replies of each, or its error in their place.

    No thread is needed for it: the servers work side by side while the first one is listened to.
    """
    pending = []
    try:
        for node, batch in parts:
            pending.append(node.start(batch))  # those begun are cancelled
        return [each.finish() for each in pending]
    finally:
        for each in pending:
            each.cancel()


class ReplicaRouter:
    """Sends reads to replicas, if an alias allows it.

    A replica may have an older state than the primary, so an operation's reads go to it only until
    the operation changes something. From then on all its requests go to the primary, where a
    compare-and-set also reads again after it failed because the replica's value was old.
    """

    def __init__(self, primary: Endpoint, replicas: Endpoint) -> None:
        self._primary = primary
        self._replicas = replicas

    def route(self, operation: Operation[T]) -> Routing[T]:
        """Run an operation, request by request, each where it belongs."""
        return intercept(operation, _ReadRouting(self._primary, self._replicas).answer)


class _ReadRouting:
    """The state of one operation: which server it uses."""

    def __init__(self, primary: Endpoint, replicas: Endpoint) -> None:
        self._primary = primary
        self._replicas = replicas
        self._is_at_primary = False

    def answer(self, request: Request) -> Routing[Reply]:
        if isinstance(request, (Sleep, Call)):
            return (yield self._primary, ask(request))
        if not self._is_at_primary and is_replica_read(commands_of(request)):
            try:
                return (yield self._replicas, ask(request))
            except BackendUnavailable:
                pass  # the primary has it, too
        self._is_at_primary = True
        return (yield self._primary, ask(request))
