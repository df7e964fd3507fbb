"""From changed rows of some model to the cells of cached rows that are old by that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from redisdict.modelcache import relations
from redisdict.modelcache.announcing import Rows, remove
from redisdict.modelcache.connection_state import is_in_transaction, may_have_ended
from redisdict.modelcache.transactions import note_changes

__all__ = ["is_known", "note_or_remove", "note_or_remove_all", "rows_of", "rows_of_table"]


def rows_of(model: type[Model], pks: Iterable[Any], database: str) -> list[Rows]:
    """The cached rows that are made of these rows of `model`, in its table or its parents'."""
    pks = list(pks)
    found: dict[Any, set[bytes]] = {}
    for one in relations.lineage(model):
        own = relations.parent_pks(model, one, pks, database)
        for table, keys in rows_of_table(one, own, connections[database]):
            found.setdefault(table, set()).update(keys)
    return [(table, sorted(keys)) for table, keys in found.items()]


def rows_of_table(
    model: type[Model], pks: Iterable[Any], connection: BaseDatabaseWrapper
) -> list[Rows]:
    """The cached rows that have parts in these rows of the model's own table."""
    pks = [pk for pk in pks if is_known(pk)]
    if not pks:
        return []
    found: list[Rows] = []
    for cached in relations.affected_by(model):
        table = cached.table_of(connection)
        own = relations.related_pks(cached.model, model, pks, connection.alias)
        found.append((table, [table.cells.table] if own is None else table.keys(own)))
    return found


def note_or_remove(model: type[Model], pks: Iterable[Any], database: str) -> None:
    """Rows of `model` are changed: by this transaction, or for all to see when there is none."""
    _note_or_remove(rows_of(model, pks, database), database)


def note_or_remove_all(model: type[Model], database: str) -> None:
    """All rows of `model` are changed, and with them those that have parts in its tables."""
    cached = {
        id(each): each for one in relations.lineage(model) for each in relations.affected_by(one)
    }
    tables = [each.table_of(connections[database]) for each in cached.values()]
    _note_or_remove([(table, [table.cells.table]) for table in tables], database)


def _note_or_remove(rows: list[Rows], database: str) -> None:
    connection = connections[database]
    is_open = is_in_transaction(connection)
    if is_open:
        for table, keys in rows:
            note_changes(connection, table, keys)
    if not is_open or may_have_ended(connection):
        remove(rows)


def is_known(pk: Any) -> bool:
    """Whether a primary key has its value: an unsaved row's may come from the database."""
    if isinstance(pk, tuple):
        return all(map(is_known, pk))
    return pk is not None and not hasattr(pk, "resolve_expression")
