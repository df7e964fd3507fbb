"""Aliases and schemas that lead to other tables."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.db import connections

from redisdict.modelcache import identity, search_paths
from tests.modelcache.beneath import change_unseen

__all__ = ["another_alias", "copy_sqlite", "forget_places", "tenant_schemas"]


def forget_places() -> None:
    """What is known of databases, as in a process that has just been started."""
    identity._databases.clear()
    identity.forget_names()
    search_paths.are_several = False
    for connection in connections.all(initialized_only=True):
        connection.__dict__.pop(search_paths.PATH, None)


@contextlib.contextmanager
def another_alias(alias: str, like: str, **changes: Any) -> Iterator[str]:
    """An alias of DATABASES like another one, but for some of its settings."""
    connections.settings[alias] = {**connections.settings[like], **changes}
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias], connections.settings[alias]


def copy_sqlite(source: Path | str, target: Path) -> None:
    """Copy a database through SQLite, never as a file.

    Whoever opens and closes the file by other means takes from this process the locks of all its
    connections to it, those of other threads, too; the next program that closes the database then
    removes the log that they write to (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    with contextlib.closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))


@contextlib.contextmanager
def tenant_schemas(alias: str) -> Iterator[None]:
    """Two schemas with a table of stamps each: north and south, which both have "both"."""
    for name in ("north", "south"):
        change_unseen(alias, f"CREATE SCHEMA {name}")
        change_unseen(alias, f"CREATE TABLE {name}.shop_stamp (LIKE public.shop_stamp)")
        change_unseen(alias, f"INSERT INTO {name}.shop_stamp VALUES ('{name}', 1)")
        change_unseen(alias, f"INSERT INTO {name}.shop_stamp VALUES ('both', {len(name)})")
    change_unseen(alias, "UPDATE south.shop_stamp SET worth = 9 WHERE code = 'both'")
    yield
    connections[alias].close()
    for name in ("north", "south"):
        change_unseen(alias, f"DROP SCHEMA {name} CASCADE")
