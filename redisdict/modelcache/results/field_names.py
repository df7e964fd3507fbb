"""Give each field that a query uses a unique name."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from django.db.models import ForeignKey
from django.db.models.fields.reverse_related import ForeignObjectRel

__all__ = ["PLAIN", "FieldName", "Unknown", "name_of_field"]

#: Classes of values that say all about themselves.
PLAIN = (str, int, float, bytes, type(None))


class Unknown(Exception):
    """An object isn't known well enough to be described."""


class FieldName:
    """Stands for one field in shapes: no other has the same one."""

    __slots__ = ("field", "text")

    def __init__(self, field: Any, text: str) -> None:
        self.field = field
        self.text = text


#: By the identity of a field, which stands in it, so that no other gets it.
_field_names: dict[int, FieldName] = {}
MOST_FIELDS = 20_000


def name_of_field(field: Any) -> Hashable:
    """Name a field, or a relation to a model by one.

    Raises:
        Unknown: it isn't Django's own, so its effect on a value isn't known.
    """
    known = _field_names.get(id(field))
    if known is not None:
        return known
    if not _is_of_django(field):
        raise Unknown
    if isinstance(field, ForeignObjectRel):
        return type(field), field.model, field.related_model, name_of_field(field.field)
    model = getattr(field, "model", None)
    if model is None:
        return _unbound(field)
    text = f"{model._meta.label}.{field.name} {model._meta.db_table}.{field.column} {type(field)!r}"
    if len(_field_names) >= MOST_FIELDS:
        _field_names.clear()
    named = _field_names[id(field)] = FieldName(field, text)
    return named


def _unbound(field: Any) -> Hashable:
    """Name a field without a model, such as an expression's, by its arguments."""
    _, _, arguments, options = field.deconstruct()
    if arguments or not all(type(one) in PLAIN or type(one) is bool for one in options.values()):
        raise Unknown
    return type(field), tuple(sorted((name, repr(one)) for name, one in options.items()))


def _is_of_django(field: Any) -> bool:
    """Whether a field, and those that it asks how to write a value, are Django's own."""
    if type(field).__module__.partition(".")[0] != "django":
        return False
    if isinstance(field, ForeignObjectRel):
        return True
    base = getattr(field, "base_field", None)
    if base is not None and not _is_of_django(base):
        return False
    if isinstance(field, ForeignKey):
        return _is_of_django(field.target_field)
    return not getattr(field, "encoder", None) and not getattr(field, "decoder", None)
