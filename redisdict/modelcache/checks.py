"""System checks of cached models."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info
from django.core.checks import Warning as CheckWarning

from redisdict.exceptions import ConfigurationError
from redisdict.modelcache.cached_models import CachedModel, cached_models

__all__ = ["check_cached_models"]


def check_cached_models(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Look at every model that has a `ModelDict`."""
    _import_views()
    return [message for cached in cached_models() for message in _check_registration(cached)]


def _import_views() -> None:
    """A dict may be made where the URLs lead to. What fails there Django's own check reports."""
    with contextlib.suppress(Exception):
        import_module(settings.ROOT_URLCONF)


def _check_registration(cached: CachedModel) -> Iterator[CheckMessage]:
    model = cached.model
    label = model._meta.label
    try:
        cached.backend()
    except ConfigurationError as error:
        yield Error(f"The ModelDict of {label}: {error}", id="redisdict.E101", obj=model)
    if not model._meta.managed:
        yield Info(
            f"{label} has a ModelDict, and its table isn't managed by Django. What another program"
            " changes there goes unnoticed.",
            hint="If there is such a program, have it followed by the dict's invalidate() or"
            " clear(), or see `manage.py modeldict`.",
            id="redisdict.W103",
            obj=model,
        )
    if cached.made_at:
        yield CheckWarning(
            f"The ModelDict of {label} is made in {cached.made_at}. A process that doesn't import"
            " that module changes rows without telling the others.",
            hint="Make it in models.py, or in dicts.py of an installed app: both are imported in"
            " every process, at its start.",
            id="redisdict.W104",
            obj=model,
        )
