"""Run updates and deletions that remove rows from lists, or add rows to them.

The lists of a row are found under its lock, so both run in a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redisdict.modelcache.connection_state import may_have_ended
from redisdict.modelcache.invalidation.memberships import (
    Lists,
    column_of,
    fields_of,
    rows_of_lists,
    values_now,
)
from redisdict.modelcache.invalidation.query_analysis import (
    lock_values,
    lockable,
    names_only_pks,
)
from redisdict.modelcache.invalidation.transactions import MOST_ROWS, note_changes
from redisdict.modelcache.invalidation.writes import Run, Write


def update_listed(write: Write, run: Run, lists: Sequence[Lists]) -> Any:
    """Run an update that may move rows from one list to another.

    A query more, which locks the rows and finds out where they are; and another one after the
    update, for values that the database computes.
    """
    if not write.can_lock or write.query.is_sliced:
        return write.change(write.whole_table(), run)
    with write.transaction():
        if may_have_ended(write.connection):
            return write.change(write.whole_table(), run)
        fields = fields_of(lists)
        names_all = names_only_pks(write.query)
        attnames = [field.attname for field in fields]
        rows = lockable(write.chosen())
        found = lock_values(rows, attnames, MOST_ROWS + 1, no_key=True)
        if len(found) > MOST_ROWS:
            return write.change(write.whole_table(), run)
        pks = [pk for pk, _ in found]
        if not names_all:
            write.query.add_filter("pk__in", pks)
        set_to = [(field, value) for field, _, value in write.query.values]
        again = []
        for one in lists:
            had = column_of(one, fields, [values for _, values in found])
            told, is_open = one.of_update(had, set_to)
            write.listed = [*write.listed, told]
            if is_open:
                again.append(one)
        result = write.change(write.rows(pks), run)
        if names_all and _count_of(result) != len(pks):
            # A row has come meanwhile, from nobody knows which list.
            note_changes(write.connection, write.whole_table())
        elif again:
            now = values_now(write.model, write.connection.alias, pks, fields)
            note_changes(write.connection, rows_of_lists(again, fields, now))
        return result


def _count_of(result: Any) -> Any:
    """Return how many rows an update has changed: Django 6.1 may ask for values of each."""
    return len(result) if isinstance(result, list | tuple) else result


def delete_listed(write: Write, run: Run, lists: Sequence[Lists]) -> Any:
    """Run a deletion that takes rows from lists: it returns where they were.

    Where it can't, a query locks the rows and finds it out.
    """
    fields = fields_of(lists)
    if not write.can_return_keys and (not write.can_lock or write.query.is_sliced):
        return write.change(write.whole_table(), run)
    with write.transaction():
        if write.can_return_keys:
            found, result = write.run_returning(run, fields)
            run = lambda: result  # noqa: E731  # it has run
        else:
            attnames = [field.attname for field in fields]
            found = lock_values(lockable(write.chosen()), attnames, MOST_ROWS + 1)
            if len(found) <= MOST_ROWS:
                write.query.add_filter("pk__in", [pk for pk, _ in found])
        if len(found) > MOST_ROWS:
            return write.change(write.whole_table(), run)
        write.listed = list(rows_of_lists(lists, fields, [values for _, values in found]))
        return write.change(write.rows([pk for pk, _ in found]), run)
