"""Managers that tell the cache of changes for which Django sends no signals."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from django.db import connections, models, transaction

from redisdict.modelcache import relations
from redisdict.modelcache.announcing import make_behind_barriers
from redisdict.modelcache.choosing import changes_pk, lockable, named_pks
from redisdict.modelcache.locking import lock_rows
from redisdict.modelcache.signals import note_rows, rows_of
from redisdict.modelcache.tables import CachedModel
from redisdict.modelcache.transactions import MOST_ROWS, is_in_transaction, note_changes

__all__ = ["CachedManager", "CachedQuerySet"]

M = TypeVar("M", bound=models.Model)


class CachedQuerySet(models.QuerySet[M]):
    """A queryset whose `update()`, `bulk_update()` and `bulk_create()` the cache learns of.

    `delete()` needs no help: it sends signals. A model without a `ModelDict` pays nothing.
    """

    def update(self, **kwargs: Any) -> int:
        """As Django's.

        Unless the filter names primary keys, one query more finds the rows and locks them: those
        and no others are updated. Of more than 10,000 rows, or when primary keys are changed, all
        rows of the table count as changed.
        """
        cached = relations.affected_by(self.model)
        if not cached or self.query.is_sliced or self.query.combinator:
            return super().update(**kwargs)
        self._for_write = True
        if changes_pk(self.model, kwargs):
            with transaction.atomic(using=self.db, savepoint=False):
                self._note_all_rows(cached, self.db)
                return super().update(**kwargs)
        named = named_pks(self)
        if named is None or len(named) > MOST_ROWS:
            return self._update_locked(cached, kwargs)
        if is_in_transaction(connections[self.db]):
            note_rows(self.model, named, self.db)
            return super().update(**kwargs)
        update = super().update
        return make_behind_barriers(rows_of(self.model, named, self.db), lambda: update(**kwargs))

    update.alters_data = True  # type: ignore[attr-defined]  # Django's mark: templates don't call it

    def bulk_create(
        self,
        objs: Iterable[M],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[M]:
        """As Django's. Where that can't tell which rows it has updated, all count as changed."""
        cached = relations.affected_by(self.model)
        options = (batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields)
        if not cached:
            return super().bulk_create(objs, *options)
        self._for_write = True
        database = self.db
        objs = list(objs)
        # A conflict in another field than the primary key updates a row of another primary key.
        has_guesses = update_conflicts and any(one.pk is not None for one in objs)
        if unique_fields is not None and {*unique_fields} <= {"pk", self.model._meta.pk.name}:
            has_guesses = False
        with transaction.atomic(using=database, savepoint=False):
            created = super().bulk_create(objs, *options)
            pks = [one.pk for one in created]
            if has_guesses or None in pks:
                self._note_all_rows(cached, database)
            else:
                note_rows(self.model, pks, database)
        return created

    bulk_create.alters_data = True  # type: ignore[attr-defined]  # as above

    def _update_locked(self, cached: Sequence[CachedModel], kwargs: dict[str, Any]) -> int:
        database = self.db
        with transaction.atomic(using=database, savepoint=False):
            rows = lockable(self.using(database))
            pks = lock_rows(rows, MOST_ROWS + 1)
            if len(pks) > MOST_ROWS:
                self._note_all_rows(cached, database)
                return super().update(**kwargs)
            note_rows(self.model, pks, database)
            return super(CachedQuerySet, self.filter(pk__in=pks)).update(**kwargs)

    def _note_all_rows(self, cached: Sequence[CachedModel], database: str) -> None:
        for table in (one.table(database) for one in cached):
            note_changes(table, [table.cells.table])


class CachedManager(models.Manager.from_queryset(CachedQuerySet)[M]):  # type: ignore[misc]  # made at run time
    """The manager of `CachedQuerySet`.

    Also name it in `Meta.base_manager_name`: `author.books.add(book)` uses the base manager.
    """
