"""Starts the processes, kills some at random, starts others in their place, sums up."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db import connection

from tests.stress.modelcache.auditor import ALARM, Auditor
from tests.stress.modelcache.caches import CACHES, OurCache
from tests.stress.modelcache.checker import NOT_SEEN, STALE
from tests.stress.modelcache.declared import (
    DeclaredCache,
    DeclaredCacheWithoutBarriers,
    DeclaredCacheWithoutValues,
    EverythingCache,
    EverythingCacheWithoutBarriers,
)
from tests.stress.modelcache.furniture import counts, make_tables
from tests.stress.modelcache.ledger import Ledger, all_in_database
from tests.stress.modelcache.lists import (
    ListsCache,
    ListsCacheWithoutBarriers,
    ListsCacheWithoutValues,
)
from tests.stress.modelcache.subjects import state_of
from tests.stress.modelcache.worker import WAYS, Worker

ALL_CACHES = {
    **CACHES,
    "lists": ListsCache,
    "lists_no_values": ListsCacheWithoutValues,
    "lists_no_barriers": ListsCacheWithoutBarriers,
    "declared": DeclaredCache,
    "declared_no_values": DeclaredCacheWithoutValues,
    "declared_no_barriers": DeclaredCacheWithoutBarriers,
    "everything": EverythingCache,
    "everything_no_barriers": EverythingCacheWithoutBarriers,
}

#: Seconds for which a process is stopped at most, as by a scheduler that has others to run.
STOPPED_S = 0.1

#: How often the figures of the result are compared with those that are enough, in seconds.
COMPARED_EVERY_S = 0.5

#: So many of the complaints are shown.
SHOWN = 5


class Fight:
    def __init__(
        self, arguments: argparse.Namespace, complaints: Path, moved_slots: Sequence[Any] | None
    ) -> None:
        self.arguments = arguments
        self.complaints = complaints
        self.moved_slots = moved_slots
        self.ledger = Ledger(arguments.processes, counts(arguments.rows), WAYS)
        self.cache = ALL_CACHES[arguments.cache]()
        self.context = multiprocessing.get_context("fork")
        # Shared with the processes; without a lock, whose owner may be killed.
        self.until = self.context.RawValue("d", 0.0)

        self.auditors = [Auditor(self._is_over, self._complain) for _ in range(arguments.auditors)]
        #: Processes that are killed at random, and how many have ended so, or by themselves.
        self.killed: set[Any] = set()
        self.kills = self.suicides = self.stops = 0
        #: Processes that are stopped, and until when.
        self.stopped: dict[Any, float] = {}

    def run(self) -> dict[str, Any]:
        self._make_rows()
        self.began = time.time()
        self.until.value = self.began + self.arguments.seconds
        workers = [self._start(number) for number in range(self.arguments.processes)]
        auditing = [self.context.Process(target=one.run) for one in self.auditors]
        for process in auditing:
            process.start()
        next_kill = 0.0
        next_comparison = self.began + COMPARED_EVERY_S
        while not self._is_over():
            time.sleep(0.02)
            if self.arguments.enough and time.time() >= next_comparison:
                if self._has_seen_enough():
                    self.until.value = 0.0
                next_comparison = time.time() + COMPARED_EVERY_S
            if (self.arguments.until_stale and self._stale()) or self._has_checked_enough():
                self.until.value = 0.0
            if time.time() >= next_kill:
                self._kill(random.choice(workers))
                next_kill = time.time() + random.expovariate(1 / self.arguments.kill_every)
            self._stop_some(workers)
            for number, worker in enumerate(workers):
                if not worker.is_alive():
                    self._bury(worker)
                    self._publish_all(number)
                    workers[number] = self._start(number)
        self._wake(workers)
        for worker in workers:
            worker.join()
            self._bury(worker)
        for process in auditing:
            process.join()
        return self._result()

    def _make_rows(self) -> None:
        make_tables(self.ledger.counts)
        for subject, count in self.ledger.counts.items():
            for pk in range(1, count + 1):
                self.ledger.publish(0, subject.item(pk), state_of(1))
        connection.close()  # a forked process must not use it

    def _publish_all(self, number: int) -> None:
        """Publish what the database has, which a process may have committed just before its end.

        It couldn't say so itself. From now on whoever reads an old row complains.
        """
        for item, state in all_in_database().items():
            self.ledger.publish(number, item, state)
        connection.close()  # as above

    def _has_checked_enough(self) -> bool:
        return 0 < self.arguments.checks <= sum(self.ledger.checks)

    def _has_seen_enough(self) -> bool:
        result = self._result()
        connection.close()  # a forked process must not use it
        return all(result[name] > number for name, number in self.arguments.enough)

    def _stop_some(self, workers: Sequence[Any]) -> None:
        """Stop a process now and then, wherever it is: also between a COMMIT and what follows."""
        now = time.time()
        self._wake([worker for worker, until in self.stopped.items() if until < now])
        if random.random() < self.arguments.stops:
            worker = random.choice(workers)
            if worker.is_alive() and worker not in self.stopped:
                os.kill(worker.pid, signal.SIGSTOP)
                self.stops += 1
                self.stopped[worker] = now + STOPPED_S * random.random()

    def _wake(self, workers: Sequence[Any]) -> None:
        for worker in workers:
            if self.stopped.pop(worker, None) is not None and worker.is_alive():
                os.kill(worker.pid, signal.SIGCONT)

    def _start(self, number: int) -> Any:
        self.ledger.stalled[number] = 0
        process = self.context.Process(target=self._work, args=(number,))
        process.start()
        return process

    def _work(self, number: int) -> None:
        worker = Worker(number, self.cache, self.ledger, self._complain, self.arguments.writes)
        worker.run(self._is_over)

    def _is_over(self) -> bool:
        return time.time() >= self.until.value

    def _kill(self, worker: Any) -> None:
        if worker.is_alive():
            os.kill(worker.pid, signal.SIGKILL)
            self.killed.add(worker)

    def _bury(self, worker: Any) -> None:
        worker.join()
        if worker.exitcode == -signal.SIGKILL:
            if worker in self.killed:
                self.kills += 1
            else:
                self.suicides += 1
        elif worker.exitcode:
            self._complain(f"a process ended with {worker.exitcode}")

    def _complain(self, what: str) -> None:
        with self.complaints.open("a") as file:
            file.write(what + "\n")

    def _complaints(self) -> list[str]:
        return self.complaints.read_text().splitlines() if self.complaints.exists() else []

    def _stale(self) -> list[str]:
        return [one for one in self._complaints() if one.startswith(STALE)]

    def _sums(self, counts: Sequence[Sequence[int]]) -> dict[str, int]:
        """Of all processes, by way to write."""
        return dict(zip(WAYS, map(sum, zip(*counts, strict=True)), strict=True))

    def _result(self) -> dict[str, Any]:
        complaints, stale = self._complaints(), self._stale()
        alarms = [one for one in complaints if one.startswith(ALARM)]
        unseen = [one for one in complaints if one.startswith(NOT_SEEN)]
        result: dict[str, Any] = {
            "took_s": time.time() - self.began,
            "checks": sum(self.ledger.checks),
            "writes": self._sums(self.ledger.done),
            "writes_undone": self._sums(self.ledger.undone),
            "killed_at_random": self.kills,
            "killed_at_a_commit": self.suicides,
            "stopped": self.stops,
            "stalled_behind_a_commit": sum(self.ledger.stalls),
            "stale_reads": len(stale),
            "own_changes_not_seen": len(unseen),
            "audited": sum(one.judged.value for one in self.auditors),
            "audited_unjudged": sum(one.unjudged.value for one in self.auditors),
            "audited_closely": sum(one.looked_again.value for one in self.auditors),
            "alarms": len(alarms),
            "other_complaints": len(complaints) - len(stale) - len(unseen) - len(alarms),
            "some_complaints": complaints[:SHOWN],
        }
        if isinstance(self.cache, OurCache):
            result |= self.cache.counts()
        if self.moved_slots is not None:
            result["slots_moved"] = len(self.moved_slots)
        return result
