"""Note the rows that a connection's transaction has changed, and announce its commit.

Django has no hook before a commit: `on_commit` comes after it. So from the first change on,
`connection.commit` is replaced by the guard's, which puts the barriers up, commits, and takes them
down. A COMMIT that is sent as a statement goes through the guard too (see `interception`). Nothing
is sent before that, so a transaction that is rolled back costs the server nothing, and however long
it takes, the barriers have to stay only as long as its COMMIT.

A guard that outlives its transaction, because the connection was lost, does no harm: it would put
barriers on rows that nobody changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from redisdict.modelcache.cached_models import CachedTable, Rows
from redisdict.modelcache.connection_state import BEGUN, is_in_transaction, may_have_ended
from redisdict.modelcache.invalidation.invalidate import make_behind_barriers, remove
from redisdict.modelcache.invalidation.relations import affected_by, lineage, rows_of
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.registrations import cached_models

T = TypeVar("T")

#: The attribute of a connection that holds its guard.
GUARD = "_redisdict_guard"

#: When a transaction, or a batch of notifications, changes more rows of a table than this, all rows
#: of the table are removed.
MOST_ROWS = 10_000


def has_changed(table: CachedTable) -> bool:
    """Whether the transaction of the calling thread has changed the table."""
    connection = connections[table.database]
    if connection not in table.changed_by:
        return False
    if is_in_transaction(connection):
        return True
    forget_changes(connection)  # the connection was lost, and the transaction with it
    return False


def change(connection: BaseDatabaseWrapper, rows: Sequence[Rows], run: Callable[[], T]) -> T:
    """Run a change of these rows behind their barriers, or put these up at the commit."""
    if is_in_transaction(connection):
        note_changes(connection, rows)
        if not may_have_ended(connection):
            return run()
    return make_behind_barriers(rows, run)


def note_changes(connection: BaseDatabaseWrapper, rows: Iterable[Rows]) -> None:
    """Note rows of a transaction, which its commit makes old."""
    for table, keys in rows:
        _Guard.of(connection).add(table, keys)


def note_unseen_changes(connection: BaseDatabaseWrapper) -> None:
    """Note that a transaction that wasn't watched so far may have changed anything."""
    _Guard.of(connection).has_changed_anything = True


def note_begin(connection: BaseDatabaseWrapper, *, is_certain: bool) -> None:
    """On MySQL: a statement has begun a transaction, or may have. The guard sees its end."""
    _Guard.of(connection)
    connection.__dict__[BEGUN] = connection.connection, is_certain


def commit_behind_barriers(
    connection: BaseDatabaseWrapper, commit: Callable[[], T], *, is_certain: bool = True
) -> T:
    """Make the commit of the transaction under way, by whatever statement, behind its barriers.

    Args:
        is_certain: whether the statement certainly commits. If not, a transaction that is under way
            afterwards may be the same one, and its changes are announced again at its end.
    """
    guard: _Guard | None = connection.__dict__.get(GUARD)
    return commit() if guard is None else guard.commit_by(commit, is_certain=is_certain)


def forget_changes(connection: BaseDatabaseWrapper) -> None:
    """The transaction under way has been rolled back."""
    guard: _Guard | None = connection.__dict__.get(GUARD)
    if guard is not None:
        guard.leave()


def note_or_remove(
    model: type[Model], pks: Iterable[Any], database: str, *, has_moved: bool = True
) -> None:
    """Rows of `model` are changed: by this transaction, or for all to see when there is none.

    Args:
        has_moved: whether a column may have changed by which lists of rows are kept.
    """
    note_or_remove_rows(rows_of(model, pks, database, has_moved=has_moved), database)


def note_or_remove_all(model: type[Model], database: str) -> None:
    """Count all rows of `model` as changed, and all rows with parts in its tables."""
    cached = {id(each): each for one in lineage(model) for each in affected_by(one)}
    tables = [each.table_of(connections[database]) for each in cached.values()]
    note_or_remove_rows([table.all_rows for table in tables], database)


def note_or_remove_tables(tables: Iterable[CachedTable]) -> None:
    """Count all rows of these tables as changed."""
    for table in tables:
        note_or_remove_rows([table.all_rows], table.database)


def note_or_remove_rows(rows: list[Rows], database: str) -> None:
    """These cells are changed: by this transaction, or for all to see when there is none."""
    connection = connections[database]
    is_open = is_in_transaction(connection)
    if is_open:
        note_changes(connection, rows)
    if not is_open or may_have_ended(connection):
        remove(rows)


class _Guard:
    """Stands in for the commit and the rollback of a connection until its transaction is over."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._changed: dict[CachedTable, set[bytes]] = {}
        self.has_changed_anything = False
        self._commit = connection.commit
        self._rollback = connection.rollback
        self._set_autocommit = connection.set_autocommit
        connection.__dict__.update(
            {
                GUARD: self,
                "commit": self.commit,
                "rollback": self.rollback,
                "set_autocommit": self.set_autocommit,
            }
        )

    @classmethod
    def of(cls, connection: BaseDatabaseWrapper) -> _Guard:
        guard: _Guard | None = connection.__dict__.get(GUARD)
        return cls(connection) if guard is None else guard

    def add(self, table: CachedTable, keys: Sequence[bytes]) -> None:
        changed = self._changed.setdefault(table, set())
        whole = table.store.table_keys
        if whole[0] not in changed:
            changed.update(keys)
            if whole[0] in changed or len(changed) > MOST_ROWS:
                self._changed[table] = {*whole}
        table.changed_by.add(self._connection)

    def commit(self) -> None:
        self.commit_by(self._commit)

    def commit_by(self, commit: Callable[[], T], *, is_certain: bool = True) -> T:
        if self.has_changed_anything:
            for cached in cached_models():
                table = cached.table_of(self._connection)
                self.add(*table.all_rows)
        rows = [(table, sorted(keys)) for table, keys in self._changed.items()]
        try:
            result = make_behind_barriers(rows, commit)
        except UNREACHED:
            self.rollback()
            raise
        if is_certain or not is_in_transaction(self._connection):
            self.leave()
        return result

    def rollback(self) -> None:
        self._rollback()
        self.leave()

    def set_autocommit(self, autocommit: bool, *arguments: bool, **options: bool) -> None:
        """As Django's. On some databases turning it on commits the transaction under way."""

        def turn() -> None:
            self._set_autocommit(autocommit, *arguments, **options)

        if autocommit and not self._connection.in_atomic_block:
            self.commit_by(turn)
        else:
            turn()

    def leave(self) -> None:
        for name in (GUARD, BEGUN, "commit", "rollback", "set_autocommit"):
            self._connection.__dict__.pop(name, None)
        for table in self._changed:
            table.changed_by.discard(self._connection)
