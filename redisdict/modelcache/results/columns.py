"""Write rows for the server by their columns: times, numbers and such in forms that are read fast.

The codec brings any value back by a call of a hook each, which for twenty rows with some times in
them takes longer than all the rest. A column in which all values are of one such type is written
in a form that MessagePack has, and the form is told once; so one call reads the whole column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from redisdict.codec.field_forms import FORMS_OF_TYPES

_FORMS = {form.name: form for form in FORMS_OF_TYPES.values()}
_NONE = type(None)

#: How values of a form are read. Those of the standard library's own are C, and are called by it.
_READERS: dict[str, Callable[[Any], Any]] = {
    **{name: form.unpack for name, form in _FORMS.items()},
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "decimal": Decimal,
}


@dataclass(slots=True)
class Columns:
    """The rows of a result.

    Attributes:
        count: how many rows there are; they may have no columns.
        columns: for each the values of all rows.
    """

    count: int
    columns: list[Sequence[Any]]

    def rows(self) -> list[tuple[Any, ...]]:
        """The same by rows."""
        return list(zip(*self.columns, strict=True)) if self.columns else [()] * self.count


def pack_rows(rows: Sequence[Sequence[Any]]) -> list[Any]:
    """Write rows: how many there are, the forms of the columns, and the columns."""
    forms: list[list[Any]] = []
    columns: list[list[Any]] = []
    for position, column in enumerate(zip(*rows, strict=True)):
        kinds = {*map(type, column)}
        has_none = _NONE in kinds
        kinds -= {_NONE}
        form = FORMS_OF_TYPES.get(kinds.pop()) if len(kinds) == 1 else None
        packed = list(column)
        if form is not None:
            packed = [None if value is None else form.pack(value) for value in column]
            if form.name == "datetime" and not {*map(type, packed)} <= {str, _NONE}:
                packed = list(column)  # of a zone that has a name; the codec writes them
            else:
                forms.append([position, form.name, has_none])
        columns.append(packed)
    return [len(rows), forms, columns]


def unpack_columns(stored: Sequence[Any]) -> Columns:
    """Read what `pack_rows()` has written."""
    count, forms, columns = stored
    for position, name, has_none in forms:
        read = _READERS[name]
        if has_none:
            columns[position] = [
                None if value is None else read(value) for value in columns[position]
            ]
        else:
            columns[position] = list(map(read, columns[position]))
    return Columns(count, columns)
