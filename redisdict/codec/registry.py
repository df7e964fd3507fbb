"""Keep the forms of registered types: the content of extension 22 of the codec's MessagePack.

A value is stored as the name of its type and its parts. Reading looks the name up here and nowhere
else: stored bytes can't cause any import but of the modules of the types named below, nor a call of
a class that wasn't registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from threading import Lock
from typing import Any, Final

from redisdict.codec.normalize import Step, Unstorable, type_name
from redisdict.exceptions import ConfigurationError, DeserializationError, RedisDictError

# What of Django's has a form; it is registered when the first such value is written or read.
_DJANGO_FORMS: Final = "redisdict.codec.django_forms"
_DJANGO_MODULES: Final = frozenset({"django.http.response", "django.template.response"})

# What packages that many sites are made of put into the cache by themselves. The first such value
# that is written or read registers its type, as a project would.
_TYPE_FORMS: Final = "redisdict.codec.type_forms"
_TYPES_OF_PACKAGES: Final = frozenset(
    {"rest_framework.response.Response", "wagtail.models.sites.SiteRootPath"}
)


@dataclass(frozen=True, slots=True)
class TypeForm:
    """The form in which values of one type are stored.

    `take_apart` returns a list of storable parts, and `put_together` makes the value from such a
    list; `steps` names the way from the value to each part. `settings` are the two functions given
    at registration, by which an equal registration is recognized.
    """

    kind: type
    name: str
    take_apart: Callable[[Any], list[Any]]
    put_together: Callable[[list[Any]], Any]
    steps: Callable[[Any], Iterable[Step]]
    settings: tuple[object, object] = (None, None)


_form_of_type: Final[dict[type, TypeForm]] = {}
_form_of_name: Final[dict[str, TypeForm]] = {}
_registering: Final = Lock()


def add_form(form: TypeForm) -> None:
    """Register a form; the same again changes nothing.

    Raises `ConfigurationError` when the type has another one, or the name another type.
    """
    with _registering:
        held = _form_of_type.get(form.kind)
        if held is not None:
            if (held.name, held.settings) == (form.name, form.settings):
                return
            raise ConfigurationError(
                f"{_full_name(form.kind)} is registered already, as {held.name!r}, and can't have "
                f"another form, {form.name!r}: register it once, with the same name and functions."
            )
        other = _form_of_name.get(form.name)
        if other is not None:
            raise ConfigurationError(
                f"The name {form.name!r} is registered already, for {_full_name(other.kind)}, and "
                f"can't stand for {_full_name(form.kind)} as well: give one of them another `name`."
            )
        _form_of_name[form.name] = form
        _form_of_type[form.kind] = form


def find_form(kind: type) -> TypeForm | None:
    """Return the form of values of this very type, or None."""
    form = _form_of_type.get(kind)
    if form is None and _has_known_form(_full_name(kind)):
        form = _form_of_type.get(kind)
    return form


def _has_known_form(name: str) -> bool:
    """Register the type of this full name if its form is known here; return whether it is."""
    module, _, kind = name.rpartition(".")
    if module in _DJANGO_MODULES:
        import_module(_DJANGO_FORMS)
        return True
    if name not in _TYPES_OF_PACKAGES:
        return False
    try:
        add_form(
            import_module(_TYPE_FORMS).form_by_itself(getattr(import_module(module), kind), name)
        )
    except (ImportError, AttributeError, ConfigurationError):
        # The package isn't here or is of another version, or the project has its own form.
        return False
    return True


def take_apart(value: Any) -> list[Any]:
    """Return the name of a value's type and its parts; raise `Unstorable` when its form fails."""
    form = _form_of_type[type(value)]
    try:
        return [form.name, *form.take_apart(value)]
    except (Unstorable, RedisDictError):
        raise
    except Exception as error:
        # A function of the project's may raise anything.
        raise Unstorable(
            f"{type_name(value)} can't be stored: converting it raised"
            f" {type(error).__name__}: {error}"
        ) from error


def put_together(parts: list[Any]) -> Any:
    """Return the value again; raise `DeserializationError` where that isn't possible here."""
    name, *rest = parts
    form = _form_of_name.get(name)
    if form is None and _has_known_form(name):
        form = _form_of_name.get(name)
    if form is None:
        raise DeserializationError(
            f"A stored value has the type name {name!r}, which isn't registered in this process:"
            f" call redisdict.codec.register_type() for its class, with name={name!r} if that"
            " isn't the class's own, before it is read, or delete the item."
        )
    try:
        value = form.put_together(rest)
    except DeserializationError:
        raise
    except Exception as error:
        raise DeserializationError(
            f"A stored {name} can't be restored: {type(error).__name__}: {error}. Its bytes stay"
            " on the server as they are."
        ) from error
    if type(value) is not form.kind:
        raise DeserializationError(
            f"A stored {name} was restored as a {type_name(value)}: its `from_` has to give a"
            f" {_full_name(form.kind)}."
        )
    return value


def steps_to_parts(value: Any) -> Iterator[Step]:
    """Yield the step to each part that `take_apart` gives."""
    return chain([("", None)], _form_of_type[type(value)].steps(value))


def attribute_steps(names: Iterable[str]) -> Iterator[Step]:
    """Yield the steps to the names of attributes and their values, in turn."""
    return chain.from_iterable((("", None), (f".{name}", None)) for name in names)


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
