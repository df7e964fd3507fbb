"""Answer the ORM's queries from cached results: the rows as the database gave them.

Django turns a hit's rows into instances with joins, values or a count by the same code as a miss's,
so both give the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeAlias

from django.apps import apps
from django.core.exceptions import EmptyResultSet
from django.db.models.sql.constants import MULTI, SINGLE

from redisdict.codec import messagepack
from redisdict.exceptions import NotCacheable, SerializationError
from redisdict.modelcache.cached_models import CachedModel, CachedTable
from redisdict.modelcache.invalidation import reads
from redisdict.modelcache.invalidation.statements import table_of
from redisdict.modelcache.options import Options
from redisdict.modelcache.plans import THREAD, run
from redisdict.modelcache.results.chains import Chain, Shape
from redisdict.modelcache.results.columns import Columns, pack_rows, unpack_columns
from redisdict.modelcache.results.computation import Computation, Refusals
from redisdict.modelcache.results.dependencies import known_models
from redisdict.modelcache.results.in_tasks import NeedsThread, answers, need_thread
from redisdict.modelcache.results.plans import QueryPlan, can_be_planned, plain_of
from redisdict.modelcache.results.purity import impurity
from redisdict.modelcache.results.space import ResultSpace
from redisdict.modelcache.results.structure import Structure, structure_of
from redisdict.modelcache.results.versions import QUERY, Narrowing, narrow, space_of
from redisdict.modelcache.stats import CacheStats
from redisdict.near.reader import check_near

#: Executes a compiler's query: given that, Django's own way to do it, and the type of the result.
Execute: TypeAlias = Callable[[Any, Callable[[], Any], str], Any]

#: So many sets of tables are remembered.
MOST_SPACES = 1000

#: So many shapes of queries.
MOST_PLANS = 4096

#: Where results are named on the server, and in which form their rows are.
PATH, FORM = ("query",), "columns 3"


class Queries:
    """Executes queries by the options of `CachedQuerySet.cached()`."""

    def __init__(
        self,
        using: str,
        timeout: float | None,
        lease_timeout: float,
        serve_when_down: bool,
        near: float | str | None = None,
    ) -> None:
        check_near("cached(): near", near)
        self.using = using
        self._arguments = (using, timeout, lease_timeout, serve_when_down, near)
        self._options = Options(
            timeout=timeout,
            lease_timeout=lease_timeout,
            serve_when_down=serve_when_down,
            near=near,
        )
        self._refusals = Refusals("a queryset")
        self._spaces: dict[tuple[CachedTable, ...], ResultSpace] = {}
        self._plans: dict[tuple[str, str, Any], QueryPlan] = {}
        self._by_shape: dict[tuple[Shape, str, str], QueryPlan] = {}

    def __reduce__(self) -> Any:
        """A queryset can be pickled, to be made of the same options elsewhere."""
        return queries_of, self._arguments

    def find(self, queryset: Any, kind: str) -> tuple[QueryPlan, Columns] | None:
        """Return the cached rows of a query, with its plan; None if more has to be done.

        One round trip: MGET, in tasks EVALSHA. Nothing is compiled, and where the queryset has its
        calls noted no query is made.
        """
        calls: Chain | None = queryset._calls
        if calls is not None:
            structure: Structure | None = calls.structure()
            plan = self._plan_of_shape(calls.shape, queryset.db, kind)
        else:
            structure = structure_of(queryset.query)
            plan = structure and self._known_plan((queryset.db, kind, structure.shape))
        if structure is None or plan is None:
            return None
        rows = self._peek(plan, structure)
        return None if rows is None else (plan, rows)

    def _plan_of_shape(self, shape: Shape, database: str, kind: str) -> QueryPlan | None:
        """As `_known_plan()`; a structure is large, and to look for it takes its time."""
        key = shape, database, kind
        plan = self._by_shape.get(key)
        if plan is None or not plan.is_current:
            plan = self._known_plan((database, kind, shape.structure))
            if plan is not None:
                if len(self._by_shape) >= MOST_PLANS:
                    self._by_shape.clear()
                self._by_shape[key] = plan
        return plan

    def _known_plan(self, key: tuple[str, str, Any]) -> QueryPlan | None:
        plan = self._plans.get(key)
        return plan if plan is not None and plan.is_current else None

    def _peek(self, plan: QueryPlan, structure: Structure) -> Columns | None:
        name = plan.name_of(structure)
        if name is None:
            return None
        found = self._space_for(plan, structure).peek_at(name)
        rows = None if found is None else unpack_columns(found[0])
        if rows is not None and (outer := reads.recording.get()) is not None:
            outer.tables |= plan.declared  # on a hit no statement tells of them
        return rows

    def giving(self, plan: QueryPlan, rows: Columns) -> Execute:
        """Make an executor that answers Django's one query with these rows, found before."""
        given = [(plan, rows)]

        def execute(compiler: Any, execute: Callable[[], Any], result_type: str) -> Any:
            if not given:
                return self.execute(compiler, execute, result_type)
            plan, rows = given.pop()
            plan.prepare(compiler)
            return result_of(rows.rows(), result_type)

        return execute

    def asking(self, query: Any, kind: str) -> Execute:
        """Make an executor of the one query that Django derives from this one for its `kind`."""
        asked = [(query, structure_of(query))]

        def execute(compiler: Any, execute: Callable[[], Any], result_type: str) -> Any:
            if not asked:
                return self.execute(compiler, execute, result_type)
            return self._execute(compiler, execute, result_type, kind, *asked.pop())

        return execute

    def execute(self, compiler: Any, execute: Callable[[], Any], result_type: str) -> Any:
        """Return the result of `execute()`, from the server if it is cached.

        Raises:
            NotCacheable: the result may change without a change of a table that is known.
        """
        if result_type not in (MULTI, SINGLE):
            return execute()
        query = compiler.query
        structure = structure_of(query)
        if structure is not None:
            key = compiler.connection.alias, result_type, structure.shape
            plan = self._known_plan(key)
            if plan is not None and (rows := self._peek(plan, structure)) is not None:
                plan.prepare(compiler)
                return result_of(rows.rows(), result_type)
        return self._execute(compiler, execute, result_type, result_type, query, structure)

    def _execute(
        self,
        compiler: Any,
        execute: Callable[[], Any],
        result_type: str,
        kind: str,
        query: Any,
        structure: Structure | None,
    ) -> Any:
        """The same, after there was no hit by a plan.

        Args:
            query: that of the structure, of which Django has made the compiler's.
        """
        need_thread()
        compiled = None
        key = structure and (compiler.connection.alias, kind, structure.shape)
        plan = self._known_plan(key) if key else None
        name = plan.name_of(structure) if plan and structure else None
        if plan is None or name is None:
            try:
                sql, params = compiled = compiler.as_sql()
            except EmptyResultSet:
                return execute()
            declared = _pure.get(sql) or look_at(compiler.query, sql)
            if not declared:
                raise NotCacheable(
                    f"The result of this query can't be cached, because it has no table: {sql:.300}"
                )
            models = known_models(declared, self.using, QUERY)
            if plan is None and structure is not None and key:
                plan = self._plan(key, structure, compiler, sql, declared, models)
                if plan is not None:
                    plan.narrowing = self._narrowing_of(query, structure, sql, declared)
                name = plan.name_of(structure) if plan else None
            if name is None:
                zone = compiler.connection.timezone_name
                name = name_of(sql, params, result_type, zone)
        else:
            declared, models = plan.declared, list(plan.models)
            plan.prepare(compiler)
        if plan is not None and structure is not None:
            space = self._space_for(plan, structure)
        else:
            space = self._space_of(models, compiler.connection.alias)
        if (outer := reads.recording.get()) is not None:
            outer.tables |= declared  # on a hit no statement tells of them

        def read() -> list[Any]:
            if compiled is not None:
                compiler.__dict__["as_sql"] = lambda *_, **__: compiled
            token = reads.executing.set(None)
            try:
                got = execute()
            finally:
                reads.executing.reset(token)
                compiler.__dict__.pop("as_sql", None)
            return pack_rows(rows_of(got, result_type))

        computation = Computation(read, space.tables, declared, self._refusals)
        find = space.lookup.find(space.cell(name), computation, computation.load, THREAD)
        return result_of(unpack_columns(run(space.table, find)).rows(), result_type)

    def _plan(
        self,
        key: tuple[str, str, Any],
        structure: Structure,
        compiler: Any,
        sql: str,
        declared: frozenset[str],
        models: Sequence[CachedModel],
    ) -> QueryPlan | None:
        """Remember what the first query of a shape showed, for all queries of the shape."""
        # What is in no SQL for the sake of one value may be in that of another.
        joined = {name.lower() for name in structure.tables}
        if not joined <= declared or not can_be_planned(compiler):
            return None
        database, kind, _ = key
        plan = QueryPlan(database, kind, structure, compiler, sql, declared, models)
        if len(self._plans) >= MOST_PLANS:
            self._plans.clear()
        self._plans[key] = plan
        return plan

    def _space_for(self, plan: QueryPlan, structure: Structure) -> ResultSpace:
        """Return the space of results of a query of this plan, by the tables it depends on."""
        narrow_space = plan.narrowing and self._narrow_space(
            plan.narrowing, structure, plan.database
        )
        return narrow_space or self._space_of(plan.models, plan.database)

    def _narrow_space(
        self, narrowing: Narrowing | None, structure: Structure, database: str
    ) -> ResultSpace | None:
        if narrowing is None:
            return None
        return space_of(narrowing.choice(structure), self._space_of(narrowing.models, database))

    def _narrowing_of(
        self, query: Any, structure: Structure, sql: str, declared: frozenset[str]
    ) -> Narrowing | None:
        # What is kept in memory goes with its tables' versions, and with no others.
        if self._options.near is not None:
            return None
        return narrow(query, structure, sql, declared, self.using)

    def stats(self, compiler: Any) -> CacheStats:
        """Get the counts of results of a query's tables."""
        sql, _ = compiler.as_sql()
        declared = _pure.get(sql) or look_at(compiler.query, sql)
        models = known_models(declared, self.using, QUERY)
        alias, structure = compiler.connection.alias, structure_of(compiler.query)
        narrow_space = structure and self._narrow_space(
            self._narrowing_of(compiler.query, structure, sql, declared), structure, alias
        )
        space = narrow_space or self._space_of(models, alias)
        total = space.lookup.reader.counters.total()
        stats: CacheStats = space.table.backend.driver.run(total)
        return stats

    def _space_of(self, models: Sequence[CachedModel], database: str) -> ResultSpace:
        tables = tuple(_table_of(one, database) for one in models)
        space = self._spaces.get(tables)
        if space is None:
            space = ResultSpace(PATH, tables, self._options, self._refusals, FORM)
            backend = space.table.backend
            # Those of former settings have done their part.
            kept = {one: each for one, each in self._spaces.items() if one[0].backend is backend}
            self._spaces = {**(kept if len(kept) < MOST_SPACES else {}), tables: space}
        return space


def _table_of(model: CachedModel, database: str) -> CachedTable:
    """The table that a model's alias leads to; a task can't look at a connection."""
    if answers.get() is None:
        return model.table(database)
    table = model.known_table(database)
    if table is None:
        raise NeedsThread
    return table


def rows_of(got: Any, result_type: str) -> list[Sequence[Any]]:
    """The rows in the result of a compiler's `execute_sql()`."""
    if result_type == SINGLE:
        return [] if got is None else [got]
    return [row for chunk in got for row in chunk]


def result_of(rows: list[tuple[Any, ...]], result_type: str) -> Any:
    """The result of a compiler's `execute_sql()`, made from its rows."""
    if result_type == SINGLE:
        return rows[0] if rows else None
    return [rows]


@lru_cache(maxsize=1024)
def queries_of(
    using: str,
    timeout: float | None,
    lease_timeout: float,
    serve_when_down: bool,
    near: float | str | None = None,
) -> Queries:
    """Return the executor of queries with these options: the same object each time."""
    return Queries(using, timeout, lease_timeout, serve_when_down, near)


def name_of(sql: str, params: Sequence[Any], result_type: str, zone: str) -> str:
    """Return the name of a query on the server, by its text and parameters."""
    try:
        packed = messagepack.dumps([sql, [plain_of(one) for one in params], result_type, zone])
    except SerializationError as error:
        raise NotCacheable(
            "The result of this query can't be cached, because a parameter can't be written:"
            f" {error}"
        ) from error
    return blake2b(packed, digest_size=16).hexdigest()


#: Of texts whose results are functions of their tables: these. What has the same text is the same.
_pure: dict[str, frozenset[str]] = {}

#: So many of them are remembered, and none that is longer.
MOST_PURE = 4096
LONGEST_PURE = 20_000


def look_at(query: Any, sql: str) -> frozenset[str]:
    """The tables of models that a compiled query reads.

    Raises:
        NotCacheable: it isn't a function of them.
    """
    reason = impurity(query, sql)
    if reason:
        raise NotCacheable(f"The result of this query can't be cached: {reason}: {sql:.300}")
    models = apps.get_models(include_auto_created=True)
    tables = frozenset({*reads.tables_in(sql)} & {*map(table_of, models)})
    if len(sql) <= LONGEST_PURE:
        if len(_pure) >= MOST_PURE:
            _pure.clear()
        _pure[sql] = tables
    return tables
