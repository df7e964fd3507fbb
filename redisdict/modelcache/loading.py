"""Read rows from the database, and decide whether they may be cached for others."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, Case, Model, QuerySet, Value, When
from django.db.models.expressions import RawSQL

from redisdict.mapping.layouts.base import slices
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.connection_state import is_in_transaction, may_read_uncommitted
from redisdict.modelcache.identity import is_on_standby, leads_to
from redisdict.modelcache.keys import KeyForm
from redisdict.modelcache.slots.lease import Loaded

#: Whether this statement sees what others have committed and nothing of its own transaction's:
#: without a transaction id nothing was written, and READ COMMITTED looks anew each time.
IS_COMMITTED_STATE = (
    "pg_current_xact_id_if_assigned() IS NULL"
    " AND current_setting('transaction_isolation') = 'read committed'"
)
MARK = "_redisdict_is_committed_state"


def load_rows(table: CachedTable, pks: Iterable[Any]) -> Loaded[models.Model]:
    """Load the rows with these primary keys, by their keys. One query, or those of `in_bulk()`.

    They come from the model's base manager, as those of a foreign key do. When a primary key may be
    spelled otherwise in the database, that costs what `match()` does.
    """
    asked = {table.key(pk): table.key_form.to_python(pk) for pk in pks}
    rows = whole_rows(table)
    connection = connections[table.database]
    is_marked = table.is_on_postgresql and is_in_transaction(connection)
    if is_marked:
        is_committed = RawSQL(IS_COMMITTED_STATE, (), models.BooleanField())  # noqa: S611  # a constant
        rows = rows.annotate(**{MARK: is_committed})
    found = rows.in_bulk(list(asked.values()))
    marks = [_without_annotations(row, rows).get(MARK) for row in found.values()]
    is_told_to_keep = bool(marks) and all(marks)
    may_be_kept = is_told_to_keep if is_marked else sees_committed_state(connection)
    # A standby may lag behind. And since the table was looked up, the connection may have been
    # made, and lead elsewhere, or its search path may have been set.
    may_be_kept = may_be_kept and not is_on_standby(connection)
    may_be_kept = may_be_kept and leads_to(connection, table.place, table.model)
    by_key = {table.key(row.pk): row for row in found.values()}
    matched = match(asked, by_key, table.key_form, whole_rows(table), "pk")
    return Loaded(matched.rows(), may_be_kept, matched.unsure)


def load_by_field(
    table: CachedTable,
    attname: str,
    form: KeyForm,
    asked: Mapping[bytes, Any],
    key_of: Callable[[Any], bytes | None],
) -> Matched:
    """Load the rows with these values of a field. One query, and that of `match()`.

    Args:
        form: of the field.
        asked: the values, by their keys.
        key_of: the function that gives the key of a row's own value.
    """
    asked = {key: form.to_python(value) for key, value in asked.items()}
    rows = whole_rows(table).filter(**{f"{attname}__in": list(asked.values())})
    found = list(rows)
    for row in found:
        _without_annotations(row, rows)
    by_key = {key: row for row in found if (key := key_of(row)) is not None}
    return match(asked, by_key, form, whole_rows(table), attname)


def may_keep(table: CachedTable) -> bool:
    """Whether a row that is loaded now could be cached; if not, a lease is useless."""
    if table.place.is_standby:
        return False
    # This is asked at every hit, and to find the thread's connection takes a while.
    return table.is_on_postgresql or not is_in_transaction(connections[table.database])


def whole_rows(table: CachedTable) -> models.QuerySet[models.Model]:
    """All rows with the cached columns and nothing else, whatever the manager adds."""
    rows = table.model._base_manager.using(table.database).defer(None)
    rows = rows.select_related(None).prefetch_related(None)
    if hasattr(rows, "fetch_mode"):  # Django 6.1
        rows = rows.fetch_mode(models.FETCH_ONE)
    return rows.defer(*table.cached.exclude) if table.cached.exclude else rows


def _without_annotations(row: models.Model, rows: models.QuerySet[models.Model]) -> dict[str, Any]:
    """Remove from a row what `rows` has added, since a stored row lacks it; return it."""
    added = [*rows.query.annotation_select, *rows.query.extra_select]
    return {name: row.__dict__.pop(name, None) for name in added}


def sees_committed_state(connection: BaseDatabaseWrapper) -> bool:
    """Whether a statement, outside PostgreSQL's transactions, sees all that is committed."""
    if is_in_transaction(connection) or may_read_uncommitted(connection):
        return False
    return connection.vendor != "sqlite" or not _has_open_statement(connection.connection)


def _has_open_statement(connection: Any) -> bool:
    """Return whether SQLite has an unfinished statement, such as that of a queryset's `iterator()`.

    Until it ends, every statement of the connection sees the database as it was when that statement
    began, also in autocommit mode. SQLite reports this when it is asked to replace a collation.
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


#: Values that one query compares: each is a column of its result, and PostgreSQL has 1,664.
CHUNK = 100


@dataclass(frozen=True, slots=True)
class Matched:
    """Rows by the key of the value by which they were asked for.

    Attributes:
        own: rows whose value is spelled exactly so.
        other: rows whose value the database considers equal, but that is spelled differently.
        unsure: the keys of `other`, and of values that alone don't show whether a row has them.
            Nothing may be kept under these.
    """

    own: Mapping[bytes, Model]
    other: Mapping[bytes, Model] = field(default_factory=dict)
    unsure: Sequence[bytes] = ()

    def rows(self) -> dict[bytes, Any]:
        """All rows that were found."""
        return {**self.own, **self.other}


def match(
    asked: Mapping[bytes, Any],
    found: Mapping[bytes, Model],
    form: KeyForm,
    rows: QuerySet[Any],
    attname: str,
) -> Matched:
    """Assign the rows found to the values asked for.

    Nearly always each row has the spelling by which it was asked for. Only where the database may
    take two spellings for equal, it is asked which of the others it means: a query for 100 of them.

    Args:
        asked: the values, by their keys.
        found: the rows that the database gave for them, by the keys of their own spellings.
        rows: a queryset of all rows of the table.
        attname: of the field; "pk" for the primary key.
    """
    own = {key: row for key, row in found.items() if key in asked}
    unsure = [key for key, value in asked.items() if key not in own and not form.is_exact(value)]
    other: dict[bytes, Model] = {}
    if found and unsure:
        by_pk = {row.pk: row for row in found.values()}
        for keys in slices(unsure, CHUNK):
            is_meant = {
                f"_redisdict_{number}": Case(
                    When(**{attname: asked[key]}, then=Value(True)),
                    default=Value(False),
                    output_field=BooleanField(),
                )
                for number, key in enumerate(keys)
            }
            meant_by_any = {f"{attname}__in": [asked[key] for key in keys]}
            chosen = rows.filter(**meant_by_any).annotate(**is_meant)
            for row in chosen.values_list("pk", *is_meant):
                if row[0] in by_pk:
                    meant = zip(keys, row[1:], strict=True)
                    other.update({key: by_pk[row[0]] for key, is_so in meant if is_so})
    return Matched(own, other, unsure)
