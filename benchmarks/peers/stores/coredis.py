"""coredis: the server's commands, asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.peers.stores.commands import NAME
from benchmarks.peers.stores.store import Store
from redisdict.bench.workloads.calls import Calls

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

    def get(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.hget, [(NAME, key) for key in keys])

    def set(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self.client.hset, [(NAME, {key: value}) for key, value in items.items()])

    def delete(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.hdel, [(NAME, [key]) for key in keys])

    def contains(self, keys: Sequence[str]) -> Calls:
        return Calls(self.client.hexists, [(NAME, key) for key in keys])

    async def close(self) -> None:
        self._end.set()
        await self._keeper

    async def _keep(self, is_open: asyncio.Future[None]) -> None:
        async with self.client:
            is_open.set_result(None)
            await self._end.wait()
