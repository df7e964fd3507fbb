"""Tell whether a database connection is in a transaction, whoever began it."""

from __future__ import annotations

import sqlite3

from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["is_in_transaction"]


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether what the connection does now becomes visible to others only later."""
    raw = connection.connection
    if isinstance(raw, sqlite3.Connection) and raw.isolation_level is None:
        # Also when a COMMIT that was sent as a statement has ended that of an atomic block.
        return raw.in_transaction
    if connection.in_atomic_block:
        return True
    if raw is None:  # its `autocommit` means nothing yet
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.autocommit or _was_begun_by_statement(connection)


def _was_begun_by_statement(connection: BaseDatabaseWrapper) -> bool:
    """Whether a BEGIN that was sent as a statement began a transaction, unknown to Django."""
    if connection.vendor != "postgresql":
        return False
    raw = connection.connection
    libpq = getattr(raw, "pgconn", None)
    if libpq is not None:
        return bool(libpq.transaction_status)  # 0 is "idle"
    ask = getattr(raw, "get_transaction_status", None)  # psycopg 2
    return bool(ask is not None and ask())
