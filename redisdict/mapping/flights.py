"""Callers in one process who want the same value wait together: only one asks the server for it."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TypeAlias

from redisdict.forks import on_fork, own, take_over

__all__ = ["Flight", "Flights", "wait_in_task", "wait_in_thread"]

#: What the others wait for: the bytes of the value, or None when there will be none.
Flight: TypeAlias = "Future[bytes | None]"


class Flights:
    """The values of one dict that somebody in this process is about to get, by their fields."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight] = {}
        on_fork(self._renew)

    def join(self, field: bytes) -> tuple[Flight, bool]:
        """The flight to a field, and whether it is the caller who has to bring it to an end."""
        if not own[0]:
            take_over()
        new: Flight = Future()
        new.set_running_or_notify_cancel()  # a waiter that is cancelled doesn't cancel the flight
        flight = self._flights.setdefault(field, new)
        return flight, flight is new

    def land(self, field: bytes, stored: bytes | None) -> None:
        """Give all who wait the value, or tell them that there is none."""
        flight = self._flights.pop(field, None)
        if flight is not None:  # else it began before a fork
            flight.set_result(stored)

    def _renew(self) -> None:
        """A forked child has none of the threads that would bring the flights to an end."""
        self._flights = {}


def wait_in_thread(flight: Flight, timeout_s: float) -> bytes | None:
    """What a flight brings.

    Raises:
        TimeoutError: it takes longer.
    """
    return flight.result(timeout_s)


async def wait_in_task(flight: Flight, timeout_s: float) -> bytes | None:
    """The same for a task of any event loop."""
    async with asyncio.timeout(timeout_s):
        return await asyncio.wrap_future(flight)
