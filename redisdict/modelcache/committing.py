"""How a writer keeps the server from serving, or storing, what its commit makes old.

Barrier: before the commit the cached rows are removed and barriers put in their place; while one
stands, nobody can store the row. After the commit they are taken down. So there is no moment at
which the database has the new row and the server the old one, whenever the writer dies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db import DatabaseError, IntegrityError

from redisdict.connections.requests import Call, Operation
from redisdict.modelcache.cells import Cells

__all__ = ["Changed", "change_behind_barriers"]

T = TypeVar("T")

#: What is about to be changed: keys of rows, or of the table for all of its rows.
Changed = Sequence[tuple[Cells, Sequence[bytes]]]

#: By the SQL standard a transaction with such an error was rolled back, or (23) its statement
#: was; 40003 says that even the database doesn't know.
ROLLED_BACK_CLASSES = ("23", "40")
OUTCOME_UNKNOWN = "40003"


def change_behind_barriers(
    changed: Changed, token: bytes, duration_ms: int, change: Callable[[], T]
) -> Operation[T]:
    """Put barriers up, make the change visible to others, take the barriers down.

    When the change fails, the barriers stay until they end by themselves, unless the database
    said that it rolled back: a commit whose answer was lost may still happen.
    """
    for cells, keys in changed:
        yield from cells.block(keys, token, duration_ms)
    try:
        result: T = yield Call(change)
    except DatabaseError as error:
        if _is_certainly_undone(error):
            yield from lift(changed, token)
        raise
    yield from lift(changed, token)
    return result


def lift(changed: Changed, token: bytes) -> Operation[None]:
    """Take the barriers of `token` down."""
    for cells, keys in changed:
        yield from cells.lift(keys, token)


def _is_certainly_undone(error: DatabaseError) -> bool:
    if isinstance(error, IntegrityError):
        return True
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    return (
        isinstance(sqlstate, str)
        and sqlstate[:2] in ROLLED_BACK_CLASSES
        and sqlstate != OUTCOME_UNKNOWN
    )
