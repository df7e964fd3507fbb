"""What the processes of `test_races.py` do: each function is run by several at once.

It is given a handle of the same dict and a number of its own, and tells what it has seen.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any

import django

from redisdict import ConcurrentUpdate, PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend

#: URL, key prefix, and whether the dict is a hash.
Place = tuple[str, str, bool]

_backends: dict[tuple[str, str], Backend] = {}


def prepare() -> None:
    """Called in each process before the first task."""
    django.setup()


def open_dict(url: str, prefix: str, is_hash: bool, name: str = "d") -> PersistentDict[str, Any]:
    if (url, prefix) not in _backends:
        config = parse_alias("race", {"LOCATION": url, "KEY_PREFIX": prefix})
        _backends[url, prefix] = Backend(config)
    return PersistentDict(name, _backends[url, prefix], hset_enabled=is_hash)


def run(action: str, place: Place, number: int, of: int, race: str, *rest: Any) -> Any:
    """Run one of the functions below as number so and so, when all `of` them are ready."""
    mapping = open_dict(*place)
    ready: PersistentDict[str, int] = open_dict(*place, name=race)
    ready.incr("processes")
    while ready["processes"] < of:
        time.sleep(0.001)
    return ACTIONS[action](mapping, number, *rest)


def incr(mapping: PersistentDict[str, int], number: int, times: int) -> list[int]:
    return [mapping.incr("n") for _ in range(times)]


def add(mapping: PersistentDict[str, int], number: int, keys: int) -> list[str]:
    """The keys that this process was the first to add."""
    return [str(key) for key in shuffled(keys) if mapping.add(str(key), number)]


def setdefault(mapping: PersistentDict[str, int], number: int, keys: int) -> dict[str, int]:
    return {str(key): mapping.setdefault(str(key), number) for key in shuffled(keys)}


def pop(mapping: PersistentDict[str, int], number: int, keys: int) -> list[int]:
    popped = [mapping.pop(str(key), -1) for key in shuffled(keys)]
    return [value for value in popped if value != -1]


def popitem(mapping: PersistentDict[str, int], number: int) -> list[int]:
    values = []
    while True:
        try:
            values.append(mapping.popitem()[1])
        except KeyError:
            return values


def transform(mapping: PersistentDict[str, list[int]], number: int, times: int) -> None:
    for _ in range(times):
        mapping.transform("list", lambda old: [*old, number], [])


def edit(mapping: PersistentDict[str, list[int]], number: int, times: int) -> int:
    """How many changes were stored; the others were refused."""
    stored = 0
    for _ in range(times):
        try:
            with mapping.editing("list") as value:
                value.append(number)
            stored += 1
        except ConcurrentUpdate:
            pass
    return stored


def get_or_set(mapping: PersistentDict[str, int], number: int, keys: int) -> list[int]:
    """The keys that this process has computed."""
    computed = []

    def compute(key: int) -> int:
        computed.append(key)
        time.sleep(0.002)
        return key

    for key in range(keys):
        assert mapping.get_or_set(str(key), lambda key=key: compute(key)) == key
    return computed


def lock(mapping: PersistentDict[str, int], number: int, times: int) -> None:
    for _ in range(times):
        with mapping.lock("counter"):
            _count_slowly(mapping, random.uniform(0, 0.002))


def _count_slowly(mapping: PersistentDict[str, int], pause_s: float) -> None:
    """Read, wait and write back, which only a lock makes safe."""
    value = mapping.get("n", 0)
    time.sleep(pause_s)
    mapping["n"] = value + 1


def die_with_lock(place: Place, timeout: float) -> None:
    """Take the lock, count, and end without giving it back; for a process of its own."""
    prepare()
    mapping = open_dict(*place)
    mapping.lock("counter", timeout=timeout).acquire()
    _count_slowly(mapping, 0.1)
    os._exit(0)


def shuffled(count: int) -> list[int]:
    return random.sample(range(count), count)


ACTIONS = {
    function.__name__: function
    for function in (
        incr,
        add,
        setdefault,
        pop,
        popitem,
        transform,
        edit,
        get_or_set,
        lock,
    )
}
