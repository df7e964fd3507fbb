"""How the calls of a block are made: in turn or by many workers, blocking or in an event loop.

The timed region of each driver holds the calls and the list that keeps their replies, nothing else.
All of them run from ordinary code, so that blocking and asynchronous cells take turns in one round.
"""

from __future__ import annotations

import asyncio
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from redisdict.bench.runner import Clock
from redisdict.bench.workloads.calls import Calls

__all__ = ["AsyncDriver", "Driver", "Starts", "SyncDriver", "TaskDriver", "ThreadDriver", "Timed"]

#: Says when the next call begins, or was meant to begin: the clock, or a schedule's `next_start`.
Starts = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Timed:
    """What a block took, and what it was answered; replies are in the order of the calls."""

    duration_ns: int
    cpu_ns: int
    replies: list[Any]


class Driver(Protocol):
    """Makes the calls of a block; the first `lead_in` of them outside the timer."""

    def run(self, clock: Clock, calls: Calls, lead_in: int = 0) -> Timed:
        """Time the rest of the block as a whole."""

    def latencies(
        self, starts: Starts, clock: Clock, calls: Calls, out: array[int], lead_in: int = 0
    ) -> list[Any]:
        """Time every other call by itself, from its start, and append its nanoseconds to `out`."""

    def close(self) -> None: ...


class SyncDriver:
    """One call after the other in this thread."""

    def run(self, clock: Clock, calls: Calls, lead_in: int = 0) -> Timed:
        replies = [method(*arguments) for method, arguments in calls[:lead_in]]
        timed_calls = calls[lead_in:]
        keep = replies.append
        cpu_ns = time.thread_time_ns()
        started_ns = clock()
        for method, arguments in timed_calls:
            keep(method(*arguments))
        duration_ns = clock() - started_ns
        return Timed(duration_ns, time.thread_time_ns() - cpu_ns, replies)

    def latencies(
        self, starts: Starts, clock: Clock, calls: Calls, out: array[int], lead_in: int = 0
    ) -> list[Any]:
        replies = [method(*arguments) for method, arguments in calls[:lead_in]]
        for method, arguments in calls[lead_in:]:
            started_ns = starts()
            reply = method(*arguments)
            out.append(clock() - started_ns)
            replies.append(reply)
        return replies

    def close(self) -> None:
        """Nothing is held."""


class AsyncDriver:
    """One call after the other in one task of `loop`, which runs only during the blocks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, clock: Clock, calls: Calls, lead_in: int = 0) -> Timed:
        return self._loop.run_until_complete(_in_turn(clock, calls, lead_in))

    def latencies(
        self, starts: Starts, clock: Clock, calls: Calls, out: array[int], lead_in: int = 0
    ) -> list[Any]:
        return self._loop.run_until_complete(_in_turn_each(starts, clock, calls, out, lead_in))

    def close(self) -> None:
        """The loop belongs to the session."""


class ThreadDriver:
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
        own_lead_in = lead_in // self._workers

        def work(own: Calls) -> tuple[list[Any], int, int, Timed]:
            replies = [method(*arguments) for method, arguments in own[:own_lead_in]]
            self._start.wait()
            started_ns = clock()
            timed = self._one.run(clock, own[own_lead_in:])
            return replies, started_ns, clock(), timed

        parts = list(self._threads.map(work, _shares(calls, self._workers)))
        return Timed(
            max(ended_ns for _, _, ended_ns, _ in parts)
            - min(started_ns for _, started_ns, _, _ in parts),
            sum(timed.cpu_ns for *_, timed in parts),
            _merged([[*replies, *timed.replies] for replies, _, _, timed in parts]),
        )

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


class TaskDriver:
    """The calls shared out to tasks of one loop that start together, the lead-in before them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, workers: int) -> None:
        self._loop = loop
        self._workers = workers

    def run(self, clock: Clock, calls: Calls, lead_in: int = 0) -> Timed:
        async def all_together() -> Timed:
            warm = await asyncio.gather(*(_replies([call]) for call in calls[:lead_in]))
            shares = _shares(calls[lead_in:], self._workers)
            cpu_ns = time.thread_time_ns()
            started_ns = clock()
            parts = await asyncio.gather(*(_replies(own) for own in shares))
            duration_ns = clock() - started_ns
            cpu_ns = time.thread_time_ns() - cpu_ns
            return Timed(duration_ns, cpu_ns, [*(one[0] for one in warm), *_merged(parts)])

        return self._loop.run_until_complete(all_together())

    def latencies(
        self, starts: Starts, clock: Clock, calls: Calls, out: array[int], lead_in: int = 0
    ) -> list[Any]:
        async def all_together() -> list[Any]:
            warm = await asyncio.gather(*(_replies([call]) for call in calls[:lead_in]))
            shares = _shares(calls[lead_in:], self._workers)
            parts = await asyncio.gather(
                *(_in_turn_each(starts, clock, own, out) for own in shares)
            )
            return [*(one[0] for one in warm), *_merged(parts)]

        return self._loop.run_until_complete(all_together())

    def close(self) -> None:
        """The loop belongs to the session."""


async def _in_turn(clock: Clock, calls: Calls, lead_in: int) -> Timed:
    replies = await _replies(calls[:lead_in])
    timed_calls = calls[lead_in:]
    keep = replies.append
    cpu_ns = time.thread_time_ns()
    started_ns = clock()
    for method, arguments in timed_calls:
        keep(await method(*arguments))
    duration_ns = clock() - started_ns
    return Timed(duration_ns, time.thread_time_ns() - cpu_ns, replies)


async def _in_turn_each(
    starts: Starts, clock: Clock, calls: Calls, out: array[int], lead_in: int = 0
) -> list[Any]:
    replies = await _replies(calls[:lead_in])
    for method, arguments in calls[lead_in:]:
        started_ns = starts()
        reply = await method(*arguments)
        out.append(clock() - started_ns)
        replies.append(reply)
    return replies


async def _replies(calls: Calls) -> list[Any]:
    return [await method(*arguments) for method, arguments in calls]


def _shares(calls: Calls, workers: int) -> list[Calls]:
    return [calls[number::workers] for number in range(workers)]


def _merged(parts: Sequence[Sequence[Any]]) -> list[Any]:
    """The inverse of `_shares`."""
    merged: list[Any] = [None] * sum(map(len, parts))
    for number, part in enumerate(parts):
        merged[number :: len(parts)] = part
    return merged
