"""Make the calls of the dict's operations over PersistentDict: Set, Get, Del, Iter, Items.

Blocking and asynchronous dicts are the same object with two sets of methods, so a workload takes
the methods that it times; everything untimed goes through the blocking ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from typing import Any

from redisdict import PersistentDict
from redisdict.bench.errors import WrongReply
from redisdict.bench.workloads.calls import (
    BlockWorkload,
    Calls,
    blocks_of,
    key_names,
    texts,
    written_twice,
)


class _DictItems(BlockWorkload):
    """A dict, and the items that it is to hold.

    Args:
        mapping: its blocking methods prepare and check, also when the asynchronous ones are timed.
        is_async: whether the asynchronous methods are timed.
    """

    def __init__(self, mapping: PersistentDict[str, Any], is_async: bool, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.mapping = mapping
        self.is_async = is_async
        values = texts(self.rng, self.key_count, self.value_bytes)
        self.items = dict(zip(key_names("item", self.key_count), values, strict=True))

    def facts(self) -> dict[str, Any]:
        return {"items": len(self.items), "value_bytes": list(self.value_bytes)}

    def expect_stored(self, items: Mapping[str, str]) -> None:
        found = self.mapping.get_many(list(items))
        if found != dict(items):
            wrong = sum(found.get(key) != value for key, value in items.items())
            raise WrongReply(f"{wrong} of {len(items)} items that were set differ when read back.")

    def ask_for_each(self, method: Callable[..., Any]) -> None:
        """Call the method with every key, with the items of each block known to its check."""
        self.take_turns(
            (Calls(method, [(key,) for key in keys]), {key: self.items[key] for key in keys})
            for keys in blocks_of(list(self.items), self.block)
        )


class DictSet(_DictItems):
    """`d[key] = value` for existing keys; a sample is read back."""

    def open(self) -> None:
        method: Callable[..., Any] = (
            self.mapping.aset if self.is_async else self.mapping.__setitem__
        )
        blocks = blocks_of(written_twice(self.items), self.block)
        self.take_turns((Calls(method, pairs), dict(pairs)) for pairs in blocks)

    def check(self, replies: Sequence[Any]) -> None:
        if self.should_read_back():
            self.expect_stored(self.current)


class DictGet(_DictItems):
    """`d[key]` for existing keys; every value is compared."""

    def open(self) -> None:
        self.mapping.set_many(self.items)
        self.ask_for_each(self.mapping.agetitem if self.is_async else self.mapping.__getitem__)

    def check(self, replies: Sequence[Any]) -> None:
        expected = self.current.values()
        wrong = sum(reply != value for reply, value in zip(replies, expected, strict=True))
        if wrong:
            raise WrongReply(f"{wrong} of {len(replies)} items came back with another value.")


class DictDelete(_DictItems):
    """`del d[key]` for existing keys, which are stored before each block."""

    def open(self) -> None:
        self.ask_for_each(self.mapping.adelitem if self.is_async else self.mapping.__delitem__)

    def prepare(self) -> Calls:
        calls = super().prepare()
        self.mapping.set_many(self.current)
        return calls

    def check(self, replies: Sequence[Any]) -> None:
        left = len(self.mapping.get_many(list(self.current)))
        if left:
            raise WrongReply(f"{left} of {len(replies)} deleted items are still there.")


class DictIter(_DictItems):
    """One whole iteration; an operation is one key delivered, and the keys are counted.

    The iteration's keys are compared with the dict's outside the timer. One whole iteration is the
    lead-in: without it a dict that was read a moment before, by another cell, looks a tenth faster
    than its own twin.
    """

    def open(self) -> None:
        self.lead_in = 1
        if len(self.mapping) != len(self.items):
            self.mapping.clear()
            self.mapping.set_many(self.items)
        count: Callable[[], Any] = self._acount if self.is_async else self._count
        self.take_turns([(Calls(count, [(), ()]), None)])

    def check(self, replies: Sequence[Any]) -> None:
        if replies[-1] != len(self.items):
            raise WrongReply(f"An iteration over {len(self.items)} items delivered {replies[-1]}.")
        if self.should_read_back():
            self.expect_complete()

    def count(self, replies: Sequence[Any]) -> int:
        return int(replies[-1])

    def facts(self) -> dict[str, Any]:
        bytes_per_item = self.mapping.memory_usage() / len(self.items)
        return {**super().facts(), "counts": "keys", "server_bytes_per_item": bytes_per_item}

    def expect_complete(self) -> None:
        if set(self.mapping) != self.items.keys():
            raise WrongReply("An iteration delivered other keys than the dict has.")

    def iterate(self) -> Iterable[Any]:
        return self.mapping

    def aiterate(self) -> AsyncIterable[Any]:
        return self.mapping

    def _count(self) -> int:
        count = 0
        for _ in self.iterate():
            count += 1
        return count

    async def _acount(self) -> int:
        count = 0
        async for _ in self.aiterate():
            count += 1
        return count


class DictItems(DictIter):
    """One whole iteration over keys with their decoded values."""

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "counts": "keys with decoded values"}

    def expect_complete(self) -> None:
        if dict(self.mapping.items()) != self.items:
            raise WrongReply("An iteration over items delivered others than the dict has.")

    def iterate(self) -> Iterable[Any]:
        return self.mapping.items()

    def aiterate(self) -> AsyncIterable[Any]:
        return self.mapping.aitems()
