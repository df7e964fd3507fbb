"""Measure the latency of single calls, in a pass after the throughput of the group is known.

The nanoseconds go into an array, from which percentiles are made afterwards, because recording into
a histogram inside the loop costs a tenth of the time that is being measured.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from redisdict.bench.measure.rounds import Clock, quiet_collector
from redisdict.bench.measure.statistics import percentile
from redisdict.bench.workloads.cells import WorkloadCell

#: Returns a process's CPU time so far, in nanoseconds; None when it can't be known.
CpuClock = Callable[[], int | None]

#: With fewer calls beyond a percentile, the percentile would be accidental.
LEAST_CALLS_BEYOND = 1


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """Percentiles of single calls in microseconds; None where the calls are too few for one.

    Their names are those of the result's fields.
    """

    calls: int
    p50_us: float
    p90_us: float | None
    p99_us: float | None
    p999_us: float | None
    max_us: float
    client_cpu_us: float | None
    server_cpu_us: float | None

    @classmethod
    def of(
        cls,
        times_ns: array[int],
        client_cpu_us: float | None = None,
        server_cpu_us: float | None = None,
    ) -> Latencies:
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
            client_cpu_us=client_cpu_us,
            server_cpu_us=server_cpu_us,
        )


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
    cell: WorkloadCell,
    calls: int,
    *,
    clock: Clock,
    per_second: float = 0.0,
    client_cpu_ns: CpuClock = time.process_time_ns,
    server_cpu_ns: CpuClock = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Latencies | None:
    """Time single calls of an open cell.

    Args:
        calls: how many at least; whole blocks are run.
        per_second: rate of an open loop; 0 makes the next call when the last has ended.
        client_cpu_ns, server_cpu_ns: CPU time so far, read around the calls of each block.

    Returns:
        None when it was stopped before the first block.
    """
    times = array("q")
    operations = 0
    client, server = _CpuUse(client_cpu_ns), _CpuUse(server_cpu_ns)
    with quiet_collector():
        while len(times) < calls and not should_stop():
            cell.prepare()
            starts = Schedule(clock, per_second).next_start if per_second else clock
            with client, server:
                operations += cell.run_each(starts, clock, times)
            cell.check()
    if not times:
        return None
    return Latencies.of(times, client.us_each(operations), server.us_each(operations))


class _CpuUse:
    """Adds up the CPU time of the `with` blocks; a clock that fails once makes it unknown."""

    def __init__(self, clock: CpuClock) -> None:
        self._clock = clock
        self._total_ns: int | None = 0
        self._began_ns: int | None = None

    def __enter__(self) -> None:
        self._began_ns = self._clock()

    def __exit__(self, *_error: object) -> None:
        now_ns = self._clock()
        if self._began_ns is None or now_ns is None or self._total_ns is None:
            self._total_ns = None
        else:
            self._total_ns += now_ns - self._began_ns

    def us_each(self, operations: int) -> float | None:
        return None if self._total_ns is None else self._total_ns / operations / 1000
