"""A Hypothesis state machine: a dict on a server against a plain one with a clock.

The clock doesn't wait: `pass_time()` moves what the server knows of deadlines into the past, so an
example with hours in it takes milliseconds. Times to live are half thousands of seconds and the
clock goes on by thousands, so nothing depends on how long a step takes.
"""

from __future__ import annotations

import asyncio
import io
import secrets
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from redisdict import NotANumberError, PersistentDict, SerializationError
from redisdict.connections.backend import Backend
from redisdict.mapping.keys import Names, escape_glob
from redisdict.wire.scan import SMALL_COUNT
from tests.mapping.conftest import Face
from tests.mapping.model import Model

NAMES = ["d", "", "a:b", "*", "[d]", "{d}", "\0", "%", "a/b", "é😀", "\ud800", "n" * 2000]
KEYS = ["a", "b", "user:1", "[a]", "?", ":", "é", "\\", "k" * 20_000, *NAMES]

keys = st.sampled_from(KEYS) | st.text(max_size=3)
timeouts = st.sampled_from([None, 500, 1500, 2500, 9500])
hands = st.integers(0, 3)
numbers = st.integers(-5, 5) | st.sampled_from([2**62, -(2**62), 2**70])
halves = st.sampled_from([0.5, -1.5, 2.25])

scalars = st.none() | st.booleans() | numbers | halves | st.text(max_size=5)
lists = st.lists(scalars, max_size=2)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "json": scalars | lists,
    "msgpack": scalars | lists | st.binary(max_size=5) | st.tuples(scalars) | st.dates(),
    "pickle": scalars | lists | st.complex_numbers(allow_nan=False) | st.frozensets(numbers),
    "raw": st.binary(max_size=5),
}


class DictMachine(RuleBasedStateMachine):
    """Each step goes through one of two handles of the dict, in one of two colours."""

    backend: Backend
    runner: asyncio.Runner
    is_hash: bool
    serializer: str
    begun: int

    @initialize(
        names=st.lists(st.sampled_from(NAMES), min_size=2, max_size=2, unique=True),
        timeout=st.sampled_from([None, None, 2500]),
        shards=st.sampled_from([None, None, 3]),
    )
    def begin(self, names: list[str], timeout: float | None, shards: int | None) -> None:
        type(self).begun += 1
        prefix = secrets.token_hex(4)
        self.path = (prefix, names[0])
        self.model = Model(self.is_hash, timeout, shards=shards or 1)
        self.hands = [
            Face(self.make(self.path, self.serializer, timeout=timeout, shards=shards), runner)
            for runner in (None, self.runner)
            for _ in range(2)
        ]
        # The clone is in the other layout, and as pickles where these can hold the same values.
        self.clone = PersistentDict[str, Any](
            prefix,
            self.backend,
            hset_enabled=not self.is_hash,
            serializer="raw" if self.serializer == "raw" else "pickle",
        )
        # Names that differ by little, or would match as patterns.
        neighbours = (names[1], f"{names[0]}:", "?")
        self.others = {one: self.make((prefix, one), "raw") for one in neighbours}
        for name, other in self.others.items():
            other[name] = b"theirs"

    def make(
        self, path: tuple[str, str], serializer: str, **options: Any
    ) -> PersistentDict[str, Any]:
        mapping: PersistentDict[str, Any] = PersistentDict(
            path[0], self.backend, hset_enabled=self.is_hash, serializer=serializer, **options
        )
        return mapping.child(path[1])

    def teardown(self) -> None:
        if not hasattr(self, "hands"):
            return
        assert self.hands[0].copy() == self.model.values
        self.hands[0].clear()
        for name, other in self.others.items():
            assert other.copy() == {name: b"theirs"}
            other.clear()

    def value(self, data: st.DataObject) -> Any:
        return data.draw(VALUES[self.serializer])

    # One item

    @rule(hand=hands, key=keys, data=st.data())
    def set_item(self, hand: int, key: str, data: st.DataObject) -> None:
        value = self.value(data)
        self.hands[hand].set(key, value)
        self.model.put_by_default(key, value)

    @rule(hand=hands, key=keys, timeout=timeouts, data=st.data())
    def set_for_a_time(self, hand: int, key: str, timeout: Any, data: st.DataObject) -> None:
        value = self.value(data)
        self.hands[hand].set(key, value, timeout)
        self.model.put(key, value, timeout)

    @rule(hand=hands, key=keys)
    def get_item(self, hand: int, key: str) -> None:
        if key in self.model.values:
            assert self.hands[hand].getitem(key) == self.model.values[key]
        else:
            with pytest.raises(KeyError):
                self.hands[hand].getitem(key)
        assert self.hands[hand].contains(key) is (key in self.model.values)

    @rule(hand=hands, key=keys)
    def delete_item(self, hand: int, key: str) -> None:
        assert self.hands[hand].delete(key) is (key in self.model.values)
        if key in self.model.values:
            self.model.take(key)

    @rule(hand=hands, key=keys, timeout=timeouts, data=st.data())
    def add(self, hand: int, key: str, timeout: Any, data: st.DataObject) -> None:
        value = self.value(data)
        assert self.hands[hand].add(key, value, timeout) is (key not in self.model.values)
        if key not in self.model.values:
            self.model.put(key, value, timeout)

    @rule(hand=hands, key=keys, data=st.data())
    def setdefault(self, hand: int, key: str, data: st.DataObject) -> None:
        value = self.value(data)
        assert self.hands[hand].setdefault(key, value) == self.model.values.get(key, value)
        if key not in self.model.values:
            self.model.put_by_default(key, value)

    @rule(hand=hands, key=keys)
    def pop(self, hand: int, key: str) -> None:
        popped = self.hands[hand].pop(key, "nothing")
        assert popped == (self.model.take(key) if key in self.model.values else "nothing")

    @rule(hand=hands)
    def popitem(self, hand: int) -> None:
        if not self.model.values:
            with pytest.raises(KeyError):
                self.hands[hand].popitem()
            return
        key, value = self.hands[hand].popitem()
        assert self.model.take(key) == value

    @rule(hand=hands, key=keys, timeout=timeouts)
    def touch(self, hand: int, key: str, timeout: Any) -> None:
        assert self.hands[hand].touch(key, timeout) is (key in self.model.values)
        if key in self.model.values:
            self.model.put(key, self.model.values[key], timeout)

    @rule(hand=hands, key=keys)
    def ttl(self, hand: int, key: str) -> None:
        if key not in self.model.values:
            with pytest.raises(KeyError):
                self.hands[hand].ttl(key)
            return
        self.check_left(key, self.hands[hand].ttl(key))

    def check_left(self, key: str, left: float | None) -> None:
        expected = self.model.left(key)
        assert (left is None) is (expected is None)
        if left is not None and expected is not None:
            assert expected - 400 < left <= expected

    # Changes of a value

    @rule(hand=hands, key=keys, delta=numbers | halves)
    def incr(self, hand: int, key: str, delta: float) -> None:
        old = self.model.values.get(key, 0)
        if self.serializer == "raw" and (isinstance(delta, float) or abs(delta) > 5):
            return  # where the server can't count with it, the new number couldn't be stored
        if isinstance(delta, float) and isinstance(old, int | float) and abs(old) > 2**50:
            return  # servers add in numbers of more digits than a float has
        if isinstance(old, bool) or not isinstance(old, int | float):
            with pytest.raises(NotANumberError):
                self.hands[hand].incr(key, delta)
            return
        total = self.hands[hand].incr(key, delta)
        assert total == old + delta
        assert type(total) is type(old + delta)
        self.model.change(key, old + delta)

    @rule(hand=hands, key=keys, is_same=st.booleans(), data=st.data())
    def compare_and_set(self, hand: int, key: str, is_same: bool, data: st.DataObject) -> None:
        new = self.value(data)
        expected = self.model.values.get(key) if is_same else self.value(data)
        is_set = key in self.model.values and self.model.values[key] == expected
        assert self.hands[hand].compare_and_set(key, expected, new) is is_set
        if is_set:
            self.model.change(key, new)

    @rule(hand=hands, key=keys, data=st.data())
    def transform(self, hand: int, key: str, data: st.DataObject) -> None:
        default, new = self.value(data), self.value(data)
        given: list[Any] = []

        def function(old: Any) -> Any:
            given.append(old)
            return new

        assert self.hands[hand].transform(key, function, default) == new
        assert given == [self.model.values.get(key, default)]
        self.model.change(key, new)

    @rule(hand=hands, key=keys)
    def edit(self, hand: int, key: str) -> None:
        if key not in self.model.values:
            with pytest.raises(KeyError):
                self.hands[hand].edit(key, lambda value: None)
            return
        value = self.model.values[key]
        if isinstance(value, list):
            self.hands[hand].edit(key, lambda value: value.append(None))
            self.model.change(key, [*value, None])
        elif self.serializer == "raw" and isinstance(value, int):
            # A counter, which `incr()` writes and reads there, and nothing else can.
            with pytest.raises(SerializationError):
                self.hands[hand].edit(key, lambda value: None)
        else:
            self.hands[hand].edit(key, lambda value: None)

    @rule(hand=hands, key=keys, data=st.data())
    def get_or_set(self, hand: int, key: str, data: st.DataObject) -> None:
        value = self.value(data)
        result = self.hands[hand].get_or_set(key, lambda: value)
        assert result == self.model.values.get(key, value)
        if key not in self.model.values:
            self.model.put_by_default(key, value)

    # Many items

    @rule(hand=hands, several=st.lists(keys, max_size=4), timeout=timeouts, data=st.data())
    def set_many(self, hand: int, several: list[str], timeout: Any, data: st.DataObject) -> None:
        items = {key: self.value(data) for key in several}
        self.hands[hand].set_many(items, timeout)
        for key, value in items.items():
            self.model.put(key, value, timeout)

    @rule(hand=hands, several=st.lists(keys, max_size=4), data=st.data())
    def update(self, hand: int, several: list[str], data: st.DataObject) -> None:
        pairs = [(key, self.value(data)) for key in several]
        more = {key: self.value(data) for key in several[:1]}
        self.hands[hand].update(pairs, **more)
        for key, value in (dict(pairs) | more).items():
            self.model.put_by_default(key, value)

    @rule(hand=hands, several=st.lists(keys, max_size=4))
    def get_many(self, hand: int, several: list[str]) -> None:
        values = self.model.values
        expected = {key: values[key] for key in several if key in values}
        assert self.hands[hand].get_many(several) == expected

    @rule(hand=hands, several=st.lists(keys, max_size=4))
    def delete_many(self, hand: int, several: list[str]) -> None:
        there = {key for key in several if key in self.model.values}
        assert self.hands[hand].delete_many(several) == len(there)
        for key in there:
            self.model.take(key)

    # The whole dict

    @rule(hand=hands)
    def look_at_all(self, hand: int) -> None:
        face = self.hands[hand]
        assert face.len() == len(self.model.values)
        assert sorted(face.keys()) == sorted(self.model.values)
        assert dict(face.items()) == self.model.values
        assert bool(face.mapping) is bool(self.model.values)
        assert face.mapping == self.model.values
        assert face.mapping != {**self.model.values, "one more": 0}
        assert face.mapping.keys() | {"x"} == self.model.values.keys() | {"x"}
        assert face.mapping | {"x": 1} == self.model.values | {"x": 1}

    @rule(hand=hands, other=hands)
    def take_out_while_iterating(self, hand: int, other: int) -> None:
        taken = {}
        for key in self.hands[hand].mapping:
            assert key not in taken
            taken[key] = self.hands[other].pop(key)
        assert taken == self.model.values
        self.model.clear()

    @rule(hand=hands, pattern=st.sampled_from(["*", "user:*", "?", "a*", "", "*1"]))
    def keys_matching(self, hand: int, pattern: str) -> None:
        found = self.hands[hand].matching(pattern)
        matching = [key for key in self.model.values if fnmatchcase(key, pattern)]
        assert sorted(found) == sorted(matching)

    @rule(hand=hands, timeout=timeouts)
    def expire(self, hand: int, timeout: Any) -> None:
        assert self.hands[hand].expire(timeout) is bool(self.model.values)
        self.model.expire(timeout)

    @rule(hand=hands)
    def clear(self, hand: int) -> None:
        self.hands[hand].clear()
        self.model.clear()

    @rule(hand=hands, into=hands)
    def dump_and_load(self, hand: int, into: int) -> None:
        file = io.BytesIO()
        assert self.hands[hand].dump(file) == len(self.model.values)
        self.hands[hand].clear()
        file.seek(0)
        assert self.hands[into].load(file) == len(self.model.values)
        self.model.settle_on_items()

    @rule(hand=hands, into=hands)
    def clone_and_back(self, hand: int, into: int) -> None:
        count = len(self.model.values)
        assert self.hands[hand].clone_to(self.clone) == count
        assert self.clone.copy() == self.model.values
        self.hands[hand].clear()
        clone = Face(self.clone, self.hands[hand].runner)
        assert clone.clone_to(self.hands[into].mapping) == count
        clone.clear()
        self.model.settle_on_items()

    # Time

    @rule(seconds=st.sampled_from([1000, 2000, 9000]))
    def pass_time(self, seconds: int) -> None:
        whole = Names(self.backend.config.key_prefix, self.path)
        count = self.model.shards
        shards = [replace(whole, shard=(number, count)) for number in range(count)]
        for names in shards if count > 1 else [whole]:
            self.age(names, seconds * 1000)
        self.model.pass_time(seconds)

    def age(self, names: Names, milliseconds: int) -> None:
        client = self.backend.client()
        if self.is_hash:
            client.eval(AGE_A_HASH, 3, names.hash, names.relocated, names.deadlines, milliseconds)
        else:
            found = list(client.scan_iter(escape_glob(names.item_prefix) + b"*", count=SMALL_COUNT))
            client.eval(AGE_KEYS, len(found), *found, milliseconds)

    @invariant()
    def times_agree(self) -> None:
        """Cheap, and on every step: the item that dies next."""
        if not hasattr(self, "model"):
            return
        mortal = [key for key in self.model.values if self.model.deadline(key) is not None]
        if mortal:
            key = min(mortal, key=lambda one: (self.model.deadline(one), one))
            self.check_left(key, self.hands[0].ttl(key))


AGE_KEYS = """
for _, key in ipairs(KEYS) do
  local left = redis.call('PTTL', key)
  if left >= 0 then redis.call('PEXPIRE', key, left - tonumber(ARGV[1])) end
end
"""

AGE_A_HASH = (
    """
local fields = redis.call('TYPE', KEYS[3]).ok == 'zset' and redis.call('ZRANGE', KEYS[3], 0, -1)
for _, field in ipairs(fields or {}) do redis.call('ZINCRBY', KEYS[3], -ARGV[1], field) end
"""
    + AGE_KEYS
)
