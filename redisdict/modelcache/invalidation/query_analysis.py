"""Find the rows that a query changes: by its filter, or by locking the rows that it selects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connections
from django.db.models import QuerySet
from django.db.models.expressions import Col
from django.db.models.lookups import Exact, In
from django.db.models.sql import Query
from django.db.models.sql.where import AND


def named_pks(query: Query) -> Sequence[Any] | None:
    """Primary keys that a filter such as `pk=1` or `pk__in=[1, 2]` names: no other row is chosen.

    Other conditions may choose fewer. None when the filter doesn't name any.
    """
    where = query.where
    if where.connector != AND or where.negated:
        return None
    for condition in where.children:
        if not isinstance(condition, Exact | In) or not condition.rhs_is_direct_value():
            continue
        column = condition.lhs
        if not isinstance(column, Col) or column.alias != query.base_table:
            continue
        if column.target is query.get_meta().pk:
            return list(condition.rhs) if isinstance(condition, In) else [condition.rhs]
    return None


def names_only_pks(query: Query) -> bool:
    """Whether a filter names primary keys, and has no other conditions."""
    return len(query.where.children) == 1 and named_pks(query) is not None


def changes_keys(fields: Iterable[Any]) -> bool:
    """Whether foreign keys may refer to one of these fields."""
    return any(
        field.primary_key or field.unique or field.model._meta.total_unique_constraints
        for field in fields
    )


def lockable(rows: QuerySet[Any]) -> QuerySet[Any]:
    """The same rows, by a query that the database can lock them with."""
    query = rows.query
    has_windows = any(
        getattr(each, "contains_over_clause", False) for each in query.annotations.values()
    )
    if query.group_by is None and not query.distinct and not has_windows:
        return rows.order_by()
    chosen: QuerySet[Any] = rows.model._base_manager.using(rows.db)
    return chosen.filter(pk__in=rows.values("pk"))


def lock_rows(rows: QuerySet[Any], limit: int | None = None) -> list[Any]:
    """Lock rows, `limit` of them at most; their primary keys. One query, inside a transaction."""
    return [pk for pk, _ in lock_values(rows, (), limit)]


def lock_values(
    rows: QuerySet[Any], attnames: Sequence[str], limit: int | None = None, *, no_key: bool = False
) -> list[tuple[Any, Sequence[Any]]]:
    """Lock rows as `lock_rows()` does; the primary key of each, and its values of these fields.

    Args:
        no_key: whether their keys stay as they are, so that others may go on pointing at them.
    """
    connection = connections[rows.db]
    features = connection.features
    if features.has_select_for_update:
        of = ("self",) if features.has_select_for_update_of else ()
        no_key = no_key and features.has_select_for_no_key_update
        rows = rows.select_for_update(of=of, no_key=no_key)
    else:
        _take_write_lock(rows)
    # Django can't lock by a composite key, but by its parts.
    parts = [part.attname for part in rows.model._meta.pk_fields]
    found = rows.values_list(*parts, *attnames)[:limit]
    return [(pk_of(row, len(parts)), row[len(parts) :]) for row in found]


def pk_of(row: Sequence[Any], parts: int) -> Any:
    """The primary key whose columns a row begins with."""
    return row[0] if parts == 1 else tuple(row[:parts])


def _take_write_lock(rows: QuerySet[Any]) -> None:
    """SQLite locks the whole database, but not before a transaction writes.

    A transaction that has only read can't write any more once another one has written. So begin
    with a write, of no row.
    """
    connection = connections[rows.db]
    if connection.vendor != "sqlite":
        return
    model = rows.model._meta.concrete_model
    assert model is not None  # only an abstract model has none
    meta = model._meta
    table = connection.ops.quote_name(meta.db_table)
    column = connection.ops.quote_name(meta.local_concrete_fields[0].column)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = {column} WHERE 1 = 0")  # noqa: S608  # names of ours
