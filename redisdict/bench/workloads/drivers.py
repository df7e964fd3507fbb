"""Make the calls of a block: in turn or by many workers, blocking or in an event loop.

The timed region of each driver contains the calls and the list of their replies, nothing else.
All of them run from ordinary code, so that blocking and asynchronous cells take turns in one round.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from redisdict.bench.measure.rounds import Clock
from redisdict.bench.workloads.calls import Calls

#: Says when the next call begins, or was meant to begin: the clock, or a schedule's `next_start`.
Starts = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Timed:
    """The time of a block, and all its replies in the calls' order, the lead-in's first."""

    duration_ns: int
    replies: list[Any]


class Driver(ABC):
    """Makes the calls of a block; the first `lead_in` of them outside the timer."""

    @abstractmethod
    def run(self, clock: Clock, calls: Calls, lead_in: int = 0) -> Timed:
        """Time the rest of the block as a whole."""

    @abstractmethod
    def latencies(
        self, starts: Starts, clock: Clock, calls: Calls, out: array[int], lead_in: int = 0
    ) -> list[Any]:
        """Time every other call by itself, from its start, and append its nanoseconds to `out`."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what the driver holds; the loop belongs to the session."""


class SyncDriver(Driver):
    """One call after the other in this thread."""

    def run(self, clock: Clock, calls: Calls, lead_in: int = 0) -> Timed:
        method, arguments = calls.method, calls.arguments[lead_in:]
        before = list(starmap(method, calls.arguments[:lead_in]))
        started_ns = clock()
        replies = list(starmap(method, arguments))
        duration_ns = clock() - started_ns
        return Timed(duration_ns, before + replies)

    def latencies(
        self, starts: Starts, clock: Clock, calls: Calls, out: array[int], lead_in: int = 0
    ) -> list[Any]:
        method = calls.method
        replies = list(starmap(method, calls.arguments[:lead_in]))
        for arguments in calls.arguments[lead_in:]:
            started_ns = starts()
            reply = method(*arguments)
            out.append(clock() - started_ns)
            replies.append(reply)
        return replies


class ThreadDriver(Driver):
    """The calls shared out to threads that live as long as the cell and start together.

    A block lasts from the first thread's first call to the last thread's last reply. The lead-in is
    shared out like the rest, so it has to be a multiple of the workers.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._start = threading.Barrier(workers)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="redisbench")
        self._one = SyncDriver()

    def run(self, clock: Clock, calls: Calls, lead_in: int = 0) -> Timed:
        def work(own: Calls) -> tuple[list[Any], int, int]:
            before, timed = own.split(lead_in // self._workers)
            replies = list(starmap(before.method, before.arguments))
            self._start.wait()
            started_ns = clock()
            replies += starmap(timed.method, timed.arguments)
            return replies, started_ns, clock()

        parts = list(self._threads.map(work, _shares(calls, self._workers)))
        ended_ns = max(ended_ns for _, _, ended_ns in parts)
        started_ns = min(started_ns for _, started_ns, _ in parts)
        return Timed(ended_ns - started_ns, _merged([replies for replies, _, _ in parts]))

    def latencies(
        self, starts: Starts, clock: Clock, calls: Calls, out: array[int], lead_in: int = 0
    ) -> list[Any]:
        def work(own: Calls) -> tuple[array[int], list[Any]]:
            times = array("q")
            self._start.wait()
            own_lead_in = lead_in // self._workers
            return times, self._one.latencies(starts, clock, own, times, own_lead_in)

        parts = list(self._threads.map(work, _shares(calls, self._workers)))
        for times, _ in parts:
            out.extend(times)
        return _merged([replies for _, replies in parts])

    def close(self) -> None:
        self._threads.shutdown()


class AsyncDriver(Driver):
    """One call after the other in one task of `loop`, which runs only during the blocks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, clock: Clock, calls: Calls, lead_in: int = 0) -> Timed:
        return self._loop.run_until_complete(self._timed(clock, *calls.split(lead_in)))

    def latencies(
        self, starts: Starts, clock: Clock, calls: Calls, out: array[int], lead_in: int = 0
    ) -> list[Any]:
        timed = self._each(starts, clock, out, *calls.split(lead_in))
        return self._loop.run_until_complete(timed)

    async def _timed(self, clock: Clock, before: Calls, timed: Calls) -> Timed:
        replies = await _replies(before)
        keep = replies.append
        started_ns = clock()
        for reply in starmap(timed.method, timed.arguments):
            keep(await reply)
        duration_ns = clock() - started_ns
        return Timed(duration_ns, replies)

    async def _each(
        self, starts: Starts, clock: Clock, out: array[int], before: Calls, timed: Calls
    ) -> list[Any]:
        return await _replies(before) + await _each_timed(starts, clock, out, timed)


class TaskDriver(AsyncDriver):
    """The calls shared out to tasks of one loop that start together, the lead-in before them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, workers: int) -> None:
        super().__init__(loop)
        self._workers = workers

    async def _timed(self, clock: Clock, before: Calls, timed: Calls) -> Timed:
        warm = await asyncio.gather(*starmap(before.method, before.arguments))
        shares = _shares(timed, self._workers)
        started_ns = clock()
        parts = await asyncio.gather(*map(_replies, shares))
        duration_ns = clock() - started_ns
        return Timed(duration_ns, [*warm, *_merged(parts)])

    async def _each(
        self, starts: Starts, clock: Clock, out: array[int], before: Calls, timed: Calls
    ) -> list[Any]:
        warm = await asyncio.gather(*starmap(before.method, before.arguments))
        shares = _shares(timed, self._workers)
        parts = await asyncio.gather(*(_each_timed(starts, clock, out, own) for own in shares))
        return [*warm, *_merged(parts)]


async def _each_timed(starts: Starts, clock: Clock, out: array[int], calls: Calls) -> list[Any]:
    replies = []
    for arguments in calls.arguments:
        started_ns = starts()
        reply = await calls.method(*arguments)
        out.append(clock() - started_ns)
        replies.append(reply)
    return replies


async def _replies(calls: Calls) -> list[Any]:
    return [await reply for reply in starmap(calls.method, calls.arguments)]


def _shares(calls: Calls, workers: int) -> list[Calls]:
    return [Calls(calls.method, calls.arguments[number::workers]) for number in range(workers)]


def _merged(parts: Sequence[Sequence[Any]]) -> list[Any]:
    """The inverse of `_shares`."""
    merged: list[Any] = [None] * sum(map(len, parts))
    for number, part in enumerate(parts):
        merged[number :: len(parts)] = part
    return merged
