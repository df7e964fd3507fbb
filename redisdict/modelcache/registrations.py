"""Register the models that are cached.

A model has several registrations, each shared by any number of `ModelDict`s:

- one for each alias of REDISDICT whose server keeps its rows, and each choice of excluded fields;
- one for its table as a whole, if results are computed from it: then there are no rows on the
  server, and any change is one of the table;
- one for each field by which lists of its rows are cached: their cells are named by values, as
  those of rows are by primary keys.

In place of rows or lists, the cells may have versions, on which results depend.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import PurePath
from types import FrameType

from django.apps import apps
from django.db import models

from redisdict import forks
from redisdict.connections import registry
from redisdict.connections.backend import Backend
from redisdict.modelcache.cached_models import CachedModel
from redisdict.modelcache.members import Members
from redisdict.modelcache.options import Options

logger = logging.getLogger("redisdict")

#: The model, the alias, what is excluded, whether it is a whole, what is listed, the shards, and
#: whether there are versions alone.
Registration = tuple[
    type[models.Model], str | Backend, tuple[str, ...], bool, Members | None, int | None, bool
]

_registered: dict[Registration, CachedModel] = {}
_lock = forks.Lock()
_listeners: list[Callable[[], None]] = []


def register(
    model: type[models.Model],
    using: str | Backend,
    options: Options,
    *,
    is_whole: bool = False,
    is_version: bool = False,
    members: Members | None = None,
) -> CachedModel:
    """Detect changes of the model from now on, for ever.

    Of several registrations with the same `exclude` the strictest and the longest barrier count.
    """
    with _lock:
        exclude = () if members else options.exclude
        shards = None if is_whole else options.shards
        key = (model, using, exclude, is_whole, members, shards, is_version)
        cached = _registered.get(key)
        if cached is None:
            cached = _registered[key] = CachedModel(
                model, using, exclude, is_whole, members, shards, is_version
            )
            if apps.ready:
                cached.made_at = calling_place(("redisdict.",))
                logger.warning(LATE, cached.kind, cached.made_at)
        cached.is_strict |= options.strict
        cached.barrier_ms = max(cached.barrier_ms, options.barrier_ms)
        cached.is_near_strict |= options.is_near_strict
        # A row that is new changes results: its insertion is announced before it is visible.
        is_of_results = is_whole or is_version
        cached.believes_absence |= options.absent_timeout is not None or is_of_results
    for listener in _listeners:
        listener()
    return cached


#: Of `CachedModel.kind` and a place.
LATE = (
    "%s is made in %s, after the project's start. A process that doesn't run that line changes"
    " rows without announcing it: make it in models.py, or in dicts.py of an installed app."
)


def cached_models() -> list[CachedModel]:
    """All registered models."""
    return list(_registered.values())


def on_registration(listener: Callable[[], None]) -> None:
    """Call `listener` whenever a model has been registered."""
    _listeners.append(listener)


def _forget_all_tables() -> None:
    for cached in cached_models():
        cached.forget_tables()


registry.on_reset(_forget_all_tables)


#: Names at the end of a path that tell a file from others.
TELLING_PARTS = 3


def calling_place(below: tuple[str, ...]) -> str:
    """The file and line that called, such as "shop/views.py:42"; with three names of its path.

    Args:
        below: how the names of modules begin whose frames aren't looked for.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(below):
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    parts = PurePath(frame.f_code.co_filename).parts
    return f"{'/'.join(parts[-TELLING_PARTS:])}:{frame.f_lineno}"
