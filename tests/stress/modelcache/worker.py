"""One of the processes: reads, checks what it gets, writes in every way there is."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, connection, connections, transaction
from django.db.models import F

from tests.stress.modelcache.caches import Cache
from tests.stress.modelcache.ledger import Ledger, in_database, newest_deletion, state_of
from tests.stress.modelcache.models import Deletion, Row, code_of

#: How often a writer kills itself right before or right after its commit.
KILLED_AT_COMMIT = 1 / 50

#: How often a query on the rows takes long, and how long.
SLOW_QUERIES = 1 / 50
SLOW_S = 0.02

#: How often a check asks the database first, and not only the other processes.
ASKS_DATABASE = 1 / 20

#: How many of the reads are of several rows, and of how many at most.
READS_OF_MANY = 1 / 3
MANY = 6

#: How complaints begin.
STALE = "stale:"
NOT_SEEN = "own change:"


#: The methods that write.
WAYS = (
    "save",
    "save_in_transaction",
    "update",
    "update_in_transaction",
    "bulk_update",
    "delete",
    "delete_by_query",
    "make_again",
    "nested",
    "read_own_change",
)


class RolledBack(Exception):
    """The writer has changed its mind."""


class Worker:
    def __init__(
        self,
        number: int,
        cache: Cache,
        ledger: Ledger,
        report: Callable[[str], None],
        writes: float,
    ) -> None:
        self.number = number
        self.cache = cache
        self.ledger = ledger
        self.report = report
        self.share_of_writes = writes
        self.random = random.Random()  # of its own seed: forked processes share the other one

    def run(self, until: float) -> None:
        self._slow_down_some_queries()
        self._die_at_some_commits()
        while time.time() < until:
            if self.random.random() < self.share_of_writes:
                self.write()
            elif self.random.random() < READS_OF_MANY:
                self.check({self.some_row() for _ in range(self.random.randint(2, MANY))})
            else:
                self.check({self.some_row()})

    def write(self) -> None:
        way = self.random.randrange(len(WAYS))
        try:
            getattr(self, WAYS[way])()
            self.ledger.done[self.number][way] += 1
        except (DatabaseError, RolledBack):  # deadlocks, conflicts, locked: as users have them
            self.ledger.undone[self.number][way] += 1

    def check(self, pks: set[int]) -> None:
        """Read, and complain of anything older than what was known before."""
        before = {pk: self.ledger.known(pk) for pk in pks}
        if self.random.random() < ASKS_DATABASE:
            pk = self.random.choice(sorted(pks))
            before[pk] = max(before[pk], in_database(pk))
            self.ledger.publish(self.number, pk, before[pk])
        self.check_against(before)

    def check_against(self, before: dict[int, int]) -> None:
        """The same, of rows with the states that were known before."""
        if len(before) == 1:
            [pk] = before
            row = self.cache.get(pk)
            found = {} if row is None else {pk: row}
        else:
            found = self.cache.get_many(list(before))
        self.ledger.checks[self.number] += len(before)
        for pk, known in before.items():
            row = found.get(pk)
            if row is not None:
                if state_of(row.version) < known:
                    self.report(
                        f"{STALE} row {pk} in version {row.version}, known was {known / 2},"
                        f" the database has {in_database(pk) / 2}"
                    )
            elif known % 2 == 0 and newest_deletion(pk) < known:
                self.report(f"{STALE} no row {pk}, known was version {known / 2}")

    def some_row(self) -> int:
        return self.random.randint(1, self.ledger.rows)

    def published(self, pk: int) -> None:
        """What the database has now is committed."""
        self.ledger.publish(self.number, pk, in_database(pk))

    def save(self) -> None:
        row = Row.objects.filter(pk=self.some_row()).first()
        if row is not None:
            pk = row.pk
            row.version = F("version") + 1  # type: ignore[assignment]  # an expression
            row.save(update_fields=["version"])
            self.published(pk)

    def save_in_transaction(self) -> None:
        with transaction.atomic():
            row = Row.objects.select_for_update().filter(pk=self.some_row()).first()
            if row is None:
                return
            row.version += 1
            row.save()
        self.ledger.publish(self.number, row.pk, state_of(row.version))

    def update(self) -> None:
        pk = self.some_row()
        if Row.objects.filter(pk=pk).update(version=F("version") + 1):
            self.cache.changed([pk])
            self.published(pk)

    def update_in_transaction(self) -> None:
        pk = self.some_row()
        with transaction.atomic():
            Row.objects.filter(pk=pk).update(version=F("version") + 1)
            self.cache.changed([pk])
            row = Row.objects.filter(pk=pk).first()
            if self.random.random() < 0.2:
                raise RolledBack
        if row is not None:
            self.ledger.publish(self.number, pk, state_of(row.version))

    def bulk_update(self) -> None:
        pks = sorted({self.some_row() for _ in range(3)})
        with transaction.atomic():
            rows = list(Row.objects.select_for_update().filter(pk__in=pks).order_by("pk"))
            for row in rows:
                row.version += 1
            Row.objects.bulk_update(rows, ["version"])
            self.cache.changed([row.pk for row in rows])
        for row in rows:
            self.ledger.publish(self.number, row.pk, state_of(row.version))

    def delete(self) -> None:
        self._delete(lambda row: row.delete())

    def delete_by_query(self) -> None:
        self._delete(lambda row: Row.objects.filter(pk=row.pk).delete())

    def _delete(self, delete: Callable[[Row], Any]) -> None:
        pk = self.some_row()
        with transaction.atomic():
            row = Row.objects.select_for_update().filter(pk=pk).first()
            if row is None:
                return
            version = row.version + 1
            delete(row)
            Deletion.objects.create(row=pk, version=version)
        self.ledger.publish(self.number, pk, state_of(version, is_deleted=True))

    def make_again(self) -> None:
        """Rows that are missing come back: there have to be some to read."""
        present = set(Row.objects.values_list("pk", flat=True))
        for pk in range(1, self.ledger.rows + 1):
            if pk not in present and (deleted := newest_deletion(pk)):
                version = deleted // 2 + 1
                ended = Deletion.objects.filter(row=pk, version=version - 1, is_undone=False)
                if not ended.update(is_undone=True):
                    continue  # somebody else makes it, or has made it and it was deleted again
                Row(pk=pk, code=code_of(pk), version=version).save(force_insert=True)
                self.ledger.publish(self.number, pk, state_of(version))

    def nested(self) -> None:
        one, other, third = (self.some_row() for _ in range(3))
        one, other = sorted([one, other])
        if one == other:
            return
        # What a transaction sees may be as old as its beginning.
        before = self.ledger.known(third)
        with transaction.atomic():
            first = Row.objects.select_for_update().filter(pk=one).first()
            second = Row.objects.select_for_update().filter(pk=other).first()
            if first is None or second is None:
                return
            first.version += 1
            first.save()
            try:
                with transaction.atomic():
                    second.version += 1
                    second.save()
                    raise RolledBack
            except RolledBack:
                pass
            self.check_against({third: before})
            if self.random.random() < 0.3:
                raise RolledBack
        self.ledger.publish(self.number, one, state_of(first.version))

    def read_own_change(self) -> None:
        pk = self.some_row()
        with transaction.atomic():
            row = Row.objects.select_for_update().filter(pk=pk).first()
            if row is None:
                return
            row.version += 1
            row.save()
            again = self.cache.get(pk)
            if again is None or again.version != row.version:
                self.report(f"{NOT_SEEN} row {pk} in version {row.version}, got {again}")
        self.ledger.publish(self.number, pk, state_of(row.version))

    def _slow_down_some_queries(self) -> None:
        connection.ensure_connection()

        def slow(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            result = execute(sql, *rest)
            if sql.startswith("SELECT") and self.random.random() < SLOW_QUERIES:
                time.sleep(SLOW_S * self.random.random())
            return result

        connection.execute_wrappers.append(slow)

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

        wrapper._commit = commit_or_die
