"""Define `ComputedDict`, whose values are computed from tables, again only when these change."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections, models, transaction

from redisdict.conf import DEFAULT_ALIAS
from redisdict.connections.backend import Backend
from redisdict.exceptions import ConfigurationError
from redisdict.mapping.keys import get_key_codec
from redisdict.mapping.layouts.base import to_milliseconds
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.connection_state import is_in_transaction
from redisdict.modelcache.invalidation.reads import recording
from redisdict.modelcache.invalidation.transactions import note_or_remove_tables
from redisdict.modelcache.model_dict import refuse_to_block
from redisdict.modelcache.options import Options
from redisdict.modelcache.plans import TASK, THREAD, arun, run
from redisdict.modelcache.results.computation import Computation, Refusals
from redisdict.modelcache.results.dependencies import Dependencies
from redisdict.modelcache.results.in_tasks import run_in_task
from redisdict.modelcache.results.space import ResultSpace
from redisdict.modelcache.slots.store import new_token
from redisdict.modelcache.stats import CacheStats
from redisdict.near.reader import check_near
from redisdict.near.space import NearStats

V = TypeVar("V")

#: Stands in the place of a key that there is none of.
NO_KEY: Any = object()


class ComputedDict(Generic[V]):
    """Values that a function computes from tables, kept on the server until one of these changes.

    Once a change is visible to other transactions, no read gives an older value: docs/results.md
    has the proof. When a value is missing, one process computes it and the others wait for it.

    - `d[key]`, `d.get(key)`; `d.get()` if the function takes no key
    - by hand: `invalidate`, `clear`
    - counts: `stats`, `near_stats`

    Each has an async twin with an `a` before its name (`aget` for `d[key]`). In a coroutine the
    synchronous methods raise `SynchronousOnlyOperation`. `bool(d)` is always true.

    Make it in models.py, or in dicts.py of an installed app: both are imported in every process,
    and a process that hasn't made it doesn't announce its changes of these tables.

    Args:
        name: its name on the server, unique in the project.
        depends_on: what the function reads. A model stands for its table, its parents' tables, and
            those of the many-to-many relations that Django makes for it; a queryset for the tables
            that it joins; an instance for its model; another `ComputedDict` for what that depends
            on. A result that reads other tables isn't kept, and the log says so.
        compute: takes a key, or nothing; returns the value, None too. A function, or a coroutine
            function, whose values only coroutines can read. It has to read from the database that
            is written to, change nothing, and depend on its key and the tables only.
        key_type: `str`, `int`, `uuid.UUID`, `bytes`, or a pair of functions to bytes and back.
        using: an alias of the setting REDISDICT.
        database: the alias of DATABASES with the tables; None means the one that the routers
            choose for writing.
        timeout: seconds for which a value is kept; None means the alias's TIMEOUT.
        lease_timeout: seconds for which others wait for the process that computes. A result that
            takes longer isn't kept, so give more than the computation takes.
        barrier_timeout: seconds for which nothing is kept after a process died during its commit.
            It has to be longer than any COMMIT takes, and any save() outside a transaction.
        serve_when_down: whether values are computed when the server can't be reached, or reads
            raise `BackendUnavailable`.
        strict: whether a change of the tables fails when it can't be announced to the server.
        version: any text; values of another version than the code's are misses. Change it when the
            function computes something else.
        near: answers reads from this process's memory. Seconds: no read gives a value that was
            replaced longer ago than that when the read began. "request": none gives a value that
            was replaced before the current request began. None: every read asks the server. Not in
            a Cluster.

    Raises:
        ConfigurationError: an argument is not what is expected.

    Nothing is connected before the first use.
    """

    def __init__(
        self,
        name: str,
        *,
        depends_on: Iterable[
            type[models.Model] | models.Model | models.QuerySet[Any] | ComputedDict[Any]
        ],
        compute: Callable[..., V | Awaitable[V]],
        key_type: Any = str,
        using: str | Backend = DEFAULT_ALIAS,
        database: str | None = None,
        timeout: float | None = None,
        lease_timeout: float = 30.0,
        barrier_timeout: float = 60.0,
        serve_when_down: bool = True,
        strict: bool = False,
        version: str = "",
        near: float | str | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(
                f"ComputedDict() got {name!r:.80} as its name; text that isn't empty is expected."
            )
        where = f"ComputedDict({name!r})"
        if not callable(compute):
            raise ConfigurationError(
                f"{where}: compute is {compute!r:.80}; a function of a key, or of nothing, is"
                " expected."
            )
        self.name = name
        self._where = where
        self._compute = compute
        self._takes_key = _takes_key(compute, where)
        self._is_async = inspect.iscoroutinefunction(compute)
        self._key_codec = get_key_codec(key_type)
        self._version = version
        self._refusals = Refusals(where)
        check_near(f"{where}: near", near)
        self._options = Options(
            database=database,
            timeout=timeout,
            lease_timeout=lease_timeout,
            barrier_timeout=barrier_timeout,
            serve_when_down=serve_when_down,
            strict=strict,
            near=near,
        )
        to_milliseconds(timeout, None)
        self._dependencies = Dependencies(depends_on, using, database, self._options, where)
        self._uses: dict[tuple[CachedTable, ...], ResultSpace] = {}

    def __repr__(self) -> str:
        labels = ", ".join(one.model._meta.label for one in self._dependencies.models)
        return f"<ComputedDict {self.name!r} of {labels} on {self._dependencies.models[0].alias!r}>"

    @property
    def depends_on_models(self) -> Sequence[type[models.Model]]:
        """The models whose changes invalidate its values."""
        return [one.model for one in self._dependencies.models]

    def __bool__(self) -> bool:
        """Return True, however many values are on the server. Sends nothing."""
        return True

    def __getitem__(self, key: Any) -> V:
        return self._get(key, "d[key]")

    def get(self, key: Any = NO_KEY) -> V:
        """Get the value of a key, or the only value of a function without a key.

        One round trip: MGET, in tasks EVALSHA, in a Cluster EVALSHA for each table and GET. A miss
        also costs EVALSHA for each table and GET, an EVALSHA before the function is called, and one
        after it.

        Raises:
            TypeError: it is no key of this dict, a key is given for a function without one, or the
                key is missing.
            Exception: the error of the function; nothing is kept then.
        """
        return self._get(key, "get()")

    async def aget(self, key: Any = NO_KEY) -> V:
        """As `get()`."""
        name = self._name_of(key)
        use = self._use_of(await self._dependencies.atables())
        computation = self._computation(use, key)
        kept: list[V] | None = await run_in_task(use.peek, use.cell(name))
        if kept is not None:
            return kept[0]
        find = use.lookup.find(use.cell(name), computation, computation.aload, TASK)
        value: V = await arun(use.table, find)
        return value

    def _get(self, key: Any, called: str) -> V:
        refuse_to_block(called, "await d.aget(…)", "a ComputedDict")
        if self._is_async:
            raise TypeError(
                f"{self._where} is computed by a coroutine function: use `await d.aget(…)`."
            )
        name = self._name_of(key)
        use = self._use_of(self._dependencies.tables())
        computation = self._computation(use, key)
        if (kept := use.peek(use.cell(name))) is not None:
            known: V = kept[0]
            return known
        find = use.lookup.find(use.cell(name), computation, computation.load, THREAD)
        value: V = run(use.table, find)
        return value

    # By hand.

    def invalidate(self, *keys: Any) -> None:
        """Invalidate these values, at once and again at the commit of a transaction under way.

        Without keys the only value, of a function without a key. An EVALSHA for each.
        """
        refuse_to_block("invalidate()", "await d.ainvalidate(…)", "a ComputedDict")
        use = self._use_of(self._dependencies.tables())
        cells = [use.cell(self._name_of(key)) for key in (keys or (NO_KEY,))]

        def remove() -> None:
            use.table.backend.driver.run(use.store.lift(cells, new_token()))

        remove()
        for alias in {table.database for table in use.tables}:
            if is_in_transaction(connections[alias]):
                transaction.on_commit(remove, using=alias)

    async def ainvalidate(self, *keys: Any) -> None:
        """As `invalidate()`."""
        await sync_to_async(self.invalidate)(*keys)

    def clear(self) -> None:
        """Invalidate all values, and all other results of the same tables.

        In a transaction it takes effect at the commit. An EVALSHA for each table.
        """
        refuse_to_block("clear()", "await d.aclear()", "a ComputedDict")
        note_or_remove_tables(self._dependencies.tables())

    async def aclear(self) -> None:
        """As `clear()`."""
        await sync_to_async(self.clear)()

    def stats(self) -> CacheStats:
        """Get the counts of all processes. HINCRBY, HKEYS and HMGET.

        Raises:
            BackendUnavailable: the server can't be reached.
        """
        refuse_to_block("stats()", "await d.astats()", "a ComputedDict")
        use = self._use_of(self._dependencies.tables())
        return use.table.backend.driver.run(use.lookup.reader.counters.total())

    async def astats(self) -> CacheStats:
        """As `stats()`."""
        use = self._use_of(await self._dependencies.atables())
        return await use.table.backend.async_driver.run(use.lookup.reader.counters.total())

    def near_stats(self) -> NearStats:
        """Get the counts of this process's memory for it. Sends nothing to the server."""
        refuse_to_block("near_stats()", "await d.anear_stats()", "a ComputedDict")
        return _near_stats_of(self._use_of(self._dependencies.tables()))

    async def anear_stats(self) -> NearStats:
        """As `near_stats()`."""
        return _near_stats_of(self._use_of(await self._dependencies.atables()))

    # What it is made of.

    def _name_of(self, key: Any) -> str:
        """The text that stands for a key on the server: another for each."""
        if key is NO_KEY and self._takes_key:
            raise TypeError(f"{self._where} has a function of a key; give one, as in d[key].")
        if key is not NO_KEY and not self._takes_key:
            raise TypeError(
                f"{self._where} has a function without a key, and was given {key!r:.80};"
                " use d.get()."
            )
        if key is NO_KEY:
            return ""
        return "=" + self._key_codec.encode(key).decode("latin-1")

    def _computation(self, use: ResultSpace, key: Any) -> Computation:
        declared = self._dependencies.table_names
        if (outer := recording.get()) is not None:
            outer.tables |= declared  # on a hit no statement tells of them
        compute: Callable[..., Any] = self._compute
        return Computation(
            (lambda: compute(key)) if self._takes_key else compute,
            use.tables,
            declared,
            self._refusals,
            is_async=self._is_async,
        )

    def _use_of(self, tables: Sequence[CachedTable]) -> ResultSpace:
        use = self._uses.get(tuple(tables))
        if use is None:
            use = ResultSpace(
                ("computed", self.name), tables, self._options, self._refusals, self._version
            )
            if rows := self._dependencies.versions(tables):
                use = use.depending_on(
                    [table.store.version_in(cell) for table, cell in rows],
                    [table.heat for table, _ in rows],
                )
            backend = use.table.backend
            # Those of former settings have done their part.
            kept = {one: each for one, each in self._uses.items() if one[0].backend is backend}
            self._uses = {**kept, tuple(tables): use}
        return use


def _near_stats_of(use: ResultSpace) -> NearStats:
    if use.near is None:
        return NearStats(is_on=False, reason="this ComputedDict has no near")
    return use.near.stats()


def _takes_key(compute: Callable[..., Any], where: str) -> bool:
    """Whether the function takes a key, or nothing."""
    try:
        parameters = inspect.signature(compute).parameters.values()
    except (TypeError, ValueError):  # of C
        return True
    needed = [
        one
        for one in parameters
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    has_key = any(
        one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.VAR_POSITIONAL)
        for one in parameters
    )
    if len(needed) > 1 or any(one.kind == one.KEYWORD_ONLY for one in needed):
        raise ConfigurationError(
            f"{where}: compute takes {', '.join(one.name for one in needed)}; a function of one"
            " key, or of nothing, is expected."
        )
    return bool(needed) or has_key
