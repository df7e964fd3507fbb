"""System checks of cached models: what would change their rows without the cache's knowledge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.db.models import Manager, Model

from redisdict.exceptions import ConfigurationError
from redisdict.modelcache.managers import CachedQuerySet
from redisdict.modelcache.relations import affected_by
from redisdict.modelcache.tables import CachedModel, cached_models

__all__ = ["check_cached_models"]


def check_cached_models(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Look at every model that has a `ModelDict`, and at those that share rows with one."""
    messages = [message for cached in cached_models() for message in _check_registration(cached)]
    for model in apps.get_models():
        if affected_by(model):
            messages += _check_managers(model)
    return messages


def _check_registration(cached: CachedModel) -> Iterator[CheckMessage]:
    model = cached.model
    try:
        cached.backend()
    except ConfigurationError as error:
        yield Error(
            f"The ModelDict of {model._meta.label}: {error}", id="redisdict.E101", obj=model
        )
    if not model._meta.managed:
        yield CheckWarning(
            f"{model._meta.label} has a ModelDict, but its table isn't managed by Django: rows of"
            " a view, or of another program's table, change unnoticed.",
            hint="Call the dict's invalidate() or clear() after every such change.",
            id="redisdict.W103",
            obj=model,
        )


def _check_managers(model: type[Model]) -> Iterator[CheckMessage]:
    label = model._meta.label
    if not _is_cached(model._default_manager):
        yield CheckWarning(
            f"Rows of {label} are kept by a ModelDict, but its default manager isn't a"
            " CachedManager: update(), bulk_update() and bulk_create() go unnoticed.",
            hint="Write `objects = CachedManager()`, or derive your manager's queryset from"
            " CachedQuerySet.",
            id="redisdict.W101",
            obj=model,
        )
    elif not _is_cached(model._base_manager) and _is_pointing(model):
        yield CheckWarning(
            f"Rows of {label} are kept by a ModelDict, but its base manager isn't a CachedManager:"
            " what `add()` of a related manager changes goes unnoticed.",
            hint='Write `base_manager_name = "objects"` in its Meta.',
            id="redisdict.W102",
            obj=model,
        )


def _is_cached(manager: Manager[Any]) -> bool:
    return isinstance(manager.get_queryset(), CachedQuerySet)


def _is_pointing(model: type[Model]) -> bool:
    """Whether it has a foreign key, by which others have a related manager of it."""
    return any(field.many_to_one for field in model._meta.concrete_fields)
