"""Bind a `ModelDict` to its model, and find the lookup of the table in use."""

from __future__ import annotations

import copy
from typing import Any, Generic, Self, TypeVar

from asgiref.sync import sync_to_async
from django.db import models, router

from redisdict.connections.backend import Backend
from redisdict.modelcache.cached_models import MOST_SCOPES, CachedModel, CachedTable, register
from redisdict.modelcache.invalidation.hooks import begin_if_ready
from redisdict.modelcache.lookup import FieldLookup, PkLookup
from redisdict.modelcache.options import Options, unique_field

M = TypeVar("M", bound=models.Model)


class Handle(Generic[M]):
    """Registers the model, and finds the table of the database in use."""

    def __init__(self, model: type[M], key: str, using: str | Backend, options: Options) -> None:
        self.model = model
        self._key = key
        self._using = using
        self._options = options
        self._bind()

    def _bind(self) -> None:
        self._field = unique_field(self.model, self._key)
        self._lookups: dict[CachedTable, PkLookup[M]] = {}
        self._cached: CachedModel = register(self.model, self._using, self._options)
        begin_if_ready()

    # Pickles and copies are other handles of the same cache: what it was asked to be, and no row.
    # A process that unpickles one has the model's changes noticed from then on.

    def __getstate__(self) -> dict[str, Any]:
        made_again = ("_lookups", "_cached", "_field")
        return {name: value for name, value in self.__dict__.items() if name not in made_again}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bind()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy.copy(self)

    def _lookup(self) -> PkLookup[M]:
        database = self._options.database or router.db_for_write(self.model)
        return self._lookup_in(self._cached.table(database))

    async def _alookup(self) -> PkLookup[M]:
        """The same in a task: a look at a connection is for the thread that has it."""
        database = self._options.database or router.db_for_write(self.model)
        table = self._cached.known_table(database)
        return await sync_to_async(self._lookup)() if table is None else self._lookup_in(table)

    def _lookup_in(self, table: CachedTable) -> PkLookup[M]:
        scope = self._options.scope or table.scope
        if scope is not None:
            table = table.in_scope(self._checked(scope(self.model, table.database)))
        lookup = self._lookups.get(table)
        if lookup is None:
            field, options = self._field, self._options
            lookup = FieldLookup(table, options, field) if field else PkLookup(table, options)
            # Those of former settings have done their part.
            backend = table.backend
            kept = {one: each for one, each in self._lookups.items() if one.backend is backend}
            self._lookups = {**(kept if len(kept) < MOST_SCOPES else {}), table: lookup}
        return lookup

    def _checked(self, scope: object) -> str:
        if not isinstance(scope, str):
            raise TypeError(
                f"The scope of ModelDict({self.model._meta.label}) gave {scope!r:.80}, which is"
                f" {type(scope).__name__}; text is expected, such as the name of a tenant."
            )
        return scope
