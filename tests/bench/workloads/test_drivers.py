"""The four ways to make the calls of a block."""

from __future__ import annotations

import asyncio
import threading
import time
from array import array
from collections.abc import Iterator
from typing import Any

import pytest

from redisdict.bench.workloads.calls import Calls
from redisdict.bench.workloads.drivers import (
    AsyncDriver,
    Driver,
    SyncDriver,
    TaskDriver,
    ThreadDriver,
)
from tests.waiting import LIMIT_S


async def coroutine_of(number: int) -> int:
    await asyncio.sleep(0)
    return number


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture(params=["sync", "async", "threads", "tasks"])
def driver_and_calls(
    request: pytest.FixtureRequest, loop: asyncio.AbstractEventLoop
) -> Iterator[tuple[Driver, Calls]]:
    driver: Driver
    is_async = request.param in ("async", "tasks")
    if request.param == "sync":
        driver = SyncDriver()
    elif request.param == "async":
        driver = AsyncDriver(loop)
    elif request.param == "threads":
        driver = ThreadDriver(3)
    else:
        driver = TaskDriver(loop, 3)
    method = coroutine_of if is_async else int
    yield driver, Calls(method, [(number,) for number in range(11)])
    driver.close()


def test_replies_are_in_the_order_of_the_calls(driver_and_calls: tuple[Driver, Calls]) -> None:
    driver, calls = driver_and_calls
    for _ in range(3):
        timed = driver.run(time.perf_counter_ns, calls)
        assert timed.replies == list(range(11))
        assert timed.duration_ns > 0


def test_latencies_are_in_any_order_and_replies_in_that_of_the_calls(
    driver_and_calls: tuple[Driver, Calls],
) -> None:
    driver, calls = driver_and_calls
    times: array[int] = array("q")
    replies = driver.latencies(time.perf_counter_ns, time.perf_counter_ns, calls, times)
    assert replies == list(range(11))
    assert len(times) == 11
    assert min(times) >= 0


def test_the_lead_in_is_called_but_not_timed(driver_and_calls: tuple[Driver, Calls]) -> None:
    driver, calls = driver_and_calls
    seen: list[str] = []

    def clock() -> int:
        seen.append("clock")
        return len(seen)

    def noting(number: int) -> Any:
        seen.append("call")
        return calls.method(number)

    noted = Calls(noting, calls.arguments[:6])
    timed = driver.run(clock, noted, 3)
    assert timed.replies == list(range(6))
    assert seen[:4] == ["call", "call", "call", "clock"]
    assert seen.count("call") == 6
    times: array[int] = array("q")
    assert driver.latencies(clock, clock, noted, times, 3) == list(range(6))
    assert len(times) == 3


def test_threads_really_work_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=LIMIT_S)
    driver = ThreadDriver(3)
    try:
        # Each call waits for two others, so in turn they would never end.
        replies = driver.run(time.perf_counter_ns, Calls(together.wait, [()] * 6)).replies
    finally:
        driver.close()
    assert sorted(replies) == [0, 0, 1, 1, 2, 2]


def test_tasks_really_work_at_the_same_time(loop: asyncio.AbstractEventLoop) -> None:
    waiting: list[asyncio.Future[None]] = []

    async def meet() -> None:
        own = loop.create_future()
        waiting.append(own)
        if len(waiting) == 3:
            for other in waiting:
                other.set_result(None)
            waiting.clear()
        await own

    timed = TaskDriver(loop, 3).run(time.perf_counter_ns, Calls(meet, [()] * 6))
    assert timed.replies == [None] * 6


def test_a_block_of_threads_lasts_from_the_first_call_to_the_last_reply() -> None:
    driver = ThreadDriver(2)
    try:
        timed = driver.run(time.perf_counter_ns, Calls(time.sleep, [(0.02,), (0.05,)]))
    finally:
        driver.close()
    assert timed.duration_ns >= 50_000_000


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_in_a_worker_comes_out(workers: int, loop: asyncio.AbstractEventLoop) -> None:
    def fail() -> None:
        raise OSError("reset")

    async def afail() -> None:
        raise OSError("reset")

    threads = ThreadDriver(workers)
    try:
        with pytest.raises(OSError, match="reset"):
            threads.run(time.perf_counter_ns, Calls(fail, [()] * 3))
        assert threads.run(time.perf_counter_ns, Calls(int, [()] * 3)).replies == [0, 0, 0]
    finally:
        threads.close()
    with pytest.raises(OSError, match="reset"):
        TaskDriver(loop, workers).run(time.perf_counter_ns, Calls(afail, [()] * 3))
