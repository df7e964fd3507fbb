"""What a `ModelDict` was asked to be, and how it comes to its table."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, Generic, Self, TypeVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models, router
from django.http import Http404

from redisdict.connections.backend import Backend
from redisdict.exceptions import ConfigurationError
from redisdict.mapping.timeouts import to_milliseconds
from redisdict.modelcache.scopes import Scope
from redisdict.modelcache.startup import begin_if_ready
from redisdict.modelcache.tables import MOST_SCOPES, CachedModel, CachedTable, register
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
        scope: Scope | None,
    ) -> None:
        _refuse_what_has_no_rows(model)
        if not apps.is_installed("redisdict"):
            raise ConfigurationError(
                f'ModelDict({model.__name__}) needs "redisdict" in INSTALLED_APPS: without it'
                " changes of the model would go unnoticed."
            )
        self.model = model
        self._key = key
        self._field = _unique_field(model, key)
        self._database = database
        self._timeout = timeout
        self._absent_ms = to_milliseconds(absent_timeout, None)
        self._lease_ms = _milliseconds("lease_timeout", lease_timeout)
        self._serves_when_down = serve_when_down
        self._scope = scope
        self._registration: dict[str, Any] = {
            "using": using,
            "is_strict": strict,
            "barrier_ms": _milliseconds("barrier_timeout", barrier_timeout),
            "believes_absence": absent_timeout is not None,
            "exclude": _excluded_fields(model, exclude, self._field),
        }
        self._bind()

    def _bind(self) -> None:
        self._views: dict[CachedTable, View[M]] = {}
        self._cached: CachedModel = register(self.model, **self._registration)
        begin_if_ready()

    # Pickles and copies are other handles of the same cache: what it was asked to be, and no row.
    # A process that unpickles one has the model's changes noticed from then on.

    def __getstate__(self) -> dict[str, Any]:
        made_again = ("_views", "_cached", "_field")
        return {name: value for name, value in self.__dict__.items() if name not in made_again}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._field = _unique_field(self.model, self._key)
        self._bind()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy.copy(self)

    def _view(self) -> View[M]:
        database = self._database
        if database is None:
            database = router.db_for_write(self.model)
        return self._view_of(self._cached.table(database))

    async def _aview(self) -> View[M]:
        """The same in a task: a look at a connection is for the thread that has it."""
        table = self._cached.known_table(self._database or router.db_for_write(self.model))
        return await sync_to_async(self._view)() if table is None else self._view_of(table)

    def _view_of(self, table: CachedTable) -> View[M]:
        scope = self._scope or table.scope
        if scope is not None:
            table = table.in_scope(self._checked(scope(self.model, table.database)))
        view = self._views.get(table)
        if view is None:
            timeout_ms = to_milliseconds(
                table.backend.config.timeout if self._timeout is None else self._timeout, None
            )
            limits = Limits(timeout_ms, self._absent_ms, self._lease_ms)
            if self._field is None:
                view = View(table, limits)
            else:
                view = FieldView(table, limits, self._field)
            # Those of former settings have done their part.
            kept = {one: each for one, each in self._views.items() if one.backend is table.backend}
            self._views = {**(kept if len(kept) < MOST_SCOPES else {}), table: view}
        return view

    def _checked(self, scope: object) -> str:
        if not isinstance(scope, str):
            raise TypeError(
                f"The scope of ModelDict({self.model._meta.label}) gave {scope!r:.80}, which is"
                f" {type(scope).__name__}; text is expected, such as the name of a tenant."
            )
        return scope

    def _key_of(self, row: M) -> Any:
        """What the row is looked up by; None when its field has no value."""
        return row.pk if self._field is None else getattr(row, self._field.attname)

    def _with_keys(self, rows: Iterable[M]) -> Iterator[tuple[Any, M]]:
        return ((key, row) for row in rows if (key := self._key_of(row)) is not None)

    def _or_404(self, found: M | None) -> M:
        if found is None:
            raise Http404(f"No {self.model._meta.object_name} matches the given query.")
        return found

    def _trusts_server(self, table: CachedTable) -> bool | None:
        """Whether the server's rows count; None when it has failed and should be tried again."""
        if not table.shows_all_alike:
            return False
        if table.outages.is_calm:
            return True
        return False if table.outages.is_resting and self._serves_when_down else None

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
