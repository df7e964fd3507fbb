"""Describe and run one ORM query that changes rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.db.models.sql import Query

from redisdict.modelcache.cached_models import CachedModel, Rows
from redisdict.modelcache.connection_state import is_in_transaction
from redisdict.modelcache.invalidation.effects import catalog_of
from redisdict.modelcache.invalidation.interception import Telling, Watch
from redisdict.modelcache.invalidation.memberships import Lists, lists_of
from redisdict.modelcache.invalidation.query_analysis import pk_of
from redisdict.modelcache.invalidation.relations import affected_by, are_whole, rows_of_table
from redisdict.modelcache.invalidation.statements import table_of
from redisdict.modelcache.invalidation.transactions import change

Run = Callable[[], Any]


class _EveryKey(tuple[Any, ...]):
    """Has any primary key in it."""

    __slots__ = ()

    def __contains__(self, _key: object) -> bool:
        return True


EVERY_KEY = _EveryKey()


class Write:
    """One query that changes rows of one table."""

    #: What bars the lists that it changes, beside its rows.
    listed: Sequence[Rows] = ()
    #: Registrations of lists that it doesn't change.
    spared: Collection[int] = ()

    def __init__(self, compiler: Any, watch: Watch) -> None:
        self.compiler = compiler
        self.watch = watch
        self.query = compiler.query
        self.connection: BaseDatabaseWrapper = compiler.connection
        self.model: type[Model] = self.query.get_meta().concrete_model
        self.table = table_of(self.model)
        self._cached = affected_by(self.model)
        self.is_cached = bool(self._cached)
        #: Whether nobody keeps rows of it, so that it doesn't matter which ones are changed.
        self.is_whole = are_whole(self.model)

    def telling(self, *, changes_keys: bool = True) -> Telling:
        """For its statements, whose rows are announced here."""
        return self.watch.telling((self.table,), changes_keys=changes_keys)

    def rows(self, pks: Sequence[Any]) -> list[Rows]:
        self.watch.last_written = (self.table, pks)
        # Of the lists that this changes `listed` tells.
        return rows_of_table(self.model, pks, self.connection, has_moved=False)

    def whole_table(self, others: Sequence[CachedModel] = ()) -> list[Rows]:
        """All rows of the registrations that cache the table, and of others."""
        self.watch.last_written = (self.table, EVERY_KEY)
        connection, spared = self.connection, self.spared
        cached = dict.fromkeys([*self._cached, *others]) if others else self._cached
        return [one.table_of(connection).all_rows for one in cached if id(one) not in spared]

    @property
    def lists(self) -> list[Lists]:
        """The lists that writes of this table may change."""
        return lists_of(self.model, self.connection)

    def change(self, rows: Sequence[Rows], run: Run) -> Any:
        return change(self.connection, [*rows, *self.listed] if self.listed else rows, run)

    @property
    def can_return_keys(self) -> bool:
        """Whether an UPDATE or DELETE can return the primary keys of the rows that it changes.

        Of a table that the database does more to, with rules or INSTEAD OF, it may refuse.
        """
        connection = self.connection
        return (
            connection.vendor in ("postgresql", "sqlite")
            and connection.features.can_return_rows_from_bulk_insert
            and not getattr(self.compiler, "returning_fields", None)
            and self.table not in catalog_of(connection).always
            and (is_in_transaction(connection) or connections[connection.alias] is connection)
        )

    def run_returning(
        self, run: Run, others: Sequence[Any] = ()
    ) -> tuple[list[tuple[Any, Sequence[Any]]], Any]:
        """Run it; of each row that it has changed the primary key and other values; its result."""
        quote = self.connection.ops.quote_name
        parts = self.model._meta.pk_fields
        fields = [*parts, *others]
        columns = ", ".join(quote(str(field.column)) for field in fields)
        returning = f"RETURNING {columns}"
        self.compiler.returning_keys = returning
        rows: list[Any] = []

        def collect(sql: Any, cursor: Any) -> None:
            if str(sql).endswith(returning):
                rows.extend(cursor.fetchall())

        with self.watch.collecting(collect):
            result = run()
        columns_of = [field.get_col(self.model._meta.db_table) for field in fields]
        if converters := self.compiler.get_converters(columns_of):
            rows = list(self.compiler.apply_converters(rows, converters))
        return [(pk_of(row, len(parts)), row[len(parts) :]) for row in rows], result

    @property
    def can_lock(self) -> bool:
        """Whether Django would let rows be locked, in a transaction that it knows of."""
        connection = self.connection
        if connections[connection.alias] is not connection:
            return False
        is_known = connection.in_atomic_block or not connection.get_autocommit()
        return is_known or not is_in_transaction(connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """In a transaction of its own, unless there is one."""
        if is_in_transaction(self.connection):
            yield
        else:
            with transaction.atomic(using=self.connection.alias, savepoint=False):
                yield

    def chosen(self) -> QuerySet[Any]:
        """The rows that its filter chooses."""
        query = self.query.chain(klass=Query)
        query.clear_ordering(force=True)
        query.select_related = False
        return QuerySet(self.model, query=query, using=self.connection.alias)
