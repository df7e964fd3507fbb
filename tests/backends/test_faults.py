"""Faults on the way: no wrong value, no reply to another caller, every call ends in its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from redisdict import BackendUnavailable, PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.process import ServerProcess
from tests.backends.proxy import FAULTS, Proxy, proxy_to
from tests.waiting import LIMIT_S

TIMEOUT_S = 1.0
ITEMS = {f"k{number}": number * "x" for number in range(40)}


@pytest.fixture
def proxy(redis_server: ServerProcess) -> Iterator[Proxy]:
    with proxy_to(redis_server.port) as made:
        yield made


@pytest.fixture
def spoiled(
    proxy: Proxy, alias_for: Callable[..., dict[str, Any]]
) -> Iterator[PersistentDict[str, Any]]:
    options = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
    url = f"redis://127.0.0.1:{proxy.port}/0"
    backend = Backend(parse_alias("test", alias_for(url, OPTIONS=options)))
    d: PersistentDict[str, Any] = PersistentDict("d", backend)
    d.update(ITEMS)
    yield d
    d.clear()
    backend.close()


class Seen:
    """What the callers have seen, all of them together."""

    def __init__(self) -> None:
        self.wrong: list[tuple[str, object]] = []
        self.unavailable = 0
        self.counted = 0
        self.unknown = 0
        self.slowest_s = 0.0

    def got(self, key: str, value: object) -> None:
        if value != ITEMS[key]:
            self.wrong.append((key, value))

    def took(self, began: float) -> None:
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    def failed(self, error: BackendUnavailable) -> None:
        self.unavailable += 1
        self.unknown += error.outcome_unknown


def call(d: PersistentDict[str, Any], seen: Seen, key: str) -> None:
    for step in ("read", "count"):
        began = time.monotonic()
        try:
            if step == "read":
                seen.got(key, d[key])
            else:
                d.incr("n")
                seen.counted += 1
        except BackendUnavailable as error:
            seen.failed(error)
        seen.took(began)


async def acall(d: PersistentDict[str, Any], seen: Seen, key: str) -> None:
    for step in ("read", "count"):
        began = time.monotonic()
        try:
            if step == "read":
                seen.got(key, await d.aget(key))
            else:
                await d.aincr("n")
                seen.counted += 1
        except BackendUnavailable as error:
            seen.failed(error)
        seen.took(began)


#: How often a fault strikes; those that a caller's whole time goes with, once in the quick suite.
TIMES = 3
SLOW = [fault for fault in FAULTS if "silence" in fault or "late" in fault]


def in_threads(
    d: PersistentDict[str, Any], proxy: Proxy, fault: str, seen: Seen, times: int
) -> None:
    with ThreadPoolExecutor(4) as threads:
        for _ in range(times):
            proxy.fault = fault
            list(threads.map(lambda key: call(d, seen, key), ITEMS))


def in_tasks(d: PersistentDict[str, Any], proxy: Proxy, fault: str, seen: Seen, times: int) -> None:
    async def work() -> None:
        await d.aget("k1")  # the connection is there when the fault strikes
        for _ in range(times):
            proxy.fault = fault
            await asyncio.gather(*(acall(d, seen, key) for key in ITEMS))

    asyncio.run(work())


@pytest.mark.parametrize("work", [in_threads, in_tasks])
@pytest.mark.parametrize(
    ("fault", "times"),
    [
        *((fault, 1 if fault in SLOW else TIMES) for fault in FAULTS),
        *(pytest.param(fault, TIMES, marks=pytest.mark.deep) for fault in SLOW),
    ],
)
def test_no_wrong_value_and_no_call_without_an_end(
    spoiled: PersistentDict[str, Any],
    proxy: Proxy,
    fault: str,
    times: int,
    work: Callable[[PersistentDict[str, Any], Proxy, str, Seen, int], None],
) -> None:
    seen = Seen()
    work(spoiled, proxy, fault, seen, times)
    assert proxy.spent == times
    assert seen.wrong == []
    # Every call has come to its end; tests/connections/test_retry.py says how often it is tried.
    assert seen.slowest_s < LIMIT_S
    assert seen.counted <= spoiled["n"] <= seen.counted + seen.unknown
    assert {key: spoiled[key] for key in ITEMS} == ITEMS
    if fault in ("single bytes", "close before the command", "close after the reply"):
        assert seen.counted + seen.unknown == times * len(ITEMS)
