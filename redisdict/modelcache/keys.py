"""From the value of a unique field to the part of a key that stands for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from redisdict.mapping.names import encode_text

__all__ = ["KeyForm"]

INTEGERS = (models.IntegerField,)  # the auto fields among them


class KeyForm:
    """How values of one field are written in keys: different values differently, equal ones alike.

    Args:
        field: the primary key, a composite one too, or another unique field.
    """

    def __init__(self, field: models.Field[Any, Any]) -> None:
        self._field = field
        parts = getattr(field, "fields", None)
        self._parts = [KeyForm(part) for part in parts] if parts else None
        while isinstance(field, models.ForeignKey):
            field = field.target_field
        self._to_python: Callable[[Any], Any] = field.to_python
        self._is_integer = isinstance(field, INTEGERS)

    def encode(self, value: Any) -> bytes:
        """The bytes of a value, also of one that the field would make its own, such as "42".

        Raises:
            TypeError: the field has no such value.
        """
        if type(value) is int and self._is_integer:
            return b"%d" % value
        if self._parts is not None:
            return self._encode_parts(self._parts, value)
        try:
            own = (
                None if value is None or isinstance(value, models.Model) else self._to_python(value)
            )
        except ValidationError:
            own = None
        if own is None:
            raise TypeError(
                f"{value!r:.80} is {type(value).__name__}; a value of {self._field} is expected."
            )
        if isinstance(own, int):
            return b"%d" % own
        return encode_text(str(own))

    def _encode_parts(self, parts: list[KeyForm], value: Any) -> bytes:
        if not isinstance(value, tuple | list) or len(value) != len(parts):
            raise TypeError(
                f"{value!r:.80} is {type(value).__name__}; a tuple of {len(parts)} values is"
                f" expected, for {self._field}."
            )
        encoded = (part.encode(item) for part, item in zip(parts, value, strict=True))
        return b",".join(item.replace(b"%", b"%25").replace(b",", b"%2C") for item in encoded)
