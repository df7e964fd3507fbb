"""Locks in the database that keep a set of rows as it is until the transaction is over."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet

__all__ = ["lock_row", "lock_rows"]


def lock_rows(rows: QuerySet[Any], limit: int | None = None) -> list[Any]:
    """Lock rows, `limit` of them at most; their primary keys. One query, inside a transaction."""
    connection = connections[rows.db]
    if connection.features.has_select_for_update:
        of = ("self",) if connection.features.has_select_for_update_of else ()
        rows = rows.select_for_update(of=of)
    else:
        _take_write_lock(rows)
    # Django can't lock by a composite key, but by its parts.
    parts = getattr(rows.model._meta.pk, "fields", None)
    if parts is None:
        return list(rows.values_list("pk", flat=True)[:limit])
    return list(rows.values_list(*[part.attname for part in parts])[:limit])


def lock_row(instance: Model, database: str) -> None:
    """Lock the row of an instance, so that no foreign key can begin to point at it."""
    lock_rows(type(instance)._base_manager.using(database).filter(pk=instance.pk))


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
