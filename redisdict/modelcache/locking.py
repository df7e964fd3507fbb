"""Locks in the database that keep a set of rows as it is until the transaction is over."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet

__all__ = ["lock_row", "lock_rows"]


def lock_rows(rows: QuerySet[Any]) -> QuerySet[Any]:
    """The same rows, locked when they are read. Inside a transaction."""
    connection = connections[rows.db]
    if not connection.features.has_select_for_update:
        _take_write_lock(rows)
        return rows
    of = ("self",) if connection.features.has_select_for_update_of else ()
    return rows.select_for_update(of=of)


def lock_row(instance: Model, database: str) -> None:
    """Lock the row of an instance, so that no foreign key can begin to point at it."""
    rows = type(instance)._base_manager.using(database).filter(pk=instance.pk)
    list(lock_rows(rows).values_list("pk"))


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
