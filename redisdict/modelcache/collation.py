"""Whether a column takes only identical texts for equal; the database itself is asked."""

from __future__ import annotations

from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["compares_text_exactly"]

# One row: whether equality of the column's values is that of their bytes. Nondeterministic
# collations have a rule of their own, as other types of text do: citext, char(n) with its padding.
ON_POSTGRESQL = """
SELECT attribute.atttypid IN ('text'::regtype, 'varchar'::regtype)
       AND coalesce(rule.collisdeterministic, true)
FROM pg_catalog.pg_attribute AS attribute
LEFT JOIN pg_catalog.pg_collation AS rule ON rule.oid = attribute.attcollation
WHERE attribute.attrelid = to_regclass(%s) AND attribute.attname = %s
"""

# SQLite doesn't tell a column's collation, but keeps the statement that made the table.
ON_SQLITE = """
SELECT type = 'table' AND sql LIKE 'CREATE TABLE%' AND sql NOT LIKE '%COLLATE%'
FROM (SELECT * FROM sqlite_master UNION ALL SELECT * FROM sqlite_temp_master)
WHERE name = ? COLLATE NOCASE
"""


def compares_text_exactly(field: models.Field[Any, Any], database: str) -> bool | None:
    """Ask the database whether the field's column takes only identical texts for equal.

    Other databases than PostgreSQL and SQLite are believed to take more for equal: the default
    collations of MySQL and MariaDB ignore case, and Oracle has its own rules. So is a table of
    SQLite of which any column has a COLLATE, and a view.

    Returns:
        None when there is no such table yet.

    One query, past Django's own cursor, since tests of the project may count what goes over that.
    """
    connection = connections[database]
    table, column = field.model._meta.db_table, str(field.column)
    if connection.vendor == "postgresql":
        return _ask(connection, ON_POSTGRESQL, [connection.ops.quote_name(table), column])
    if connection.vendor == "sqlite":
        return _ask(connection, ON_SQLITE, [table])
    return False


def _ask(connection: BaseDatabaseWrapper, sql: str, parameters: list[str]) -> bool | None:
    connection.ensure_connection()
    cursor: Any = connection.connection.cursor()
    try:
        cursor.execute(sql, parameters)
        rows = cursor.fetchall()
    finally:
        cursor.close()
    return all(is_exact for (is_exact,) in rows) if rows else None
