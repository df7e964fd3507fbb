"""Declare the models that results depend on, and find the tables that they lead to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.exceptions import EmptyResultSet
from django.db import models, router

from redisdict.connections.backend import Backend
from redisdict.exceptions import ConfigurationError, NotCacheable
from redisdict.modelcache.cached_models import CachedModel, CachedTable, concrete_of, own_relations
from redisdict.modelcache.invalidation.hooks import begin_if_ready
from redisdict.modelcache.invalidation.reads import labels_of, tables_in
from redisdict.modelcache.invalidation.relations import cached_by_table, lineage
from redisdict.modelcache.invalidation.statements import table_of
from redisdict.modelcache.options import Options
from redisdict.modelcache.registrations import register


class Dependencies:
    """Registers models as wholes: from now on each of their changes is announced.

    Args:
        names: models, querysets, instances, and what has `depends_on_models` of its own; see
            `ComputedDict`. Each model stands for its table, its parents' tables, and those of the
            many-to-many relations that Django makes for it.
        database: an alias of DATABASES; None means those that the routers choose for writing.
        where: the place of the declaration, for errors.

    Raises:
        ConfigurationError: there is none, or one has no table.
    """

    def __init__(
        self,
        names: Iterable[Any],
        using: str | Backend,
        database: str | None,
        options: Options,
        where: str,
    ) -> None:
        self._database = database
        rows: list[models.Model] = []
        chosen: list[type[models.Model]] = []
        for one in names:
            # What is kept in memory goes with its tables' versions, and with no others.
            if options.near is None and isinstance(one, models.Model) and _is_one_row(one):
                rows.append(one)
            else:
                chosen += _models_of(one, where)
        chosen += [each for row in rows for part in _parts(row) for each in own_relations(part)]
        if not chosen and not rows:
            raise ConfigurationError(
                f"{where}: depends_on is empty; the models that the results are computed from are"
                " expected, such as [Product]."
            )
        self.models: Sequence[CachedModel] = [
            register(one, using, options, is_whole=True) for one in dict.fromkeys(chosen)
        ]
        #: Single rows: of which of the models, by its place among them, and their primary keys.
        self._rows: list[tuple[int, Any]] = []
        of_rows: dict[type[models.Model], int] = {}
        for row in rows:
            for part in _parts(row):
                if part not in of_rows:
                    of_rows[part] = len(self.models)
                    versions = register(part, using, options, is_version=True)
                    self.models = [*self.models, versions]
                self._rows.append((of_rows[part], getattr(row, part._meta.pk.attname)))
        begin_if_ready()

    def versions(self, tables: Sequence[CachedTable]) -> list[tuple[CachedTable, bytes]]:
        """The single rows that they depend on, beside the tables: each with its table and cell."""
        return [(tables[at], tables[at].key(pk)) for at, pk in self._rows]

    def tables(self) -> list[CachedTable]:
        """The tables that they lead to now, by the calling thread's connections."""
        return [one.table(self._alias_of(one)) for one in self.models]

    async def atables(self) -> list[CachedTable]:
        """The same in a task: a look at a connection is for the thread that has it."""
        known = [one.known_table(self._alias_of(one)) for one in self.models]
        tables = [one for one in known if one is not None]
        return tables if len(tables) == len(known) else await sync_to_async(self.tables)()

    @cached_property
    def table_names(self) -> frozenset[str]:
        """The names of all tables that are parts of them; to be asked when models are loaded."""
        return frozenset(table_of(part) for one in self.models for part in one.parts())

    def _alias_of(self, cached: CachedModel) -> str:
        return self._database or router.db_for_write(cached.model)


def _is_one_row(instance: models.Model) -> bool:
    """Whether an instance stands for its row: if its key certainly has only one spelling."""
    return type(instance.pk) in (int, UUID) and not instance._state.adding


def _parts(row: models.Model) -> list[type[models.Model]]:
    """The models whose tables hold parts of a row."""
    return lineage(type(row))


def _models_of(named: object, where: str) -> list[type[models.Model]]:
    """The models whose changes invalidate what depends on this."""
    if isinstance(named, models.Model):
        return [_concrete(type(named), where)]
    if isinstance(named, models.Manager):
        named = named.all()
    if isinstance(named, models.QuerySet):
        return _models_of_query(named.query, where)
    if isinstance(named, DependsOnModels):
        return list(named.depends_on_models)
    return [_concrete(named, where)]


@runtime_checkable
class DependsOnModels(Protocol):
    """A computed object, on which others may depend."""

    @property
    def depends_on_models(self) -> Sequence[type[models.Model]]: ...


def _models_of_query(query: Any, where: str) -> list[type[models.Model]]:
    """The models of the tables that a query reads."""
    if not apps.models_ready:
        raise ConfigurationError(
            f"{where}: depends_on has a queryset before all models are loaded; name its models, or"
            " make it in dicts.py of an installed app."
        )
    found = [_concrete(query.model, where)]
    try:
        sql, _ = query.chain().get_compiler(router.db_for_read(query.model)).as_sql()
    except EmptyResultSet:
        return found
    by_table = {
        table_of(one): one
        for one in apps.get_models(include_auto_created=True)
        if not one._meta.proxy
    }
    return found + [by_table[name] for name in sorted({*tables_in(sql)}) if name in by_table]


def _concrete(model: object, where: str) -> type[models.Model]:
    if not (isinstance(model, type) and issubclass(model, models.Model)):
        raise ConfigurationError(
            f"{where}: depends_on has {model!r:.80}; model classes are expected, such as [Product],"
            " or querysets, instances, and other ComputedDicts."
        )
    if model._meta.abstract or model._meta.swapped:
        raise ConfigurationError(
            f"{where}: depends_on has {model._meta.label}, which is"
            f" {'abstract' if model._meta.abstract else 'swapped'} and has no table; name the model"
            " that has."
        )
    return concrete_of(model)


def known_models(tables: Collection[str], using: str, what: str) -> list[CachedModel]:
    """Return the registrations of these tables, in the same order in all processes.

    Args:
        what: the name of the result that reads them, for the error.

    Raises:
        NotCacheable: one of them isn't registered.
    """
    found: dict[str, CachedModel] = {}
    unknown = []
    for name in sorted(tables):
        candidates = [
            one for one in cached_by_table().get(name, ()) if one.is_whole and one.using == using
        ]
        # The one whose own table it is, rather than one of which it is a part.
        candidates.sort(key=lambda one: (table_of(one.model) != name, one.model._meta.label))
        if candidates:
            found[candidates[0].model._meta.label] = candidates[0]
        else:
            unknown.append(name)
    if unknown:
        labels = ", ".join(labels_of(unknown))
        raise NotCacheable(
            f"{what} can't be cached, because it reads {labels}, whose changes aren't announced:"
            f" call cache_results_of({labels}) in models.py, or in dicts.py of an installed app."
        )
    return [found[label] for label in sorted(found)]
