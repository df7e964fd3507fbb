"""Reads, and compares what it gets with what was known to be committed before."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable

from tests.stress.modelcache.caches import Cache
from tests.stress.modelcache.ledger import Ledger, in_database, newest_deletion
from tests.stress.modelcache.subjects import ROWS, Subject, at, state_of_row

__all__ = ["NOT_SEEN", "STALE", "Checker", "RolledBack"]

#: How often a check asks the database first, and not only the other processes.
ASKS_DATABASE = 1 / 20

#: How often something takes long, and how long.
SLOW = 1 / 50
SLOW_S = 0.02

#: How often a writer is held up right behind its COMMIT, before the cache can hear of that, and
#: for how long. A cache that believes in the order of the two gives old rows meanwhile.
STALLED = 1 / 25
STALLED_S = 0.03

#: How complaints begin.
STALE = "stale:"
NOT_SEEN = "own change:"


class RolledBack(Exception):
    """The writer has changed its mind."""


class Checker:
    def __init__(
        self, number: int, cache: Cache, ledger: Ledger, report: Callable[[str], None]
    ) -> None:
        self.number = number
        self.cache = cache
        self.ledger = ledger
        self.report = report
        self.random = random.Random()  # of its own seed: forked processes share the other one

    def some_pk(self, subject: Subject) -> int:
        return self.random.randint(1, self.ledger.counts[subject])

    def some_row(self) -> int:
        """One of the rows that nearly all ways to write are about."""
        return self.some_pk(ROWS)

    def dawdle(self) -> None:
        if self.random.random() < SLOW:
            time.sleep(SLOW_S * self.random.random())

    def stall(self) -> None:
        """Be held up behind a COMMIT, as by the scheduler. The others ask the database then."""
        if self.random.random() < STALLED:
            self.ledger.stalls[self.number] += 1
            self.ledger.stalled[self.number] = 1
            time.sleep(STALLED_S * self.random.random())
            self.ledger.stalled[self.number] = 0

    def publish(self, item: int, state: int) -> None:
        self.ledger.publish(self.number, item, state)

    def published(self, *items: int) -> None:
        """What the database has now of these is committed."""
        for item in items:
            self.publish(item, in_database(item))

    def check(self, subject: Subject, pks: set[int]) -> None:
        """Read, and complain of anything older than what was known before."""
        before = self.known(subject, pks)
        asked: Iterable[int] = ()
        if any(self.ledger.stalled):
            asked = before  # somebody has committed, and hasn't told of it
        elif self.random.random() < ASKS_DATABASE:
            asked = [self.random.choice(sorted(before))]
        for item in asked:
            before[item] = max(before[item], in_database(item))
            self.publish(item, before[item])
        self.check_against(before)

    def known(self, subject: Subject, pks: Iterable[int]) -> dict[int, int]:
        return {item: self.ledger.known(item) for item in map(subject.item, pks)}

    def check_against(self, before: dict[int, int]) -> None:
        """Read rows of one subject, whose states were known before."""
        subject = at(next(iter(before)))[0]
        pks = {item: at(item)[1] for item in before}
        found = self.cache.read(subject, list(pks.values()))
        self.ledger.checks[self.number] += len(before)
        for item, known in before.items():
            row = found.get(pks[item])
            if row is not None:
                if state_of_row(row) < known:
                    self.report(
                        f"{STALE} {type(row).__name__} {row.pk} in state {state_of_row(row)},"
                        f" known was {known}, the database has {in_database(item)}"
                    )
            elif known % 2 == 0 and newest_deletion(item) < known:
                self.report(f"{STALE} no {subject.name} {pks[item]}, known was state {known}")

    def see_own_change(self, pk: int, version: int) -> None:
        """Complain when the cache doesn't give the row as the transaction has made it."""
        row = self.cache.read(ROWS, [pk]).get(pk)
        if row is None or row.version != version:
            self.report(f"{NOT_SEEN} row {pk} in version {version}, got {row}")
