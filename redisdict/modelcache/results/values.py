"""Turn cached rows into the results of `values()` and `values_list()`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connections
from django.db.models.query import FlatValuesListIterable, ValuesIterable, ValuesListIterable

from redisdict.modelcache.results.columns import Columns

#: The attribute of a connection: by what has them made, the converters of its columns.
CONVERTERS = "_redisdict_converters"


class Converters:
    """Makes values of fields of those that the database gives, as a compiler does.

    Args:
        columns: the expressions whose values the columns have.
    """

    def __init__(self, columns: Sequence[Any]) -> None:
        self._columns = columns

    def convert(self, columns: list[Sequence[Any]], database: str) -> None:
        """Convert the columns; without rows there are none."""
        if not columns:
            return
        connection = connections[database]
        held = connection.__dict__.get(CONVERTERS)
        if held is None:
            held = connection.__dict__[CONVERTERS] = WeakKeyDictionary()
        found = held.get(self)
        if found is None:  # each connection has its own
            found = held[self] = self._of(connection)
        for position, functions, column in found:
            for function in functions:
                columns[position] = [
                    function(value, column, connection) for value in columns[position]
                ]

    def _of(self, connection: Any) -> list[Any]:
        found = []
        for position, column in enumerate(self._columns):
            of_backend = connection.ops.get_db_converters(column)
            functions = of_backend + column.get_db_converters(connection)
            if functions:
                found.append((position, functions, column))
        return found


def names_of(query: Any) -> list[str]:
    """The names of a query's columns in `values()`."""
    if getattr(query, "selected", None):
        return list(query.selected)
    return [*query.extra_select, *query.values_select, *query.annotation_select]


def _dicts(rows: Columns, names: Sequence[str]) -> list[Any]:
    return [dict(zip(names, row, strict=False)) for row in rows.rows()]


def _tuples(rows: Columns, names: Sequence[str]) -> list[Any]:
    return rows.rows()


def _first(rows: Columns, names: Sequence[str]) -> list[Any]:
    return list(rows.columns[0]) if rows.count else []


#: By Django's class, what makes of rows, whose values are converted, what that gives.
MAKERS: dict[type, Callable[[Columns, Sequence[str]], list[Any]]] = {
    ValuesIterable: _dicts,
    ValuesListIterable: _tuples,
    FlatValuesListIterable: _first,
}
