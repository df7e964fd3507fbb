"""`ModelDict`, the mapping of primary keys to model instances that is never stale.

The methods that look rows up are here; `stored_methods`, `upkeep_methods` and `related` have the
others. Each method is beside its async twin; both run the same plan of `lookup`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Generic, Literal, Self, TypeVar, overload

from django.db import models
from django.http import Http404

from redisdict.conf import DEFAULT_ALIAS
from redisdict.connections.backend import Backend
from redisdict.modelcache.handle import refuse_to_block, running_loop
from redisdict.modelcache.lookup import distinct_keys
from redisdict.modelcache.near import NOT_NEAR
from redisdict.modelcache.options import Options, Scope, excluded_fields, related_lookups
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.plans import TASK, THREAD, arun, run
from redisdict.modelcache.related.list_methods import ListMethods
from redisdict.modelcache.related.relation_methods import RelationMethods
from redisdict.modelcache.stored_methods import StoredMethods
from redisdict.modelcache.upkeep_methods import UpkeepMethods
from redisdict.public_names import name_methods

__all__ = ["ModelDict", "ModelLists", "refuse_to_block"]

M = TypeVar("M", bound=models.Model)
D = TypeVar("D")
T = TypeVar("T")


class ModelDict(StoredMethods[M], UpkeepMethods[M], RelationMethods[M], Generic[M]):
    """The rows of a model by primary key: from the server, and if missing from the database.

    Once a change of a row is visible to other transactions, no read gives the row as it was before:
    docs/modeldict.md says what that rests on, and where it ends.

    - reading: `d[pk]`, `get`, `get_many`, `get_or_404`, `pk in d`
    - the rows on the server: iteration, `keys`, `values`, `items`, `len(d)`
    - related objects: `get_related`, `prefetch`
    - by hand: `warm`, `invalidate`, `clear`
    - counts: `stats`, `near_stats`

    Each has an async twin with an `a` before its name; `async for` iterates. In a coroutine the
    synchronous methods raise `SynchronousOnlyOperation`. `bool(d)` is always true. Copies and
    pickles are other handles of the same cache.

    Make it beside the model, in models.py, or in dicts.py of an installed app: both are imported in
    every process, and a process that has not made the dict doesn't announce its changes.

    Args:
        model: a model with a table.
        key: the name of the field to look up by, "pk" or another unique one.
        many: whether several rows may have the same value of `key`, which needn't be unique then.
            The dict is then a `ModelLists`: `d[value]` is the list of its rows.
        using: an alias of the setting REDISDICT.
        exclude: names of fields whose values never reach the server, such as encrypted or very
            large ones. Instances have them deferred, on a hit and on a miss: the database is asked
            for one when it is accessed.
        database: an alias of DATABASES; None means the one that the routers choose for writing,
            since a replica that lags behind would give old rows.
        timeout: seconds for which a row is kept; None means the alias's TIMEOUT.
        absent_timeout: seconds for which a missing row is remembered as missing; None: not at all.
        lease_timeout: seconds for which readers of a missing row wait for the one that asks the
            database.
        barrier_timeout: seconds for which a row isn't kept after a process died during its commit.
            It has to be longer than any COMMIT takes, and any save() outside a transaction.
        serve_when_down: whether reads go to the database when the server can't be reached, or
            raise `BackendUnavailable`.
        strict: whether a change of the model fails when it can't be announced to the server. If
            not, other processes that can reach the server may read the old row until this one can
            reach it again.
        scope: a function of the model and the alias of DATABASES that names, as text, what the
            current reader may see, where the database shows different readers different rows
            (row-level security). It is called at each read, in the reader's thread or task. A row
            that was stored for another scope is a miss. None means the alias's SCOPE.
        related: relations that `prefetch()` and `get_related()` follow, named as for
            `prefetch_related()`: their rows and lists are cached as if they had dicts.
        shards: the number of slots of a Cluster over which the rows are spread, 2 to 1024, by the
            CRC-32 of their keys, so that a table isn't on one node alone. Give all dicts of the
            model the same number: rows of another number have other names.
        near: answers lookups by key from this process's memory, which the server's messages keep
            right. Seconds: no read gives a row that was replaced longer ago than that when the read
            began. "request": none gives a row that was replaced before the current request or
            `near_barrier()` began. "strict": none gives a row that was replaced, visibly to others,
            before the read began; a writer waits before its COMMIT for the processes with such
            reads, for the alias's NEAR_LEASE at most. None: every read asks the server. See
            docs/near-strict.md.

    Raises:
        ConfigurationError: the model can't be cached, the field isn't unique or can't be excluded,
            or "redisdict" is not in INSTALLED_APPS.

    Nothing is connected before the first use.
    """

    # Those with a key raise `TypeError` for one that the field can't have. None is no row's key, so
    # that the value of an empty foreign key can be looked up.

    def __new__(cls, *_: Any, many: bool = False, **__: Any) -> Self:
        if many:
            lists: Any = object.__new__(ModelLists)
            return lists  # type: ignore[no-any-return]  # as the overloads of __init__ say
        return super().__new__(cls)

    @overload
    def __init__(  # type: ignore[misc]  # `self` is what __new__ gives
        self: ModelLists[M],
        model: type[M],
        key: str,
        using: str | Backend = DEFAULT_ALIAS,
        *,
        many: Literal[True],
        exclude: Iterable[str] = (),
        database: str | None = None,
        timeout: float | None = None,
        absent_timeout: float | None = None,
        lease_timeout: float = 3.0,
        barrier_timeout: float = 60.0,
        serve_when_down: bool = True,
        strict: bool = False,
        scope: Scope | None = None,
        related: Iterable[str] = (),
        shards: int | None = None,
        near: float | str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        model: type[M],
        key: str = "pk",
        using: str | Backend = DEFAULT_ALIAS,
        *,
        many: Literal[False] = False,
        exclude: Iterable[str] = (),
        database: str | None = None,
        timeout: float | None = None,
        absent_timeout: float | None = None,
        lease_timeout: float = 3.0,
        barrier_timeout: float = 60.0,
        serve_when_down: bool = True,
        strict: bool = False,
        scope: Scope | None = None,
        related: Iterable[str] = (),
        shards: int | None = None,
        near: float | str | None = None,
    ) -> None: ...
    def __init__(
        self,
        model: type[M],
        key: str = "pk",
        using: str | Backend = DEFAULT_ALIAS,
        *,
        many: bool = False,
        exclude: Iterable[str] = (),
        database: str | None = None,
        timeout: float | None = None,
        absent_timeout: float | None = None,
        lease_timeout: float = 3.0,
        barrier_timeout: float = 60.0,
        serve_when_down: bool = True,
        strict: bool = False,
        scope: Scope | None = None,
        related: Iterable[str] = (),
        shards: int | None = None,
        near: float | str | None = None,
    ) -> None:
        super().__init__(
            model,
            key,
            using,
            Options(
                exclude=excluded_fields(model, key, exclude, many=many),
                database=database,
                timeout=timeout,
                absent_timeout=absent_timeout,
                lease_timeout=lease_timeout,
                barrier_timeout=barrier_timeout,
                serve_when_down=serve_when_down,
                strict=strict,
                scope=scope,
                near=near,
                related=related_lookups(model, related),
                shards=shards,
            ),
        )

    def __repr__(self) -> str:
        by = "" if self._field is None else f" by {self._field.name}"
        return f"<ModelDict of {self.model._meta.label}{by} on {self._cached.alias!r}>"

    def __bool__(self) -> bool:
        """Return True, however many rows are on the server. Sends nothing."""
        return True

    # One row.

    def __getitem__(self, key: Any) -> M:
        found = self._find(key, "d[key]", "await d.agetitem(key)")
        if found is None:
            raise KeyError(key)
        return found

    async def agetitem(self, key: Any) -> M:
        """As `d[key]`, with its KeyError."""
        found = await self._afind(key)
        if found is None:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return self._find(key, "`key in d`", "await d.acontains(key)") is not None

    async def acontains(self, key: object) -> bool:
        """As `key in d`."""
        return await self._afind(key) is not None

    @overload
    def get(self, key: Any, default: None = None) -> M | None: ...
    @overload
    def get(self, key: Any, default: D) -> M | D: ...
    def get(self, key: Any, default: Any = None) -> Any:
        """Get the row, or `default`. One EVALSHA; on a miss also a query and an EVALSHA."""
        found = self._find(key, "get()", "await d.aget(…)")
        return default if found is None else found

    async def aget(self, key: Any, default: Any = None) -> Any:
        """As `get()`."""
        found = await self._afind(key)
        return default if found is None else found

    def get_or_404(self, key: Any) -> M:
        """Get the row, for a view. Costs the same as `get()`.

        Raises:
            Http404: there is none; with the message of `get_object_or_404()`.
        """
        return self._or_404(self._find(key, "get_or_404()", "await d.aget_or_404(…)"))

    async def aget_or_404(self, key: Any) -> M:
        """As `get_or_404()`."""
        return self._or_404(await self._afind(key))

    def _or_404(self, found: M | None) -> M:
        if found is None:
            raise Http404(f"No {self.model._meta.object_name} matches the given query.")
        return found

    def _find(self, key: Any, called: str, twin: str) -> M | None:
        if running_loop() is not None:
            refuse_to_block(called, twin)
        if key is None:
            return None
        lookup = self._lookup()
        if lookup.near is not None and (kept := lookup.near_hit(key, THREAD)) is not NOT_NEAR:
            return kept  # type: ignore[no-any-return]  # a row, or None
        step = lookup.step(key, THREAD)
        if step is None:
            return run(lookup.table, lookup.find_near([key], THREAD)).get(key)
        answers: Any
        try:
            answers = lookup.table.backend.driver.do(step)
        except UNREACHED as error:
            answers = error
        else:
            if (found := lookup.hit(answers)) is not None:
                return found
        return run(lookup.table, lookup.finish(key, step, answers, THREAD))

    async def _afind(self, key: Any) -> M | None:
        if key is None:
            return None
        lookup = await self._alookup()
        if lookup.near is not None and (kept := lookup.near_hit(key, TASK)) is not NOT_NEAR:
            return kept  # type: ignore[no-any-return]  # a row, or None
        step = lookup.step(key, TASK)
        if step is None:
            return (await arun(lookup.table, lookup.find_near([key], TASK))).get(key)
        answers: Any
        try:
            answers = await lookup.table.backend.async_driver.do(step)
        except UNREACHED as error:
            answers = error
        else:
            if (found := lookup.hit(answers)) is not None:
                return found
        return await arun(lookup.table, lookup.finish(key, step, answers, TASK))

    # Several rows.

    def get_many(self, keys: Iterable[Any]) -> dict[Any, M]:
        """Get the rows of these keys, without missing ones.

        One EVALSHA for each 1,000 rows, from 50 rows on together with an MGET in a transaction. For
        misses another EVALSHA, one `in_bulk()`, and an EVALSHA to store the rows. With `near` only
        for rows that are not in memory, and a PTTL for each of these.
        """
        return self._run(
            "get_many()",
            "await d.aget_many(…)",
            lambda lookup, by: lookup.find_near(distinct_keys(keys), by),
        )

    async def aget_many(self, keys: Iterable[Any]) -> dict[Any, M]:
        """As `get_many()`."""
        return await self._arun(lambda lookup, by: lookup.find_near(distinct_keys(keys), by))


class ModelLists(ListMethods[M], ModelDict[M]):  # type: ignore[misc]  # lists for rows
    """Lists of rows by the value of a field: `ModelDict(Product, "category", many=True)`.

    Once a change is visible to other transactions, no read gives a list as it was before: a cell
    (one key on the server) for each value has the primary keys, and the rows come from the cells of
    `ModelDict`. A value that no row has gives an empty list, and so does None, since NULL is no
    value. A list is in the order of the primary keys, and a copy that you may change.

    Its methods are those of `ModelDict`, with lists in place of rows:

    - reading: `d[value]`, `get`, `get_many`, `get_or_404`, `value in d`
    - the lists on the server: iteration, `keys`, `values`, `items`, `len(d)`
    - by hand: `warm`, `invalidate`, `clear`
    - counts: `stats` of lists; those of rows are the `ModelDict`'s

    `near` applies to the lists and to their rows. `absent_timeout` applies to rows alone; that a
    value has no rows is cached in any case.
    """

    def __init__(
        self,
        model: type[M],
        key: str = "pk",
        using: str | Backend = DEFAULT_ALIAS,
        *,
        many: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(model, key, using, many=many, **options)  # type: ignore[call-overload]  # many is any bool

    # Rows on the server.

    def values(self) -> Iterator[list[M]]:  # type: ignore[override]  # a list of these
        """Iterate over the lists on the server that have rows, in any order. As `items()`."""
        return (rows for _, rows in self.items())

    async def avalues(self) -> AsyncIterator[list[M]]:  # type: ignore[override]  # likewise
        """As `values()`."""
        async for _, rows in self.aitems():
            yield rows

    def items(self) -> Iterator[tuple[Any, list[M]]]:  # type: ignore[override]  # likewise
        """Iterate over the lists on the server that have rows, with their values, in any order.

        SCAN, and for each page EVALSHA for its lists, and for their rows.

        Raises:
            BackendUnavailable: the server can't be reached.
        """
        found: Any = super().items()
        return found  # type: ignore[no-any-return]  # what is kept here are lists

    async def aitems(self) -> AsyncIterator[tuple[Any, list[M]]]:  # type: ignore[override]  # likewise
        """As `items()`."""
        found: Any = super().aitems()
        async for pair in found:
            yield pair


name_methods("ModelDict", ModelDict, ModelLists)
