"""A dict of a million items: what each operation costs in memory, and in the server's patience.

    python -m tests.stress.million URL hash|relocated|keys ITEMS

Prints a JSON object a line for each operation: its name, the bytes by which this process grew while
it ran, what the server did in the greatest round trip, and the commands it executed. It runs in a
process of its own, for in an older one there may be room that was given back before. Only Linux
tells the growth.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import django
from redis.exceptions import ResponseError

from redisdict.wire.requests import Operation

#: Items asked for at once, whose values the caller then holds.
SLICE = 10_000


class Items(Mapping[str, str]):
    """So many items that take no memory."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __getitem__(self, key: str) -> str:
        return key.rjust(100, "-")

    def __iter__(self) -> Iterator[str]:
        return (f"key:{number:07}" for number in range(self._count))

    def __len__(self) -> int:
        return self._count


class Watch:
    """Count what the server does in each round trip.

    Time says little of a machine that others use: a thread of a virtual CPU that was taken away
    seems to have computed. So the server's own counters are read: the commands it executed, those
    inside scripts as well, and the bytes it took and gave.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.begin()

    def begin(self) -> None:
        self.trips = self.calls = self.bytes = 0
        self.commands: set[str] = set()
        self._last = self._counters()

    def end_of_trip(self) -> None:
        """Count what was done since the last one; nothing was, where an operation is at its end."""
        now, last = self._counters(), self._last
        done = now.calls - last.calls
        self.trips += bool(done)
        self.calls = max(self.calls, done.total())
        self.bytes = max(self.bytes, now.bytes - last.bytes)
        self.commands |= set(done)
        self._last = now

    def told(self) -> dict[str, Any]:
        """Give the round trips, the most calls and bytes of one, and the commands of all."""
        return {
            "trips": self.trips,
            "calls": self.calls,
            "bytes": self.bytes,
            "commands": sorted(self.commands),
        }

    def over(self, driver: type[Any]) -> None:
        """Watch every operation that a driver runs. One of a single command may not come by it."""
        run = driver.run
        driver.run = lambda own, operation: run(own, self._watched(operation))

    def _watched(self, operation: Operation[Any]) -> Operation[Any]:
        try:
            request = next(operation)
            while True:
                try:
                    answer = yield request
                except ResponseError as error:
                    self.end_of_trip()
                    request = operation.throw(error)
                else:
                    self.end_of_trip()
                    request = operation.send(answer)
        except StopIteration as stop:
            return stop.value

    def _counters(self) -> Counters:
        """Read them by one INFO, whose own bytes and calls are left out."""
        told = self._client.info("commandstats", "stats")
        calls = Counter(
            {
                name.removeprefix("cmdstat_").partition("|")[0]: told[name]["calls"]
                for name in told
                if name.startswith("cmdstat_")
            }
        )
        del calls["info"]
        return Counters(calls, told["total_net_input_bytes"] + told["total_net_output_bytes"])


@dataclass(frozen=True)
class Counters:
    calls: Counter[str]
    bytes: int


class Measured:
    """Runs operations and prints what they took."""

    def __init__(self, client: Any) -> None:
        self.watch = Watch(client)

    def run(self, name: str, operation: Callable[[], Any], expected: Any = None) -> None:
        self.watch.begin()
        before = memory_bytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # begin the peak anew
        result = operation()
        grown = memory_bytes("VmHWM") - before
        if expected is not None and result != expected:
            raise AssertionError(f"{name} gave {result!r}, not {expected!r}")
        self.watch.end_of_trip()  # those of one command take a shorter way than others
        told = {"operation": name, "grown_bytes": grown, **self.watch.told()}
        print(json.dumps(told), flush=True)


def memory_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(field)


def main(url: str, form: str, count: int) -> None:
    django.setup()
    from redisdict import PersistentDict
    from redisdict.conf import parse_alias
    from redisdict.connections.async_driver import AsyncPoolDriver
    from redisdict.connections.backend import Backend
    from redisdict.connections.sync_driver import PoolDriver

    backend = Backend(parse_alias("million", {"LOCATION": url, "KEY_PREFIX": "million"}))
    timeout = 3600 if form == "relocated" else None

    measured = Measured(backend.client())

    for driver in (PoolDriver, AsyncPoolDriver):
        measured.watch.over(driver)

    def make(name: str) -> PersistentDict[str, str]:
        return PersistentDict(name, backend, hset_enabled=form != "keys")

    mapping, items = make("d"), Items(count)
    small = Items(1000)
    mapping.set_many(small, timeout=timeout)  # everything is imported and connected
    list(mapping.items())
    mapping.clear()

    measured.run("set_many", lambda: mapping.set_many(items, timeout=timeout))
    measured.run("len", lambda: len(mapping), count)
    measured.run("iterate keys", lambda: sum(1 for _ in mapping), count)
    measured.run("iterate items", lambda: sum(len(v) for _, v in mapping.items()), 100 * count)
    measured.run("keys_matching", lambda: len(list(mapping.keys_matching("*42"))), count // 100)
    measured.run("get_many", lambda: sum(map(len, slices(mapping.get_many, items))), count)
    measured.run("memory_usage", lambda: mapping.memory_usage() > 100 * count, True)
    with tempfile.TemporaryFile() as file:
        measured.run("dump", lambda: (file.seek(0), mapping.dump(file))[1], count)
        other = make("other")
        measured.run("load", lambda: (file.seek(0), other.load(file))[1], count)
    measured.run("clear", other.clear)
    measured.run("clone_to", lambda: mapping.clone_to(other), count)
    measured.run("delete_many", lambda: other.delete_many(islice(items, count // 2)) >= 0, True)
    other.clear()
    measured.run("add one", lambda: mapping.pop("one", None) or mapping.add("one", "1"), True)
    measured.run("expire", lambda: mapping.expire(7200), True)
    measured.run("iterate, async", lambda: asyncio.run(iterate(mapping)), count + 1)
    mapping.clear()
    measured.run("set_many, async", lambda: asyncio.run(set_many(mapping, items)))
    mapping.clear()


def slices(ask: Callable[..., dict[str, str]], keys: Items) -> Iterator[dict[str, str]]:
    iterator = iter(keys)
    while some := list(islice(iterator, SLICE)):
        yield ask(some)


async def iterate(mapping: Any) -> int:
    seen = 0
    async for _ in mapping.aitems():
        seen += 1
    return seen


async def set_many(mapping: Any, items: Items) -> None:
    await mapping.aset_many(items)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
