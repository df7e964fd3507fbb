"""Check the options of a `ModelDict`, and whether its model can be cached with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models

from redisdict.conf import AliasConfig, import_object
from redisdict.exceptions import ConfigurationError
from redisdict.mapping.keys import check_shards
from redisdict.mapping.layouts.base import to_milliseconds
from redisdict.near.reader import STRICT, check_near

#: Returns, for a model and an alias of DATABASES, a name for what the current reader may see.
Scope = Callable[[type[models.Model], str], str]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a `ModelDict`, as its documentation has them.

    Attributes:
        exclude: the names of fields, sorted.
        related: lookups of relations, as `prefetch_related()` takes them.

    Raises:
        ConfigurationError: a time has to be longer than 0.
    """

    exclude: tuple[str, ...] = ()
    database: str | None = None
    timeout: float | None = None
    absent_timeout: float | None = None
    lease_timeout: float = 3.0
    barrier_timeout: float = 60.0
    serve_when_down: bool = True
    strict: bool = False
    scope: Scope | None = None
    near: float | str | None = None
    related: tuple[str, ...] = ()
    shards: int | None = None

    def __post_init__(self) -> None:
        if self.near != STRICT:
            check_near("ModelDict(): near", self.near)
        try:
            check_shards(self.shards)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"ModelDict(): {error}") from error
        if self.shards and self.near == STRICT:
            raise ConfigurationError(
                f"ModelDict(): near={self.near!r} and shards={self.shards} can't be combined,"
                " because a writer would have to wait for the readers of each shard; leave one of"
                ' them out, or give near seconds, or "request".'
            )
        to_milliseconds(self.absent_timeout, None)
        for name in ("lease_timeout", "barrier_timeout"):
            seconds = getattr(self, name)
            if not to_milliseconds(seconds, None):
                raise ConfigurationError(f"{name} is {seconds!r}; seconds above 0 are expected.")

    @property
    def is_near_strict(self) -> bool:
        """Whether writers have to wait for readers of memory."""
        return self.near == STRICT

    @property
    def absent_ms(self) -> int | None:
        """The time for which a row's absence is cached; None if it isn't."""
        return to_milliseconds(self.absent_timeout, None)

    @property
    def lease_ms(self) -> int:
        return to_milliseconds(self.lease_timeout, None) or 0

    @property
    def barrier_ms(self) -> int:
        return to_milliseconds(self.barrier_timeout, None) or 0


def refuse_uncacheable(model: object) -> None:
    """Refuse a model without rows, and a project in which changes would go unnoticed."""
    if not (isinstance(model, type) and issubclass(model, models.Model)):
        raise ConfigurationError(f"ModelDict() got {model!r}; a model class is expected.")
    name = model._meta.label
    if model._meta.abstract or model._meta.swapped:
        raise ConfigurationError(
            f"ModelDict({name}): the model is {'abstract' if model._meta.abstract else 'swapped'}"
            " and has no table; give the model that has."
        )
    if model._meta.auto_created:
        raise ConfigurationError(
            f"ModelDict({name}): Django made this model for a many-to-many relation and sends no"
            " signals for it; define a model of your own, and name it in `through`."
        )
    if not apps.is_installed("redisdict"):
        raise ConfigurationError(
            f'ModelDict({model.__name__}) needs "redisdict" in INSTALLED_APPS: without it'
            " changes of the model would go unnoticed."
        )


def unique_field(model: type[models.Model], name: str) -> models.Field[Any, Any] | None:
    """Find the field of this name; None for the primary key."""
    if name == "pk":
        return None
    where = f"ModelDict({model._meta.label}, key={name!r})"
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        known = ", ".join(one.name for one in model._meta.concrete_fields if one.unique)
        raise ConfigurationError(f"{where}: there is no such field. Unique are: {known}.") from None
    if field not in model._meta.concrete_fields:
        raise ConfigurationError(f"{where}: a field with a column is expected.")
    if field.primary_key:
        return None
    if not field.unique:
        raise ConfigurationError(
            f"{where}: the field isn't unique, so a value may stand for several rows; add"
            " unique=True to it."
        )
    unique: models.Field[Any, Any] = field
    return unique


def listed_field(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    """Find the field of this name, by whose values rows can be listed."""
    where = f"ModelDict({model._meta.label}, key={name!r}, many=True)"
    fields = {field.name: field for field in model._meta.concrete_fields}
    by_name = {**fields, **{field.attname: field for field in fields.values()}}
    found = by_name.get(name)
    if name == "pk" or (found is not None and found.primary_key):
        raise ConfigurationError(
            f"{where}: a primary key has one row; leave many out, or name another field."
        )
    if found is None:
        raise ConfigurationError(
            f"{where}: there is no such field with a column. Possible are:"
            f" {', '.join(one for one, field in fields.items() if not field.primary_key)}."
        )
    if isinstance(found, models.JSONField):
        raise ConfigurationError(
            f"{where}: JSON can't be a key; name a field whose values are text, numbers, dates or"
            " UUIDs."
        )
    return found


def excluded_fields(
    model: type[models.Model], key: str, names: Iterable[str], *, many: bool = False
) -> tuple[str, ...]:
    """Check `model`, `key` and `exclude`: the names of the excluded fields, sorted."""
    refuse_uncacheable(model)
    found_by = listed_field(model, key) if many else unique_field(model, key)
    keys = {found_by, *model._meta.pk_fields}
    possible = {
        field.name: field
        for field in model._meta.concrete_fields
        if field not in keys and not field.primary_key  # those of parents among them
    }
    by_name = possible | {field.attname: field for field in possible.values()}
    where = f"ModelDict({model._meta.label}, exclude={names!r})"
    if isinstance(names, str):
        raise ConfigurationError(f"{where}: a tuple of field names is expected, as ({names!r},).")
    excluded = set()
    for name in names:
        if name not in by_name:
            raise ConfigurationError(
                f"{where}: {name!r} is no field that can be left out, which the primary key and the"
                f" dict's key can't. Possible are: {', '.join(possible)}."
            )
        excluded.add(by_name[name].name)
    return tuple(sorted(excluded))


def related_lookups(model: type[models.Model], names: Iterable[str]) -> tuple[str, ...]:
    """Check `related`, as far as that can be done before all models are loaded."""
    where = f"ModelDict({model._meta.label}, related={names!r})"
    if isinstance(names, str):
        raise ConfigurationError(f"{where}: a tuple of names is expected, as ({names!r},).")
    found = tuple(names)
    for name in found:
        if not isinstance(name, str):
            raise ConfigurationError(
                f"{where}: {name!r} is {type(name).__name__}; names of relations are expected."
            )
    return found


def scope_of_alias(config: AliasConfig) -> Scope | None:
    """Import the function that SCOPE names; None without one.

    Raises:
        ConfigurationError: there is no such function.
    """
    if config.scope is None:
        return None
    where = f'{config.where}["SCOPE"]'
    scope: Scope = import_object(where, config.scope)
    if not callable(scope):
        raise ConfigurationError(
            f"{where} is {config.scope!r}, a {type(scope).__name__}; a function of a model and an"
            " alias of DATABASES is expected."
        )
    return scope
