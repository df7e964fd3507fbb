"""Write rows column by column, with times, numbers and the like in forms that are read fast.

The codec calls a hook for each value that MessagePack lacks, which for twenty rows with some times
takes longer than all the rest. A column whose values all have one such type is written in a form
that MessagePack has, and the form is named once; so one call reads the whole column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import repeat
from typing import Any
from uuid import UUID, SafeUUID

from redisdict.codec.extensions import unpack_uuid
from redisdict.codec.field_forms import FORMS_OF_TYPES

_NONE = type(None)

#: Types without a form of which a column may repeat; 0.0 and -0.0 are equal, and must not be one.
REPEATED = frozenset([str, int, bool])

UUID_BYTES = 16

#: So many values of a column have a byte each to tell them by.
MOST_PLACES = 256


def _read_uuids(
    column: Sequence[bytes],
    put_number: Callable[..., None] = UUID.__dict__["int"].__set__,
    put_safety: Callable[..., None] = UUID.__dict__["is_safe"].__set__,
) -> list[UUID]:
    """Read each as `unpack_uuid()` does, in functions of C alone."""
    if {*map(len, column)} != {UUID_BYTES}:
        return list(map(unpack_uuid, column))
    made = list(map(UUID.__new__, repeat(UUID, len(column))))
    for _ in map(put_number, made, map(int.from_bytes, column)):
        pass
    for _ in map(put_safety, made, repeat(SafeUUID.unknown)):
        pass
    return made


#: How columns of a form are read: by functions that are C, and called by it.
_READERS: dict[str, Callable[[Sequence[Any]], list[Any]]] = {
    "datetime": lambda column: list(map(datetime.fromisoformat, column)),
    "date": lambda column: list(map(date.fromisoformat, column)),
    "decimal": lambda column: list(map(Decimal, column)),
    "uuid": _read_uuids,
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
    """Write rows: how many there are, the forms of the columns, which repeat, and the columns.

    Of a column that has each value twice or more, as those of joined rows have, the values are
    written once, before them for each row which one it is.
    """
    forms: list[list[Any]] = []
    repeating: list[int] = []
    columns: list[Any] = []
    for position, column in enumerate(zip(*rows, strict=True)):
        kinds = {*map(type, column)}
        has_none = _NONE in kinds
        kinds -= {_NONE}
        kind = kinds.pop() if len(kinds) == 1 else None
        form = None if kind is None else FORMS_OF_TYPES.get(kind)
        packed = list(column)
        if form is not None:
            packed = [None if value is None else form.pack(value) for value in column]
            if form.name == "datetime" and not {*map(type, packed)} <= {str, _NONE}:
                packed, form = list(column), None  # of a zone that has a name; the codec writes it
            else:
                forms.append([position, form.name, has_none])
        if form is not None or kind in REPEATED:
            places = {value: place for place, value in enumerate(dict.fromkeys(packed))}
            if 2 * len(places) <= len(packed) and len(places) <= MOST_PLACES:
                repeating.append(position)
                packed = [bytes([places[value] for value in packed]), list(places)]
        columns.append(packed)
    return [len(rows), forms, repeating, columns]


def unpack_columns(stored: Sequence[Any]) -> Columns:
    """Read the bytes of `pack_rows()`."""
    count, forms, repeating, columns = stored
    places = {}
    for position in repeating:
        places[position], columns[position] = columns[position]
    for position, name, has_none in forms:
        read, column = _READERS[name], columns[position]
        if has_none:
            known = iter(read([value for value in column if value is not None]))
            columns[position] = [None if value is None else next(known) for value in column]
        else:
            columns[position] = read(column)
    for position, of_rows in places.items():
        columns[position] = list(map(columns[position].__getitem__, of_rows))
    return Columns(count, columns)
