"""All cached tables of the project with what was counted of them, for whoever shows that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import router

from redisdict.exceptions import ConfigurationError
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.tables import CachedModel, cached_models
from redisdict.modelcache.tally import CacheStats

__all__ = ["TableOverview", "overview"]


@dataclass(frozen=True)
class TableOverview:
    """A cached table.

    Attributes:
        model: its label, such as "shop.Product", and the fields that its dicts exclude.
        database: the alias of DATABASES.
        alias: of REDISDICT, whose server keeps the rows.
        stats: what all processes have counted; None when that can't be known.
        problem: why it can't be; no text of it holds a password.
    """

    model: str
    database: str
    alias: str
    stats: CacheStats | None = None
    problem: str = ""


def overview() -> list[TableOverview]:
    """Every cached table, by model and database. HINCRBY and HMGET for each."""
    found = [_look_at(cached, alias) for cached in cached_models() for alias in _databases(cached)]
    return sorted(found, key=lambda one: (one.model, one.database, one.alias))


def _databases(cached: CachedModel) -> Iterator[str]:
    """That of the routers, and those that dicts with a `database` of their own have used here."""
    used = (table.database for table in cached.tables())
    yield from dict.fromkeys((router.db_for_write(cached.model), *used))


def _look_at(cached: CachedModel, database: str) -> TableOverview:
    names = (str(cached), database, cached.alias)
    try:
        table = cached.table(database)
        return TableOverview(*names, table.backend.driver.run(table.tally.total()))
    except (ConfigurationError, DatabaseError, *UNREACHED) as error:
        return TableOverview(*names, problem=str(error))
