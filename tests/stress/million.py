"""A dict of a million items: what each operation costs in memory, and in the server's patience.

    python -m tests.stress.million URL hash|relocated|keys ITEMS

Prints a JSON object a line for each operation: its name, the bytes by which this process grew while
it ran, the milliseconds that the server computed in the longest round trip, and the commands that
took it longer than `SLOW_MS`. It runs in a process of its own, for in an older one there may be
room that was given back before. Only Linux tells the growth, and what a thread computes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import django
from redis.exceptions import ResponseError

from redisdict.wire.requests import Operation

SLOW_MS = 20

#: An operation is tried again while it has slow commands: one that is slow by itself stays so.
ATTEMPTS = 3

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
    """How long the server's thread computes in a round trip.

    The server's log goes by the clock on the wall, so on a busy machine a command may stand in it
    that only waited for the processor. A command can't compute longer than the whole round trip
    does: where none takes `SLOW_MS` of the processor, no command has held the server up.
    """

    def __init__(self, server_pid: int) -> None:
        self._file = Path(f"/proc/{server_pid}/task/{server_pid}/schedstat")
        self.begin()

    def begin(self) -> None:
        self.longest_ms = 0.0
        self._last_ms = self._computed_ms()

    def end_of_trip(self) -> None:
        """Called before the next one, for what a thread computes is known once it has stopped."""
        now_ms = self._computed_ms()
        self.longest_ms = max(self.longest_ms, now_ms - self._last_ms)
        self._last_ms = now_ms

    def over(self, mapping: Any) -> Any:
        """Have a dict's operations watched, in both colours."""
        run, arun = mapping._run, mapping._arun
        mapping._run = lambda operation: run(self._watched(operation))
        mapping._arun = lambda operation: arun(self._watched(operation))
        return mapping

    def _watched(self, operation: Operation[Any]) -> Operation[Any]:
        try:
            request = next(operation)
            while True:
                self.end_of_trip()
                try:
                    answer = yield request
                except ResponseError as error:
                    request = operation.throw(error)
                else:
                    request = operation.send(answer)
        except StopIteration as stop:
            return stop.value

    def _computed_ms(self) -> float:
        return int(self._file.read_text().split()[0]) / 1e6


class Measured:
    """Runs operations and prints what they took."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.watch = Watch(client.info("server")["process_id"])
        client.config_set("slowlog-log-slower-than", SLOW_MS * 1000)
        client.config_set("slowlog-max-len", 10_000)

    def run(self, name: str, operation: Callable[[], Any], expected: Any = None) -> None:
        for _ in range(ATTEMPTS):
            self._client.slowlog_reset()
            self.watch.begin()
            before = memory_bytes("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # begin the peak anew
            result = operation()
            grown = memory_bytes("VmHWM") - before
            if expected is not None and result != expected:
                raise AssertionError(f"{name} gave {result!r}, not {expected!r}")
            time.sleep(0.01)
            self.watch.end_of_trip()
            slow = self._slow_commands()
            if not slow:
                break
        told = {"operation": name, "grown_bytes": grown, "slow": slow}
        print(json.dumps({**told, "longest_ms": round(self.watch.longest_ms, 3)}), flush=True)

    def _slow_commands(self) -> list[str]:
        if self.watch.longest_ms < SLOW_MS:
            return []
        return [
            f"{entry['command'].split()[0].decode()} {entry['duration'] / 1000:.1f} ms"
            for entry in self._client.slowlog_get(10_000)
        ]


def memory_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(field)


def main(url: str, form: str, count: int) -> None:
    django.setup()
    from redisdict import PersistentDict
    from redisdict.conf import parse_alias
    from redisdict.connections.backend import Backend

    backend = Backend(parse_alias("million", {"LOCATION": url, "KEY_PREFIX": "million"}))
    timeout = 3600 if form == "relocated" else None

    measured = Measured(backend.client())

    def make(name: str) -> PersistentDict[str, str]:
        mapping: PersistentDict[str, str] = PersistentDict(
            name, backend, hset_enabled=form != "keys"
        )
        watched: PersistentDict[str, str] = measured.watch.over(mapping)
        return watched

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
