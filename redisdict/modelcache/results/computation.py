"""Compute one result, and decide whether it may be cached for others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connections

from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.connection_state import ask, is_in_transaction
from redisdict.modelcache.identity import is_on_standby, leads_to
from redisdict.modelcache.invalidation.reads import Reads, recording
from redisdict.modelcache.loading import IS_COMMITTED_STATE, sees_committed_state
from redisdict.modelcache.slots.lease import Loaded

logger = logging.getLogger("redisdict")


class Refusals:
    """Logs, once for each reason, why results of one declaration aren't cached."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._told: set[str] = set()

    def tell(self, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            logger.warning("A result of %s is not cached: %s", self._name, reason)


class Computation:
    """One call of a function whose result depends on tables.

    What the function raises is no failure of the server, whatever it is: it is kept here until the
    lease has been given back.

    Args:
        function: takes nothing; gives the result, or in tasks something to await if `is_async`.
        declared: the names of the tables that it may read.
    """

    def __init__(
        self,
        function: Callable[[], Any],
        tables: Sequence[CachedTable],
        declared: Collection[str],
        refusals: Refusals,
        *,
        is_async: bool = False,
    ) -> None:
        self._function = function
        self._tables = tables
        self._declared = declared
        self._refusals = refusals
        self._is_async = is_async
        self._outcome: list[Any] = []
        self._error: Exception | None = None

    @property
    def is_over(self) -> bool:
        return bool(self._outcome) or self._error is not None

    def result(self) -> Any:
        """The result of the function, or the error that it has raised."""
        if self._error is not None:
            raise self._error
        return self._outcome[0]

    def load(self, keys: Sequence[bytes]) -> Loaded[list[Any]]:
        """Compute the result, of which there is one, in a thread."""
        may_be_kept = see_all_committed(self._tables)
        with _recorded() as reads:
            try:
                self._outcome = [self._function()]
            except Exception as error:  # noqa: BLE001  # the caller's, who gets it from result()
                self._error = error
        return self._loaded(keys, reads, may_be_kept and see_all_committed(self._tables))

    async def aload(self, keys: Sequence[bytes]) -> Loaded[list[Any]]:
        """Compute the result in a task; the database is asked in Django's thread for that."""
        if not self._is_async:
            return await sync_to_async(self.load)(keys)
        see = sync_to_async(see_all_committed)
        may_be_kept = await see(self._tables)
        with _recorded() as reads:
            try:
                self._outcome = [await self._function()]
            except Exception as error:  # noqa: BLE001  # as above
                self._error = error
        return self._loaded(keys, reads, may_be_kept and await see(self._tables))

    def _loaded(self, keys: Sequence[bytes], reads: Reads, may_be_kept: bool) -> Loaded[list[Any]]:
        if self._error is not None:
            return Loaded({}, may_be_kept=False)
        refusal = self._refusal(reads)
        if refusal:
            self._refusals.tell(refusal)
        return Loaded(dict.fromkeys(keys, self._outcome), may_be_kept and not refusal)

    def _refusal(self, reads: Reads) -> str:
        """Why the result may be another one than that of the declared tables; or nothing."""
        undeclared = reads.undeclared(self._declared)
        if undeclared:
            return f"it reads {', '.join(undeclared)} too; add that to depends_on."
        if reads.has_written:
            return "it has changed the database; a result may only be computed by reading."
        others = reads.databases - {table.database for table in self._tables}
        if others:
            return (
                f"it reads from the database {', '.join(sorted(others))!r}, which may lag behind;"
                " read from the one that is written to, by using()."
            )
        return ""


@contextmanager
def _recorded() -> Iterator[Reads]:
    """Record the tables that are read meanwhile, also for an enclosing computation."""
    reads = Reads()
    outer = recording.get()
    token = recording.set(reads)
    try:
        yield reads
    finally:
        recording.reset(token)
        if outer is not None:
            outer.add(reads)


def see_all_committed(tables: Sequence[CachedTable]) -> bool:
    """Whether the thread's connections show all committed rows, and no changes of their own.

    In a transaction of PostgreSQL a query. And each leads to the table that was looked up: since
    then it may have been made, or its search path have been set.
    """
    aliases = {table.database for table in tables}
    try:
        return all(map(_sees_all_committed, aliases)) and all(
            leads_to(connections[table.database], table.place, table.model) for table in tables
        )
    except DatabaseError:
        return False  # the transaction has failed, or the connection is lost


def _sees_all_committed(alias: str) -> bool:
    connection = connections[alias]
    if connection.vendor == "postgresql" and is_in_transaction(connection):
        sees: bool = ask(connection, f"SELECT {IS_COMMITTED_STATE}")[0][0]  # a constant
        return sees and not is_on_standby(connection)
    return sees_committed_state(connection) and not is_on_standby(connection)
