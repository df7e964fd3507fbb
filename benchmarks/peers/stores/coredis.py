"""coredis: the server's commands, asynchronous."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from benchmarks.peers.stores.commands import NAME
from benchmarks.peers.stores.store import Store
from redisdict.bench.workloads.calls import Call

__all__ = ["Coredis"]


class Coredis(Store):
    """coredis with items in one HASH.

    Its client is entered with `async with` and belongs to the task that enters it, so a task of
    its own does that and lives as long as the store.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self._end = asyncio.Event()

    async def open(self) -> Coredis:
        is_open = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(is_open))
        await is_open
        return self

    def get(self, key: str) -> Call:
        return partial(self.client.hget, NAME, key)

    def set(self, key: str, value: Any) -> Call:
        return partial(self.client.hset, NAME, {key: value})

    def delete(self, key: str) -> Call:
        return partial(self.client.hdel, NAME, [key])

    def contains(self, key: str) -> Call:
        return partial(self.client.hexists, NAME, key)

    async def close(self) -> None:
        self._end.set()
        await self._keeper

    async def _keep(self, is_open: asyncio.Future[None]) -> None:
        async with self.client:
            is_open.set_result(None)
            await self._end.wait()
