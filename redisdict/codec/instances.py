"""Take model instances apart into their field values, and make them again by `Model.from_db`.

No pickle: the stored list holds the model's label, a fingerprint of its fields, the database alias
and the values that a `SELECT` would have given. Cached relations, prefetched lists and annotations
are not fields and are left out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any, Final

from django.apps import apps
from django.core.files import File
from django.db.models import Field, FileField, Model
from django.db.models.fields.files import FieldFile

from redisdict.codec.normalize import Unstorable
from redisdict.exceptions import DeserializationError

_FINGERPRINT_BYTES: Final = 8
_HEADER: Final = ("label", "fingerprint", "database", "adding", "loaded")


class ModelChanged(DeserializationError):
    """A stored instance belongs to a model that has other fields by now, or is gone."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """The properties of a model that must not change between writing and reading an instance."""

    attnames: tuple[str, ...]
    file_attnames: frozenset[str]
    fingerprint: bytes


@cache
def _shape_of(model: type[Model]) -> _Shape:
    fields = model._meta.concrete_fields
    return _Shape(
        attnames=tuple(field.attname for field in fields),
        file_attnames=frozenset(f.attname for f in fields if isinstance(f, FileField)),
        fingerprint=fingerprint_of(map(describe_field, fields)),
    )


def describe_field(field: "Field[Any, Any]", *form: str) -> str:
    """Describe which values a column can hold, and in which `form` they are stored.

    Labels, defaults and validators do not.
    """
    kind = type(field)
    parts = (
        field.attname,
        f"{kind.__module__}.{kind.__qualname__}",
        *form,
        field.null,
        field.max_length,
        getattr(field, "max_digits", None),
        getattr(field, "decimal_places", None),
    )
    return " ".join(map(str, parts))


def fingerprint_of(lines: Iterable[str]) -> bytes:
    """Return the bytes by which a description of a model's fields is stored."""
    return blake2b("\n".join(lines).encode(), digest_size=_FINGERPRINT_BYTES).digest()


def part_names(instance: Model) -> Iterator[str]:
    """Yield the name of each part of an instance, in the order of `take_apart`."""
    shape = _shape_of(type(instance))
    yield from _HEADER
    yield from (name for name in shape.attnames if name in instance.__dict__)


def take_apart(instance: Model) -> list[Any]:
    """Return the parts of an instance: label, fingerprint, database, adding, loaded, values.

    `loaded` is None, or the names of the fields present when others are deferred.
    """
    model = type(instance)
    shape = _shape_of(model)
    state = instance._state
    held = instance.__dict__
    loaded = [name for name in shape.attnames if name in held]
    values = [held[name] for name in loaded]
    if shape.file_attnames:
        values = [
            _file_name(name, value) if name in shape.file_attnames else value
            for name, value in zip(loaded, values, strict=True)
        ]
    return [
        model._meta.label,
        shape.fingerprint,
        state.db,
        state.adding,
        None if len(loaded) == len(shape.attnames) else loaded,
        *values,
    ]


def put_together(parts: list[Any]) -> Model:
    """Return the instance again; raises `ModelChanged` if its model has other fields by now."""
    label, stored_fingerprint, database, adding, loaded, *values = parts
    try:
        model: type[Model] = apps.get_model(label)
    except LookupError as error:
        raise ModelChanged(
            f"A stored instance of {label} can't be read: no installed app has this model. "
            "Delete the item, or store it again."
        ) from error
    shape = _shape_of(model)
    if stored_fingerprint != shape.fingerprint:
        raise ModelChanged(
            f"A stored instance of {label} can't be read: the model's fields have changed since "
            "it was written. Store it again from the database."
        )
    names = shape.attnames if loaded is None else loaded
    if len(names) != len(values):
        raise DeserializationError(f"A stored instance of {label} is damaged.")
    instance: Model = model.from_db(database, names, values)
    instance._state.adding = adding
    return instance


def _file_name(attname: str, value: Any) -> Any:
    """Return the text that the column of a file field has for this value."""
    if isinstance(value, FieldFile) and value._committed:  # type: ignore[attr-defined]  # no stub
        return value.name
    if isinstance(value, File):
        raise Unstorable(
            f"the file {value.name!r} of the field {attname!r} isn't saved yet: save the instance "
            "first"
        )
    return value
