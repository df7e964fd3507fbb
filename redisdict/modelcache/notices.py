"""Parse the notifications of triggers: which rows of which tables have changed.

Whatever can't be parsed for certain counts as a change of the whole table, or, where not even that
is told, of all tables. A listener that doesn't understand removes too much, and goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import connections, models

__all__ = ["Changes", "parse"]


@dataclass(slots=True)
class Changes:
    """Changed rows, by table.

    Attributes:
        pks: primary keys of rows.
        whole: tables all of whose rows count as changed.
        is_everything: whether all rows of all tables do.
    """

    pks: dict[str, list[Any]] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    is_everything: bool = False


def parse(
    notices: Iterable[str], watched: Mapping[str, type[models.Model]], database: str
) -> Changes:
    """Parse notifications: JSON lists of a table and the values of its primary key's columns.

    Args:
        watched: the models of the tables that are of interest.
        database: the alias of DATABASES that they come from.
    """
    changes = Changes()
    for notice in notices:
        try:
            # As a float a number might be another one.
            told = json.loads(notice, parse_float=Decimal)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, list) or not told or not isinstance(told[0], str):
            changes.is_everything = True
        elif (model := watched.get(told[0])) is not None:
            try:
                pk = _pk(model, told[1:], database)
            except Exception:  # noqa: BLE001  # a field of somebody's own may raise anything
                changes.whole.add(told[0])
            else:
                changes.pks.setdefault(told[0], []).append(pk)
    return changes


def _pk(model: type[models.Model], key: list[Any], database: str) -> Any:
    pk: Any = model._meta.pk
    parts = getattr(pk, "fields", None)
    columns = parts or (pk,)
    if len(key) != len(columns):
        raise ValueError("this is no primary key")
    values = [_value(one, text, database) for one, text in zip(columns, key, strict=True)]
    if None in values:
        raise ValueError("this is no primary key")
    return tuple(values) if parts else values[0]


def _value(field: models.Field[Any, Any], told: Any, database: str) -> Any:
    """The value of a column from the form that `to_jsonb()` gives it."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    if told is None or isinstance(told, list | dict):
        raise ValueError("this is no key")
    if isinstance(field, models.BinaryField):
        if not told.startswith("\\x"):
            raise ValueError("these bytes aren't written as bytea_output = hex does")
        return bytes.fromhex(told[2:])
    if isinstance(field, models.FloatField):
        return float(told)
    if isinstance(field, models.IntegerField) and type(told) is not int:
        raise ValueError("this is no integer")
    if hasattr(field, "from_db_value"):
        return field.from_db_value(told, None, connections[database])
    return field.to_python(told)
