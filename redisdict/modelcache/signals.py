"""Hear of changes by Django's signals, where nothing else tells of them.

What the ORM writes is seen when it is written (`compilers`), with or without signals. A signal that
somebody sends by hand, for a change that went another way, and a change of a many-to-many relation,
which what makes instances may follow, count as changes too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.db import connections, router
from django.db.models import Model
from django.db.models.signals import class_prepared, m2m_changed, post_save

from redisdict.modelcache import relations
from redisdict.modelcache.changes import is_known, note_or_remove
from redisdict.modelcache.interception import watch_of
from redisdict.modelcache.table_names import table_of
from redisdict.modelcache.tables import on_registration

__all__ = ["connect_all"]

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
    """A signal that `save()` sends is about what has just been written; others are by hand."""
    if not isinstance(instance, Model) or not is_known(instance.pk):
        return
    database = _database_of(instance, using)
    watch = watch_of(connections[database])
    written, watch.last_written = watch.last_written, None
    if written is not None:
        table, pks = written
        tables = map(table_of, relations.lineage(sender))
        if table in tables and instance.pk in pks:
            return
    note_or_remove(type(instance), [instance.pk], database)


def _on_m2m_change(
    instance: Any = None,
    model: type[Model] | None = None,
    pk_set: Iterable[Any] | None = None,
    using: str | None = None,
    **_: Any,
) -> None:
    if isinstance(instance, Model):
        database = _database_of(instance, using)
        note_or_remove(type(instance), [instance.pk], database)
        if model is not None:
            note_or_remove(model, pk_set or (), database)


def _database_of(instance: Model, using: str | None) -> str:
    return using or instance._state.db or router.db_for_write(type(instance), instance=instance)


def _on_new_model(sender: type[Model], **_: Any) -> None:
    """A model was made after all others, as tests do."""
    if apps.models_ready and sender._meta.apps is apps:
        relations.forget()
        connect_all()


class_prepared.connect(_on_new_model, dispatch_uid=UID)
on_registration(connect_all)
