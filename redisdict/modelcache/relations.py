"""Which cached rows a change of some model's rows makes old.

A row of a model is a row of its parents too (multi-table inheritance), and a proxy has the rows of
its model. And a foreign key of a cached row changes, without a signal, when what it points at is
deleted and its `on_delete` is SET_NULL, SET_DEFAULT, SET(), or left to the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from django.db import models
from django.db.models import CASCADE, DO_NOTHING, PROTECT, RESTRICT, Model

from redisdict.modelcache.tables import CachedModel, cached_models, on_registration

__all__ = ["affected_by", "dependents_of", "forget", "related_pks"]

#: With these either nothing changes or signals are sent for the row itself.
SIGNALLED = (CASCADE, PROTECT, RESTRICT, DO_NOTHING)

#: So many foreign keys in a row, each of which cascades in the database, are followed.
DEEPEST = 5


@cache
def affected_by(model: type[Model]) -> Sequence[CachedModel]:
    """Registered models that have a row for a row of `model`."""
    return [cached for cached in cached_models() if _is_kin(cached.model, model)]


@cache
def dependents_of(model: type[Model]) -> Sequence[tuple[CachedModel, str]]:
    """Registered models whose rows the deletion of a row of `model` changes, without a signal.

    Each with the lookup that finds its rows by an instance of `model`.
    """
    return [
        (cached, lookup)
        for cached in cached_models()
        for lookup, target in _unsignalled_paths(cached.model)
        if target is model._meta.concrete_model
    ]


def forget() -> None:
    """There are other models now, or other registrations."""
    affected_by.cache_clear()
    dependents_of.cache_clear()


on_registration(forget)


def related_pks(
    cached: type[Model], model: type[Model], pks: Iterable[Any], database: str
) -> Iterable[Any]:
    """The primary keys that rows of `model` have as rows of `cached`. Nearly always the same."""
    if _has_same_pk(cached, model):
        return pks
    base, name = _shared_rows(cached, model)
    rows = base._base_manager.using(database).filter(**{f"{name}__in": list(pks)})
    return rows.values_list(cached._meta.pk.attname, flat=True)


def _is_kin(one: type[Model], other: type[Model]) -> bool:
    one, other = _concrete(one), _concrete(other)
    return one is other or other in one._meta.all_parents or one in other._meta.all_parents


def _concrete(model: type[Model]) -> type[Model]:
    concrete = model._meta.concrete_model
    assert concrete is not None  # only an abstract model has none
    return concrete


def _has_same_pk(one: type[Model], other: type[Model]) -> bool:
    """Whether the primary key of the one leads, from child to parent, to that of the other."""
    return _pk_owner(one) is _pk_owner(other)


def _pk_owner(model: type[Model]) -> type[Model]:
    """The ancestor that a model has its primary key from."""
    pk = _concrete(model)._meta.pk
    while isinstance(pk, models.OneToOneField) and pk.remote_field.parent_link:
        pk = pk.target_field
    return pk.model


def _shared_rows(cached: type[Model], model: type[Model]) -> tuple[type[Model], str]:
    """The child of the two, which has the fields of both, and its name for `model`'s key."""
    child = cached if _concrete(model) in _concrete(cached)._meta.all_parents else model
    return child, _concrete(model)._meta.pk.name


def _unsignalled_paths(model: type[Model]) -> Iterator[tuple[str, type[Model]]]:
    """Lookups of foreign keys of a model that change without a signal, with what they point at."""
    for key in _foreign_keys(model):
        if key.remote_field.on_delete in SIGNALLED:
            continue
        target = _concrete(key.remote_field.model)
        yield key.name, target
        for lookup, further in _cascades_in_database(target, 1):
            yield f"{key.name}__{lookup}", further


def _cascades_in_database(model: type[Model], depth: int) -> Iterator[tuple[str, type[Model]]]:
    """Lookups of what takes rows of a model with it when it is deleted, in silence."""
    for key in _foreign_keys(model):
        if getattr(key.remote_field.on_delete, "__name__", "") != "DB_CASCADE":
            continue
        target = _concrete(key.remote_field.model)
        yield key.name, target
        if depth < DEEPEST:
            for lookup, further in _cascades_in_database(target, depth + 1):
                yield f"{key.name}__{lookup}", further


def _foreign_keys(model: type[Model]) -> Iterator[models.ForeignKey[Any, Any]]:
    for field in model._meta.concrete_fields:
        if isinstance(field, models.ForeignKey):
            yield field
