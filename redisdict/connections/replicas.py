"""Reads that go to replicas, where an alias allows it.

What only reads may see an older state than the primary has, so it goes to a replica only until an
operation has changed something: from then on the operation is the primary's, and a compare-and-set
that lost against what the replica didn't know yet reads anew there.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from redisdict.connections.cluster import ask
from redisdict.exceptions import BackendUnavailable
from redisdict.wire.combinators import intercept
from redisdict.wire.requests import Batch, Call, Operation, Request, Sleep

__all__ = ["ReplicaReads", "Side"]

T = TypeVar("T")

#: No SCAN and no HSCAN: a cursor has a meaning only on the server that gave it.
READS = frozenset(b"EXISTS GET HEXISTS HGET HLEN HMGET MEMORY MGET PTTL".split())


@dataclass(frozen=True)
class Side:
    """The primary, or the replicas: the drivers that reach it."""

    driver: Any
    async_driver: Any


class ReplicaReads:
    """A router, as `Cluster` is: what only reads is for the replicas."""

    def __init__(self, primary: Side, replicas: Side) -> None:
        self._primary = primary
        self._replicas = replicas

    def route(self, operation: Operation[T]) -> Generator[Any, Any, T]:
        """Runs the operation, request by request, each on the side that it is for."""
        return intercept(operation, _Course(self._primary, self._replicas).answer)


class _Course:
    """Where one operation is."""

    def __init__(self, primary: Side, replicas: Side) -> None:
        self._primary = primary
        self._replicas = replicas
        self._is_at_primary = False

    def answer(self, request: Request) -> Generator[Any, Any, Any]:
        if isinstance(request, (Sleep, Call)):
            return (yield self._primary, ask(request))
        if not self._is_at_primary and _only_reads(request):
            try:
                return (yield self._replicas, ask(request))
            except BackendUnavailable:
                pass  # the primary has it, too
        self._is_at_primary = True
        return (yield self._primary, ask(request))


def _only_reads(request: Any) -> bool:
    commands = request.commands if isinstance(request, Batch) else [request]
    return all(command[0] in READS for command in commands)
