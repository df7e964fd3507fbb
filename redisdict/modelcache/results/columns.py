"""Write rows for the server by their columns: times, numbers and such in forms that are read fast.

The codec brings any value back by a call of a hook each, which for twenty rows with some times in
them takes longer than all the rest. A column in which all values are of one such type is written
in a form that MessagePack has, and the form is told once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redisdict.codec.field_forms import FORMS_OF_TYPES

_FORMS = {form.name: form for form in FORMS_OF_TYPES.values()}
_NONE = type(None)


def pack_rows(rows: Sequence[Sequence[Any]]) -> list[Any]:
    """Write rows: the forms of their columns by position, and the rows."""
    forms: list[list[Any]] = []
    packed = [list(row) for row in rows]
    for position, column in enumerate(zip(*packed, strict=True)):
        kinds = {*map(type, column)} - {_NONE}
        form = FORMS_OF_TYPES.get(kinds.pop()) if len(kinds) == 1 else None
        if form is not None:
            forms.append([position, form.name])
            for row in packed:
                if row[position] is not None:
                    row[position] = form.pack(row[position])
    return [forms, packed]


def unpack_rows(stored: Sequence[Any]) -> list[list[Any]]:
    """Read what `pack_rows()` has written. The rows in it are changed."""
    forms, rows = stored
    for position, name in forms:
        unpack = _FORMS[name].unpack
        for row in rows:
            value = row[position]
            if value is not None:
                row[position] = unpack(value)
    return rows  # type: ignore[no-any-return]  # they are lists of lists
