"""Writes that return when they are safe: in the append-only file, or on a replica.

The command that waits for that (WAITAOF, WAIT) speaks of what its own connection has written, so
it travels on the same connection as the write. It holds that connection up, so such a batch has
one of its own, also where tasks share one.

One replica would not be enough: Sentinel takes for the new primary the replica that it last heard
to be ahead, and that news is up to a second old, so it may be another one than that which has the
write. Every replica is waited for that is connected right after the write; one that connects later
is given the write before it counts as connected.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeVar

from redis.exceptions import NoPermissionError, ResponseError

from redisdict.connections.capabilities import Capabilities, server_name
from redisdict.connections.relaying import relay
from redisdict.connections.requests import (
    Batch,
    Call,
    Command,
    Identified,
    Once,
    Operation,
    Request,
    Sleep,
    Wait,
    Waits,
)
from redisdict.exceptions import NotDurable, ServerUnsupported

__all__ = ["Durability", "GuardedDriver"]

#: Seconds that a server has to make a write safe; with `appendfsync everysec` it takes up to two.
WAIT_FOR_S = 2.5

#: Commands that change nothing, so that there is nothing to wait for.
READS = frozenset(
    b"COMMAND EXISTS GET HEXISTS HGET HLEN HMGET HSCAN INFO MEMORY MGET PTTL SCAN TYPE".split()
)

T = TypeVar("T")


class Durability:
    """One guarantee of one backend.

    Args:
        guarantee: "aof": written to the server's append-only file and synced to the disk
            (WAITAOF: Redis 7.2, Valkey 8); "replicas": received by every connected replica, and by
            one at least (ROLE, and WAIT in a second round trip).
        address: how the server is called in an error.
        capabilities: of the backend.
        socket_timeout_s: seconds after which a connection gives its server up. The server has to
            answer well before that, for it looks at such clients ten times a second only.
    """

    def __init__(
        self,
        guarantee: str,
        address: str,
        capabilities: Capabilities,
        socket_timeout_s: float | None,
    ) -> None:
        self._guarantee = guarantee
        self._address = address
        self._capabilities = capabilities
        self._wait_for_s = min(WAIT_FOR_S, (socket_timeout_s or math.inf) / 2)
        self._wait_ms = max(1, int(1000 * self._wait_for_s))
        if guarantee == "aof":
            self._wait = Wait((b"WAITAOF", 1, 0, self._wait_ms))
        else:
            self._wait = Wait((b"ROLE",), self._wait_for_replicas)

    def guard(self, operation: Operation[T]) -> Operation[T]:
        """The same operation, every write of which is waited for.

        Raises:
            ServerUnsupported: the server can't give the guarantee; nothing was written.
            NotDurable: a write was made, and wasn't safe in time.
        """
        return relay(operation, self._answer)

    def _answer(self, request: Request) -> Operation[Any]:
        if isinstance(request, (Sleep, Call)):
            return (yield request)
        batch = _as_batch(request)
        if all(command[0] in READS for command in batch.commands):
            return (yield request)
        if self._guarantee == "aof":
            yield from self._find_aof()
        own, safe = yield dataclasses.replace(batch, wait=self._wait)
        single = own[0] if isinstance(own, list) and not isinstance(request, Batch) else None
        if isinstance(single, ResponseError):
            raise single
        for each in Waits.of(safe):
            self._check(each)
        return own if isinstance(request, Batch) else single

    def _wait_for_replicas(self, role: Any) -> Command:
        return (b"WAIT", max(1, _count_replicas(role)), self._wait_ms)

    def _find_aof(self) -> Operation[None]:
        """Ask once, and before the first write, whether there is an append-only file."""
        if self._capabilities.has_aof:
            return
        try:
            yield (b"WAITAOF", 1, 0, 1)
        except ResponseError as error:
            raise ServerUnsupported(
                f'{self._address} can\'t give durable="aof": {(yield from _why_not(error))}.'
                " Nothing was written."
            ) from error
        self._capabilities.has_aof = True

    def _check(self, safe: Any) -> None:
        """Raise NotDurable unless what the wait gave says that the write is safe."""
        if self._guarantee == "aof":
            counted, wanted = safe, 1
            count = counted[0] if isinstance(counted, list) else counted
            where = "its append-only file didn't have it on the disk"
        else:
            counted, count = safe
            wanted = max(1, _count_replicas(counted))
            where = f"not all of its replicas ({wanted}) had it" if count else "no replica had it"
        refusals = [reply for reply in (counted, count) if isinstance(reply, ResponseError)]
        if not refusals and count >= wanted:
            return
        why = f" ({refusals[0]})" if refusals else ""
        raise NotDurable(
            f"The write was made on {self._address}, but {where} within {self._wait_for_s:g} s"
            f"{why}. It is visible, and lost if that server fails now."
        )


class GuardedDriver:
    """A driver, blocking or async, whose writes are waited for.

    It hands on what the driver gives: a result, or what can be awaited for one.
    """

    def __init__(self, driver: Any, durability: Durability) -> None:
        self._driver = driver
        self._durability = durability

    def run(self, operation: Operation[Any]) -> Any:
        return self._driver.run(self._durability.guard(operation))

    def ask(
        self, command: Command | None, operation: Callable[..., Operation[Any]], *arguments: Any
    ) -> Any:
        if command is not None and command[0] in READS:
            return self._driver.ask(command, operation, *arguments)
        return self.run(operation(*arguments))


def _why_not(error: ResponseError) -> Operation[str]:
    """Why WAITAOF was refused, and what to do."""
    name = yield from server_name()
    text = str(error)
    if "appendonly" in text:
        return f"{name} has no append-only file there; start it with --appendonly yes"
    if isinstance(error, NoPermissionError):
        return f"the user may not call WAITAOF on {name}; grant +waitaof"
    return f'{name} has no WAITAOF, which Redis 7.2 and Valkey 8 have; use durable="replicas"'


def _count_replicas(role: Any) -> int:
    """How many replicas are connected, of the reply to ROLE (Dragonfly's has no offset)."""
    replicas = role[-1] if isinstance(role, list) else None
    return len(replicas) if isinstance(replicas, list) else 0


def _as_batch(request: Command | Batch) -> Batch:
    if isinstance(request, Batch):
        return request
    return Batch(
        [request],
        is_repeatable=not isinstance(request, Once),
        is_identified=isinstance(request, Identified),
    )
