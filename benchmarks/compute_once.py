"""Measures the readers of a value whose computation hangs, and what a hit costs.

Starts a server. At each expiry the value is stale, and the function that computes it anew hangs
until all readers have read: one of them waits for the soft timeout, and all get the old value.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redisdict.bench.measure.placement import SAME, UNCONTROLLED
from redisdict.bench.measure.statistics import percentile
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program

SOFT_TIMEOUT_S = 0.05
TIMES: dict[str, Any] = {"timeout": 30, "stale": 60}
STALE_S = 50
READERS = 8
READS_AN_EXPIRY = 20
BLOCK = 10
TWIN = "get(), A/A"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compute_once", description=__doc__)
    parser.add_argument("--expiries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--cpu", type=int, help="keep client and server on this CPU")
    arguments = parser.parse_args()
    if arguments.cpu is not None:
        os.sched_setaffinity(0, {arguments.cpu})  # the server inherits it
    placement = UNCONTROLLED if arguments.cpu is None else SAME
    with ServerProcess(find_program("redis"), listen="tcp") as server:
        from django.conf import settings

        entry = {"BACKEND": "redisdict.cache.DictCache", "LOCATION": server.url}
        settings.configure(CACHES={"default": entry})
        import django

        django.setup()
        from benchmarks.tables import circumstances

        print(f"{circumstances()}; CPUs: {placement}\n")
        for line in hanging(arguments.expiries):
            print(line, flush=True)
        for line in hits(arguments.rounds, placement):
            print(line, flush=True)
    return 0


def hanging(expiries: int) -> Iterator[str]:
    limit_ms = 1000 * SOFT_TIMEOUT_S
    yield f"The function hangs; soft timeout {limit_ms:.0f} ms, {expiries} expiries,"
    yield f"{READERS} readers with {READS_AN_EXPIRY} reads each:"
    yield ""
    yield "| readers | p50 ms | p99 ms | max ms | slowest of an expiry: p50 | p99 | max |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name, read in (("threads", in_threads), ("tasks", in_tasks)):
        groups = read(expiries)
        reads = [each for group in groups for each in group]
        slowest = [max(group) for group in groups]
        cells = [*spread(reads), *spread(slowest)]
        yield f"| {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |"
    yield ""


def spread(durations_ns: Sequence[int]) -> list[float]:
    ordered = sorted(durations_ns)
    return [percentile(ordered, share) / 1e6 for share in (50, 99)] + [ordered[-1] / 1e6]


def in_threads(expiries: int) -> list[list[int]]:
    """The durations of the reads of each expiry, in nanoseconds."""
    from django.core.cache import caches

    from redisdict import finish_background

    cache: Any = caches["default"]
    groups = []
    for number in range(expiries):
        may_end, start = threading.Event(), threading.Barrier(READERS)
        key, durations, calls = f"threads:{number}", list[int](), list[int]()
        cache.set(key, "old", STALE_S)

        def compute(may_end: threading.Event = may_end, calls: list[int] = calls) -> str:
            calls.append(1)
            may_end.wait()
            return "new"

        def read(
            start: threading.Barrier = start,
            key: str = key,
            durations: list[int] = durations,
            compute: Callable[[], str] = compute,
        ) -> None:
            start.wait()
            for _ in range(READS_AN_EXPIRY):
                begun = time.perf_counter_ns()
                value = cache.get_or_set(key, compute, **TIMES, soft_timeout=SOFT_TIMEOUT_S)
                durations.append(time.perf_counter_ns() - begun)
                assert value == "old"

        threads = [threading.Thread(target=read) for _ in range(READERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        may_end.set()
        finish_background()
        groups.append(checked(durations, calls, cache.get(key)))
    return groups


def in_tasks(expiries: int) -> list[list[int]]:
    """The same, of tasks of one event loop."""
    from django.core.cache import caches

    from redisdict import afinish_background

    cache: Any = caches["default"]

    async def expiry(number: int) -> list[int]:
        may_end = asyncio.Event()
        key, durations, calls = f"tasks:{number}", list[int](), list[int]()
        await cache.aset(key, "old", STALE_S)

        async def compute() -> str:
            calls.append(1)
            await may_end.wait()
            return "new"

        async def read() -> None:
            for _ in range(READS_AN_EXPIRY):
                begun = time.perf_counter_ns()
                asking = cache.aget_or_set(key, compute, **TIMES, soft_timeout=SOFT_TIMEOUT_S)
                value = await asking
                durations.append(time.perf_counter_ns() - begun)
                assert value == "old"

        await asyncio.gather(*(read() for _ in range(READERS)))
        may_end.set()
        await afinish_background()
        return checked(durations, calls, await cache.aget(key))

    async def all_expiries() -> list[list[int]]:
        return [await expiry(number) for number in range(expiries)]

    return asyncio.run(all_expiries())


def checked(durations: list[int], calls: list[int], value: Any) -> list[int]:
    """The durations, if there was one computation, whose value was stored in the end."""
    if len(calls) != 1 or value != "new":
        raise AssertionError(f"{len(calls)} computations, and then {value!r}")
    return durations


def hits(rounds: int, placement: str) -> Iterator[str]:
    from django.core.cache import caches

    from benchmarks.modeldict.rounds import Turn
    from benchmarks.tables import measure, table

    cache: Any = caches["default"]
    keys = [f"hit:{number}" for number in range(100)]
    for key in keys:
        cache.set(key, "value", 3600)
    calls: dict[str, Callable[[Any], Any]] = {
        "get()": cache.get,
        TWIN: cache.get,
        "get_or_set()": lambda key: cache.get_or_set(key, str, 3000),
        "get_or_set(stale=)": lambda key: cache.get_or_set(key, str, 3000, stale=60),
        "get_or_set() of all options": lambda key: cache.get_or_set(
            key, str, 3000, stale=60, soft_timeout=0.05, refresh_ahead=60, fail_safe=True
        ),
    }
    turns = [
        Turn("a hit", name, call, keys, BLOCK, lambda key, value: value == "value", placement)
        for name, call in calls.items()
    ]
    yield from table("a hit, one thread", measure(turns, rounds), "get()")


if __name__ == "__main__":
    sys.exit(main())
