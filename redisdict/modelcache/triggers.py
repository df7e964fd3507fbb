"""Let PostgreSQL announce changes by raw SQL and other programs, by triggers and a listener.

A trigger sends a notification for each changed row, whoever changes it; the database delivers it at
the commit, and a `Listener` receives it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import OperationalError, connections, models
from django.db.models import Model

from redisdict.exceptions import ConfigurationError
from redisdict.modelcache.cached_models import Rows
from redisdict.modelcache.invalidation.invalidate import remove
from redisdict.modelcache.invalidation.relations import affected_by, rows_of_table
from redisdict.modelcache.invalidation.transactions import MOST_ROWS
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.registrations import cached_models

logger = logging.getLogger("redisdict")

#: Seconds without a notification after which the connection is tried.
IDLE_S = 5.0

#: Seconds between attempts to connect again.
PAUSE_S = 1.0

#: Of the notifications. One is a JSON list: a table, and the primary key of the row that has
#: changed, a column each, as to_jsonb() writes it. Without a key it means all rows.
CHANNEL = "redisdict"

FUNCTION = "redisdict_announce_change"
ROW_TRIGGER = "redisdict_row"
TABLE_TRIGGER = "redisdict_truncate"

#: PostgreSQL refuses a notification of 8,000 bytes, and with it the change.
LONGEST = 7999

CREATE_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql
SET bytea_output = hex SET intervalstyle = postgres SET extra_float_digits = 1 AS $$
DECLARE
  changed jsonb;
  notice text;
BEGIN
  FOR changed IN
    SELECT to_jsonb(OLD) WHERE TG_OP IN ('UPDATE', 'DELETE')
    UNION SELECT to_jsonb(NEW) WHERE TG_OP IN ('UPDATE', 'INSERT')
    UNION SELECT NULL WHERE TG_OP = 'TRUNCATE'
  LOOP
    notice := jsonb_build_array(TG_TABLE_NAME)::text;
    IF changed IS NOT NULL THEN
      notice := (
        SELECT jsonb_build_array(TG_TABLE_NAME) || jsonb_agg(changed -> name ORDER BY place)
        FROM unnest(TG_ARGV) WITH ORDINALITY AS key (name, place)
      )::text;
    END IF;
    IF octet_length(notice) > {LONGEST} THEN
      notice := jsonb_build_array(TG_TABLE_NAME)::text;
    END IF;
    PERFORM pg_notify('{CHANNEL}', notice);
  END LOOP;
  RETURN NULL;
END $$
""".strip()  # noqa: S608  # names of ours


def watched_models(database: str) -> list[type[Model]]:
    """The models whose tables hold cached rows or parts of them: parents of a cached model too."""
    found: dict[str, type[Model]] = {}
    for cached in cached_models():
        for model in cached.parts():
            if model._meta.can_migrate(connections[database]):
                found[model._meta.db_table] = model
    return [found[table] for table in sorted(found)]


def creating_sql(models: list[type[Model]], database: str) -> Iterator[str]:
    """Statements that have changes of these models' tables announced; they can be repeated."""
    yield CREATE_FUNCTION
    quote = connections[database].ops.quote_name
    for model in models:
        table = quote(model._meta.db_table)
        columns = [str(part.column).replace("'", "''") for part in model._meta.pk_fields]
        arguments = ", ".join(f"'{column}'" for column in columns)
        call = f"EXECUTE FUNCTION {FUNCTION}({arguments})"
        yield (
            f"CREATE OR REPLACE TRIGGER {ROW_TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON {table}"
            f" FOR EACH ROW {call}"
        )
        yield (
            f"CREATE OR REPLACE TRIGGER {TABLE_TRIGGER} AFTER TRUNCATE ON {table}"
            f" FOR EACH STATEMENT {call}"
        )


def dropping_sql(models: list[type[Model]], database: str) -> Iterator[str]:
    """Statements that undo `creating_sql()`."""
    quote = connections[database].ops.quote_name
    for model in models:
        for trigger in (ROW_TRIGGER, TABLE_TRIGGER):
            yield f"DROP TRIGGER IF EXISTS {trigger} ON {quote(model._meta.db_table)}"
    yield f"DROP FUNCTION IF EXISTS {FUNCTION}() CASCADE"


@dataclass(slots=True)
class Changes:
    """Changed rows, by table.

    Attributes:
        pks: primary keys of rows.
        whole: tables all of whose rows count as changed.
        is_everything: whether all rows of all tables do.
    """

    pks: dict[str, list[Any]] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    is_everything: bool = False


def parse(
    notices: Iterable[str], watched: Mapping[str, type[models.Model]], database: str
) -> Changes:
    """Parse notifications.

    Args:
        watched: the models of the tables that are of interest.
        database: the alias of DATABASES that they come from.
    """
    changes = Changes()
    for notice in notices:
        try:
            # As a float a number might be another one.
            told = json.loads(notice, parse_float=Decimal)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, list) or not told or not isinstance(told[0], str):
            changes.is_everything = True
        elif (model := watched.get(told[0])) is not None:
            try:
                pk = _pk(model, told[1:], database)
            except Exception:  # noqa: BLE001  # a field of somebody's own may raise anything
                changes.whole.add(told[0])
            else:
                changes.pks.setdefault(told[0], []).append(pk)
    return changes


def _pk(model: type[models.Model], key: list[Any], database: str) -> Any:
    columns = model._meta.pk_fields
    # zip() raises ValueError when these are not as many as the key's columns.
    values = [_value(one, text, database) for one, text in zip(columns, key, strict=True)]
    if None in values:
        raise ValueError("this is no primary key")
    return tuple(values) if len(columns) > 1 else values[0]


def _value(field: models.Field[Any, Any], told: Any, database: str) -> Any:
    """The value of a column from the form that `to_jsonb()` gives it."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    if told is None or isinstance(told, list | dict):
        raise ValueError("this is no key")
    if isinstance(field, models.BinaryField):
        if not told.startswith("\\x"):
            raise ValueError("these bytes aren't written as bytea_output = hex does")
        return bytes.fromhex(told[2:])
    if isinstance(field, models.FloatField):
        return float(told)
    if isinstance(field, models.IntegerField) and type(told) is not int:
        raise ValueError("this is no integer")
    if hasattr(field, "from_db_value"):
        return field.from_db_value(told, None, connections[database])
    return field.to_python(told)


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
                " PostgreSQL can announce changes."
            )
        self._database = database
        self._models = {model._meta.db_table: model for model in watched_models(database)}

    def run(self, should_end: Callable[[], bool] = lambda: False) -> None:
        """Remove changed rows until `should_end()`, called every 5 seconds or so, is true."""
        import psycopg  # what it raises itself comes from where Django's cursor isn't between

        while not should_end():
            try:
                with contextlib.closing(connections[self._database].copy()) as connection:
                    connection.set_autocommit(True)
                    self._listen(connection.connection, should_end)
            except (OperationalError, psycopg.OperationalError) as error:
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
                rows.append(table.all_rows)
        return rows

    def _remove(self, rows: Sequence[Rows]) -> None:
        for one in rows:
            # What can't be told now is repaired when the server is back; it is logged, too.
            with contextlib.suppress(*UNREACHED):
                remove([one])
