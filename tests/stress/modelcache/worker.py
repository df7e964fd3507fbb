"""One of the processes: reads, checks what it gets, writes in every way there is."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, connection, connections

from tests.stress.modelcache.caches import Cache
from tests.stress.modelcache.checker import RolledBack
from tests.stress.modelcache.kin_ways import KIN_WAYS, KinWays
from tests.stress.modelcache.known_ways import KNOWN_WAYS
from tests.stress.modelcache.ledger import Ledger
from tests.stress.modelcache.subjects import ROWS, SUBJECTS
from tests.stress.modelcache.unknown_ways import UNKNOWN_WAYS

__all__ = ["WAYS", "Worker"]

#: How often a writer kills itself right before or right after its commit.
KILLED_AT_COMMIT = 1 / 50

#: The same of what commits by being executed. Rarer: with its barrier stands a whole table.
KILLED_AT_STATEMENT = 1 / 200

#: How many of the checks are of the rows that most ways to write change.
CHECKS_OF_ROWS = 1 / 2

#: How many of the reads are of several rows, and of how many at most.
READS_OF_MANY = 1 / 2
MANY = 12

#: The methods that write.
WAYS = KNOWN_WAYS + UNKNOWN_WAYS + KIN_WAYS


class Worker(KinWays):
    def __init__(
        self,
        number: int,
        cache: Cache,
        ledger: Ledger,
        report: Callable[[str], None],
        writes: float,
    ) -> None:
        super().__init__(number, cache, ledger, report)
        self.share_of_writes = writes
        self.ways = range(len(WAYS) if cache.is_for_all_ways else len(KNOWN_WAYS))

    def run(self, is_over: Callable[[], bool]) -> None:
        self._slow_down_and_die_at_some_statements()
        self._die_at_some_commits()
        while not is_over():
            if self.random.random() < self.share_of_writes:
                self.write()
            else:
                self.check_some()

    def write(self) -> None:
        way = self.random.choice(self.ways)
        try:
            getattr(self, WAYS[way])()
            self.ledger.done[self.number][way] += 1
        except (DatabaseError, RolledBack):  # deadlocks, conflicts, locked: as users have them
            self.ledger.undone[self.number][way] += 1

    def check_some(self) -> None:
        subject = ROWS
        if self.cache.is_for_all_ways and self.random.random() > CHECKS_OF_ROWS:
            subject = self.random.choice(SUBJECTS[1:])
        count = self.random.randint(2, MANY) if self.random.random() < READS_OF_MANY else 1
        self.check(subject, {self.some_pk(subject) for _ in range(count)})

    def _slow_down_and_die_at_some_statements(self) -> None:
        connection.ensure_connection()

        def execute_slowly(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            is_reading = sql.startswith("SELECT")
            is_commit = sql == "COMMIT" or (not is_reading and not connection.in_atomic_block)
            fate = self.random.random() / KILLED_AT_STATEMENT if is_commit else 1
            if fate < 0.5:
                os.kill(os.getpid(), signal.SIGKILL)
            if not is_reading:
                self.dawdle()
            result = execute(sql, *rest)
            if fate < 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if is_commit:
                self.stall()
            self.dawdle()
            return result

        connection.execute_wrappers.append(execute_slowly)

    def _die_at_some_commits(self) -> None:
        wrapper: Any = connections["default"]
        commit = wrapper._commit

        def commit_or_die() -> None:
            fate = self.random.random() / KILLED_AT_COMMIT
            if fate < 0.5:
                os.kill(os.getpid(), signal.SIGKILL)
            commit()
            if fate < 1:
                os.kill(os.getpid(), signal.SIGKILL)
            self.stall()

        wrapper._commit = commit_or_die
