"""How rows are asked of the database, and whether what it gave may be kept for others."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import RawSQL

from redisdict.modelcache.connection_state import is_in_transaction
from redisdict.modelcache.identity import is_on_standby, leads_to
from redisdict.modelcache.keys import KeyForm
from redisdict.modelcache.matching import Matched, match
from redisdict.modelcache.reading import Loaded
from redisdict.modelcache.tables import CachedTable

__all__ = ["load_by_field", "load_rows", "may_keep"]

#: Whether this statement sees what others have committed and nothing of its own transaction's:
#: without a transaction id nothing was written, and READ COMMITTED looks anew each time.
IS_COMMITTED_STATE = (
    "pg_current_xact_id_if_assigned() IS NULL"
    " AND current_setting('transaction_isolation') = 'read committed'"
)
MARK = "_redisdict_is_committed_state"


def load_rows(table: CachedTable, pks: Iterable[Any]) -> Loaded[models.Model]:
    """The rows with these primary keys, by the keys of these. One query, or what `in_bulk()` takes.

    They come from the model's base manager, as those of a foreign key do. When a primary key may be
    spelled otherwise in the database, that costs what `match()` does.
    """
    asked = {table.key(pk): table.key_form.to_python(pk) for pk in pks}
    rows = _whole_rows(table)
    connection = connections[table.database]
    is_marked = table.is_on_postgresql and is_in_transaction(connection)
    if is_marked:
        is_committed = RawSQL(IS_COMMITTED_STATE, (), models.BooleanField())  # noqa: S611  # a constant
        rows = rows.annotate(**{MARK: is_committed})
    found = rows.in_bulk(list(asked.values()))
    marks = [_without_annotations(row, rows).get(MARK) for row in found.values()]
    is_told_to_keep = bool(marks) and all(marks)
    may_be_kept = is_told_to_keep if is_marked else _sees_committed_state(connection)
    may_be_kept = may_be_kept and _comes_from(table, connection)
    by_key = {table.key(row.pk): row for row in found.values()}
    matched = match(asked, by_key, table.key_form, _whole_rows(table), "pk")
    return Loaded(matched.rows(), may_be_kept, matched.unsure)


def load_by_field(
    table: CachedTable,
    attname: str,
    form: KeyForm,
    asked: Mapping[bytes, Any],
    key_of: Callable[[Any], bytes | None],
) -> Matched:
    """The rows that have these values of a field. One query, and what `match()` takes.

    Args:
        form: of the field.
        asked: the values, by their keys.
        key_of: the function that gives the key of a row's own value.
    """
    asked = {key: form.to_python(value) for key, value in asked.items()}
    rows = _whole_rows(table).filter(**{f"{attname}__in": list(asked.values())})
    found = list(rows)
    for row in found:
        _without_annotations(row, rows)
    by_key = {key: row for row in found if (key := key_of(row)) is not None}
    return match(asked, by_key, form, _whole_rows(table), attname)


def may_keep(table: CachedTable) -> bool:
    """Whether a row that is loaded now could be kept; if not, there is no use in a lease."""
    if table.place.is_standby:
        return False
    # This is asked at every hit, and to find the thread's connection takes a while.
    return table.is_on_postgresql or not is_in_transaction(connections[table.database])


def _comes_from(table: CachedTable, connection: BaseDatabaseWrapper) -> bool:
    """Whether what the connection gave is the table's, as it is now.

    A standby may lag behind; and since the table was looked up, the connection may have been made,
    and lead elsewhere, or its search path may have been set.
    """
    if is_on_standby(connection):
        return False
    return leads_to(connection, table.place, table.model)


def _whole_rows(table: CachedTable) -> models.QuerySet[models.Model]:
    """All rows with the columns that are kept, and with nothing else, whatever the manager says."""
    rows = table.model._base_manager.using(table.database).defer(None)
    rows = rows.select_related(None).prefetch_related(None)
    if hasattr(rows, "fetch_mode"):  # Django 6.1
        rows = rows.fetch_mode(models.FETCH_ONE)
    return rows.defer(*table.cached.exclude) if table.cached.exclude else rows


def _without_annotations(row: models.Model, rows: models.QuerySet[models.Model]) -> dict[str, Any]:
    """Take from a row what `rows` has added: a stored row wouldn't have it. What that was."""
    added = [*rows.query.annotation_select, *rows.query.extra_select]
    return {name: row.__dict__.pop(name, None) for name in added}


def _sees_committed_state(connection: BaseDatabaseWrapper) -> bool:
    """Whether a statement, outside PostgreSQL's transactions, sees all that is committed."""
    if is_in_transaction(connection):
        return False
    return connection.vendor != "sqlite" or not _has_open_statement(connection.connection)


def _has_open_statement(connection: Any) -> bool:
    """Whether SQLite is still amid another statement, such as that of a queryset's `iterator()`.

    While it is, every statement of the connection sees the database as it was at the beginning of
    that one, also in autocommit mode. SQLite tells when it is asked to replace a collation.
    """
    if not isinstance(connection, sqlite3.Connection):
        return False
    try:
        # The first time makes one, the second replaces it.
        connection.create_collation(PROBE, _never_collates)
        connection.create_collation(PROBE, _never_collates)
    except sqlite3.OperationalError:
        return True
    return False


#: The name of a collation that no statement uses.
PROBE = "redisdict_probe"


def _never_collates(left: str, right: str) -> int:
    raise NotImplementedError("this collation only exists to be replaced")
