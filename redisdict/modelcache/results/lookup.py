"""Look a result up, or compute it on a miss: a plan for threads and tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.plans import Caller, Plan
from redisdict.modelcache.results.computation import Computation
from redisdict.modelcache.results.near import NearResults
from redisdict.modelcache.slots.lease import Reader
from redisdict.modelcache.slots.store import new_token
from redisdict.modelcache.stats import MOST_HITS
from redisdict.wire.requests import Call, Operation


@dataclass(frozen=True, slots=True)
class ResultLookup:
    """Looks up results of the same tables.

    Args:
        tables: the tables, all kept on one server.
        reader: reads cells of results; each value is in a list of one, since it may be None.
        serves_when_down: whether the function is called when the server can't be reached.
        near: the process's memory for the results, if it has one.
    """

    tables: Sequence[CachedTable]
    reader: Reader[list[Any]]
    serves_when_down: bool
    near: NearResults | None = None

    def find(
        self, cell: bytes, computation: Computation, load: Callable[..., Any], caller: Caller
    ) -> Plan[Any]:
        """Get the result that is kept in this cell, or compute it.

        Args:
            load: the computation's method for the caller, a thread or a task.

        Raises:
            Exception: any error of the computation.
        """
        try:
            return (yield from self._find(cell, computation, load, caller))
        finally:
            if self.near is not None:
                self.near.drop([cell])

    def _find(
        self, cell: bytes, computation: Computation, load: Callable[..., Any], caller: Caller
    ) -> Plan[Any]:
        may_use = self.may_use_server(caller)
        if may_use is None:
            may_use = yield from self._recover()
        if may_use:
            is_peek = not all(map(caller.may_keep, self.tables))
            try:
                found = yield self._read(cell, load, is_peek)
            except UNREACHED as error:
                self._note_failure(error)
            else:
                if cell in found:
                    return found[cell][0]
        if not computation.is_over:
            self.reader.counters.misses += 1
            self.reader.counters.rested += any(table.heat.is_resting for table in self.tables)
            yield _call(load, cell)
        return computation.result()

    def _read(
        self, cell: bytes, load: Callable[..., Any], is_peek: bool
    ) -> Operation[dict[bytes, list[Any]]]:
        counters = self.reader.counters
        misses = counters.misses
        found = yield from self.reader.read([cell], load, new_token(), is_peek=is_peek)
        if counters.hits >= MOST_HITS:
            yield from counters.push()
        if counters.misses != misses:
            for table in self.tables:
                yield from table.counters.push_if_due()
        return found

    def may_use_server(self, caller: Caller) -> bool | None:
        """Return whether the server's results count; None if it failed and should be tried."""
        is_calm = True
        for table in self.tables:
            if not table.shows_all_alike:
                return False
            if table.changed_by and caller.has_changed(table):
                return False
            if table.heat.is_resting:
                return False
            is_calm = is_calm and table.outages.is_calm
        if is_calm:
            return True
        is_resting = any(table.outages.is_resting for table in self.tables)
        return False if is_resting and self.serves_when_down else None

    def _recover(self) -> Plan[bool]:
        """Try the server that has failed: whether its results count again."""
        try:
            for table in self.tables:
                if not (yield table.outages.recover()):
                    return False
        except UNREACHED as error:
            self._note_failure(error)
            return False
        return True

    def _note_failure(self, error: Exception) -> None:
        """The server has failed at a read. Raises `error` unless the function is to be called."""
        for table in self.tables:
            table.outages.note(error)
        if not self.serves_when_down:
            raise error


def _call(load: Callable[..., Any], cell: bytes) -> Operation[Any]:
    return (yield Call(load, ([cell],)))
