"""The operations of the tables, over any store: prepared and checked outside the timer."""

from __future__ import annotations

import itertools
import random
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from benchmarks.peers.stores.store import Store
from redisdict.bench.errors import WrongReply
from redisdict.bench.workloads.calls import Calls, Workload, key_names, texts

__all__ = ["Contains", "Delete", "Get", "GetMany", "Iterate", "Set", "SetMany", "StoreWorkload"]

VALUE_BYTES = 100

#: Values that differ from one another; item n has the value n modulo this.
DISTINCT_VALUES = 1000

#: Blocks between two looks at what is really stored.
READ_BACK_EVERY = 20

#: Items that stand for all of a bulk operation when it is read back.
SAMPLE = 20

#: Items that are stored in one untimed call.
FILL_AT_ONCE = 10_000


class StoreWorkload(Workload):
    """Items for one store.

    Args:
        perform: makes calls of the store outside the timer, and returns what they give.
        count: of the items; a multiple of `block`.
        block: calls in a block, those of the lead-in included.
        lead_in: calls at the beginning of a block that aren't timed.
    """

    def __init__(
        self,
        store: Store,
        perform: Callable[[Calls], list[Any]],
        *,
        count: int,
        block: int,
        lead_in: int,
        seed: int,
    ) -> None:
        self.store = store
        self.perform = perform
        self.lead_in = lead_in
        self.items = _items(seed, count, store.stores_text)
        self._checks = itertools.count()
        keys = list(self.items)
        self._blocks = itertools.cycle(
            [keys[start : start + block] for start in range(0, count, block)]
        )

    def facts(self) -> dict[str, Any]:
        return {"items": len(self.items), "value_bytes": VALUE_BYTES}

    def next_keys(self) -> list[str]:
        self.keys = next(self._blocks)
        return self.keys

    def set_each(self, keys: Sequence[str]) -> None:
        self.perform(self.store.set({key: self.items[key] for key in keys}))

    def expect_stored(self, items: Mapping[str, Any]) -> None:
        found = self.perform(self.store.get(list(items)))
        _expect_equal(found, list(items.values()))

    @property
    def is_due(self) -> bool:
        """Whether what is stored should be looked at after this block."""
        return next(self._checks) % READ_BACK_EVERY == 0


class Get(StoreWorkload):
    """Items that are there; every value is compared."""

    def open(self) -> None:
        self.set_each(list(self.items))

    def prepare(self) -> Calls:
        return self.store.get(self.next_keys())

    def check(self, replies: Sequence[Any]) -> None:
        _expect_equal(replies, [self.items[key] for key in self.keys])


class Set(StoreWorkload):
    """Each key in turn with two values, so that a lost write doesn't go unnoticed."""

    def open(self) -> None:
        self.set_each(list(self.items))
        self._is_other = False
        self._others = dict(zip(self.items, reversed(self.items.values()), strict=True))
        self._first = next(iter(self.items))

    def prepare(self) -> Calls:
        keys = self.next_keys()
        if keys[0] == self._first:
            self._is_other = not self._is_other
        values = self._others if self._is_other else self.items
        self._written = {key: values[key] for key in keys}
        return self.store.set(self._written)

    def check(self, replies: Sequence[Any]) -> None:
        if self.is_due:
            self.expect_stored(self._written)


class Delete(StoreWorkload):
    """Items that are stored before each block, and are gone afterwards."""

    def open(self) -> None:
        """Every block stores what it deletes."""

    def prepare(self) -> Calls:
        keys = self.next_keys()
        self.set_each(keys)
        return self.store.delete(keys)

    def check(self, replies: Sequence[Any]) -> None:
        if self.is_due and any(self.perform(self.store.contains(self.keys))):
            raise WrongReply("a deleted item is still there")


class Contains(StoreWorkload):
    """Items that are there; a missing one is asked for once."""

    def open(self) -> None:
        self.set_each(list(self.items))
        if any(self.perform(self.store.contains(["no such item"]))):
            raise WrongReply("an item is there that was never stored")

    def prepare(self) -> Calls:
        return self.store.contains(self.next_keys())

    def check(self, replies: Sequence[Any]) -> None:
        if not all(replies):
            raise WrongReply("an item that was stored is said not to be there")


class _AllAtOnce(StoreWorkload):
    """One call for all items; an operation is one item."""

    def open(self) -> None:
        pairs = list(self.items.items())
        for start in range(0, len(pairs), FILL_AT_ONCE):
            self.perform(self.store.set_many(dict(pairs[start : start + FILL_AT_ONCE])))
        self._sample = dict(random.Random(0).sample(pairs, SAMPLE))  # noqa: S311 - a choice of items
        self._calls = self.calls()

    @abstractmethod
    def calls(self) -> Calls: ...

    def prepare(self) -> Calls:
        return self._calls

    def count(self, replies: Sequence[Any]) -> int:
        return len(self.items)


class SetMany(_AllAtOnce):
    """All items; a sample is read back."""

    def calls(self) -> Calls:
        return self.store.set_many(self.items)

    def check(self, replies: Sequence[Any]) -> None:
        if self.is_due:
            self.expect_stored(self._sample)


class GetMany(_AllAtOnce):
    """All items; every value is compared."""

    def calls(self) -> Calls:
        return self.store.get_many(list(self.items))

    def check(self, replies: Sequence[Any]) -> None:
        reply = replies[0]
        found = [reply.get(key) for key in self.items] if isinstance(reply, dict) else list(reply)
        _expect_equal(found, list(self.items.values()))


class Iterate(_AllAtOnce):
    """One whole iteration over keys and decoded values; what is delivered is counted."""

    def calls(self) -> Calls:
        self._start = self.store.items()
        return Calls(self._consume, [()])

    def check(self, replies: Sequence[Any]) -> None:
        if replies[0] != len(self.items):
            raise WrongReply(f"{len(self.items)} items are stored, {replies[0]} were delivered")
        if self.is_due:
            found = {_text(key): value for key, value in self._start()}
            if found != self.items:
                raise WrongReply("an iteration delivered other items than were stored")

    def _consume(self) -> int:
        count = 0
        for _ in self._start():
            count += 1
        return count


@lru_cache(maxsize=8)
def _items(seed: int, count: int, is_text: bool) -> dict[str, Any]:
    """The same items for every client; nobody changes them."""
    rng = random.Random(seed)  # noqa: S311 - data, not secrets
    values: list[Any] = texts(rng, min(count, DISTINCT_VALUES), VALUE_BYTES)
    if not is_text:
        values = [value.encode() for value in values]
    return dict(zip(key_names("item", count), itertools.cycle(values), strict=False))


def _text(key: str | bytes) -> str:
    return key.decode() if isinstance(key, bytes) else key


def _expect_equal(found: Sequence[Any], expected: Sequence[Any]) -> None:
    wrong = sum(one != value for one, value in zip(found, expected, strict=True))
    if wrong:
        raise WrongReply(f"{wrong} of {len(expected)} values are not those that were stored")
