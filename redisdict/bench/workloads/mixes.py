"""Workloads beyond the report's: reads and writes mixed, skewed keys, new connections."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import redis.asyncio

from redisdict.bench.errors import WrongReply
from redisdict.bench.workloads.calls import Calls, blocks_of
from redisdict.bench.workloads.commands import Get, Pipeline, StringCommands
from redisdict.bench.workloads.dataset import zipf_choices

__all__ = ["Connect", "Mixed", "Transaction", "ZipfGet"]

#: Of five operations of the mix, four read.
WRITE_SHARE = 0.2

#: So often each key comes up on average before a mix repeats itself.
REPEATS = 10


class ZipfGet(Get):
    """GET where few keys are asked for most of the time, as a cache is."""

    def chosen_keys(self) -> list[str]:
        keys = [key for key, _ in self.pairs]
        return zipf_choices(self.rng, keys, REPEATS * len(keys))


class Mixed(StringCommands):
    """Reads and writes of the same keys, four reads to a write."""

    def open(self) -> None:
        self.store(self.pairs)
        read, write = self.client.get, self.client.set
        answered: list[tuple[tuple[Any, ...], object]] = []
        for key, value in self.rng.choices(self.pairs, k=REPEATS * len(self.pairs)):
            if self.rng.random() < WRITE_SHARE:
                answered.append(((write, key, value), True))
            else:
                answered.append(((read, key), value))
        self._blocks = itertools.cycle(
            [
                (Calls(operator.call, [call for call, _ in block]), [reply for _, reply in block])
                for block in blocks_of(answered, self.block)
            ]
        )

    def prepare(self) -> Calls:
        calls, self._expected = next(self._blocks)
        return calls

    def check(self, replies: Sequence[Any]) -> None:
        self.expect_values(replies, self._expected)


class Transaction(Pipeline):
    """The pipeline between MULTI and EXEC."""

    is_transaction = True


class Connect(StringCommands):
    """A new connection for each operation: connect, greet, PING, close."""

    def open(self) -> None:
        # One of its own each time: those that the pool makes count as the pool's.
        pool = self.client.connection_pool
        self._make = partial(pool.connection_class, **pool.connection_kwargs)
        is_async = isinstance(self.client, redis.asyncio.Redis)
        greet: Callable[[], Any] = self._greet_async if is_async else self._greet
        self._calls = Calls(greet, [()] * self.block)

    def prepare(self) -> Calls:
        return self._calls

    def check(self, replies: Sequence[Any]) -> None:
        answered = sum(reply in (b"PONG", "PONG") for reply in replies)
        if answered != len(replies):
            raise WrongReply(f"{len(replies)} PINGs were answered with {answered} PONGs.")

    def _greet(self) -> Any:
        connection = self._make()
        try:
            connection.send_command("PING")
            return connection.read_response()
        finally:
            connection.disconnect()

    async def _greet_async(self) -> Any:
        connection = self._make()
        try:
            await connection.send_command("PING")
            return await connection.read_response()
        finally:
            await connection.disconnect()
