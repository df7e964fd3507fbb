"""Threads and tasks that write without a pause, and remember what the server acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from redisdict import BackendUnavailable, PersistentDict
from redisdict.connections.backend import Backend

__all__ = ["Load", "under_load"]


@dataclass
class Load:
    """What the workers of one run have seen. Each worker counts in an item of its own."""

    backend: Backend
    pause_s: float = 0.002
    acknowledged: dict[str, dict[str, int]] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    ack_times: list[float] = field(default_factory=list)
    errors: list[BackendUnavailable] = field(default_factory=list)
    surprises: list[BaseException] = field(default_factory=list)
    is_over: bool = False

    def mapping(self, worker: str) -> PersistentDict[str, int]:
        """A dict of that worker's own, so that both layouts are under load, and shards."""
        number = int(worker[-1])
        shards = 3 if number >= 2 else None
        return PersistentDict(worker, self.backend, hset_enabled=number % 2 == 0, shards=shards)

    def work(self, worker: str) -> None:
        mapping = self.mapping(worker)
        for number in itertools.count():
            if self.is_over:
                return
            is_counting = False
            try:
                items = self._items(number)
                if len(items) > 1:
                    mapping.set_many(items)
                else:
                    mapping.set(*items.popitem())
                self._acknowledge(worker, self._items(number))
                if mapping.get(f"k{number}") not in (number, None):  # `check()` sees what is lost
                    raise AssertionError(f"{worker}: k{number} has another value")
                is_counting = True
                mapping.incr("n")
                self._count(worker)
            except BackendUnavailable as error:
                self._fail(worker, error, is_counting)
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                self.surprises.append(error)
                return
            time.sleep(self.pause_s)

    async def awork(self, worker: str) -> None:
        mapping = self.mapping(worker)
        for number in itertools.count():
            if self.is_over:
                return
            is_counting = False
            try:
                items = self._items(number)
                if len(items) > 1:
                    await mapping.aset_many(items)
                else:
                    await mapping.aset(*items.popitem())
                self._acknowledge(worker, self._items(number))
                if await mapping.aget(f"k{number}") not in (number, None):
                    raise AssertionError(f"{worker}: k{number} has another value")
                is_counting = True
                await mapping.aincr("n")
                self._count(worker)
            except BackendUnavailable as error:
                self._fail(worker, error, is_counting)
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                self.surprises.append(error)
                return
            await asyncio.sleep(self.pause_s)

    def wait_for_acks_after(self, moment: float, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if len([at for at in self.ack_times[-50:] if at > moment]) >= 20:
                return
            time.sleep(0.05)
        raise AssertionError(f"no writes for {timeout_s} s; the last error: {self.errors[-1:]}")

    def check(self, *, is_durable: bool) -> None:
        """Compare what is on the server with what was acknowledged."""
        assert self.surprises == []
        for worker in self.counted:
            mapping = self.mapping(worker)
            most = self.counted[worker] + self.unknown.get(worker, 0)
            assert mapping.get("n", 0) <= most, f"{worker} counted an incr twice"
            if is_durable:
                assert mapping.get("n", 0) >= self.counted[worker], f"{worker} lost an incr"
            expected = self.acknowledged[worker]
            stored = mapping.get_many(expected)
            assert stored.items() <= expected.items(), f"{worker} has a wrong value"
            if is_durable:
                assert stored == expected, f"{worker} lost acknowledged items"

    @staticmethod
    def _items(number: int) -> dict[str, int]:
        """What is stored in one step: an item, or every other time several."""
        names = "klm" if number % 2 else "k"
        return {f"{name}{number}": number for name in names}

    def _acknowledge(self, worker: str, items: dict[str, int]) -> None:
        self.acknowledged.setdefault(worker, {}).update(items)
        self.ack_times.append(time.monotonic())

    def _count(self, worker: str) -> None:
        self.counted[worker] = self.counted.get(worker, 0) + 1

    def _fail(self, worker: str, error: BackendUnavailable, is_counting: bool) -> None:
        self.errors.append(error)
        if is_counting and error.outcome_unknown:
            self.unknown[worker] = self.unknown.get(worker, 0) + 1


@contextmanager
def under_load(load: Load, *, threads: int = 3, tasks: int = 5) -> Iterator[Load]:
    """Run the workers meanwhile, and end them all; none may be left."""

    async def work_in_tasks() -> None:
        await asyncio.gather(*(load.awork(f"task-{number}") for number in range(tasks)))
        assert len(asyncio.all_tasks()) == 1
        await load.backend.aclose()

    workers = [
        threading.Thread(target=load.work, args=[f"thread-{number}"]) for number in range(threads)
    ]
    workers.append(threading.Thread(target=asyncio.run, args=[work_in_tasks()]))
    for worker in workers:
        worker.start()
    try:
        yield load
    finally:
        load.is_over = True
        for worker in workers:
            worker.join(60)
        assert not any(worker.is_alive() for worker in workers)
