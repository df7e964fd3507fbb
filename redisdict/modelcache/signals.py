"""Django's signals, translated into rows that change.

Receivers are connected for the models concerned and no others: a receiver of `pre_delete` makes
Django load what it deletes, which nobody else should pay for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.models import Model
from django.db.models.signals import (
    class_prepared,
    m2m_changed,
    post_migrate,
    post_save,
    pre_delete,
    pre_save,
)

from redisdict.modelcache import relations
from redisdict.modelcache.announcing import Rows, announce_save, finish_save, remove
from redisdict.modelcache.locking import lock_row
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.tables import cached_models, on_registration
from redisdict.modelcache.transactions import MOST_ROWS, is_in_transaction, note_changes

__all__ = ["connect_all", "note_or_remove", "note_rows", "rows_of"]

UID = "redisdict.modelcache"


def connect_all() -> None:
    """Listen to every model that concerns a registered one. Does nothing until all are loaded."""
    if apps.models_ready:
        for model in apps.get_models(include_auto_created=True):
            _connect(model)
        m2m_changed.connect(_on_m2m_change, dispatch_uid=UID)
        post_migrate.connect(
            _after_migrate, sender=apps.get_app_config("redisdict"), dispatch_uid=UID
        )


def rows_of(model: type[Model], pks: Iterable[Any], database: str) -> list[Rows]:
    """The cached rows that are made of these rows of `model`."""
    pks = [pk for pk in pks if _is_known(pk)]
    return [
        (table, table.keys(relations.related_pks(cached.model, model, pks, database)))
        for cached in relations.affected_by(model)
        for table in (cached.table(database),)
        if pks
    ]


def note_rows(model: type[Model], pks: Iterable[Any], database: str) -> None:
    """In a transaction whose commit makes these rows of `model` old."""
    for table, keys in rows_of(model, pks, database):
        note_changes(table, keys)


def _connect(model: type[Model]) -> None:
    if relations.affected_by(model):
        pre_save.connect(_before_save, sender=model, dispatch_uid=UID)
        post_save.connect(_after_save, sender=model, dispatch_uid=UID)
    if relations.affected_by(model) or relations.dependents_of(model):
        pre_delete.connect(_before_delete, sender=model, dispatch_uid=UID)


def _before_save(sender: type[Model], instance: Model, using: str, **_: Any) -> None:
    if is_in_transaction(connections[using]):
        note_rows(sender, [instance.pk], using)
    else:
        announce_save(instance._state, rows_of(sender, [instance.pk], using))


def _after_save(sender: type[Model], instance: Model, using: str, **_: Any) -> None:
    if is_in_transaction(connections[using]):
        note_rows(sender, [instance.pk], using)  # a new row has its primary key by now
    else:
        finish_save(instance._state, rows_of(sender, [instance.pk], using))


def _before_delete(sender: type[Model], instance: Model, using: str, **_: Any) -> None:
    """Sent in the transaction that deletes."""
    note_rows(sender, [instance.pk], using)
    for cached, lookup in relations.dependents_of(sender):
        # Nobody can point at it from now on.
        lock_row(instance, using)
        table = cached.table(using)
        rows = cached.model._base_manager.using(using).filter(**{lookup: instance})
        pks = list(rows.values_list("pk", flat=True)[: MOST_ROWS + 1])
        note_changes(table, table.keys(pks) if len(pks) <= MOST_ROWS else [table.cells.table])


def _on_m2m_change(
    instance: Model, model: type[Model], pk_set: Iterable[Any] | None, using: str, **_: Any
) -> None:
    """A row doesn't hold the relation, but what makes instances of it may follow it."""
    note_or_remove(type(instance), [instance.pk], using)
    note_or_remove(model, pk_set or (), using)


def note_or_remove(model: type[Model], pks: Iterable[Any], database: str) -> None:
    """Rows of `model` are changed: by this transaction, or for all to see when there is none."""
    if is_in_transaction(connections[database]):
        note_rows(model, pks, database)
    else:
        remove(rows_of(model, pks, database))


def _after_migrate(using: str, plan: Sequence[Any] | None = None, **_: Any) -> None:
    """Migrations change rows without signals; `flush`, which has no plan, removes them."""
    if plan is None or plan:
        for cached in cached_models():
            table = cached.table(using)
            with contextlib.suppress(*UNREACHED):  # it is logged
                remove([(table, [table.cells.table])])


def _on_new_model(sender: type[Model], **_: Any) -> None:
    """A model was made after all others, as tests do."""
    if apps.models_ready and sender._meta.apps is apps:
        relations.forget()
        connect_all()


def _is_known(pk: Any) -> bool:
    """Whether a primary key has its value: an unsaved row's may come from the database."""
    if isinstance(pk, tuple):
        return all(map(_is_known, pk))
    return pk is not None and not hasattr(pk, "resolve_expression")


class_prepared.connect(_on_new_model, dispatch_uid=UID)
on_registration(connect_all)
