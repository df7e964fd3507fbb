"""PostgreSQL triggers that tell of changes made by raw SQL and by other programs.

A trigger sends a notification for each row that is changed, whoever changes it; the database
delivers it at the commit. `redisdict.modelcache.listening` receives it.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections
from django.db.models import Model

from redisdict.modelcache.tables import cached_models

__all__ = ["CHANNEL", "creating_sql", "dropping_sql", "watched_models"]

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
        for model in (cached.model, *cached.model._meta.all_parents):
            concrete = model._meta.concrete_model
            if concrete is not None and concrete._meta.can_migrate(connections[database]):
                found[concrete._meta.db_table] = concrete
    return [found[table] for table in sorted(found)]


def creating_sql(models: list[type[Model]], database: str) -> Iterator[str]:
    """Statements that have changes of these models' tables announced; they can be repeated."""
    yield CREATE_FUNCTION
    quote = connections[database].ops.quote_name
    for model in models:
        table, key = quote(model._meta.db_table), model._meta.pk
        columns = [str(part.column) for part in getattr(key, "fields", (key,))]
        arguments = ", ".join("'" + column.replace("'", "''") + "'" for column in columns)
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
