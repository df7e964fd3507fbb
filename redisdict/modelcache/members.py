"""Define the cached lists of rows, by the value of a field, and write them as bytes.

A cell for each value has the primary keys of the rows with that value, or for a many-to-many
relation the keys to which these rows refer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models

from redisdict.codec import messagepack
from redisdict.exceptions import DeserializationError, SerializationError

#: Before a list, so that none is so short as what a cell may hold instead.
MARK = b"M"


@dataclass(frozen=True, slots=True)
class Members:
    """Lists of rows that have the same value of a field.

    Attributes:
        by: the field's attribute.
        gives: the attribute whose value a list has for each row.
        order: the list's order, as arguments of `order_by()`; rows equal in that are ordered by
            their primary key.
    """

    by: str
    gives: str = "pk"
    order: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A description, by which its keys on the server are named."""
        giving = "" if self.gives == "pk" else f" giving {self.gives}"
        ordered = f" ordered by {', '.join(self.order)}" if self.order else ""
        return f"by {self.by}{giving}{ordered}"

    def field(self, model: type[models.Model]) -> models.Field[Any, Any]:
        """The field by whose values the lists are kept."""
        return by_attribute(model, self.by)

    def fields(self, model: type[models.Model]) -> list[models.Field[Any, Any]]:
        """All fields on which a list depends, beside the primary key."""
        names = [self.by, self.gives, *(name.lstrip("-") for name in self.order)]
        return [by_attribute(model, name) for name in dict.fromkeys(names) if name != "pk"]


def by_attribute(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    """The field of a name, or of an attribute such as "category_id"."""
    return next(
        field for field in model._meta.concrete_fields if name in (field.attname, field.name)
    )


def write_members(members: Sequence[Any]) -> bytes | None:
    """The body of a list; None when it has none."""
    try:
        return MARK + messagepack.dumps(list(members))
    except SerializationError:
        return None


def read_members(body: bytes) -> list[Any] | None:
    """Read the list that `write_members()` wrote; None when these bytes are none."""
    try:
        found = messagepack.loads(body[len(MARK) :])
    except DeserializationError:
        return None
    return found if isinstance(found, list) else None
