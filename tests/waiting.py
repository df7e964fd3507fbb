"""Waits for what is to come for as long as it takes: no test may judge by the clock.

How long a step takes says how busy the machine is, not whether the step is right. So a limit here
is generous, and only ends a test that has failed already.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable
from typing import Any

__all__ = ["LIMIT_S", "LoopClock", "await_until", "wait_until", "wait_until_readable"]

LIMIT_S = 100.0

#: The first pause between two looks; each is twice as long as the one before, up to the last.
PAUSE_S, LONGEST_PAUSE_S = 0.0005, 0.01


def wait_until(is_so: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Block until the condition holds."""
    deadline = time.monotonic() + limit_s
    pause_s = PAUSE_S
    while not is_so():
        assert time.monotonic() < deadline, f"it didn't come to that within {limit_s} s"
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def await_until(is_so: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Let other tasks run until the condition holds."""
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline, f"it didn't come to that within {limit_s} s"
        await asyncio.sleep(0.001)


def wait_until_readable(connection: Any) -> None:
    """Block until the server has sent something, or has hung up."""
    readable, _, _ = select.select([connection], [], [], LIMIT_S)
    assert readable, f"nothing came within {LIMIT_S} s"


class LoopClock:
    """The clock of the running loop, which the test puts forward: its timers run out at once."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._time = loop.time
        self._ahead_s = 0.0
        loop.time = self.read  # type: ignore[method-assign]  # the loop is this test's alone

    def read(self) -> float:
        return self._time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds
