"""Intercept every statement that goes through a Django connection, and announce what it changes.

Each connection gets a `Watch` when it is made. The ORM's own writes reach it as queries (see
`compilers`), which show the rows. Every other statement reaches it as text, by Django's hook for
that (`execute_wrappers`): each table that it may write to (`statements`), or make the database
write to (`effects`), counts as changed as a whole. Either way the change is announced before it
becomes visible, as `transactions` says.

Other programs, and drivers that are used beneath Django's cursors, aren't seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from redisdict.modelcache import identity, search_paths
from redisdict.modelcache.cached_models import CachedModel, CachedTable
from redisdict.modelcache.connection_state import is_in_transaction, note_uncommitted
from redisdict.modelcache.invalidation import relations
from redisdict.modelcache.invalidation.cursors import run_to_its_end
from redisdict.modelcache.invalidation.effects import ANYTHING, catalog_of, forget_catalog
from redisdict.modelcache.invalidation.reads import recording
from redisdict.modelcache.invalidation.statements import (
    ENDING,
    LONGEST_KEPT,
    UNKNOWN,
    Control,
    Statement,
    read_statement,
    text_of,
)
from redisdict.modelcache.invalidation.transactions import (
    change,
    commit_behind_barriers,
    forget_changes,
    note_begin,
    note_changes,
)
from redisdict.modelcache.registrations import cached_models, calling_place

#: By vendor: texts of statements that only read, and call no function that isn't known to do the
#: same.
_harmless: dict[str, set[str]] = {}

#: So many of them are remembered.
MOST_HARMLESS = 4096

#: Looks at a statement and its cursor.
Collect = Callable[[Any, Any], None]


class Watch:
    """Sees all statements of one connection, and announces their changes."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._harmless = _harmless.setdefault(connection.vendor, set())
        #: Tables whose changes by the statements under way have been told row by row.
        self._told: frozenset[str] = frozenset()
        #: Whether those statements may change columns that foreign keys point at.
        self._changes_keys = True
        #: Called with each of those statements and its cursor, right after it.
        self._collect: Collect | None = None
        #: Statements of the ORM's that change nothing but what was told of them, and by what that
        #: is known: the registrations and the catalog.
        self._told_of: dict[Any, tuple[Any, Any]] = {}
        #: The rows that the ORM has written last, until a signal has told of them too.
        self.last_written: tuple[str, Sequence[Any]] | None = None

    @contextmanager
    def collecting(self, collect: Collect) -> Iterator[None]:
        """For statements whose results the caller examines."""
        before, self._collect = self._collect, collect
        try:
            yield
        finally:
            self._collect = before

    def telling(self, tables: Iterable[str], *, changes_keys: bool = True) -> Telling:
        """For statements whose changes of these tables the caller announces, row by row."""
        return Telling(self, frozenset(tables), changes_keys)

    def execute(
        self,
        execute: Callable[..., Any],
        sql: Any,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        """Execute a statement as Django would: the wrapper in `execute_wrappers`."""
        if (reads := recording.get()) is not None:
            reads.note(self._connection, sql)
        if type(sql) is str and sql in self._harmless:  # the usual case, at the cost of a look
            return execute(sql, params, many, context)
        if not relations.cached_by_table():
            return execute(sql, params, many, context)
        collect = self._collect if self._told else None
        if self._told and collect is None and self._is_all_told(sql):
            told, self._told = self._told, frozenset()
            try:
                return execute(sql, params, many, context)
            finally:
                self._told = told

        def run() -> Any:
            result = execute(sql, params, many, context)
            if collect is not None:
                collect(sql, context["cursor"])
            return result

        if self._told and type(sql) is str and len(sql) > LONGEST_KEPT:
            # A query of the ORM's with many values.
            return self._run(Statement(writes=self._told), run, context["cursor"])
        statement = self._read(sql)
        if statement.only_reads and not statement.functions and not self._may_commit(statement):
            if type(sql) is str and len(sql) <= LONGEST_KEPT:
                if len(self._harmless) >= MOST_HARMLESS:
                    self._harmless.clear()
                self._harmless.add(sql)
            return execute(sql, params, many, context)
        return self._run(statement, run, context["cursor"])

    def _is_all_told(self, sql: Any) -> bool:
        """Whether an ORM statement changes nothing beyond the announced rows, as usual."""
        connection = self._connection
        if type(sql) is not str or len(sql) > LONGEST_KEPT or connection.vendor == "mysql":
            return False
        key = sql, self._told, self._changes_keys
        known_by = relations.cached_by_table(), catalog_of(connection)
        known = self._told_of.get(key)
        if known is not None and known[0] is known_by[0] and known[1] is known_by[1]:
            return True
        statement = self._read(sql)
        is_all = (
            statement.control is Control.NONE
            and not statement.is_definition
            and not statement.begins
            and not statement.changes_session
            and not self._may_set_path(statement)
            and not self._may_commit(statement)
            and not self._changed_by(statement)
        )
        if is_all:
            if len(self._told_of) >= MOST_HARMLESS:
                self._told_of.clear()
            self._told_of[key] = known_by
        return is_all

    def run_procedure(self, call: Callable[[], Any], cursor: Any = None) -> Any:
        """Run something without a statement, such as a procedure. It may change anything."""
        return self._run(UNKNOWN, call, cursor)

    def run_statement(self, sql: Any, run: Callable[[], Any]) -> Any:
        """Run a statement by another method of the driver's cursor."""
        return self._run(self._read(sql), run)

    def run_script(self, sql: Any, run: Callable[[], Any]) -> Any:
        """Run SQLite's `executescript()`, which first commits the transaction under way."""
        return self._run(replace(self._read(sql), control=Control.COMMIT), run)

    def run_stream(self, sql: Any, run: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        """Run a statement whose rows come one by one; it is executed when the first is asked for.

        Rows of a statement that changes something are all fetched first: only then is it over.
        """
        if self._concerns_nobody(statement := self._read(sql)):
            yield from run()
        else:
            yield from self._run(statement, lambda: list(run()))

    @contextmanager
    def run_copy(self, sql: Any, run: Callable[[], Any]) -> Iterator[Any]:
        """Run a COPY, whose rows come in a `with` block and are visible to others after it.

        Outside a transaction it gets one, so that the barriers stand only as long as its COMMIT.
        """
        connection = self._connection
        if self._concerns_nobody(statement := self._read(sql)):
            with run() as copying:
                yield copying
            return
        with ExitStack() as stack:
            if not is_in_transaction(connection):
                stack.enter_context(_transaction(connection))
            yield stack.enter_context(self._run(statement, run))

    def _concerns_nobody(self, statement: Statement) -> bool:
        """Whether it changes no cached table, no transaction and no definition."""
        if not relations.cached_by_table():
            return True
        is_plain = statement.control is Control.NONE and not statement.is_definition
        return is_plain and not self._changed_by(statement)

    def _read(self, sql: Any) -> Statement:
        return read_statement(text_of(sql, self._connection.connection))

    def _run(self, statement: Statement, run: Callable[[], Any], cursor: Any = None) -> Any:
        if not relations.cached_by_table():
            return run()
        connection = self._connection
        changed = self._tables_changed_by(statement)
        if cursor is not None and self._may_go_on(statement, changed):
            run = functools.partial(run_to_its_end, run, cursor)
        if self._may_set_path(statement):
            run = functools.partial(search_paths.follow, connection, run)
        # What somebody's wrapper sends meanwhile is no statement of the caller's.
        told, self._told = self._told, frozenset()
        try:
            if self._may_commit(statement):
                is_certain = statement.verb in COMMITTING and not statement.is_several
                commit = functools.partial(
                    commit_behind_barriers, connection, run, is_certain=is_certain
                )
                result = self._change_all(changed, statement.verb, commit)
            else:
                result = self._change_all(changed, statement.verb, run) if changed else run()
            if statement.control is Control.ROLLBACK:
                forget_changes(connection)
            if connection.vendor == "mysql" and (
                statement.begins or (statement.is_unknown and not is_in_transaction(connection))
            ):
                note_begin(connection, is_certain=statement.begins)
                self._note_late(changed)
            if connection.vendor == "mysql" and (
                statement.reads_uncommitted or (changed and statement.makes_temporary)
            ):
                note_uncommitted(connection)
            return result
        finally:
            self._told = told
            if statement.is_definition:
                forget_catalog(connection)
                identity.forget_names()
            if statement.verb in ENDING:
                search_paths.transaction_has_ended(connection)

    def _may_go_on(self, statement: Statement, changed: Sequence[CachedTable]) -> bool:
        """Whether a change may still be under way when the driver comes back with a result."""
        vendor = self._connection.vendor
        if vendor == "mysql" and self._may_commit(statement):
            return True
        return bool(changed) and vendor in ("sqlite", "mysql")

    def _may_set_path(self, statement: Statement) -> bool:
        """Whether names may mean other tables after it, other than by a rollback."""
        if statement.changes_session:
            return statement.verb not in ENDING
        if not statement.functions:
            return False
        return not statement.functions.isdisjoint(catalog_of(self._connection).path_setters)

    def _may_commit(self, statement: Statement) -> bool:
        """Whether it commits, or may do so by itself, as definitions do on MySQL and Oracle."""
        if statement.control is Control.COMMIT:
            return True
        if self._connection.features.can_rollback_ddl:
            return False
        return statement.is_definition or (
            self._connection.vendor == "mysql" and statement.verb in COMMITTING_ON_MYSQL
        )

    def _changed_by(self, statement: Statement) -> list[CachedModel]:
        """The registered models of which the statement may change any row, as far as is known."""
        if statement.is_unknown:
            return cached_models()
        names = set(statement.writes - self._told)
        if statement.writes or statement.functions:
            catalog = catalog_of(self._connection)
            names |= catalog.changed_by(statement, self._changes_keys)
        if ANYTHING in names:
            return cached_models()
        by_table = relations.cached_by_table()
        return list({id(one): one for name in names for one in by_table.get(name, ())}.values())

    def _tables_changed_by(self, statement: Statement) -> list[CachedTable]:
        """The tables of those models, in each schema that the statement may mean."""
        changed = self._changed_by(statement)
        found = [cached.tables_written(self._connection, statement) for cached in changed]
        return list(dict.fromkeys(table for tables in found for table in tables))

    def _change_all(self, tables: list[CachedTable], verb: str, run: Callable[[], Any]) -> Any:
        """Run a statement that may change all rows of tables."""
        connection = self._connection
        if tables:
            place = f"{calling_place(BELOW)} {verb.upper()}".rstrip()
            for table in tables:
                table.counters.count_drop(place)
        was_open = is_in_transaction(connection)
        result = change(connection, [table.all_rows for table in tables], run)
        if not was_open:
            self._note_late(tables)
        return result

    def _note_late(self, tables: Iterable[CachedTable]) -> None:
        """Note the changes of a statement that has also begun a transaction."""
        if is_in_transaction(self._connection):
            note_changes(self._connection, [table.all_rows for table in tables])


class Telling:
    """The block in which the caller announces its changes to a watch itself.

    A class, for a generator of `contextmanager` costs four times as much, at each write.
    """

    __slots__ = ("_before", "_now", "_watch")

    def __init__(self, watch: Watch, tables: frozenset[str], changes_keys: bool) -> None:
        self._watch = watch
        self._now = tables, changes_keys

    def __enter__(self) -> None:
        watch = self._watch
        self._before = watch._told, watch._changes_keys
        watch._told, watch._changes_keys = self._now

    def __exit__(self, *_: object) -> None:
        self._watch._told, self._watch._changes_keys = self._before


@contextmanager
def _transaction(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """A transaction of a connection that is in none; also of one that Django has under no alias."""
    if connections[connection.alias] is connection:
        with transaction.atomic(using=connection.alias, savepoint=False):
            yield
        return
    connection.set_autocommit(False)
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    finally:
        connection.set_autocommit(True)


#: Words that end a transaction by themselves; a new one may begin with that.
COMMITTING = frozenset({"commit", "end", "begin", "start"})

#: What commits on MySQL beside definitions and what isn't known.
COMMITTING_ON_MYSQL = frozenset({"begin", "start", "lock", "grant", "revoke", "analyze", "reset"})

#: Packages whose code isn't what has asked for a statement.
BELOW = ("redisdict.", "django.")
