"""`get_or_set()`: one computation for all threads, tasks and processes."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from django.core.cache import caches

from redisdict.cache import DictCache
from tests.cache.conftest import Face
from tests.forks.forking import Child, fork_in_python


def test_the_value_or_the_computed_one(face: Face) -> None:
    calls: list[int] = []

    def compute() -> str:
        calls.append(1)
        return "computed"

    assert face.get_or_set("k", compute, 60) == "computed"
    assert face.get_or_set("k", compute) == "computed"
    assert 0 < face.ttl("k") <= 60
    assert face.get_or_set("k", compute, version=2) == "computed"
    assert len(calls) == 2
    assert face.get_or_set("plain", "value") == "value"
    assert face.get_or_set("none", None) is None
    assert face.has_key("none")
    assert face.get_or_set("over", compute, 0) == "computed"
    assert not face.has_key("over")


def test_an_error_of_the_computation_is_the_callers(face: Face) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        face.get_or_set("k", fail)
    assert face.get_or_set("k", lambda: 5) == 5


def test_the_lease_is_no_key_of_the_cache(cache: DictCache) -> None:
    seen: list[list[str]] = []

    def compute() -> int:
        seen.append(cache.keys())
        cache.clear()
        return 5

    assert cache.get_or_set("k", compute) == 5
    assert seen == [[]]
    assert cache.get("k") == 5


def test_stale(face: Face) -> None:
    assert face.get_or_set("k", lambda: "old", 0.05, stale=60) == "old"
    while (face.pttl("k") or 0) > 60_000:
        time.sleep(0.01)
    assert face.get("k") == "old"
    assert face.get_or_set("k", lambda: "new", 0.05, stale=60) == "new"
    with pytest.raises(ValueError, match="stale"):
        face.get_or_set("k", 1, None, stale=5)


def test_one_of_many_threads_computes(cache: DictCache) -> None:
    calls: list[int] = []
    results: list[int] = []
    barrier = threading.Barrier(20)

    def compute() -> int:
        calls.append(1)
        while not cache.client.exists(f"redisdict:lease:{cache.make_key('k')}"):
            time.sleep(0.001)
        return 42

    def ask() -> None:
        barrier.wait()
        results.append(caches["default"].get_or_set("k", compute))  # type: ignore[arg-type]

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [42] * 20
    assert len(calls) == 1


async def test_one_of_many_tasks_computes(cache: DictCache) -> None:
    calls: list[int] = []

    async def compute() -> int:
        calls.append(1)
        await asyncio.sleep(0.05)
        return 42

    asking = (cache.aget_or_set("k", compute) for _ in range(5000))
    assert await asyncio.gather(*asking) == [42] * 5000
    assert len(calls) == 1


def test_one_of_several_processes_computes(cache: DictCache) -> None:
    def ask() -> Any:
        computed: list[int] = []

        def compute() -> int:
            computed.append(1)
            time.sleep(0.2)
            return 42

        return cache.get_or_set("k", compute), len(computed)

    children = [Child(ask, fork_in_python) for _ in range(8)]
    results = [child.result() for child in children]
    assert [value for value, _ in results] == [42] * 8
    assert sum(count for _, count in results) == 1
