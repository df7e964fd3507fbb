"""Removes rows that raw SQL or another program has changed, when PostgreSQL tells of it.

Between the commit and the removal lie a few milliseconds, in which the old row is read. So this is
for what can't go through Django; what does is never stale, with or without it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import OperationalError, connections

from redisdict.exceptions import ConfigurationError
from redisdict.modelcache.announcing import Rows, remove
from redisdict.modelcache.changes import rows_of_table
from redisdict.modelcache.notices import parse
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.relations import affected_by
from redisdict.modelcache.triggers import CHANNEL, watched_models

__all__ = ["Listener"]

logger = logging.getLogger("redisdict")

#: Seconds without a notification after which the connection is tried.
IDLE_S = 5.0

#: Seconds between attempts to connect again.
PAUSE_S = 1.0

#: So many rows of a table in one batch of notifications, and all of its rows are removed.
MOST_ROWS = 10_000


class Listener:
    """Listens to one database, over a connection of its own.

    Args:
        database: an alias of DATABASES, on PostgreSQL through psycopg 3. Between it and the server
            there may be no pooler that gives each transaction another connection.

    Raises:
        ConfigurationError: the database is another one.
    """

    def __init__(self, database: str) -> None:
        if connections[database].vendor != "postgresql":
            raise ConfigurationError(
                f"The database {database!r} is {connections[database].display_name}; only"
                " PostgreSQL tells of changes."
            )
        self._database = database
        self._models = {model._meta.db_table: model for model in watched_models(database)}

    def run(self, should_end: Callable[[], bool] = lambda: False) -> None:
        """Remove what changes, until `should_end()` says so; it is asked every 5 seconds or so."""
        while not should_end():
            try:
                with contextlib.closing(connections[self._database].copy()) as connection:
                    connection.set_autocommit(True)
                    self._listen(connection.connection, should_end)
            except (OperationalError, _psycopg_error()) as error:
                logger.warning("Changes of %r are not listened to: %s", self._database, error)
                time.sleep(PAUSE_S)

    def _listen(self, raw: Any, should_end: Callable[[], bool]) -> None:
        raw.execute(f"LISTEN {CHANNEL}")
        # Whatever was announced before has been missed.
        self._remove(self._all_rows(self._models))
        logger.info("Listening to changes of %r.", self._database)
        while not should_end():
            batch = [notice.payload for notice in raw.notifies(timeout=IDLE_S, stop_after=1)]
            self._remove(self._rows(batch))
            if not batch:
                raw.execute("SELECT 1")

    def _rows(self, notices: Sequence[str]) -> list[Rows]:
        """The cached rows that notifications are about."""
        changes = parse(notices, self._models, self._database)
        if changes.is_everything:
            logger.warning("A change of %r can't be understood: %r", self._database, notices)
            return self._all_rows(self._models)
        whole = {table for table, pks in changes.pks.items() if len(pks) > MOST_ROWS}
        whole |= changes.whole
        rows = []
        for table, pks in changes.pks.items():
            if table not in whole:
                try:
                    rows += rows_of_table(self._models[table], pks, connections[self._database])
                except Exception:
                    # One table's failure isn't the others'.
                    logger.exception("All rows of %s are removed, since some can't be.", table)
                    connections[self._database].close_if_unusable_or_obsolete()
                    whole.add(table)
        return rows + self._all_rows(whole)

    def _all_rows(self, tables: Iterable[str]) -> list[Rows]:
        cached = {one: None for name in tables for one in affected_by(self._models[name])}
        rows: list[Rows] = []
        for one in cached:
            try:
                table = one.table_of(connections[self._database])
            except ConfigurationError as error:
                logger.warning("Rows of %s can't be removed: %s", one.model._meta.label, error)
            else:
                rows.append((table, [table.cells.table]))
        return rows

    def _remove(self, rows: Sequence[Rows]) -> None:
        for one in rows:
            # What can't be told now is repaired when the server is back; it is logged, too.
            with contextlib.suppress(*UNREACHED):
                remove([one])


def _psycopg_error() -> type[Exception]:
    """What psycopg itself raises, here where Django's cursor isn't between."""
    import psycopg

    return psycopg.OperationalError
