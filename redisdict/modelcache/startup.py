"""What a project that has made a `ModelDict` needs once all its models are loaded."""

from __future__ import annotations

from django.apps import apps

from redisdict.modelcache.interception import watch_connections
from redisdict.modelcache.migrating import connect_migrations
from redisdict.modelcache.signals import connect_all

__all__ = ["begin", "begin_if_ready"]

_has_begun = False


def begin() -> None:
    """Have every change of cached rows noticed from now on. Can be called again."""
    global _has_begun
    _has_begun = True
    connect_all()
    connect_migrations()
    watch_connections()


def begin_if_ready() -> None:
    """The same, for a dict that is made after the project's start."""
    if apps.ready and not _has_begun:
        begin()
