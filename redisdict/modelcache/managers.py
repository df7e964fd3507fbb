"""The manager and the queryset of cached models."""

from __future__ import annotations

from typing import TypeVar

from django.db import models

__all__ = ["CachedManager", "CachedQuerySet"]

M = TypeVar("M", bound=models.Model)


class CachedQuerySet(models.QuerySet[M]):
    """Django's queryset. What it changes is seen below it, like that of every other queryset."""


class CachedManager(models.Manager.from_queryset(CachedQuerySet)[M]):  # type: ignore[misc]  # made at run time
    """The manager of `CachedQuerySet`. No model needs it in order to be cached."""
