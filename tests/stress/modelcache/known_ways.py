"""Ways to write that Django, or what a cache asks its users to do, tells caches of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import F

from tests.stress.modelcache.checker import Checker, RolledBack
from tests.stress.modelcache.ledger import newest_deletion
from tests.stress.modelcache.models import Deletion, Row, code_of
from tests.stress.modelcache.subjects import ROWS, state_of

__all__ = ["KNOWN_WAYS", "KnownWays"]

KNOWN_WAYS = (
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


class KnownWays(Checker):
    def save(self) -> None:
        row = Row.objects.filter(pk=self.some_row()).first()
        if row is not None:
            pk = row.pk
            row.version = F("version") + 1
            row.save(update_fields=["version"])
            self.published(pk)

    def save_in_transaction(self) -> None:
        with transaction.atomic():
            row = Row.objects.select_for_update().filter(pk=self.some_row()).first()
            if row is None:
                return
            row.version += 1
            row.save()
        self.publish(row.pk, state_of(row.version))

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
            self.publish(pk, state_of(row.version))

    def bulk_update(self) -> None:
        pks = sorted({self.some_row() for _ in range(3)})
        with transaction.atomic():
            rows = list(Row.objects.select_for_update().filter(pk__in=pks).order_by("pk"))
            for row in rows:
                row.version += 1
            Row.objects.bulk_update(rows, ["version"])
            self.cache.changed([row.pk for row in rows])
        for row in rows:
            self.publish(row.pk, state_of(row.version))

    def delete(self) -> None:
        self.delete_by(lambda row: row.delete())

    def delete_by_query(self) -> None:
        self.delete_by(lambda row: Row.objects.filter(pk=row.pk).delete())

    def delete_by(self, delete: Callable[[Row], Any]) -> None:
        pk = self.some_row()
        with transaction.atomic():
            row = Row.objects.select_for_update().filter(pk=pk).first()
            if row is None:
                return
            version = row.version + 1
            delete(row)
            Deletion.objects.create(row=pk, version=version)
        self.publish(pk, state_of(version, is_deleted=True))

    def make_again(self) -> None:
        self.make_again_by(lambda row: row.save(force_insert=True))

    def make_again_by(self, make: Callable[[Row], Any]) -> None:
        """Rows that are missing come back: there have to be some to read."""
        present = set(Row.objects.values_list("pk", flat=True))
        for pk in range(1, self.ledger.counts[ROWS] + 1):
            if pk not in present and (version := self.version_after_deletion(pk)):
                make(Row(pk=pk, code=code_of(pk), version=version))
                self.publish(pk, state_of(version))

    def version_after_deletion(self, item: int) -> int | None:
        """The version to make a deleted row in; None when somebody else makes it."""
        deleted = newest_deletion(item)
        if not deleted:
            return None
        version = deleted // 2
        ended = Deletion.objects.filter(row=item, version=version, is_undone=False)
        # If not: somebody else makes it, or has made it and it was deleted again.
        return version + 1 if ended.update(is_undone=True) else None

    def nested(self) -> None:
        one, other, third = (self.some_row() for _ in range(3))
        one, other = sorted([one, other])
        if one == other:
            return
        # What a transaction sees may be as old as its beginning.
        before = self.known(ROWS, [third])
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
            if third != one:
                self.check_against(before)
            if self.random.random() < 0.3:
                raise RolledBack
        self.publish(one, state_of(first.version))

    def read_own_change(self) -> None:
        pk = self.some_row()
        with transaction.atomic():
            row = Row.objects.select_for_update().filter(pk=pk).first()
            if row is None:
                return
            row.version += 1
            row.save()
            self.see_own_change(pk, row.version)
        self.publish(pk, state_of(row.version))
