"""Which rows a connection's transaction has changed, and how its commit is announced.

Django calls nobody before a commit: `on_commit` comes after it. So from its first change on, a
transaction's `connection.commit` is the guard's, which puts the barriers up, commits, and takes
them down. Nothing is sent before, so a transaction that is rolled back costs the server nothing,
and however long it takes, the barriers have to stand only as long as its COMMIT.

A guard that outlives its transaction, because the connection was lost, does no harm: it would put
barriers around rows that nobody changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from redisdict.modelcache.announcing import make_behind_barriers
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.tables import CachedTable

__all__ = ["MOST_ROWS", "has_changed", "is_in_transaction", "note_changes"]

#: The attribute of a connection that holds its guard.
GUARD = "_redisdict_guard"

#: When a transaction changes more rows of a table than this, all rows of the table are removed.
MOST_ROWS = 10_000


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether what the connection does now becomes visible to others only later."""
    if connection.in_atomic_block:
        return True
    if connection.connection is None:  # its `autocommit` means nothing yet
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.autocommit


def has_changed(table: CachedTable) -> bool:
    """Whether the transaction of the calling thread has changed the table."""
    connection = connections[table.database]
    if connection not in table.changed_by:
        return False
    if is_in_transaction(connection):
        return True
    _Guard.of(connection).leave()  # the connection was lost, and the transaction with it
    return False


def note_changes(table: CachedTable, keys: Sequence[bytes]) -> None:
    """In a transaction: its commit makes these rows old. The table's own key stands for all."""
    _Guard.of(connections[table.database]).add(table, keys)


class _Guard:
    """Stands in for the commit and the rollback of a connection until its transaction is over."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._changed: dict[CachedTable, set[bytes]] = {}
        self._commit = connection.commit
        self._rollback = connection.rollback
        connection.__dict__.update({GUARD: self, "commit": self.commit, "rollback": self.rollback})

    @classmethod
    def of(cls, connection: BaseDatabaseWrapper) -> _Guard:
        guard: _Guard | None = connection.__dict__.get(GUARD)
        return cls(connection) if guard is None else guard

    def add(self, table: CachedTable, keys: Sequence[bytes]) -> None:
        changed = self._changed.setdefault(table, set())
        whole = table.cells.table
        if whole not in changed:
            changed.update(keys)
            if whole in changed or len(changed) > MOST_ROWS:
                self._changed[table] = {whole}
        table.changed_by.add(self._connection)

    def commit(self) -> None:
        rows = [(table, sorted(keys)) for table, keys in self._changed.items()]
        try:
            make_behind_barriers(rows, self._commit)
        except UNREACHED:
            self.rollback()
            raise
        self.leave()

    def rollback(self) -> None:
        self._rollback()
        self.leave()

    def leave(self) -> None:
        for name in (GUARD, "commit", "rollback"):
            self._connection.__dict__.pop(name, None)
        for table in self._changed:
            table.changed_by.discard(self._connection)
