"""Find the cached models whose rows are made old by a change of some table.

Rows are identified by tables, not by classes: a row of a model lies in its own table and in those
of its parents (multi-table inheritance), a proxy has its model's table, and two models may share
one, managed by Django or not. And the database itself may change rows that refer to a deleted row
(`DB_CASCADE`, `DB_SET_NULL`, `DB_SET_DEFAULT`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from redisdict.modelcache.cached_models import CachedModel, Rows, concrete_of
from redisdict.modelcache.invalidation.statements import table_of
from redisdict.modelcache.registrations import cached_models, on_registration

#: So many foreign keys in a row, each of which cascades in the database, are followed.
DEEPEST = 5

#: What the database does by itself to rows that point at a deleted one.
IN_DATABASE = ("DB_CASCADE", "DB_SET_NULL", "DB_SET_DEFAULT")


def lineage(model: type[Model]) -> list[type[Model]]:
    """The models whose tables hold parts of a row: the model and its parents."""
    concrete = concrete_of(model)
    return [concrete, *map(concrete_of, concrete._meta.all_parents)]


@cache
def cached_by_table() -> Mapping[str, Sequence[CachedModel]]:
    """Registered models by the tables that hold parts of their rows."""
    found: dict[str, list[CachedModel]] = {}
    for cached in cached_models():
        for table in dict.fromkeys(map(table_of, cached.parts())):
            found.setdefault(table, []).append(cached)
    return found


@cache
def affected_by(model: type[Model]) -> Sequence[CachedModel]:
    """Registered models that have parts of their rows in the model's own table."""
    return cached_by_table().get(table_of(concrete_of(model)), ())


@cache
def are_whole(model: type[Model]) -> bool:
    """Whether of the model's own table only results are cached, no rows or lists."""
    return all(cached.is_whole for cached in affected_by(model))


@cache
def lineage_tables(model: type[Model]) -> Sequence[str]:
    """The tables that hold parts of a row."""
    return list(dict.fromkeys(map(table_of, lineage(model))))


@cache
def dependents_of(model: type[Model]) -> Sequence[tuple[CachedModel, str]]:
    """Registered models whose rows the database changes when a row of `model` is deleted.

    Each with the lookup that finds its rows by rows of `model`.
    """
    return [
        (cached, lookup)
        for cached in cached_models()
        for lookup, target in _database_paths(cached.model, 1)
        if target is concrete_of(model)
    ]


def forget() -> None:
    """Look everything up again: models or registrations have changed."""
    cached_by_table.cache_clear()
    affected_by.cache_clear()
    are_whole.cache_clear()
    lineage_tables.cache_clear()
    dependents_of.cache_clear()


on_registration(forget)


def rows_of(
    model: type[Model], pks: Iterable[Any], database: str, *, has_moved: bool = True
) -> list[Rows]:
    """The cached rows that are made of these rows of `model`, in its table or its parents'.

    Args:
        has_moved: whether columns may have changed by which lists are kept. What they were isn't
            known here, so then all lists are made again.
    """
    pks = list(pks)
    found: dict[Any, set[bytes]] = {}
    for one in lineage(model):
        own = parent_pks(model, one, pks, database)
        changed = rows_of_table(one, own, connections[database], has_moved=has_moved)
        for table, keys in changed:
            found.setdefault(table, set()).update(keys)
    return [(table, sorted(keys)) for table, keys in found.items()]


def rows_of_table(
    model: type[Model],
    pks: Iterable[Any],
    connection: BaseDatabaseWrapper,
    *,
    has_moved: bool = True,
) -> list[Rows]:
    """The cached rows that have parts in these rows of the model's own table. See `rows_of()`."""
    pks = [pk for pk in pks if is_known(pk)]
    if not pks:
        return []
    found: list[Rows] = []
    for cached in affected_by(model):
        if cached.members is not None and not has_moved:
            continue
        table = cached.table_of(connection)
        if cached.is_whole or cached.members is not None:
            found.append(table.all_rows)
            continue
        own = related_pks(cached.model, model, pks, connection.alias)
        found.append((table, table.store.table_keys if own is None else table.keys(own)))
    return found


def is_known(pk: Any) -> bool:
    """Whether a primary key is known: that of an unsaved row may come from the database."""
    if isinstance(pk, tuple):
        return all(map(is_known, pk))
    return pk is not None and not hasattr(pk, "resolve_expression")


def related_pks(
    cached: type[Model], model: type[Model], pks: Iterable[Any], database: str
) -> Iterable[Any] | None:
    """Return the primary keys that rows of `model`'s table have as rows of `cached`.

    They are nearly always the same. None when only reading all rows could show them.
    """
    owner = next((one for one in lineage(cached) if table_of(one) == table_of(model)), None)
    if owner is None or owner._meta.pk.column != model._meta.pk.column:
        return None
    if _pk_owner(cached) is _pk_owner(owner):
        return pks
    name = f"{owner._meta.pk.name}__in"
    rows = cached._base_manager.using(database).filter(**{name: list(pks)})
    return rows.values_list(cached._meta.pk.attname, flat=True)


def parent_pks(
    model: type[Model], parent: type[Model], pks: Iterable[Any], database: str
) -> Iterable[Any]:
    """The primary keys that rows of `model` have as rows of a parent. Nearly always the same."""
    if _pk_owner(model) is _pk_owner(parent):
        return pks
    rows = model._base_manager.using(database).filter(pk__in=list(pks))
    return rows.values_list(parent._meta.pk.name, flat=True)


def _pk_owner(model: type[Model]) -> type[Model]:
    """The ancestor that a model has its primary key from."""
    pk = concrete_of(model)._meta.pk
    while isinstance(pk, models.OneToOneField) and pk.remote_field.parent_link:
        pk = pk.target_field
    return pk.model


def _database_paths(model: type[Model], depth: int) -> Iterator[tuple[str, type[Model]]]:
    """Return the lookups of foreign keys on which the database acts, with their targets.

    After the first key only those that cascade: deleting their target deletes the rows.
    """
    actions = IN_DATABASE if depth == 1 else ("DB_CASCADE",)
    for key in model._meta.concrete_fields:
        if not isinstance(key, models.ForeignKey):
            continue
        if getattr(key.remote_field.on_delete, "__name__", "") not in actions:
            continue
        target = concrete_of(key.remote_field.model)
        yield key.name, target
        if depth < DEEPEST:
            for lookup, further in _database_paths(target, depth + 1):
                yield f"{key.name}__{lookup}", further
