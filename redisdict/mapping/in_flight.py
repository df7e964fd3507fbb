"""Callers in one process who want the same value wait together: only one asks the server for it."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TypeAlias

from redisdict.forks import on_fork, own, take_over

__all__ = ["InFlight", "wait_in_task", "wait_in_thread"]

#: What the others wait for: the bytes of the value, or None when there will be none.
Value: TypeAlias = "Future[bytes | None]"


class InFlight:
    """The values of one dict that somebody in this process is about to get, by their fields."""

    def __init__(self) -> None:
        self._values: dict[bytes, Value] = {}
        on_fork(self._renew)

    def join(self, field: bytes) -> tuple[Value, bool]:
        """Get the future of a field's value, and whether it is the caller who has to resolve it."""
        if not own[0]:
            take_over()
        new: Value = Future()
        new.set_running_or_notify_cancel()  # a waiter that is cancelled doesn't cancel the others
        value = self._values.setdefault(field, new)
        return value, value is new

    def resolve(self, field: bytes, stored: bytes | None) -> None:
        """Give all who wait the value, or tell them that there is none."""
        value = self._values.pop(field, None)
        if value is not None:  # else it began before a fork
            value.set_result(stored)

    def _renew(self) -> None:
        """Forget what the parent was computing: a forked child has none of its threads."""
        self._values = {}


def wait_in_thread(value: Value, timeout_s: float) -> bytes | None:
    """Wait for a value in flight.

    Raises:
        TimeoutError: it takes longer.
    """
    return value.result(timeout_s)


async def wait_in_task(value: Value, timeout_s: float) -> bytes | None:
    """Wait for a value in flight in a task of any event loop; as `wait_in_thread()`."""
    async with asyncio.timeout(timeout_s):
        return await asyncio.wrap_future(value)
