"""Check all cached models of the project, and read the counts of each table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info
from django.core.checks import Warning as CheckWarning
from django.db import Error as DatabaseError
from django.db import router

from redisdict.exceptions import ConfigurationError
from redisdict.mapping.keys import Names
from redisdict.modelcache.cached_models import CachedModel, CachedTable
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.registrations import cached_models
from redisdict.modelcache.stats import CacheStats

PROBLEMS = (ConfigurationError, DatabaseError, *UNREACHED)


@dataclass(frozen=True)
class TableOverview:
    """A cached table.

    Attributes:
        model: its label, such as "shop.Product", and the fields that its dicts exclude.
        database: the aliases of DATABASES that lead there.
        alias: of REDISDICT, whose server keeps the rows.
        stats: the counts of all processes; None if they can't be read.
        problem: why they can't be read; never holds a password.
    """

    model: str
    database: str
    alias: str
    stats: CacheStats | None = None
    problem: str = ""


def overview() -> list[TableOverview]:
    """List every cached table, by model and database. HINCRBY, HKEYS and HMGET for each.

    A table to which several aliases of DATABASES lead is listed once.
    """
    found = [one for cached in cached_models() for one in _of_model(cached)]
    return sorted(found, key=lambda one: (one.model, one.database, one.alias))


def _of_model(cached: CachedModel) -> Iterator[TableOverview]:
    """Its table in the routers' database, and those that dicts have used here otherwise."""
    chosen = router.db_for_write(cached.model)
    try:
        tables = [cached.table(chosen), *cached.tables()]
    except PROBLEMS as error:
        yield TableOverview(str(cached), chosen, cached.alias, problem=str(error))
        return
    by_names: dict[Names, list[CachedTable]] = {}
    for table in tables:
        by_names.setdefault(table.names, []).append(table)
    for same in by_names.values():
        aliases = ", ".join(dict.fromkeys(table.database for table in same))
        stats, problem = None, ""
        try:
            stats = same[0].backend.driver.run(same[0].counters.total())
        except PROBLEMS as error:
            problem = str(error)
        yield TableOverview(str(cached), aliases, cached.alias, stats, problem)


def import_urls() -> None:
    """Import the modules of the URLs, because a dict may be made there.

    Django's own check reports their errors.
    """
    with contextlib.suppress(Exception):
        import_module(settings.ROOT_URLCONF)


def check_cached_models(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Check every model that has a `ModelDict`."""
    import_urls()
    return [message for cached in cached_models() for message in _check_registration(cached)]


def _check_registration(cached: CachedModel) -> Iterator[CheckMessage]:
    model = cached.model
    label = model._meta.label
    try:
        cached.backend()
    except ConfigurationError as error:
        yield Error(f"{cached.kind}: {error}", id="redisdict.E101", obj=model)
    is_told_anyway = cached.members is not None or cached.is_version
    if not model._meta.managed and not is_told_anyway:
        yield Info(
            f"{label} has a ModelDict, and its table isn't managed by Django. What another program"
            " changes there goes unnoticed.",
            hint="If there is such a program, call the dict's invalidate() or clear() after it, or"
            " see `manage.py modeldict`.",
            id="redisdict.W103",
            obj=model,
        )
    if cached.made_at:
        yield CheckWarning(
            f"{cached.kind} is made in {cached.made_at}. A process that doesn't import that module"
            " changes rows without announcing it.",
            hint="Make it in models.py, or in dicts.py of an installed app: both are imported in"
            " every process, at its start.",
            id="redisdict.W104",
            obj=model,
        )
