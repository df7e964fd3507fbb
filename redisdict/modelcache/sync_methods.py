"""The methods of `ModelDict` for threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

from django.db import connections, models

from redisdict.mapping.layouts.base import slices
from redisdict.modelcache.binding import Binding
from redisdict.modelcache.changes import note_or_remove, note_or_remove_all
from redisdict.modelcache.connection_state import is_in_transaction
from redisdict.modelcache.coroutines import refuse_to_block, running_loop
from redisdict.modelcache.loading import may_keep
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.tally import MOST_HITS, CacheStats
from redisdict.modelcache.transactions import has_changed
from redisdict.modelcache.views import View
from redisdict.modelcache.walking import Walk

__all__ = ["WARM_CHUNK", "SyncMethods", "distinct_keys"]

M = TypeVar("M", bound=models.Model)
D = TypeVar("D")

#: Rows that are warmed at a time.
WARM_CHUNK = 1000


class SyncMethods(Binding[M], Generic[M]):
    """Those with a key raise `TypeError` for one that the field can't have.

    None is no row's key, so that the value of an empty foreign key can be looked up. In a coroutine
    all of them raise `SynchronousOnlyOperation`, whether the row is on the server or not.
    """

    def __getitem__(self, key: Any) -> M:
        found = self._find(key, "d[key]", "await d.agetitem(key)")
        if found is None:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return self._find(key, "`key in d`", "await d.acontains(key)") is not None

    @overload
    def get(self, key: Any, default: None = None) -> M | None: ...
    @overload
    def get(self, key: Any, default: D) -> M | D: ...
    def get(self, key: Any, default: Any = None) -> Any:
        """The row, or `default`. One EVALSHA; on a miss a query and an EVALSHA more."""
        found = self._find(key, "get()", "await d.aget(…)")
        return default if found is None else found

    def get_or_404(self, key: Any) -> M:
        """The row, for a view. Costs what `get()` does.

        Raises:
            Http404: there is none; with the words of `get_object_or_404()`.
        """
        found = self._find(key, "get_or_404()", "await d.aget_or_404(…)")
        return self._or_404(found)

    def get_many(self, keys: Iterable[Any]) -> dict[Any, M]:
        """Those of the rows that are there.

        One EVALSHA, or from 50 rows on MGET in a transaction with it, for 1,000 rows. On a miss
        another, one `in_bulk()`, and one to store what it gave.
        """
        _keep_out("get_many()", "await d.aget_many(…)")
        return self._read(self._view(), distinct_keys(keys))

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self._walk("iteration", "async for key in d"))

    def __len__(self) -> int:
        """How many rows `items()` gives, at its cost.

        `list(d)` and `sorted(d)` ask for it first, so they cost twice what `list(d.keys())` does.
        """
        return sum(1 for _ in self._walk("len()", "await d.alen()"))

    def __bool__(self) -> bool:
        """True: a cache is there, however much of it is on the server. Asks nobody."""
        return True

    def keys(self) -> Iterator[Any]:
        """The keys of the rows that are on the server, in any order. As `items()`."""
        return (key for key, _ in self._walk("keys()", "async for key in d.akeys()"))

    def values(self) -> Iterator[M]:
        """The rows that are on the server, in any order. As `items()`."""
        return (row for _, row in self._walk("values()", "async for row in d.avalues()"))

    def items(self) -> Iterator[tuple[Any, M]]:
        """The rows that are on the server, with their keys, in any order. SCAN and EVALSHA.

        Raises:
            BackendUnavailable: the server can't be reached.
        """
        return self._walk("items()", "async for key, row in d.aitems()")

    def warm(self, rows: models.QuerySet[M] | Iterable[Any]) -> int:
        """Have rows on the server; how many there are.

        Costs what `get_many()` does, and for a queryset the query for its primary keys.

        Args:
            rows: a queryset, or keys.
        """
        _keep_out("warm()", "await d.awarm(…)")
        view, keys = self._view(), rows
        if isinstance(rows, models.QuerySet | models.Manager):
            view = view.by_pk
            keys = rows.using(view.table.database).values_list("pk", flat=True)
        chunks = slices(distinct_keys(keys), WARM_CHUNK)
        return sum(len(self._read(view, chunk)) for chunk in chunks)

    def invalidate(self, *keys: Any) -> None:
        """Have these rows read from the database again: something else has changed them.

        In a transaction, when it is committed. One EVALSHA.
        """
        _keep_out("invalidate()", "await d.ainvalidate(…)")
        view = self._view()
        pks = view.pks_of(distinct_keys(keys))
        if pks is None:
            note_or_remove_all(self.model, view.table.database)
        else:
            note_or_remove(self.model, pks, view.table.database)

    def clear(self) -> None:
        """Have all rows read from the database again. In a transaction, when it is committed.

        One EVALSHA. Outside a transaction what was stored is removed too: SCAN and EVALSHA.
        """
        _keep_out("clear()", "await d.aclear()")
        table = self._view().table
        note_or_remove_all(self.model, table.database)
        if not is_in_transaction(connections[table.database]):
            walk = Walk(table)
            while not walk.is_over:
                table.backend.driver.run(walk.remove_page())

    def stats(self) -> CacheStats:
        """What was counted, in all processes. HINCRBY and HMGET.

        Raises:
            BackendUnavailable: the server can't be reached.
        """
        _keep_out("stats()", "await d.astats()")
        table = self._view().table
        return table.backend.driver.run(table.tally.total())

    def _find(self, key: Any, called: str, twin: str) -> M | None:
        if running_loop() is not None:
            refuse_to_block(called, twin)
        if key is None:
            return None
        view = self._view()
        if view.by_pk is not view or not self._may_use_server(view):
            return self._read(view, [key]).get(key)
        driver = view.table.backend.driver
        request = view.first_request(key, view.lease_ms if may_keep(view.table) else 0)
        try:
            answers = driver.do(request)
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
        may_use = self._trusts_server(table)
        if may_use is None:
            try:
                may_use = table.backend.driver.run(table.outages.recover())
            except UNREACHED as error:
                self._note_failure(view, error)
                may_use = False
        return may_use

    def _walk(self, called: str, twin: str) -> Iterator[tuple[Any, M]]:
        _keep_out(called, twin)
        return self._pairs(called, twin)

    def _pairs(self, called: str, twin: str) -> Iterator[tuple[Any, M]]:
        _keep_out(called, twin)  # it may have been made elsewhere
        view = self._view()
        walk = Walk(view.table)
        while not walk.is_over:
            _keep_out(called, twin)
            rows = view.table.backend.driver.run(walk.next_page())
            if not view.table.shows_all_alike or has_changed(view.table):
                rows = list(view.by_pk.ask_database([row.pk for row in rows]).values())
            yield from self._with_keys(rows)


def distinct_keys(keys: Iterable[Any]) -> list[Any]:
    """Each key once; without None, as a foreign key may be."""
    return [key for key in dict.fromkeys(keys) if key is not None]


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _keep_out(called: str, twin: str) -> None:
    if running_loop() is not None:
        refuse_to_block(called, twin)
