"""Percentiles of known numbers, and an open loop whose stalls count."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import pytest

from redisdict.bench.measure.latency import Latencies, Schedule, measure_latencies
from redisdict.bench.measure.rounds import Clock


class World:
    """Time that moves only by working and by sleeping."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.slept_ns = 0

    def clock(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.slept_ns += round(seconds * 1e9)
        self.now_ns += round(seconds * 1e9)


class FakeCell:
    """Ten calls a block, each of which takes what it is told to."""

    def __init__(self, world: World, costs_ns: list[int]) -> None:
        self._world = world
        self._costs_ns = costs_ns
        self.checked = 0

    def prepare(self) -> None:
        self._world.now_ns += 10**9

    def run_each(self, starts: Callable[[], int], clock: Clock, out: array[int]) -> int:
        for cost_ns in self._costs_ns:
            started_ns = starts()
            self._world.now_ns += cost_ns
            out.append(clock() - started_ns)
        return len(self._costs_ns)

    def check(self) -> None:
        self.checked += 1


def test_percentiles_are_exact() -> None:
    times = array("q", [number * 1000 for number in range(1, 1001)])
    found = Latencies.of(times, 3.5, 2.5)
    assert (found.p50_us, found.p90_us, found.p99_us, found.p999_us) == (500, 900, 990, 999)
    assert (found.max_us, found.calls) == (1000, 1000)
    assert (found.client_cpu_us, found.server_cpu_us) == (3.5, 2.5)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(5, [False] * 3), (10, [True, False, False]), (999, [True, True, False])],
)
def test_too_few_calls_have_no_far_percentile(count: int, expected: list[bool]) -> None:
    found = Latencies.of(array("q", range(1, count + 1)))
    far = [found.p90_us, found.p99_us, found.p999_us]
    assert [value is not None for value in far] == expected


def test_closed_loop_times_each_call_and_nothing_else() -> None:
    world = World()
    cell = FakeCell(world, [1000, 2000, 3000])
    found = measure_latencies(cell, 6, clock=world.clock)
    assert found is not None
    assert (found.calls, found.p50_us, found.max_us) == (6, 2, 3)
    assert cell.checked == 2


def test_cpu_time_is_taken_around_the_calls_only() -> None:
    world = World()
    cell = FakeCell(world, [1000] * 10)
    found = measure_latencies(
        cell,
        20,
        clock=world.clock,
        client_cpu_ns=lambda: world.now_ns // 2,
        server_cpu_ns=world.clock,
    )
    assert found is not None
    assert (found.client_cpu_us, found.server_cpu_us) == (0.5, 1)


def test_unknown_server_cpu_is_none() -> None:
    world = World()
    readings = iter([5, None])
    found = measure_latencies(
        FakeCell(world, [1000]), 1, clock=world.clock, server_cpu_ns=lambda: next(readings)
    )
    assert found is not None
    assert found.server_cpu_us is None


def test_stopped_before_the_first_block() -> None:
    world = World()
    cell = FakeCell(world, [1000])
    assert measure_latencies(cell, 5, clock=world.clock, should_stop=lambda: True) is None


def test_a_schedule_waits_for_the_intended_start() -> None:
    world = World()
    schedule = Schedule(world.clock, 1000, world.sleep)
    assert [schedule.next_start() for _ in range(4)] == [0, 1_000_000, 2_000_000, 3_000_000]
    assert world.slept_ns == 3_000_000


def test_a_stall_counts_for_every_call_that_it_held_up() -> None:
    world = World()
    schedule = Schedule(world.clock, 1000, world.sleep)
    times: array[int] = array("q")
    FakeCell(world, [3_500_000, 100_000, 100_000, 100_000, 100_000]).run_each(
        schedule.next_start, world.clock, times
    )
    # Intended at 0, 1, 2, 3 and 4 ms; the second could begin at 3.5 ms only.
    assert list(times) == [3_500_000, 2_600_000, 1_700_000, 800_000, 100_000]
