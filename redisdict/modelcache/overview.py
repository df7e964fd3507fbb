"""List all cached tables of the project with what was counted of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import router

from redisdict.exceptions import ConfigurationError
from redisdict.mapping.keys import Names
from redisdict.modelcache.cached_models import CachedModel, CachedTable, cached_models
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.stats import CacheStats

__all__ = ["TableOverview", "overview"]


@dataclass(frozen=True)
class TableOverview:
    """A cached table.

    Attributes:
        model: its label, such as "shop.Product", and the fields that its dicts exclude.
        database: the aliases of DATABASES that lead there.
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
    """Every cached table, by model and database. HINCRBY, HKEYS and HMGET for each.

    A table that several aliases of DATABASES lead to is one.
    """
    found = [one for cached in cached_models() for one in _of_model(cached)]
    return sorted(found, key=lambda one: (one.model, one.database, one.alias))


def _of_model(cached: CachedModel) -> Iterator[TableOverview]:
    """Its table in the routers' database, and those that dicts have used here otherwise."""
    chosen = router.db_for_write(cached.model)
    try:
        tables = [cached.table(chosen), *cached.tables()]
    except (ConfigurationError, DatabaseError, *UNREACHED) as error:
        yield TableOverview(str(cached), chosen, cached.alias, problem=str(error))
        return
    by_names: dict[Names, list[CachedTable]] = {}
    for table in tables:
        by_names.setdefault(table.names, []).append(table)
    for same in by_names.values():
        aliases = ", ".join(dict.fromkeys(table.database for table in same))
        yield _look_at(same[0], aliases)


def _look_at(table: CachedTable, aliases: str) -> TableOverview:
    names = (str(table.cached), aliases, table.cached.alias)
    try:
        return TableOverview(*names, table.backend.driver.run(table.counters.total()))
    except (ConfigurationError, DatabaseError, *UNREACHED) as error:
        return TableOverview(*names, problem=str(error))
