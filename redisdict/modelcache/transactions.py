"""Which rows a connection's transaction has changed, and how its commit is announced.

Django calls nobody before a commit: `on_commit` comes after it. So from its first change on, a
transaction's `connection.commit` is the guard's, which puts the barriers up, commits, and takes
them down. Nothing is sent before, so a transaction that is rolled back costs the server nothing,
and however long it takes, the barriers have to stand only as long as its COMMIT.

A guard that outlives its transaction, because the connection was lost, does no harm: it would put
barriers around rows that nobody changes.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.base import ModelState

from redisdict.connections.backend import Backend
from redisdict.modelcache.cells import new_token
from redisdict.modelcache.committing import change_behind_barriers
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.tables import CachedTable

__all__ = [
    "announce_save",
    "finish_save",
    "has_changed",
    "is_in_transaction",
    "note_changes",
    "remove",
]

#: The attribute of a connection that holds its guard.
GUARD = "_redisdict_guard"

#: When a transaction changes more rows of a table than this, all rows of the table are removed.
MOST_ROWS = 10_000

#: Rows of a table, by key.
Rows = tuple[CachedTable, Sequence[bytes]]


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


def remove(rows: Sequence[Rows]) -> None:
    """Remove rows whose change others can see already. One script for 1,000 rows.

    Raises:
        BackendUnavailable: the server can't be told, and the model is strict.
    """
    for table, keys in rows:
        token = new_token()
        table.tally.invalidations += len(keys)
        try:
            table.backend.driver.run(table.cells.lift(keys, token))
        except UNREACHED as error:
            _leave_in_doubt(table, token, error)
            if table.cached.is_strict:
                raise


def announce_save(state: ModelState, rows: Sequence[Rows]) -> None:
    """Without a transaction: rows are about to be saved, and visible to others at once.

    Raises:
        BackendUnavailable: the server can't be told, and the model is strict.
    """
    token = new_token()
    for table, keys in rows:
        try:
            table.backend.driver.run(table.cells.block(keys, token, table.cached.barrier_ms))
        except UNREACHED as error:
            table.outages.note(error)
            if table.cached.is_strict:
                raise
            table.outages.begin_untold_change(token, table.cached.barrier_ms / 1000)
    _announced.setdefault(state, []).append((token, rows))


def finish_save(state: ModelState, rows: Sequence[Rows]) -> None:
    """The save announced last for this instance is done; `rows` are its rows as they are now.

    Raises:
        BackendUnavailable: as `remove()`, for rows that weren't announced.
    """
    token, announced = (_announced.get(state) or [(new_token(), [])]).pop()
    for table, keys in announced:
        table.tally.invalidations += len(keys)
        try:
            table.backend.driver.run(table.cells.lift(keys, token))
        except UNREACHED as error:
            _leave_in_doubt(table, token, error)
        table.outages.end_untold_change(token)
    remove([pair for pair in rows if pair not in announced])


#: The tokens and rows of saves under way, by the `_state` of the instance. When a save fails there
#: is no signal, so its barriers end by themselves, and this entry with the instance.
_announced: weakref.WeakKeyDictionary[ModelState, list[tuple[bytes, Sequence[Rows]]]]
_announced = weakref.WeakKeyDictionary()


def _leave_in_doubt(table: CachedTable, token: bytes, error: Exception) -> None:
    """A change was made, and whether the server has heard of it is unknown."""
    table.outages.note(error)
    table.outages.begin_untold_change(token, 0)
    table.outages.end_untold_change(token)


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
        by_backend: dict[Backend, list[Rows]] = {}
        for table, keys in self._changed.items():
            by_backend.setdefault(table.backend, []).append((table, sorted(keys)))
        try:
            _change_over(list(by_backend.values()), self._commit)
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


def _change_over(groups: Sequence[Sequence[Rows]], change: Callable[[], None]) -> None:
    """Make the change behind the barriers of several servers; each has one of the groups."""
    if not groups:
        return change()
    return _change_on_one(groups[0], lambda: _change_over(groups[1:], change))


def _change_on_one(rows: Sequence[Rows], change: Callable[[], None]) -> None:
    tables = [table for table, _ in rows]
    token = new_token()
    barrier_ms = max(table.cached.barrier_ms for table in tables)
    changed = [(table.cells, keys) for table, keys in rows]
    for table, keys in rows:
        table.tally.invalidations += len(keys)
    is_begun = is_made = False

    def make() -> None:
        nonlocal is_begun, is_made
        is_begun = True
        change()
        is_made = True

    try:
        tables[0].backend.driver.run(change_behind_barriers(changed, token, barrier_ms, make))
    except UNREACHED as error:
        if is_made:
            for table in tables:
                _leave_in_doubt(table, token, error)
        elif is_begun:
            raise  # of another server, whose barriers come inside these
        else:
            _make_untold(tables, token, barrier_ms, change, error)


def _make_untold(
    tables: Sequence[CachedTable],
    token: bytes,
    barrier_ms: int,
    change: Callable[[], None],
    error: Exception,
) -> None:
    """Make the change though the server doesn't know of it, unless a model is strict."""
    for table in tables:
        table.outages.note(error)
    if any(table.cached.is_strict for table in tables):
        raise error
    for table in tables:
        table.outages.begin_untold_change(token, barrier_ms / 1000)
    try:
        change()
    finally:
        for table in tables:
            table.outages.end_untold_change(token)
