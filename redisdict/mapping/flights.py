"""Callers in one process who want the same value wait together: only one asks the server for it."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TypeAlias

__all__ = ["Flight", "Flights", "wait_in_task", "wait_in_thread"]

#: What the others wait for: the bytes of the value, or None when there will be none.
Flight: TypeAlias = "Future[bytes | None]"


class Flights:
    """The values of one dict that somebody in this process is about to get, by their fields."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight] = {}

    def join(self, field: bytes) -> tuple[Flight, bool]:
        """The flight to a field, and whether it is the caller who has to bring it to an end."""
        own: Flight = Future()
        own.set_running_or_notify_cancel()  # a waiter that is cancelled doesn't cancel the flight
        flight = self._flights.setdefault(field, own)
        return flight, flight is own

    def land(self, field: bytes, stored: bytes | None) -> None:
        """Give all who wait the value, or tell them that there is none."""
        self._flights.pop(field).set_result(stored)


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
