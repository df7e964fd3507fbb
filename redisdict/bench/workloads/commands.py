"""Make the calls of the report's commands over redis-py's client, and of further workloads.

`client` is redis-py's blocking or asynchronous client over one of the pools; its methods have the
same names in both, so each workload is written once. `inspector` is a blocking client of its own
that stores and reads back outside the timer.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import redis
import redis.asyncio

from redisdict.bench.errors import WrongReply
from redisdict.bench.workloads.calls import (
    BlockWorkload,
    Calls,
    blocks_of,
    key_names,
    texts,
    written_twice,
    zipf_choices,
)

#: Of five operations of the mix, four read.
WRITE_SHARE = 0.2

#: How often each key occurs on average before a mix repeats itself.
REPEATS = 10

Pair = tuple[str, bytes]


class StringCommands(BlockWorkload):
    """String keys of its own, and what stores and reads them outside the timer.

    Args:
        client: whose calls are timed.
        inspector: the client for everything that isn't timed.
        prefix: the prefix of all its keys.
    """

    def __init__(self, client: Any, inspector: redis.Redis, prefix: str, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.client = client
        self.inspector = inspector
        values = [text.encode() for text in texts(self.rng, self.key_count, self.value_bytes)]
        self.values = dict(zip(key_names(prefix, self.key_count), values, strict=True))

    def facts(self) -> dict[str, Any]:
        return {"keys": len(self.values), "value_bytes": list(self.value_bytes)}

    def store(self, values: Mapping[str, bytes]) -> None:
        with self.inspector.pipeline(transaction=False) as pipe:
            for key, value in values.items():
                pipe.set(key, value)
            pipe.execute()

    def expect_stored(self, pairs: Sequence[Pair]) -> None:
        with self.inspector.pipeline(transaction=False) as pipe:
            for key, _ in pairs:
                pipe.get(key)
            found = pipe.execute()
        wrong = sum(value != stored for (_, value), stored in zip(pairs, found, strict=True))
        if wrong:
            raise WrongReply(
                f"{wrong} of {len(pairs)} keys that were SET hold another value when read back."
            )

    def expect_values(self, replies: Sequence[Any], expected: Sequence[Any]) -> None:
        if list(replies) == list(expected):
            return
        misses = sum(reply is None for reply in replies)
        wrong = sum(
            reply is not None and reply != value
            for reply, value in zip(replies, expected, strict=True)
        )
        raise WrongReply(
            f"Of {len(replies)} calls on stored keys, {misses} found nothing"
            f" and {wrong} got another reply than the right one."
        )


class Set(StringCommands):
    """SET of existing keys; a sample is read back."""

    def open(self) -> None:
        method = self.client.set
        blocks = blocks_of(written_twice(self.values), self.block)
        self.take_turns((Calls(method, pairs), pairs) for pairs in blocks)

    def check(self, replies: Sequence[Any]) -> None:
        refused = sum(reply is not True for reply in replies)
        if refused:
            raise WrongReply(f"{refused} of {len(replies)} SETs were not answered with OK.")
        if self.should_read_back():
            self.expect_stored(self.current)


class Get(StringCommands):
    """GET of existing keys; every reply is compared, so a miss is a wrong reply."""

    def open(self) -> None:
        self.store(self.values)
        method = self.client.get
        self.take_turns(
            (Calls(method, [(key,) for key in keys]), [self.values[key] for key in keys])
            for keys in blocks_of(self.chosen_keys(), self.block)
        )

    def chosen_keys(self) -> list[str]:
        """The keys in the order in which they are asked for."""
        return list(self.values)

    def check(self, replies: Sequence[Any]) -> None:
        self.expect_values(replies, self.current)


class ZipfGet(Get):
    """GET where few keys are asked for most of the time, as a cache is."""

    def chosen_keys(self) -> list[str]:
        return zipf_choices(self.rng, list(self.values), REPEATS * len(self.values))


class Delete(StringCommands):
    """DEL of existing keys, which are stored before each block; the replies are summed."""

    def open(self) -> None:
        method = self.client.delete
        self.take_turns(
            (Calls(method, [(key,) for key, _ in pairs]), dict(pairs))
            for pairs in blocks_of(list(self.values.items()), self.block)
        )

    def prepare(self) -> Calls:
        calls = super().prepare()
        self.store(self.current)
        return calls

    def check(self, replies: Sequence[Any]) -> None:
        deleted = sum(replies)
        if deleted != len(replies):
            raise WrongReply(f"{len(replies)} DELs of existing keys say they deleted {deleted}.")


class Pipeline(StringCommands):
    """A batch of SETs in one round trip; each counts, and MULTI and EXEC (if asked for) don't.

    A batch of one is the lead-in.
    """

    is_transaction = False

    def open(self) -> None:
        self.lead_in = 1
        self.take_turns(
            (Calls(self._send, [(batch[:1],), (batch,)]), batch)
            for batch in blocks_of(written_twice(self.values), self.block)
        )

    def check(self, replies: Sequence[Any]) -> None:
        stored = sum(reply is True for reply in replies[-1])
        if stored != self.block:
            raise WrongReply(f"A pipeline of {self.block} SETs was answered with {stored} OKs.")
        if self.should_read_back():
            self.expect_stored(self.current)

    def count(self, replies: Sequence[Any]) -> int:
        return sum(map(len, replies))

    def facts(self) -> dict[str, Any]:
        batch = {"batch_size": self.block, "is_transaction": self.is_transaction}
        return {**super().facts(), **batch}

    def _send(self, pairs: Sequence[Pair]) -> Any:
        pipe = self.client.pipeline(transaction=self.is_transaction)
        for key, value in pairs:
            pipe.set(key, value)
        return pipe.execute()


class Transaction(Pipeline):
    """The pipeline between MULTI and EXEC."""

    is_transaction = True


class Mixed(StringCommands):
    """Reads and writes of the same keys, four reads to a write."""

    def open(self) -> None:
        self.store(self.values)
        read, write = self.client.get, self.client.set
        answered: list[tuple[tuple[Any, ...], object]] = []
        for key, value in self.rng.choices([*self.values.items()], k=REPEATS * len(self.values)):
            if self.rng.random() < WRITE_SHARE:
                answered.append(((write, key, value), True))
            else:
                answered.append(((read, key), value))
        self.take_turns(
            (Calls(operator.call, [call for call, _ in block]), [reply for _, reply in block])
            for block in blocks_of(answered, self.block)
        )

    def check(self, replies: Sequence[Any]) -> None:
        self.expect_values(replies, self.current)


class Connect(StringCommands):
    """A new connection for each operation: connect, greet, PING, close."""

    def open(self) -> None:
        # One of its own each time: those that the pool makes count as the pool's.
        pool = self.client.connection_pool
        self._make = partial(pool.connection_class, **pool.connection_kwargs)
        is_async = isinstance(self.client, redis.asyncio.Redis)
        greet: Callable[[], Any] = self._greet_async if is_async else self._greet
        self.take_turns([(Calls(greet, [()] * self.block), None)])

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
