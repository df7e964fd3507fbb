"""Which rows a change concerns, as far as it can be told without asking the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import QuerySet
from django.db.models.expressions import Col
from django.db.models.lookups import Exact, In
from django.db.models.sql import Query
from django.db.models.sql.where import AND

__all__ = ["changes_keys", "lockable", "named_pks"]


def named_pks(query: Query) -> Sequence[Any] | None:
    """Primary keys that a filter such as `pk=1` or `pk__in=[1, 2]` names: no other row is chosen.

    Other conditions may choose fewer. None when the filter doesn't name any.
    """
    where = query.where
    if where.connector != AND or where.negated:
        return None
    for condition in where.children:
        if not isinstance(condition, Exact | In) or not condition.rhs_is_direct_value():
            continue
        column = condition.lhs
        if not isinstance(column, Col) or column.alias != query.base_table:
            continue
        if column.target is query.get_meta().pk:
            return list(condition.rhs) if isinstance(condition, In) else [condition.rhs]
    return None


def changes_keys(fields: Iterable[Any]) -> bool:
    """Whether foreign keys may point at one of these fields."""
    return any(
        field.primary_key or field.unique or field.model._meta.total_unique_constraints
        for field in fields
    )


def lockable(rows: QuerySet[Any]) -> QuerySet[Any]:
    """The same rows, by a query that the database can lock them with."""
    query = rows.query
    has_windows = any(
        getattr(each, "contains_over_clause", False) for each in query.annotations.values()
    )
    if query.group_by is None and not query.distinct and not has_windows:
        return rows.order_by()
    chosen: QuerySet[Any] = rows.model._base_manager.using(rows.db)
    return chosen.filter(pk__in=rows.values("pk"))
