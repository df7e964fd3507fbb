"""The latency of single calls, in a pass of its own, after the throughput of the group is known.

The nanoseconds go into an array; percentiles and histogram are made from it afterwards, because
recording into a histogram inside the loop costs a tenth of the time that is being measured.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hdrh.histogram import HdrHistogram

from redisdict.bench.runner import Clock, quiet_collector
from redisdict.bench.statistics import percentile

__all__ = ["Latencies", "Schedule", "measure_latencies"]

#: What the stored histogram can hold: 0.1 µs to a minute, to two digits.
HISTOGRAM_RANGE_NS = (100, 60_000_000_000)
HISTOGRAM_DIGITS = 2

#: Below so many calls beyond a percentile, it would be an accident.
LEAST_CALLS_BEYOND = 1


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """Percentiles of single calls in microseconds; None where the calls are too few for one.

    `histogram` is in HdrHistogram's compressed text format, in nanoseconds.
    """

    calls: int
    p50_us: float
    p90_us: float | None
    p99_us: float | None
    p999_us: float | None
    max_us: float
    server_cpu_us: float | None
    histogram: str

    @classmethod
    def of(cls, times_ns: array[int], server_cpu_us: float | None) -> Latencies:
        ordered = sorted(times_ns)

        def at(percent: float) -> float | None:
            if round(len(ordered) * (100 - percent) / 100, 6) < LEAST_CALLS_BEYOND:
                return None
            return percentile(ordered, percent) / 1000

        return cls(
            calls=len(ordered),
            p50_us=percentile(ordered, 50) / 1000,
            p90_us=at(90),
            p99_us=at(99),
            p999_us=at(99.9),
            max_us=ordered[-1] / 1000,
            server_cpu_us=server_cpu_us,
            histogram=_histogram(times_ns),
        )


class TimedCell(Protocol):
    """What the pass needs of a cell."""

    def prepare(self) -> None: ...

    def run_each(self, starts: Callable[[], int], clock: Clock, out: array[int]) -> int: ...

    def check(self) -> None: ...


class Schedule:
    """Starts at a fixed rate, whether or not the last call has ended.

    A call that begins late because the one before it took long is timed from when it should have
    begun, so a stall counts for every call that it held up (no coordinated omission).
    """

    def __init__(
        self, clock: Clock, per_second: float, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._interval_ns = 1e9 / per_second
        self._sleep = sleep
        self._first_ns: int | None = None
        self._count = 0

    def next_start(self) -> int:
        """Wait for the next intended start, unless it is past, and give it back."""
        if self._first_ns is None:
            self._first_ns = self._clock()
        due_ns = self._first_ns + round(self._count * self._interval_ns)
        self._count += 1
        early_ns = due_ns - self._clock()
        if early_ns > 0:
            self._sleep(early_ns / 1e9)
        return due_ns


def measure_latencies(
    cell: TimedCell,
    calls: int,
    *,
    clock: Clock,
    per_second: float = 0.0,
    server_cpu_ns: Callable[[], int | None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Latencies | None:
    """Time single calls of an open cell.

    Args:
        calls: how many at least; whole blocks are run.
        per_second: rate of an open loop; 0 makes the next call when the last has ended.
        server_cpu_ns: the server's CPU time so far, read around the timed calls only.

    Returns:
        None when it was stopped before the first block.
    """
    times = array("q")
    operations = 0
    cpu_ns: int | None = 0
    with quiet_collector():
        while len(times) < calls and not should_stop():
            cell.prepare()
            starts = Schedule(clock, per_second).next_start if per_second else clock
            before = server_cpu_ns()
            operations += cell.run_each(starts, clock, times)
            after = server_cpu_ns()
            cell.check()
            if before is None or after is None or cpu_ns is None:
                cpu_ns = None
            else:
                cpu_ns += after - before
    if not times:
        return None
    return Latencies.of(times, None if cpu_ns is None else cpu_ns / operations / 1000)


def _histogram(times_ns: array[int]) -> str:
    histogram = HdrHistogram(*HISTOGRAM_RANGE_NS, HISTOGRAM_DIGITS)
    for time_ns in times_ns:
        histogram.record_value(max(time_ns, HISTOGRAM_RANGE_NS[0]))
    encoded: bytes = histogram.encode()
    return encoded.decode("ascii")
