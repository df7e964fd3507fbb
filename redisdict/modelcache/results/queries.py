"""Execute the ORM's queries from kept results: the rows as the database gave them.

What Django makes of rows, instances with what is joined, values, a count, it makes of a hit's rows
as of a miss's, by the same code: so nobody can tell one from the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from django.apps import apps
from django.core.exceptions import EmptyResultSet
from django.db.models.sql.constants import MULTI, SINGLE

from redisdict.codec import messagepack
from redisdict.exceptions import NotCacheable, SerializationError
from redisdict.modelcache.cached_models import CachedModel, CachedTable
from redisdict.modelcache.invalidation import reads
from redisdict.modelcache.invalidation.statements import table_of
from redisdict.modelcache.lookup import THREAD, run
from redisdict.modelcache.options import Options
from redisdict.modelcache.results.computation import Computation, Refusals
from redisdict.modelcache.results.dependencies import known_models
from redisdict.modelcache.results.purity import impurity
from redisdict.modelcache.results.space import ResultSpace

#: So many sets of tables are remembered.
MOST_SPACES = 1000

#: Where results are named on the server.
PATH = ("query",)


class Queries:
    """Executes queries by the options of `CachedQuerySet.cached()`."""

    def __init__(
        self, using: str, timeout: float | None, lease_timeout: float, serve_when_down: bool
    ) -> None:
        self.using = using
        self._arguments = (using, timeout, lease_timeout, serve_when_down)
        self._options = Options(
            timeout=timeout, lease_timeout=lease_timeout, serve_when_down=serve_when_down
        )
        self._refusals = Refusals("a queryset")
        self._spaces: dict[tuple[CachedTable, ...], ResultSpace] = {}

    def __reduce__(self) -> Any:
        """A queryset can be pickled, to be made of the same options elsewhere."""
        return queries_of, self._arguments

    def execute(self, compiler: Any, execute: Callable[[], Any], result_type: str) -> Any:
        """Give what `execute()` would, from the server where it is there.

        Raises:
            NotCacheable: the result may change without a change of a table that is known.
        """
        if result_type not in (MULTI, SINGLE):
            return execute()
        try:
            sql, params = compiler.as_sql()
        except EmptyResultSet:
            return execute()
        name = name_of(sql, params, result_type, compiler.connection.timezone_name)
        declared = _pure.get(sql) or look_at(compiler.query, sql)
        if not declared:
            raise NotCacheable(
                f"The result of this query can't be kept: it has no table: {sql:.300}"
            )
        known = known_models(declared, self.using, "The result of this query")
        space = self._space_of(known, compiler.connection.alias)
        if (outer := reads.recording.get()) is not None:
            outer.tables |= declared  # on a hit no statement tells of them

        def read() -> list[list[Any]]:
            # It was compiled already.
            compiler.__dict__["as_sql"] = lambda *_, **__: (sql, params)
            token = reads.executing.set(None)
            try:
                got = execute()
            finally:
                reads.executing.reset(token)
                del compiler.__dict__["as_sql"]
            return rows_of(got, result_type)

        computation = Computation(read, space.tables, declared, self._refusals)
        plan = space.lookup.find(space.cell(name), computation, computation.load, THREAD)
        return result_of(run(space.table, plan), result_type)

    def _space_of(self, models: Sequence[CachedModel], database: str) -> ResultSpace:
        tables = tuple(one.table(database) for one in models)
        space = self._spaces.get(tables)
        if space is None:
            space = ResultSpace(PATH, tables, self._options, self._refusals)
            backend = space.table.backend
            # Those of former settings have done their part.
            kept = {one: each for one, each in self._spaces.items() if one[0].backend is backend}
            self._spaces = {**(kept if len(kept) < MOST_SPACES else {}), tables: space}
        return space


def rows_of(got: Any, result_type: str) -> list[list[Any]]:
    """The rows of what a compiler's `execute_sql()` gives, to be kept."""
    if result_type == SINGLE:
        return [] if got is None else [list(got)]
    return [list(row) for chunk in got for row in chunk]


def result_of(kept: list[list[Any]], result_type: str) -> Any:
    """What a compiler's `execute_sql()` gives, of rows that were kept."""
    rows = [tuple(row) for row in kept]
    if result_type == SINGLE:
        return rows[0] if rows else None
    return [rows]


@lru_cache(maxsize=1024)
def queries_of(
    using: str, timeout: float | None, lease_timeout: float, serve_when_down: bool
) -> Queries:
    """What executes queries by these options: the same object each time."""
    return Queries(using, timeout, lease_timeout, serve_when_down)


def name_of(sql: str, params: Sequence[Any], result_type: str, zone: str) -> str:
    """What stands for a query on the server: another for each text and parameters."""
    try:
        packed = messagepack.dumps([sql, [_plain(one) for one in params], result_type, zone])
    except SerializationError as error:
        raise NotCacheable(
            f"The result of this query can't be kept, for a parameter can't be written: {error}"
        ) from error
    return blake2b(packed, digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    """A parameter as the database gets it: an enum's member as its value, JSON as its text."""
    if type(value).__module__ == "psycopg.types.json":
        return [type(value).__name__, (value.dumps or json.dumps)(value.obj)]
    if isinstance(value, str) and type(value) is not str:
        return str.__str__(value)
    if isinstance(value, int) and type(value) not in (int, bool):
        return int(value)
    return value


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
        raise NotCacheable(f"The result of this query can't be kept, for {reason}: {sql:.300}")
    models = apps.get_models(include_auto_created=True)
    tables = frozenset({*reads.tables_in(sql)} & {*map(table_of, models)})
    if len(sql) <= LONGEST_PURE:
        if len(_pure) >= MOST_PURE:
            _pure.clear()
        _pure[sql] = tables
    return tables
