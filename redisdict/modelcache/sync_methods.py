"""The methods of `ModelDict` for threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

from django.db import connections, models

from redisdict.mapping.layout import slices
from redisdict.modelcache.announcing import remove
from redisdict.modelcache.binding import Binding
from redisdict.modelcache.loading import may_keep
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.relations import affected_by
from redisdict.modelcache.signals import note_or_remove
from redisdict.modelcache.tally import MOST_HITS, CacheStats
from redisdict.modelcache.transactions import has_changed, is_in_transaction, note_changes
from redisdict.modelcache.views import View
from redisdict.modelcache.walking import Walk

__all__ = ["WARM_CHUNK", "SyncMethods", "distinct_keys"]

M = TypeVar("M", bound=models.Model)
D = TypeVar("D")

#: Rows that are warmed at a time.
WARM_CHUNK = 1000


class SyncMethods(Binding[M], Generic[M]):
    """Those with a key raise `TypeError` for one that the field can't have.

    None is no row's key, so that the value of an empty foreign key can be looked up.
    """

    def __getitem__(self, key: Any) -> M:
        found = self._find(key)
        if found is None:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return self._find(key) is not None

    @overload
    def get(self, key: Any, default: None = None) -> M | None: ...
    @overload
    def get(self, key: Any, default: D) -> M | D: ...
    def get(self, key: Any, default: Any = None) -> Any:
        """The row, or `default`. One EVALSHA; on a miss a query and an EVALSHA more."""
        found = self._find(key)
        return default if found is None else found

    def get_many(self, keys: Iterable[Any]) -> dict[Any, M]:
        """Those of the rows that are there.

        One EVALSHA, or from 50 rows on MGET in a transaction with it, for 1,000 rows. On a miss
        another, one `in_bulk()`, and one to store what it gave.
        """
        return self._read(self._view(), distinct_keys(keys))

    def __iter__(self) -> Iterator[Any]:
        """The keys of the rows that are on the server, in any order. SCAN and EVALSHA."""
        return (key for key, _ in self.items())

    def items(self) -> Iterator[tuple[Any, M]]:
        """The rows that are on the server, with their keys. SCAN and EVALSHA.

        Raises:
            BackendUnavailable: the server can't be reached.
        """
        view = self._view()
        walk = Walk(view.table)
        while not walk.is_over:
            rows = view.table.backend.driver.run(walk.next_page())
            if has_changed(view.table):
                rows = list(view.by_pk.ask_database([row.pk for row in rows]).values())
            for row in rows:
                if (key := self._key_of(row)) is not None:
                    yield key, row

    def warm(self, rows: models.QuerySet[M]) -> int:
        """Have these rows on the server; how many there are. Costs what `get_many()` does."""
        view = self._view().by_pk
        pks = list(rows.using(view.table.database).values_list("pk", flat=True))
        return sum(len(self._read(view, chunk)) for chunk in slices(pks, WARM_CHUNK))

    def invalidate(self, *keys: Any) -> None:
        """Have these rows read from the database again: something else has changed them.

        In a transaction, when it is committed. One EVALSHA.
        """
        view = self._view()
        pks = view.pks_of(distinct_keys(keys))
        if pks is None:
            self._invalidate_all(view.table.database)
        else:
            note_or_remove(self.model, pks, view.table.database)

    def clear(self) -> None:
        """Have all rows read from the database again. In a transaction, when it is committed.

        One EVALSHA. Outside a transaction what was stored is removed too: SCAN and EVALSHA.
        """
        table = self._view().table
        self._invalidate_all(table.database)
        if not is_in_transaction(connections[table.database]):
            walk = Walk(table)
            while not walk.is_over:
                table.backend.driver.run(walk.remove_page())

    def _invalidate_all(self, database: str) -> None:
        tables = [cached.table(database) for cached in affected_by(self.model)]
        if not is_in_transaction(connections[database]):
            remove([(table, [table.cells.table]) for table in tables])
        else:
            for table in tables:
                note_changes(table, [table.cells.table])

    def stats(self) -> CacheStats:
        """What was counted, in all processes. HINCRBY and HMGET.

        Raises:
            BackendUnavailable: the server can't be reached.
        """
        table = self._view().table
        return table.backend.driver.run(table.tally.total())

    def _find(self, key: Any) -> M | None:
        if key is None:
            return None
        view = self._view()
        if view.by_pk is not view or not self._may_use_server(view):
            return self._read(view, [key]).get(key)
        driver = view.table.backend.driver
        request = view.first_request(key, view.lease_ms if may_keep(view.table) else 0)
        try:
            answers = driver.ask(*request)
            found = view.hit(answers)
            if found is None:
                found = driver.run(view.go_on(key, _as_it_is, request, answers))
            elif view.table.tally.hits >= MOST_HITS:
                driver.run(view.table.tally.push())
        except UNREACHED as error:
            self._note_failure(view, error)
            found = view.ask_database([key]).get(key)
        return found

    def _read(self, view: View[M], keys: Sequence[Any]) -> dict[Any, M]:
        if self._may_use_server(view):
            operation = view.find(keys, _as_it_is, is_peek=not may_keep(view.table))
            try:
                return view.table.backend.driver.run(operation)
            except UNREACHED as error:
                self._note_failure(view, error)
        return view.ask_database(keys)

    def _may_use_server(self, view: View[M]) -> bool:
        table = view.table
        if table.changed_by and has_changed(table):
            return False
        if table.outages.is_calm:
            return True
        if table.outages.is_resting and self._serves_when_down:
            return False
        try:
            return table.backend.driver.run(table.outages.recover())
        except UNREACHED as error:
            self._note_failure(view, error)
            return False


def distinct_keys(keys: Iterable[Any]) -> list[Any]:
    """Each key once; without None, as a foreign key may be."""
    return [key for key in dict.fromkeys(keys) if key is not None]


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
