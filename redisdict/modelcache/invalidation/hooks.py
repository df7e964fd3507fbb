"""Detect every change: watch each database connection, and connect Django's signals.

The ORM's writes are seen when they are made (`compilers`), with or without signals. A signal that
is sent by hand, for a change made in another way, counts as a change too; so does a change of a
many-to-many relation, which code that makes instances may follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.apps import apps
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.signals import class_prepared, m2m_changed, post_save

from redisdict.modelcache import search_paths
from redisdict.modelcache.connection_state import is_in_transaction
from redisdict.modelcache.database_connections import for_each, keep_track
from redisdict.modelcache.invalidation import relations
from redisdict.modelcache.invalidation.compilers import watched_compiler
from redisdict.modelcache.invalidation.cursors import WATCH, watched_cursors
from redisdict.modelcache.invalidation.interception import Watch
from redisdict.modelcache.invalidation.migrations import connect_migrations
from redisdict.modelcache.invalidation.relations import is_known
from redisdict.modelcache.invalidation.transactions import note_or_remove, note_unseen_changes
from redisdict.modelcache.registrations import on_registration

UID = "redisdict.modelcache"


def connect_all() -> None:
    """Listen to the models that concern a registered one. Does nothing until all are loaded."""
    if not apps.models_ready:
        return
    for model in apps.get_models(include_auto_created=True):
        if any(relations.affected_by(one) for one in relations.lineage(model)):
            post_save.connect(_after_save, sender=model, dispatch_uid=UID)
    m2m_changed.connect(_on_m2m_change, dispatch_uid=UID)


def _after_save(
    sender: type[Model], instance: Any = None, using: str | None = None, **_: Any
) -> None:
    """Handle `post_save`: from `save()` the row was just written; others are sent by hand."""
    if not isinstance(instance, Model) or not is_known(pk := instance.pk):
        return
    database = using or _database_of(instance, using)
    watch = watch_of(connections[database])
    if (written := watch.last_written) is not None:
        watch.last_written = None
        table, pks = written
        if pk in pks and table in relations.lineage_tables(sender):
            return
    note_or_remove(type(instance), [pk], database)


def _on_m2m_change(
    instance: Any = None,
    model: type[Model] | None = None,
    pk_set: Iterable[Any] | None = None,
    using: str | None = None,
    **_: Any,
) -> None:
    if isinstance(instance, Model):
        database = _database_of(instance, using)
        # What is written lies in the relation's own table.
        note_or_remove(type(instance), [instance.pk], database, has_moved=False)
        if model is not None:
            note_or_remove(model, pk_set or (), database, has_moved=False)


def _database_of(instance: Model, using: str | None) -> str:
    return using or instance._state.db or router.db_for_write(type(instance), instance=instance)


def _on_new_model(sender: type[Model], **_: Any) -> None:
    """A model was made after all others, as tests do."""
    if apps.models_ready and sender._meta.apps is apps:
        relations.forget()
        connect_all()


_has_begun = False

#: What waits until all models are loaded.
_waiting: list[Callable[[], None]] = []


def when_models_are_ready(declare: Callable[[], None]) -> None:
    """Call a function that needs all models: now, or when they are loaded."""
    if apps.models_ready:
        declare()
    else:
        _waiting.append(declare)


def begin() -> None:
    """Detect every change of cached rows from now on. Can be called again."""
    global _has_begun
    _has_begun = True
    while _waiting:
        _waiting.pop(0)()
    connect_all()
    connect_migrations()
    # All of the process: those that there are, and each when it is made.
    keep_track()
    for_each(_watch_late)


def begin_if_ready() -> None:
    """The same, for a dict that is made after all models are loaded, as in an app's `ready()`."""
    if apps.models_ready and not _has_begun:
        begin()


# Each connection's statements.


def watch_of(connection: BaseDatabaseWrapper) -> Watch:
    """The watch of a connection; it is given one if it has none."""
    watch: Watch | None = connection.__dict__.get(WATCH)
    if watch is None:
        watch = Watch(connection)
        _install(connection, watch)
    elif watch.execute not in connection.execute_wrappers:  # somebody has replaced the list
        connection.execute_wrappers.insert(0, watch.execute)
    return watch


def _watch_late(connection: BaseDatabaseWrapper) -> None:
    """Watch a connection. What it has done in a transaction under way wasn't seen."""
    is_new = WATCH not in connection.__dict__
    watch_of(connection)
    if is_new:
        search_paths.note_unseen(connection)
    if is_new and is_in_transaction(connection) and connection.connection is not None:
        note_unseen_changes(connection)


def _install(connection: BaseDatabaseWrapper, watch: Watch) -> None:
    # First, so that whoever adds a wrapper for a while takes away the own one: the last.
    connection.execute_wrappers.insert(0, watch.execute)
    compiler = connection.ops.compiler
    attributes: dict[str, Any] = {
        WATCH: watch,
        "make_cursor": watched_cursors(connection, "make_cursor"),
        "make_debug_cursor": watched_cursors(connection, "make_debug_cursor"),
    }
    connection.__dict__.update(attributes)
    connection.ops.__dict__["compiler"] = lambda name: watched_compiler(compiler(name))  # type: ignore[arg-type]  # a class is hashable


class_prepared.connect(_on_new_model, dispatch_uid=UID)
on_registration(connect_all)
