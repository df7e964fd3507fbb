"""Changes that go below Django's cursors, as another program's would."""

from __future__ import annotations

from contextlib import closing

from django.db import connections

__all__ = ["change_unseen"]


def change_unseen(database: str, sql: str) -> None:
    """Execute a statement by the driver's own cursor."""
    connection = connections[database]
    connection.ensure_connection()
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(sql)
