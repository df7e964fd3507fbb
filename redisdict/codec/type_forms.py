"""Register the types of a project, so that their values come back with their type.

Enums, dataclasses, named tuples, `OrderedDict` and responses have a known form; other types need
two functions.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Mapping
from enum import Enum, Flag
from functools import cached_property, partial
from importlib import import_module
from inspect import getattr_static
from typing import Any, Final, TypeVar, overload

from django.utils.functional import cached_property as django_cached_property

from redisdict.codec.extensions import (
    LEAVES,
    SCALAR_OF_TYPE,
    alternate,
    own_container_of,
    pair_up,
    steps_by_alternate_keys,
    steps_by_number,
)
from redisdict.codec.normalize import Unstorable
from redisdict.codec.registry import TypeForm, add_form, attribute_steps
from redisdict.exceptions import ConfigurationError, DeserializationError

T = TypeVar("T")
Kind = TypeVar("Kind", bound=type)

#: `take_apart`, `put_together` and `steps` of a form.
_Functions = tuple[Callable[[Any], list[Any]], Callable[[list[Any]], Any], Callable[[Any], Any]]

_DJANGO_FORMS: Final = "redisdict.codec.django_forms"
_NATIVE_TYPES: Final = LEAVES | {list, bytearray, memoryview}
_CACHED_PROPERTIES: Final = (cached_property, django_cached_property)


@overload
def register_type(
    kind: type[T],
    *,
    name: str | None = None,
    to: Callable[[T], Any],
    from_: Callable[[Any], T],
) -> type[T]: ...


@overload
def register_type(kind: Kind, *, name: str | None = None) -> Kind: ...


@overload
def register_type(*, name: str | None = None) -> Callable[[Kind], Kind]: ...


def register_type(
    kind: Any = None,
    *,
    name: str | None = None,
    to: Callable[[Any], Any] | None = None,
    from_: Callable[[Any], Any] | None = None,
) -> Any:
    """Let the serializer "msgpack" store values of a class, and restore them equal.

    Enums, dataclasses, named tuples, `OrderedDict` and subclasses of Django's responses need no
    functions. For any other class `to` converts a value into something that can be stored, and
    `from_` converts that back. It applies to values of this class only, not of its subclasses.
    Returns the class, so it can be used as a decorator.

    `name` is stored for the class and must never change: by default its module and its qualified
    name. Every process that reads has to register it, so do it where the class is defined or in
    `AppConfig.ready()`.

    Raises `ConfigurationError` if the class has a form already, or the name stands for another.
    """
    if kind is None:
        return partial(register_type, name=name, to=to, from_=from_)
    if not isinstance(kind, type):
        raise TypeError(f"register_type() takes a class, not {kind!r}.")
    if (to is None) != (from_ is None):
        raise ConfigurationError(
            f"register_type({kind.__qualname__}): give both `to` and `from_`, or neither."
        )
    _refuse_builtin(kind)
    name = _stable_name(kind) if name is None else name
    if name.startswith("django.") or kind.__module__.startswith("django."):
        import_module(_DJANGO_FORMS)  # whose names are taken, whether or not they were needed yet
    if to is None or from_ is None:
        add_form(form_by_itself(kind, name))
    else:
        add_form(TypeForm(kind, name, *_by_functions(to, from_), settings=(to, from_)))
    return kind


def form_by_itself(kind: type, name: str) -> TypeForm:
    """Return the known form of a class; raise `ConfigurationError` for classes without one."""
    return TypeForm(kind, name, *_functions_of(kind, name))


def _refuse_builtin(kind: type) -> None:
    has_scalar_form = kind in _NATIVE_TYPES or kind in SCALAR_OF_TYPE
    if has_scalar_form or own_container_of(kind) is not None:
        raise ConfigurationError(
            f"{kind.__qualname__} has a form of its own and can't be registered with another."
        )


def _stable_name(kind: type) -> str:
    if "<" in kind.__qualname__ or kind.__module__ == "__main__":
        raise ConfigurationError(
            f"{kind.__module__}.{kind.__qualname__} is no name that stays the same in every "
            f"process: give one, register_type({kind.__name__}, name=...)."
        )
    return f"{kind.__module__}.{kind.__qualname__}"


def _functions_of(kind: Any, name: str) -> _Functions:
    """Return the functions that store a class of a known sort."""
    if issubclass(kind, Flag):
        return lambda flag: [flag._value_], partial(_flag_of, kind), steps_by_number
    if issubclass(kind, Enum):
        return partial(_member_name, kind), partial(_member_of, kind, name), steps_by_number
    if dataclasses.is_dataclass(kind) and kind.__new__ is object.__new__:
        return _by_fields(kind, name)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _by_names(kind, name)
    if kind is OrderedDict:
        return alternate, lambda parts: OrderedDict(pair_up(parts)), steps_by_alternate_keys
    if any(base.__module__ == "django.http.response" for base in kind.__mro__):
        form: _Functions | None = import_module(_DJANGO_FORMS).functions_of(kind)
        if form is not None:
            return form
    raise ConfigurationError(
        f"{kind.__module__}.{kind.__qualname__} is no enum, dataclass, named tuple, OrderedDict or "
        "response, whose forms are known: give `to`, a function from a value to something that can "
        "be stored, and `from_`, one from that to the value."
    )


def _by_functions(to: Callable[[Any], Any], from_: Callable[[Any], Any]) -> _Functions:
    def put_together(parts: list[Any]) -> Any:
        (stored,) = parts
        return from_(stored)

    return lambda value: [to(value)], put_together, lambda _value: [(", stored by its `to`", None)]


def _flag_of(kind: type[Flag], parts: list[Any]) -> Any:
    (number,) = parts
    if type(number) is not int:
        raise ValueError("a flag is stored as its number")
    return kind(number)


def _member_name(kind: Any, member: Any) -> list[Any]:
    if kind.__members__.get(member._name_) is not member:
        raise Unstorable(f"{member!r} can't be stored: it is no named member of its enum")
    return [member._name_]


def _member_of(kind: type[Enum], name: str, parts: list[Any]) -> Enum:
    (member,) = parts
    found = kind.__members__.get(member)
    if found is None:
        raise DeserializationError(
            f"A stored member of {name} can't be read: there is none with this name (any more). "
            "Add it again, or delete the item."
        )
    return found


def _by_fields(kind: Any, name: str) -> _Functions:
    """Return the form of a dataclass: names and values of its fields, in turn.

    Instances are made as pickle makes them, without `__init__` and `__post_init__`.
    """
    fields = dataclasses.fields(kind)
    names = tuple(field.name for field in fields)
    defaults: dict[str, Callable[[], Any]] = {}
    for field in fields:
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = partial(_given, field.default)
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory

    def take_apart(value: Any) -> list[Any]:
        _refuse_more_than(names, value)
        return [part for field in names for part in (field, getattr(value, field))]

    def put_together(parts: list[Any]) -> Any:
        value = object.__new__(kind)
        for field, part in zip(names, _in_order(name, names, defaults, parts), strict=True):
            object.__setattr__(value, field, part)  # also of a frozen one
        return value

    return take_apart, put_together, lambda _value: attribute_steps(names)


def _by_names(kind: Any, name: str) -> _Functions:
    """Return the form of a named tuple: names and elements, in turn."""
    names: tuple[str, ...] = kind._fields
    defaults = {
        field: partial(_given, default)
        for field, default in getattr(kind, "_field_defaults", {}).items()
    }

    def take_apart(value: Any) -> list[Any]:
        _refuse_more_than((), value)
        return [part for item in zip(names, value, strict=True) for part in item]

    def put_together(parts: list[Any]) -> Any:
        return tuple.__new__(kind, _in_order(name, names, defaults, parts))

    return take_apart, put_together, lambda _value: attribute_steps(names)


def _given(default: Any) -> Any:
    return default


def _refuse_more_than(names: tuple[str, ...], value: Any) -> None:
    """Refuse a value with attributes that would be lost; cached properties may be."""
    held = getattr(value, "__dict__", ())
    if len(held) <= len(names) and all(name in names for name in held):
        return
    for name in held:
        if name not in names and not isinstance(
            getattr_static(type(value), name, None), _CACHED_PROPERTIES
        ):
            raise Unstorable(
                f"{type(value).__qualname__} can't be stored: its attribute {name!r} is no field "
                "and would be lost"
            )


def _in_order(
    name: str, names: tuple[str, ...], defaults: Mapping[str, Callable[[], Any]], parts: list[Any]
) -> list[Any]:
    """Return the values of the fields; those that are new since have their defaults."""
    values = pair_up(parts)
    unknown = [field for field in values if field not in names]
    missing = [field for field in names if field not in values and field not in defaults]
    if unknown or missing:
        which = f"{missing[0]!r} is new, and has no default" if missing else "one is gone"
        raise DeserializationError(
            f"A stored {name} can't be read: its fields have changed since it was written, {which}."
            " Give new fields a default, or store it again."
        )
    return [values[field] if field in values else defaults[field]() for field in names]
