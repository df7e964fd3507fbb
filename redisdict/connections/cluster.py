"""A Cluster: every request goes to the node that has its slot.

The router is a generator, as operations are: it yields a node's backend with what that is to run,
and is sent the result. So each node has the pools and drivers that a single server has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from redis.exceptions import (
    AskError,
    ClusterDownError,
    ExecAbortError,
    MovedError,
    ResponseError,
    TryAgainError,
)

from redisdict.connections.requests import Batch, Call, Operation, Request, Sleep
from redisdict.connections.retrying import Attempts
from redisdict.connections.slots import Address, nodes_by_slot, slot_of
from redisdict.exceptions import BackendUnavailable

if TYPE_CHECKING:
    from redisdict.connections.backend import Backend

__all__ = ["AsyncClusterDriver", "Cluster", "ClusterDriver"]

T = TypeVar("T")

#: A node's backend, and what it is to run.
Errand: TypeAlias = "tuple[Backend, Operation[Any]]"

#: The node refused, and will or another node will do it: nothing was carried out.
NOT_NOW = (ClusterDownError, TryAgainError, ExecAbortError)


class Cluster:
    """The nodes of one Cluster, and which of them has which slot. Used by threads and tasks."""

    def __init__(self, backend: Backend, make_backend: Callable[[Any], Backend]) -> None:
        self._backend = backend
        self._make_backend = make_backend
        self._location = backend.factory.location
        self._nodes: dict[Address, Backend] = {}
        self._by_slot: dict[int, Address] = {}

    @property
    def nodes(self) -> list[Backend]:
        """The nodes that were needed so far."""
        return list(self._nodes.values())

    def route(self, operation: Operation[T]) -> Generator[Errand, Any, T]:
        """Runs the operation, request by request, each on the node that it is for."""
        step: Callable[[Any], Request] = operation.send
        value: Any = None
        try:
            while True:
                request = step(value)
                try:
                    value = yield from self._answer(request)
                    step = operation.send
                except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
                    step, value = operation.throw, error
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _answer(self, request: Request) -> Generator[Errand, Any, Any]:
        if isinstance(request, (Sleep, Call)):
            return (yield self._node(self._location.nodes[0]), _ask(request))
        slot = slot_of(request)
        attempts = Attempts(self._backend, request)
        redirection: AskError | None = None
        while True:
            try:
                if not self._by_slot:
                    yield from self._learn_slots()
                node = self._node_for(slot, redirection)
                is_asking = redirection is not None and not isinstance(redirection, MovedError)
                reply = yield node, _ask(request, is_asking=is_asking)
                if isinstance(request, Batch) and not request.is_atomic:
                    return (yield from self._complete(request, reply))
                return reply
            except AskError as error:  # MOVED is one, too
                redirection = error
                if isinstance(error, MovedError):
                    # More slots may have moved, so all are asked for before the next request.
                    self._by_slot = {}
            except NOT_NOW as error:
                redirection = None
                yield from self._pause(attempts, error)
            except BackendUnavailable as error:
                if error.outcome_unknown:
                    raise
                redirection = None
                yield from self._pause(attempts, error)

    def _complete(self, batch: Batch, reply: Any) -> Generator[Errand, Any, Any]:
        """Send those commands of a batch again, each alone, that the node has refused for now."""
        own, waited = (reply, None) if batch.wait is None else reply
        for at, answer in enumerate(own):
            if not isinstance(answer, (AskError, *NOT_NOW)):
                continue
            if len(own) == 1:
                raise answer
            redone = yield from self._answer(Batch([batch.commands[at]], wait=batch.wait))
            if batch.wait is None:
                own[at] = redone[0]
            else:
                own[at], waited = redone[0][0], redone[1]
        return own if batch.wait is None else (own, waited)

    def _pause(self, attempts: Attempts, error: Exception) -> Generator[Errand, Any, None]:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        pause_s = attempts.pause_after(cause, was_sent=False)
        self._by_slot = {}
        yield self._node(self._location.nodes[0]), _ask(Sleep(pause_s))

    def _learn_slots(self) -> Generator[Errand, Any, None]:
        """CLUSTER SLOTS of the first node that answers."""
        failure: BackendUnavailable | None = None
        for address in dict.fromkeys((*self._nodes, *self._location.nodes)):
            try:
                reply = yield self._node(address), _ask((b"CLUSTER", b"SLOTS"))
            except BackendUnavailable as error:
                failure = error
                continue
            if reply:
                self._by_slot = nodes_by_slot(reply, address)
                return
        raise failure or ClusterDownError("no node of the cluster has any slots")

    def _node_for(self, slot: int | None, redirection: AskError | None) -> Backend:
        if redirection is not None and redirection.host:
            return self._node((redirection.host, redirection.port))
        by_slot = self._by_slot
        if slot is None:
            return self._node(next(iter(by_slot.values())))
        address = by_slot.get(slot)
        if address is None:
            raise ClusterDownError(f"no node of the cluster has the slot {slot}")
        return self._node(address)

    def _node(self, address: Address) -> Backend:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes.setdefault(address, self._make_node(address))
        return node

    def _make_node(self, address: Address) -> Backend:
        host, port = address
        scheme = "rediss" if self._location.is_tls else "redis"
        config = self._backend.config
        return self._make_backend(
            dataclasses.replace(
                config,
                location=f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/0",
                # The credentials of the location are every node's.
                options={**config.options, **self._location.options},
                retry_for=0.0,  # what comes after is the router's to decide
            )
        )


class ClusterDriver:
    """Runs operations on a Cluster in the calling thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def run(self, operation: Operation[T]) -> T:
        """As `SyncDriver.run()`."""
        route = self._cluster.route(operation)
        try:
            node, part = route.send(None)
            while True:
                try:
                    result = node.driver.run(part)
                except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
                    node, part = route.throw(error)
                else:
                    node, part = route.send(result)
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
            node, part = route.send(None)
            while True:
                try:
                    result = await node.async_driver.run(part)
                except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
                    node, part = route.throw(error)
                else:
                    node, part = route.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value

    async def ask(
        self, _command: Any, operation: Callable[..., Operation[T]], *arguments: Any
    ) -> T:
        """As `AsyncDriver.ask()`, but there is no shorter way."""
        return await self.run(operation(*arguments))


def _ask(request: Request, *, is_asking: bool = False) -> Operation[Any]:
    """One request as an operation; with ASKING before it, on a node that is to get its slot."""
    if not is_asking or isinstance(request, (Sleep, Call)):
        return (yield request)
    if not isinstance(request, Batch):
        _, reply = yield Batch([(b"ASKING",), request], is_repeatable=False)
        if isinstance(reply, ResponseError):
            raise reply
        return reply
    commands = [each for command in request.commands for each in ((b"ASKING",), command)]
    reply = yield dataclasses.replace(request, commands=commands)
    if request.wait is None:
        return reply[1::2]
    own, waited = reply
    return own[1::2], waited
