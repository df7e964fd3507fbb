"""Keep the server from serving, or storing, rows that a writer's commit makes old.

Barrier: before the commit the cached rows are removed and barriers put in their place. While a cell
has a barrier, nobody can store the row. After the commit the barriers are taken down. So there is
no moment at which the database has the new row and the server the old one, whenever the writer
dies.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db import DatabaseError, IntegrityError

from redisdict.modelcache.slots.store import put_barriers
from redisdict.wire.requests import Call, Operation

T = TypeVar("T")

#: With these classes of SQLSTATE the outcome isn't known: the connection was lost, the server is
#: being shut down, or is damaged. With any other the database has refused, and undone, what it was
#: asked. 40003 says that even the database doesn't know.
UNKNOWN_CLASSES = ("08", "57", "58", "XX")
OUTCOME_UNKNOWN = "40003"

#: SQLite has refused, and undone, the statement, or has left the transaction to be rolled back.
SQLITE_REFUSALS = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
    }
)

#: MySQL's errors of its server, which it answers a statement with; 2000 and more are those of the
#: client, such as a lost connection.
MYSQL_REFUSALS = (range(1000, 2000), range(3000, 5000))

#: Those after which the outcome isn't known: the log or the disk failed, the commit was
#: interrupted, the server is being shut down, the connection is lost or was killed.
MYSQL_UNKNOWN = frozenset(
    {1026, 1030, 1053, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1180, 1181, 1184, 1317, 1598, 1927}
)


def change_behind_barriers(
    tables: Sequence[Sequence[bytes]], token: bytes, duration_ms: int, change: Callable[[], T]
) -> Operation[T]:
    """Put barriers up, make the change visible to others, take the barriers down.

    When the change fails, the barriers stay until they expire, unless the database reported a
    rollback: a commit whose answer was lost may still happen.

    Args:
        tables: for each table the keys of the changed rows, or the table's own key for all of them.
    """
    yield from put_barriers(tables, token, duration_ms)
    try:
        result: T = yield Call(change)
    except DatabaseError as error:
        if _is_certainly_undone(error):
            yield from put_barriers(tables, token, 0)
        raise
    yield from put_barriers(tables, token, 0)
    return result


def _is_certainly_undone(error: DatabaseError) -> bool:
    return isinstance(error, IntegrityError) or is_refusal(error.__cause__)


def is_refusal(cause: BaseException | None) -> bool:
    """Return whether by a driver's error the database has refused and undone a statement.

    If not, it may have been carried out, or be carried out yet.
    """
    if isinstance(cause, sqlite3.Error):
        # The lowest byte is the code; those above say more of it.
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in SQLITE_REFUSALS
    code = cause.args[0] if cause is not None and cause.args else None
    if isinstance(code, int):  # of MySQL's drivers
        return code not in MYSQL_UNKNOWN and any(code in codes for codes in MYSQL_REFUSALS)
    sqlstate = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return (
        isinstance(sqlstate, str)
        and sqlstate[:2] not in UNKNOWN_CLASSES
        and sqlstate != OUTCOME_UNKNOWN
    )
