"""Find out whether a database connection is in a transaction, whoever began it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

#: The attribute of a connection to MySQL that holds the driver's connection on which a statement
#: has begun a transaction, and whether it certainly has: mysqlclient doesn't tell of it.
BEGUN = "_redisdict_begun"

#: The attribute of a connection to MySQL that holds the driver's connection which may read
#: something else than what is committed.
UNCOMMITTED = "_redisdict_uncommitted"

#: The bits of MySQL's server status.
IN_TRANSACTION, AUTOCOMMIT = 1, 2


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether changes by the connection become visible to others only later."""
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
    raw = connection.connection
    if connection.vendor == "postgresql":
        libpq = getattr(raw, "pgconn", None)
        if libpq is not None:
            return bool(libpq.transaction_status)  # 0 is "idle"
        ask = getattr(raw, "get_transaction_status", None)  # psycopg 2
        return bool(ask is not None and ask())
    if connection.vendor == "mysql":
        return _was_begun_on_mysql(connection, raw)
    return False


def may_have_ended(connection: BaseDatabaseWrapper) -> bool:
    """Whether a transaction counts as under way only because a statement began it.

    On MySQL a deadlock, a definition or a procedure may have ended it, and mysqlclient doesn't
    report that. So a change in it may be visible at once, or not before a COMMIT.
    """
    if connection.vendor != "mysql":
        return False
    is_known = connection.in_atomic_block or not connection.autocommit
    return not is_known or _commits_each_statement(connection.connection)


def note_uncommitted(connection: BaseDatabaseWrapper) -> None:
    """Note, on MySQL, that the connection's reads from now on may not show committed rows.

    A statement has set the isolation level to READ UNCOMMITTED, which the server doesn't show when
    it is set for one transaction alone; or it has made a temporary table, which hides another.
    """
    connection.__dict__[UNCOMMITTED] = connection.connection


def may_read_uncommitted(connection: BaseDatabaseWrapper) -> bool:
    """Whether, after a statement, the connection may read uncommitted rows."""
    raw = connection.__dict__.get(UNCOMMITTED)
    return raw is not None and raw is connection.connection


def _was_begun_on_mysql(connection: BaseDatabaseWrapper, raw: Any) -> bool:
    status = getattr(raw, "server_status", None)  # PyMySQL
    if isinstance(status, int):
        return bool(status & IN_TRANSACTION) or not _commits_each_statement(raw)
    is_told: Any = getattr(raw, "in_transaction", None)  # MySQL's own driver
    if isinstance(is_told, bool):
        return is_told
    return _is_told_to_be_open(connection, raw) or not _commits_each_statement(raw)


def _is_told_to_be_open(connection: BaseDatabaseWrapper, raw: Any) -> bool:
    begun, is_certain = connection.__dict__.get(BEGUN, (None, False))
    if begun is None or begun is not raw:
        return False
    if not is_certain:
        try:
            with closing(raw.cursor()) as cursor:
                cursor.execute("SELECT @@in_transaction")
                connection.__dict__[BEGUN] = begun, is_certain = raw, bool(cursor.fetchone()[0])
        except Exception:  # noqa: BLE001  # of whatever driver: MySQL has no such variable
            return True
    return bool(is_certain)


def _commits_each_statement(raw: Any) -> bool:
    """The value of the last SET autocommit, which mysqlclient knows without asking."""
    ask = getattr(raw, "get_autocommit", None)
    try:
        return ask is None or bool(ask())
    except Exception:  # noqa: BLE001  # of whatever driver: the connection is closed or lost
        return True


def ask(
    connection: BaseDatabaseWrapper, sql: str, parameters: Iterable[Any] = ()
) -> list[tuple[Any, ...]]:
    """Get all rows by the driver's own cursor: no query of the user's is counted or watched."""
    connection.ensure_connection()
    with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
        if parameters := list(parameters):
            cursor.execute(sql, parameters)
        else:
            cursor.execute(sql)
        return list(cursor.fetchall())
