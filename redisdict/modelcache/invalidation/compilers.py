"""Invalidate the rows that the ORM changes, by its queries.

Whichever manager, queryset, `save()`, `delete()` or related manager makes a change, Django builds a
query of it and asks the connection for the compiler that executes it. Here that compiler announces
the rows before it executes the query. So models need no preparation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import Model
from django.db.models.sql.compiler import (
    SQLCompiler,
    SQLDeleteCompiler,
    SQLInsertCompiler,
    SQLUpdateCompiler,
)
from django.db.models.sql.constants import MULTI

from redisdict.modelcache.cached_models import Rows
from redisdict.modelcache.connection_state import is_in_transaction
from redisdict.modelcache.invalidation.cursors import WATCH
from redisdict.modelcache.invalidation.interception import Watch
from redisdict.modelcache.invalidation.invalidate import remove
from redisdict.modelcache.invalidation.listed_writes import delete_listed, update_listed
from redisdict.modelcache.invalidation.query_analysis import (
    changes_keys,
    lock_rows,
    lockable,
    named_pks,
)
from redisdict.modelcache.invalidation.reads import executing
from redisdict.modelcache.invalidation.relations import (
    affected_by,
    cached_by_table,
    dependents_of,
    is_known,
)
from redisdict.modelcache.invalidation.statements import table_of
from redisdict.modelcache.invalidation.transactions import MOST_ROWS, note_changes
from redisdict.modelcache.invalidation.writes import Run, Write


@functools.cache
def watched_compiler(kind: type[SQLCompiler]) -> type[SQLCompiler]:
    """Make the compiler class that announces the changes and reads of compilers of this class."""
    for base, tell in (
        (SQLInsertCompiler, _insert),
        (SQLUpdateCompiler, _update),
        (SQLDeleteCompiler, _delete),
    ):
        if issubclass(kind, base):
            telling: type[SQLCompiler] = _telling(kind, tell)
            return telling
    reading: type[SQLCompiler] = _reading(kind)
    return reading


def _reading(kind: Any) -> Any:
    class Reading(kind):  # type: ignore[misc]  # made at run time
        def execute_sql(
            self, result_type: Any = MULTI, chunked_fetch: bool = False, *args: Any, **kwargs: Any
        ) -> Any:
            execute = super().execute_sql
            through = executing.get()
            if through is None or chunked_fetch:
                return execute(result_type, chunked_fetch, *args, **kwargs)
            return through(
                self, lambda: execute(result_type, chunked_fetch, *args, **kwargs), result_type
            )

    return _named_as(Reading, kind)


def _telling(kind: Any, tell: Callable[[Write, Run], Any]) -> Any:
    class Telling(kind):  # type: ignore[misc]  # made at run time
        def execute_sql(self, *args: Any, **kwargs: Any) -> Any:
            execute = super().execute_sql
            return self._tell(lambda: execute(*args, **kwargs))

        def execute_returning_sql(self, *args: Any, **kwargs: Any) -> Any:
            """Django 6.1's way to update."""
            execute = super().execute_returning_sql
            return self._tell(lambda: execute(*args, **kwargs))

        def as_sql(self, *args: Any, **kwargs: Any) -> Any:
            made = super().as_sql(*args, **kwargs)
            returning = self.__dict__.get("returning_keys")
            if returning is None:
                return made
            sql, params = made
            return sql and f"{sql} {returning}", params

        def _tell(self, run: Run) -> Any:
            watch: Watch | None = self.connection.__dict__.get(WATCH)
            if watch is None or self.__dict__.get("_is_telling") or not cached_by_table():
                return run()
            self._is_telling = True
            try:
                return tell(Write(self, watch), run)
            finally:
                self._is_telling = False

    return _named_as(Telling, kind)


def _named_as(made: Any, kind: Any) -> Any:
    made.__name__, made.__qualname__ = kind.__name__, kind.__qualname__
    made.__module__ = kind.__module__
    return made


def _insert(write: Write, run: Run) -> Any:
    with write.telling():
        if not write.is_cached:
            return run()
        if write.is_whole:
            return write.change(write.whole_table(), run)
        query = write.query
        write.listed = [one.of_inserted(query) for one in write.lists]
        pks = [_pk_of(write.model, instance) for instance in query.objs]
        if query.on_conflict is not None and query.on_conflict.name == "UPDATE":
            fields = {getattr(field, "name", field) for field in query.unique_fields}
            key = {"pk", write.model._meta.pk.name, write.model._meta.pk.attname}
            if not fields or not fields <= key or None in pks:
                # A conflict in another field updates a row of another primary key. On MySQL it can
                # be in any.
                return write.change(write.whole_table(), run)
        if None not in pks:
            return write.change(write.rows(pks), run)
        believes_absence = any(cached.believes_absence for cached in affected_by(write.model))
        if believes_absence or is_in_transaction(write.connection):
            # Only a transaction lets the new primary keys be known before the rows are visible.
            with write.transaction():
                made = write.change((), run)
                note_changes(write.connection, _made_rows(write, pks, made))
                return made
        made = write.change((), run)
        remove(write.rows(_made_pks(write, pks, made)))
        return made


def _made_rows(write: Write, pks: Sequence[Any], made: Any) -> list[Rows]:
    """Return the rows of an insertion, each of which readers may have taken for absent."""
    known = _made_pks(write, pks, made)
    is_known = len(known) >= len(pks)
    if is_known or not any(cached.believes_absence for cached in affected_by(write.model)):
        return write.rows(known)
    return write.whole_table()  # MySQL doesn't return the primary keys of several rows


def _made_pks(write: Write, pks: Sequence[Any], made: Any) -> list[Any]:
    """The primary keys of inserted rows: those that were given, and those that came back."""
    found = [pk for pk in pks if pk is not None]
    returned = list(write.compiler.returning_fields or ())
    if made and write.model._meta.pk in returned:
        place = returned.index(write.model._meta.pk)
        found += [row[place] for row in made if len(row) > place]
    return found


def _pk_of(model: type[Model], instance: Any) -> Any:
    """The primary key that a row of `model` made of this instance has; None when not yet known."""
    key = getattr(instance, model._meta.pk.attname, None)
    return key if is_known(key) else None


def _update(write: Write, run: Run) -> Any:
    fields = [field for field, _, _ in write.query.values]
    with write.telling(changes_keys=changes_keys(fields)):
        if not write.is_cached or not fields:
            return run()
        if write.is_whole:
            return write.change(write.whole_table(), run)
        key = write.model._meta.pk_fields
        if any(field.primary_key or field in key for field in fields):
            return write.change(write.whole_table(), run)
        lists = write.lists
        touched = [one for one in lists if one.are_touched(fields)]
        write.spared = {id(one.cached) for one in lists if one not in touched}
        if touched:
            return update_listed(write, run, touched)
        return _change_chosen(write, run, write.rows)


def _delete(write: Write, run: Run) -> Any:
    dependents = dependents_of(write.model)
    tables = [write.table, *(table_of(cached.model) for cached, _ in dependents)]
    with write.watch.telling(tables):
        if not write.is_cached and not dependents:
            return run()
        lists = write.lists
        if lists and not dependents:
            return delete_listed(write, run, lists)
        write.listed = [one.all for one in lists]
        if write.is_whole and all(cached.is_whole for cached, _ in dependents):
            return write.change(write.whole_table([cached for cached, _ in dependents]), run)
        if dependents:
            # The rows that point at them must be known, and no more may come.
            with write.transaction():
                return _change_chosen(
                    write,
                    run,
                    lambda pks: write.rows(pks) + _dependent_rows(write, pks),
                    must_know_before=True,
                )
        return _change_chosen(write, run, write.rows)


def _dependent_rows(write: Write, pks: Sequence[Any]) -> list[Rows]:
    """The rows that the database changes when these are deleted."""
    alias = write.connection.alias
    of_model = write.model._base_manager.using(alias).filter(pk__in=pks)
    with write.transaction():
        lock_rows(of_model)
    found: list[Rows] = []
    for cached, lookup in dependents_of(write.model):
        table = cached.table_of(write.connection)
        if cached.is_whole or cached.members is not None:
            found.append(table.all_rows)
            continue
        rows = cached.model._base_manager.using(alias).filter(**{f"{lookup}__in": of_model})
        dependents = list(rows.values_list("pk", flat=True)[: MOST_ROWS + 1])
        is_whole = len(dependents) > MOST_ROWS
        found.append((table, table.store.table_keys if is_whole else table.keys(dependents)))
    return found


def _change_chosen(
    write: Write,
    run: Run,
    rows_of: Callable[[Sequence[Any]], list[Rows]],
    *,
    must_know_before: bool = False,
) -> Any:
    """Run an update or deletion of the rows that its filter chooses.

    When the filter names primary keys, those are announced. Otherwise the statement itself returns
    them, in a transaction; where it can't, a query finds the rows and locks them, so that exactly
    those are changed. With more than 10,000 rows the whole table counts as changed.
    """
    pks = named_pks(write.query)
    if pks is not None and len(pks) <= MOST_ROWS:
        return write.change(rows_of(pks), run)
    if write.can_return_keys and not must_know_before:
        with write.transaction():
            returned, result = write.run_returning(run)
            pks = [pk for pk, _ in returned]
            rows = write.whole_table() if len(pks) > MOST_ROWS else rows_of(pks)
            return write.change(rows, lambda: result)
    if not write.can_lock or write.query.is_sliced:
        return write.change(write.whole_table(), run)
    with write.transaction():
        pks = lock_rows(lockable(write.chosen()), MOST_ROWS + 1)
        if len(pks) > MOST_ROWS:
            return write.change(write.whole_table(), run)
        write.query.add_filter("pk__in", pks)
        return write.change(rows_of(pks), run)
