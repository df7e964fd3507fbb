"""What a `ModelDict` was asked to be, and how it comes to its table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models, router

from redisdict.connections.backend import Backend
from redisdict.exceptions import ConfigurationError
from redisdict.mapping.timeouts import to_milliseconds
from redisdict.modelcache.tables import register
from redisdict.modelcache.views import FieldView, Limits, View

__all__ = ["Binding"]

M = TypeVar("M", bound=models.Model)


class Binding(Generic[M]):
    """Checks the arguments, registers the model, and finds the table of the database in use."""

    def __init__(
        self,
        model: type[M],
        key: str,
        using: str | Backend,
        *,
        exclude: Iterable[str],
        database: str | None,
        timeout: float | None,
        absent_timeout: float | None,
        lease_timeout: float,
        barrier_timeout: float,
        serve_when_down: bool,
        strict: bool,
    ) -> None:
        _refuse_what_has_no_rows(model)
        if not apps.is_installed("redisdict"):
            raise ConfigurationError(
                f'ModelDict({model.__name__}) needs "redisdict" in INSTALLED_APPS: without it'
                " changes of the model would go unnoticed."
            )
        self.model = model
        self._field = _unique_field(model, key)
        self._database = database
        self._timeout = timeout
        self._absent_ms = to_milliseconds(absent_timeout, None)
        self._lease_ms = _milliseconds("lease_timeout", lease_timeout)
        self._serves_when_down = serve_when_down
        self._views: dict[str, View[M]] = {}
        self._cached = register(
            model,
            using,
            is_strict=strict,
            barrier_ms=_milliseconds("barrier_timeout", barrier_timeout),
            exclude=_excluded_fields(model, exclude, self._field),
        )

    def _view(self) -> View[M]:
        database = self._database
        if database is None:
            database = router.db_for_write(self.model)
        view = self._views.get(database)
        table = self._cached.table(database)
        if view is None or view.table is not table:  # after a change of the settings
            timeout_ms = to_milliseconds(
                table.backend.config.timeout if self._timeout is None else self._timeout, None
            )
            limits = Limits(timeout_ms, self._absent_ms, self._lease_ms)
            if self._field is None:
                view = View(table, limits)
            else:
                view = FieldView(table, limits, self._field)
            self._views[database] = view
        return view

    def _key_of(self, row: M) -> Any:
        """What the row is looked up by; None when its field has no value."""
        return row.pk if self._field is None else getattr(row, self._field.attname)

    def _note_failure(self, view: View[M], error: Exception) -> None:
        """The server has failed at a read. Raises `error` unless the database is to answer."""
        view.table.outages.note(error)
        if not self._serves_when_down:
            raise error


def _refuse_what_has_no_rows(model: object) -> None:
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


def _unique_field(model: type[models.Model], name: str) -> models.Field[Any, Any] | None:
    """The field of this name; None for the primary key."""
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


def _excluded_fields(
    model: type[models.Model], names: Iterable[str], key: models.Field[Any, Any] | None
) -> tuple[str, ...]:
    """The names of fields, sorted, of what the argument `exclude` was given."""
    keys = {key, *model._meta.pk_fields}
    possible = {
        field.name: field
        for field in model._meta.concrete_fields
        if field not in keys and not field.primary_key  # those of parents among them
    }
    by_name = possible | {field.attname: field for field in possible.values()}
    where = f"ModelDict({model._meta.label}, exclude={names!r})"
    if isinstance(names, str):
        raise ConfigurationError(f"{where}: a tuple of field names is expected, as ({names!r},).")
    found = set()
    for name in names:
        if name not in by_name:
            raise ConfigurationError(
                f"{where}: {name!r} is no field that can be left out, which the primary key and the"
                f" dict's key can't. Possible are: {', '.join(possible)}."
            )
        found.add(by_name[name].name)
    return tuple(sorted(found))


def _milliseconds(argument: str, seconds: float) -> int:
    milliseconds = to_milliseconds(seconds, None)
    if not milliseconds:
        raise ConfigurationError(
            f"ModelDict(): {argument} is {seconds!r}; seconds above 0 are expected."
        )
    return milliseconds
