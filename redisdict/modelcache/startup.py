"""What a project that has made a `ModelDict` needs once all its models are loaded."""

from __future__ import annotations

from django.core.checks import register

from redisdict.modelcache.checks import check_cached_models
from redisdict.modelcache.signals import connect_all

__all__ = ["begin"]


def begin() -> None:
    connect_all()
    register(check_cached_models, "redisdict")
