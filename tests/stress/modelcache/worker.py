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
from tests.stress.modelcache.ledger import Ledger, code_of, in_database, newest_deletion
from tests.stress.modelcache.models import Deletion, Row

#: How often a writer kills itself right before or right after its commit.
KILLED_AT_COMMIT = 1 / 50

#: How often a query on the rows takes long, and how long.
SLOW_QUERIES = 1 / 50
SLOW_S = 0.02

#: How often a check asks the database first, and not only the other processes.
ASKS_DATABASE = 1 / 20


#: How complaints begin.
STALE = "stale:"
NOT_SEEN = "own change:"


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
        self.ways: list[Callable[[], None]] = [
            self.save,
            self.save_in_transaction,
            self.update,
            self.update_in_transaction,
            self.bulk_update,
            self.delete,
            self.make_again,
            self.nested,
            self.read_own_change,
        ]

    def run(self, until: float) -> None:
        self._slow_down_some_queries()
        self._die_at_some_commits()
        while time.time() < until:
            if self.random.random() < self.share_of_writes:
                try:
                    self.random.choice(self.ways)()
                except DatabaseError:  # deadlocks, conflicts, locked: as users have them
                    pass
                except RolledBack:
                    pass
                self.ledger.writes[self.number] += 1
            else:
                self.check(self.some_row())

    def check(self, pk: int) -> None:
        """Read, and complain of anything older than what was known before."""
        before = self.ledger.known(pk)
        if self.random.random() < ASKS_DATABASE:
            before = max(before, in_database(pk))
            self.ledger.publish(self.number, pk, before)
        self.check_against(pk, before)

    def check_against(self, pk: int, before: int) -> None:
        row = self.cache.get(pk)
        self.ledger.checks[self.number] += 1
        if row is not None:
            if code_of(row.version) < before:
                self.report(f"{STALE} row {pk} in version {row.version}, known was {before / 2}")
        elif before % 2 == 0 and newest_deletion(pk) < before:
            self.report(f"{STALE} no row {pk}, known was version {before / 2}")

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
        self.ledger.publish(self.number, row.pk, code_of(row.version))

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
            self.ledger.publish(self.number, pk, code_of(row.version))

    def bulk_update(self) -> None:
        pks = sorted({self.some_row() for _ in range(3)})
        with transaction.atomic():
            rows = list(Row.objects.select_for_update().filter(pk__in=pks).order_by("pk"))
            for row in rows:
                row.version += 1
            Row.objects.bulk_update(rows, ["version"])
            self.cache.changed([row.pk for row in rows])
        for row in rows:
            self.ledger.publish(self.number, row.pk, code_of(row.version))

    def delete(self) -> None:
        pk = self.some_row()
        with transaction.atomic():
            row = Row.objects.select_for_update().filter(pk=pk).first()
            if row is None:
                return
            version = row.version + 1
            row.delete()
            Deletion.objects.create(row=pk, version=version)
        self.ledger.publish(self.number, pk, code_of(version, is_deleted=True))

    def make_again(self) -> None:
        """Rows that are missing come back: there have to be some to read."""
        present = set(Row.objects.values_list("pk", flat=True))
        for pk in range(1, self.ledger.rows + 1):
            if pk not in present and (deleted := newest_deletion(pk)):
                version = deleted // 2 + 1
                Row(pk=pk, version=version).save(force_insert=True)
                self.ledger.publish(self.number, pk, code_of(version))

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
            self.check_against(third, before)
            if self.random.random() < 0.3:
                raise RolledBack
        self.ledger.publish(self.number, one, code_of(first.version))

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
        self.ledger.publish(self.number, pk, code_of(row.version))

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
