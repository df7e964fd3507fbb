"""Bind a `ModelDict` to its model, and find the lookup of the table in use."""

from __future__ import annotations

import copy
import os

# In asyncio's public list of names. `get_running_loop()` raises where there is no loop, which costs
# a cached read ten times as much.
from asyncio import _get_running_loop as running_loop
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import models, router

from redisdict.connections.backend import Backend
from redisdict.modelcache.cached_models import MOST_SCOPES, CachedModel, CachedTable
from redisdict.modelcache.field_lookup import FieldLookup
from redisdict.modelcache.invalidation.hooks import begin_if_ready
from redisdict.modelcache.lookup import PkLookup
from redisdict.modelcache.options import Options, unique_field
from redisdict.modelcache.plans import TASK, THREAD, Caller, Plan, arun, run
from redisdict.modelcache.registrations import register

__all__ = ["Handle", "refuse_to_block", "running_loop"]

M = TypeVar("M", bound=models.Model)
T = TypeVar("T")

#: Makes a plan for a lookup and a caller.
MakePlan = Callable[[PkLookup[M], Caller], Plan[T]]


class Handle(Generic[M]):
    """Registers the model, and finds the table of the database in use."""

    def __init__(self, model: type[M], key: str, using: str | Backend, options: Options) -> None:
        self.model = model
        self._key = key
        self._using = using
        self._options = options
        self._bind()

    def _bind(self) -> None:
        self._field = self._find_field()
        self._lookups: dict[CachedTable, PkLookup[M]] = {}
        self._cached: CachedModel = register(self.model, self._using, self._options)
        begin_if_ready()

    def _find_field(self) -> models.Field[Any, Any] | None:
        """The field to look up by; None for the primary key."""
        return unique_field(self.model, self._key)

    def _make_lookup(self, table: CachedTable) -> PkLookup[M]:
        field, options = self._field, self._options
        return FieldLookup(table, options, field) if field else PkLookup(table, options)

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
        known = self._known_lookup()
        return await sync_to_async(self._lookup)() if known is None else known

    def _known_lookup(self) -> PkLookup[M] | None:
        """The same, if it is known without looking at the thread's connection."""
        database = self._options.database or router.db_for_write(self.model)
        table = self._cached.known_table(database)
        return None if table is None else self._lookup_in(table)

    def _lookup_in(self, table: CachedTable) -> PkLookup[M]:
        scope = self._options.scope or table.scope
        if scope is not None:
            table = table.in_scope(self._checked(scope(self.model, table.database)))
        lookup = self._lookups.get(table)
        if lookup is None:
            lookup = self._make_lookup(table)
            # Those of former settings have done their part.
            backend = table.backend
            kept = {one: each for one, each in self._lookups.items() if one.backend is backend}
            self._lookups = {**(kept if len(kept) < MOST_SCOPES else {}), table: lookup}
        return lookup

    def _run(self, called: str, twin: str, make: MakePlan[M, T]) -> T:
        refuse_to_block(called, twin)
        lookup = self._lookup()
        return run(lookup.table, make(lookup, THREAD))

    async def _arun(self, make: MakePlan[M, T]) -> T:
        lookup = await self._alookup()
        return await arun(lookup.table, make(lookup, TASK))

    def _checked(self, scope: object) -> str:
        if not isinstance(scope, str):
            raise TypeError(
                f"The scope of ModelDict({self.model._meta.label}) gave {scope!r:.80}, which is"
                f" {type(scope).__name__}; text is expected, such as the name of a tenant."
            )
        return scope


def refuse_to_block(called: str, twin: str, of: str = "a ModelDict") -> None:
    """Raise the error of a sync method that was called while the thread runs an event loop.

    Django's ORM has the same rule, which the same variable, DJANGO_ALLOW_ASYNC_UNSAFE, turns off.
    Values on the server could be read without the ORM, but missing ones couldn't: the same call
    would work until the next deployment, and then fail.

    Args:
        called: the call, for the message.
        twin: the call to write instead.
        of: the name of the method's class.
    """
    if running_loop() is None or os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
        return
    raise SynchronousOnlyOperation(
        f"{called} of {of} asks the server and the database, and can't do so in a"
        f" coroutine: it would block the event loop. Use `{twin}`, or sync_to_async()."
    )
