"""Which rows a change concerns, as far as it can be told without asking the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model, QuerySet
from django.db.models.expressions import Col
from django.db.models.lookups import Exact, In
from django.db.models.sql.where import AND

__all__ = ["changes_pk", "lockable", "named_pks"]


def named_pks(rows: QuerySet[Any]) -> Sequence[Any] | None:
    """Primary keys that a filter such as `pk=1` or `pk__in=[1, 2]` names: no other row is chosen.

    Other conditions may choose fewer. None when the filter doesn't name any.
    """
    where = rows.query.where
    if where.connector != AND or where.negated:
        return None
    for condition in where.children:
        if not isinstance(condition, Exact | In) or not condition.rhs_is_direct_value():
            continue
        column = condition.lhs
        if not isinstance(column, Col) or column.alias != rows.query.base_table:
            continue
        if column.target is rows.model._meta.pk:
            return list(condition.rhs) if isinstance(condition, In) else [condition.rhs]
    return None


def changes_pk(model: type[Model], names: Iterable[str]) -> bool:
    """Whether fields of these names are, or belong to, the primary key of a model or a parent."""
    for name in names:
        try:
            field: Any = model._meta.get_field(name)
        except FieldDoesNotExist:
            continue  # Django will say so
        owner = field.model._meta
        if field in (owner.pk, *getattr(owner.pk, "fields", ())):
            return True
    return False


def lockable(rows: QuerySet[Any]) -> QuerySet[Any]:
    """The same rows, by a query that the database can lock them with."""
    if rows.query.group_by is None and not rows.query.distinct:
        return rows.order_by()
    chosen: QuerySet[Any] = rows.model._base_manager.using(rows.db)
    return chosen.filter(pk__in=rows.values("pk"))
