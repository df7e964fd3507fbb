"""Threads, event loops and forks at once."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from django.core.cache import caches

from redisdict.cache import DictCache
from tests.forks.conftest import fork
from tests.forks.forking import Child, Fork

__all__ = ["fork"]


def count_to(cache: Any, number: int) -> None:
    for _ in range(number):
        cache.incr("n")


def test_threads_and_loops_count_exactly(cache: DictCache) -> None:
    cache.set("n", 0)

    async def in_tasks() -> None:
        shared: Any = caches["default"]
        await asyncio.gather(*(shared.aincr("n") for _ in range(100)))

    threads = [
        *(threading.Thread(target=lambda: count_to(caches["default"], 100)) for _ in range(4)),
        *(threading.Thread(target=lambda: asyncio.run(in_tasks())) for _ in range(4)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.get("n") == 800


def test_forked_processes_have_connections_of_their_own(cache: DictCache, fork: Fork) -> None:
    cache.set("n", 0)

    def work() -> Any:
        count_to(cache, 50)

        async def in_tasks() -> Any:
            await asyncio.gather(*(cache.aincr("n") for _ in range(50)))
            return await cache.aget_many(["n"])

        asyncio.run(in_tasks())
        return cache.client.client_id(), os.getpid()

    own = cache.client.client_id()
    children = [Child(work, fork) for _ in range(3)]
    count_to(cache, 100)
    results = [child.result() for child in children]
    assert len({own, *(number for number, _ in results)}) == 4
    assert cache.get("n") == 400
    assert cache.client.client_id() == own


def test_a_fork_within_a_loop(cache: DictCache, fork: Fork) -> None:
    async def main() -> Any:
        await cache.aset("n", 1)
        child = Child(lambda: cache.get("n"), fork)
        assert child.result() == 1
        return await cache.aincr("n")

    assert asyncio.run(main()) == 2
