"""Define `CachedQuerySet`, whose `cached()` caches results until one of their tables changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Self, TypeVar

from asgiref.sync import sync_to_async
from django.core.checks import CheckMessage, Error
from django.db import models
from django.db.models.query import ModelIterable
from django.db.models.sql.constants import MULTI

from redisdict.conf import DEFAULT_ALIAS
from redisdict.exceptions import ConfigurationError
from redisdict.modelcache.invalidation.hooks import when_models_are_ready
from redisdict.modelcache.invalidation.reads import executing
from redisdict.modelcache.invalidation.relations import lineage
from redisdict.modelcache.members import Members
from redisdict.modelcache.model_dict import refuse_to_block
from redisdict.modelcache.options import Options
from redisdict.modelcache.registrations import register
from redisdict.modelcache.results.dependencies import Dependencies
from redisdict.modelcache.results.in_tasks import answers, need_thread, run_in_task
from redisdict.modelcache.results.queries import Execute, Queries, queries_of
from redisdict.modelcache.results.recorded import RecordedQuerySet
from redisdict.modelcache.results.values import MAKERS, names_of
from redisdict.modelcache.results.versions import DeclaresVersions, declared_columns
from redisdict.modelcache.stats import CacheStats

M = TypeVar("M", bound=models.Model)


def cache_results_of(
    *names: type[models.Model],
    using: str = DEFAULT_ALIAS,
    barrier_timeout: float = 60.0,
    strict: bool = False,
) -> None:
    """Announce changes of these models' tables, so that results of queries can be cached.

    Call it in models.py, or in dicts.py of an installed app: both are imported in every process,
    and a process that doesn't call it doesn't announce its changes.

    Args:
        names: models; each stands for its table, its parents' tables, and those of the many-to-many
            relations that Django makes for it. Columns that their managers declare, by
            `CachedManager(versions=…)`, are announced by value, too.
        using: an alias of the setting REDISDICT, whose server keeps the results.
        barrier_timeout: seconds for which nothing is kept after a process died during its commit.
            It has to be longer than any COMMIT takes, and any save() outside a transaction.
        strict: whether a change fails when it can't be announced to the server.

    Raises:
        ConfigurationError: there is no model, or one has no table; or, once all models are loaded,
            a manager declares something that isn't a column.
    """
    options = Options(barrier_timeout=barrier_timeout, strict=strict)
    found = Dependencies(names, using, None, options, "cache_results_of()").models

    def register_columns() -> None:
        for one in dict.fromkeys(part for cached in found for part in lineage(cached.model)):
            for field in declared_columns(one):
                by = None if field.primary_key else Members(field.attname)
                register(one, using, options, members=by, is_version=True)

    when_models_are_ready(register_columns)


class CachedQuerySet(RecordedQuerySet[M]):
    """Django's queryset, with `cached()`.

    Its changes are noticed beneath it, like those of every other queryset.
    """

    _queries: Queries | None

    def cached(
        self,
        timeout: float | None = None,
        *,
        using: str = DEFAULT_ALIAS,
        lease_timeout: float = 3.0,
        serve_when_down: bool = True,
        near: float | str | None = None,
    ) -> Self:
        """Return a queryset with the same rows, cached until one of the query's tables changes.

        It applies to the rest of the chain too: `filter()`, `values()`, `get()`, `first()`,
        `count()`, `exists()`, `aggregate()`, `in_bulk()`, and the queries of `prefetch_related()`.
        `iterator()` asks the database. Once a change is visible to other transactions, no read
        gives an older result: see docs/results.md.

        Each query costs one round trip: MGET, in tasks EVALSHA, in a Cluster EVALSHA for each table
        and GET. A miss also costs EVALSHA for each table and GET, an EVALSHA before the query, and
        one after it.

        Args:
            timeout: seconds for which a result is kept; None means the alias's TIMEOUT.
            using: an alias of the setting REDISDICT.
            lease_timeout: seconds for which others wait for the reader that asks the database.
            serve_when_down: whether the database is asked when the server can't be reached, or
                `BackendUnavailable` is raised.
            near: answers reads from this process's memory. Seconds: no read gives a result that
                was replaced longer ago than that when the read began. "request": none gives a
                result that was replaced before the current request began. None: every read asks
                the server. Not in a Cluster.

        Raises:
            ConfigurationError: `near` is none of these.
            NotCacheable: at the query: the result doesn't depend on its tables alone, or one of
                these isn't among those of `cache_results_of()`.
        """
        clone: Any = (
            self._copy(self._calls) if self._calls and self._is_noted() else self._chain()  # type: ignore[attr-defined]  # the stubs lack it
        )
        clone._queries = queries_of(using, timeout, lease_timeout, serve_when_down, near)
        # A replica may lag behind: what db_for_write() names isn't one.
        clone._for_write = True
        same: Self = clone
        return same

    @contextmanager
    def _cached(self, called: str, twin: str, execute: Execute | None = None) -> Iterator[None]:
        """Let queries in the block be answered from cached results."""
        if self._queries is None:
            yield
            return
        _refuse_to_block(called, twin)
        token = executing.set(execute or self._queries.execute)
        try:
            yield
        finally:
            executing.reset(token)

    def _fetch_all(self) -> None:
        if self._queries is None or self._is_fetched:
            super()._fetch_all()
            return
        _refuse_to_block("the rows", "async for")
        execute = self._take_rows()
        if self._is_fetched:
            return
        with self._cached("the rows", "async for", execute):
            if not self._is_read and self._iterable_class is ModelIterable:
                need_thread()  # a model may ask the database when an instance is made
            super()._fetch_all()

    def _take_rows(self) -> Execute | None:
        """Make the result from cached rows, if that takes no more than reading them.

        Returns:
            What executes the query that Django makes then, when the server has been asked.
        """
        queryset: Any = self
        kind, calls = queryset._iterable_class, self._calls
        make = MAKERS.get(kind)
        if (
            queryset._result_cache is not None
            or queryset._known_related_objects
            or (make is None and kind is not ModelIterable)
        ):
            return None
        queries: Queries = queryset._queries
        found = queries.find(self, MULTI)
        if found is None:
            return queries.asking(self.query, MULTI)
        plan, rows = found
        if not rows.count:
            queryset._result_cache = []
        elif plan.converters is None:
            return queries.giving(plan, rows)
        elif make is not None:
            names = names_of(self.query) if calls is None else calls.shape.names
            plan.converters.convert(rows.columns, plan.database)
            queryset._result_cache = make(rows, names)
        elif plan.maker is not None and plan.maker.can_make:
            plan.converters.convert(rows.columns, plan.database)
            mode = getattr(queryset, "_fetch_mode", None)  # since Django 6.1
            queryset._result_cache = plan.maker.make(rows, plan.database, mode)
        else:
            return queries.giving(plan, rows)
        return None

    @property
    def _is_fetched(self) -> bool:
        queryset: Any = self
        is_prefetched = queryset._prefetch_done or not queryset._prefetch_related_lookups
        return queryset._result_cache is not None and is_prefetched

    def count(self) -> int:
        """As Django's."""
        if self._queries is None or self._is_read:
            return super().count()
        _refuse_to_block("count()", "await rows.acount()")
        found = self._queries.find(self, "count")
        if found is not None:
            number: int = found[1].columns[0][0]
            return number
        asking = self._queries.asking(self.query, "count")
        with self._cached("count()", "await rows.acount()", asking):
            return super().count()

    def exists(self) -> bool:
        """As Django's."""
        if self._queries is None or self._is_read:
            return super().exists()
        _refuse_to_block("exists()", "await rows.aexists()")
        found = self._queries.find(self, "exists")
        if found is not None:
            return bool(found[1].count)
        asking = self._queries.asking(self.query, "exists")
        with self._cached("exists()", "await rows.aexists()", asking):
            return super().exists()

    def result_stats(self) -> CacheStats:
        """Get the counts of results of this query's tables, in all processes.

        HINCRBY, HKEYS and HMGET. The async twin is `aresult_stats()`.

        Raises:
            NotCacheable: the result of this query can't be cached.
        """
        _refuse_to_block("result_stats()", "await rows.aresult_stats()")
        queries = self._queries or queries_of(DEFAULT_ALIAS, None, 3.0, True)
        return queries.stats(self.query.chain().get_compiler(using=self.db))

    async def aresult_stats(self) -> CacheStats:
        """As `result_stats()`."""
        return await sync_to_async(self.result_stats)()

    def __aiter__(self) -> AsyncIterator[M]:
        async def rows() -> AsyncIterator[M]:
            await run_in_task(self._fetch_all)
            for row in self:
                yield row

        return rows()

    @property
    def _is_read(self) -> bool:
        queryset: Any = self
        return queryset._result_cache is not None

    def aggregate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As Django's."""
        with self._cached("aggregate()", "await rows.aaggregate()"):
            return super().aggregate(*args, **kwargs)


def _refuse_to_block(called: str, twin: str) -> None:
    if answers.get() is None:
        refuse_to_block(called, twin, "a cached queryset")


def _twin(name: str) -> Any:
    """Make a method for coroutines, which is run in the task if all that it needs is kept."""
    original = getattr(models.QuerySet, f"a{name}")

    @wraps(original)
    async def method(self: CachedQuerySet[Any], *arguments: Any, **options: Any) -> Any:
        if self._queries is None:
            return await original(self, *arguments, **options)
        return await run_in_task(getattr(self, name), *arguments, **options)

    return method


for _name in (
    "aggregate contains count earliest exists first get in_bulk last latest".split()  # noqa: SIM905
):
    setattr(CachedQuerySet, f"a{_name}", _twin(_name))


class CachedManager(DeclaresVersions, models.Manager.from_queryset(CachedQuerySet)[M]):  # type: ignore[misc]  # made at run time
    """The manager of `CachedQuerySet`. A `ModelDict` doesn't need it.

    Args:
        versions: names of fields of the model's own table. A query of `cached()` whose filter
            compares one of them with a value, such as `filter(category=5, …)`, depends on the rows
            with that value, and no longer on all rows of the table; see docs/results.md. Needs
            `cache_results_of()`. Each update and deletion then costs one more query, which locks
            its rows and reads their values; except with the primary key.

    Raises:
        ConfigurationError: `versions` aren't names. Django's checks and `cache_results_of()` report
            names of fields that don't exist.
    """

    def __init__(self, versions: Iterable[str] = ()) -> None:
        super().__init__()
        self.set_versions(versions)

    def check(self, **options: Any) -> list[CheckMessage]:
        """As Django's, and whether `versions` names columns."""
        found: list[CheckMessage] = super().check(**options)
        try:
            declared_columns(self.model)
        except ConfigurationError as error:
            found.append(Error(str(error), id="redisdict.E102", obj=self.model))
        return found
