"""Settings for Django's `runtests.py`: its own of sqlite, and every query's rows as a hit has them.

A query that can be kept is executed once; its rows are written as they are for the server, and
Django is given what is read back. The tests are in transactions, in which nothing is kept, so that
is done here below the server. What was done, and why not, is told in a file at the end.

Each query that is known by its structure is compiled all the same: no two of one name may have
another text or other parameters. And instances that are made of rows are compared with Django's.
Calls of querysets are noted as `CachedQuerySet` does, and what is noted is compared with the query
that Django has made.
"""

import atexit
import collections
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models.query import ModelIterable, QuerySet
from django.db.models.sql.compiler import SQLAggregateCompiler, SQLCompiler
from django.db.models.sql.constants import MULTI, SINGLE
from test_sqlite import *  # noqa: F403  # Django's, beside runtests.py

SECRET_KEY = "results"

done: collections.Counter[str] = collections.Counter()
execute_sql = SQLCompiler.execute_sql
iterate = ModelIterable.__iter__

#: By alias, kind and shape.
plans: dict[Any, Any] = {}

#: By name, what was compiled.
compiled: dict[str, Any] = {}

#: The plan and the rows of the query that was executed last.
last: list[Any] = []


def execute_as_a_hit(
    self: Any, result_type: Any = MULTI, chunked_fetch: bool = False, *args: Any, **kwargs: Any
) -> Any:
    from redisdict.codec import get_codec
    from redisdict.exceptions import NotCacheable
    from redisdict.modelcache.results import columns, queries
    from redisdict.modelcache.sameness import is_same

    def execute() -> Any:
        return execute_sql(self, result_type, chunked_fetch, *args, **kwargs)

    is_reading = type(self) in (SQLCompiler, SQLAggregateCompiler)
    if chunked_fetch or result_type not in (MULTI, SINGLE) or not is_reading:
        return execute()
    from redisdict.modelcache.results.structure import structure_of

    structure = structure_of(self.query)
    try:
        sql, params = self.as_sql()
    except EmptyResultSet:
        return execute()
    try:
        queries.name_of(sql, params, result_type, "UTC")
        tables = queries.look_at(self.query, sql)
    except NotCacheable as error:
        done[f"refused: {str(error).partition(': SELECT')[0]}"] += 1
        return execute()
    plan = plan_of(self, result_type, structure, sql, params, tables) if structure else None
    done["planned" if plan else "without a plan"] += 1
    for alias, join in getattr(self.query, "alias_map", {}).items():
        if self.query.alias_refcount[alias] and join.table_name.lower() not in tables:
            done[f"missed: {join.table_name}"] += 1
    self.__dict__["as_sql"] = lambda *_, **__: (sql, params)
    try:
        got = execute()
    finally:
        del self.__dict__["as_sql"]
    rows = queries.rows_of(got, result_type)
    codec = get_codec("msgpack")
    stored = codec.encode(columns.pack_rows(rows))
    hit = columns.unpack_columns(codec.decode(stored)).rows()
    rows = [tuple(row) for row in rows]
    done["same" if is_same(rows, hit) else f"another: {sql}"] += 1
    last[:] = [plan, columns.unpack_columns(codec.decode(stored))]
    return queries.result_of(hit, result_type)


def plan_of(
    compiler: Any, kind: str, structure: Any, sql: str, params: Any, tables: frozenset[str]
) -> Any:
    """The plan of a query's shape, whose name for the query nobody else has."""
    from redisdict.modelcache.results.plans import QueryPlan, can_be_planned

    if not can_be_planned(compiler):
        return None
    key = compiler.connection.alias, kind, structure.shape
    plan = plans.get(key)
    if plan is None:
        plan = plans[key] = QueryPlan(
            compiler.connection.alias, kind, structure, compiler, sql, tables, ()
        )
    name = plan.name_of(structure)
    if name is None:
        return None
    is_one = compiled.setdefault(name, (sql, params)) == (sql, params)
    done["of one name" if is_one else f"another of one name: {sql}"] += 1
    other = getattr(compiler, "annotation_col_map", None), compiler.col_count
    is_like = other == (plan._of_compiler["annotation_col_map"], plan._of_compiler["col_count"])
    if not is_like:
        done[f"another of one shape: {sql}"] += 1
    return plan


def iterate_and_compare(self: Any) -> Any:
    if self.chunked_fetch:
        yield from iterate(self)
        return
    last.clear()
    found = list(iterate(self))
    if last and last[0] and not self.queryset._known_related_objects:
        compare(found, *last, self.queryset.db)
    yield from found


def compare(found: list[Any], plan: Any, rows: Any, database: str) -> None:
    maker = plan.maker
    if not found:
        return
    if maker is None or not maker.can_make or rows.count != len(found):
        done["not made of rows"] += 1
        return
    plan.converters.convert(rows.columns, database)
    for one, made in zip(found, maker.make(rows, database), strict=True):
        is_same = described(one) == described(made)
        done["made alike" if is_same else f"made otherwise: {one!r}"] += 1


def described(instance: Any, within: tuple[int, ...] = ()) -> Any:
    from django.db.models import Model

    if not isinstance(instance, Model) or id(instance) in within:
        return type(instance), None if isinstance(instance, Model) else repr(instance)
    values = {**vars(instance)}
    state = {**vars(values.pop("_state"))}
    joined = state.pop("fields_cache", {})
    within = (*within, id(instance))
    return (
        type(instance),
        state,
        [(name, described(value, within)) for name, value in values.items()],
        [(name, described(value, within)) for name, value in joined.items()],
    )


#: Whose tests count how often lookups are looked for, which is done more often to learn a shape.
COUNTING = frozenset(["custom_lookups.models"])

#: Whether queries are made to find out what calls make.
is_following: list[bool] = []


@contextlib.contextmanager
def following() -> Iterator[None]:
    is_following.append(True)
    try:
        yield
    finally:
        is_following.pop()


def followed(name: str, follow: Any) -> Any:
    """A method of QuerySet whose calls are noted, too, by `follow` of the calls before."""
    method = getattr(QuerySet, name)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        from redisdict.modelcache.results.structure import structure_of

        if is_following or self.model.__module__ in COUNTING:
            return method(self, *args, **kwargs)
        calls = self.__dict__.get("_calls")
        is_plain = not (self._sticky_filter or self._defer_next_filter or self._deferred_filter)
        result = method(self, *args, **kwargs)
        if calls is None or not is_plain or not isinstance(result, QuerySet):
            return result
        with following():
            noted = follow(calls, *args, **kwargs)
        if noted is None:
            done["not noted"] += 1
            return result
        expected = structure_of(result._query)
        is_like = expected and noted.structure()[:2] == expected[:2]
        done["noted" if is_like else f"noted otherwise: {expected!r:.1000}"] += 1
        if noted.shape.is_ordered != result.ordered:
            done[f"ordered otherwise: {expected!r:.1000}"] += 1
        result._calls = noted
        return result

    return call


def follow_slice(calls: Any, key: Any) -> Any:
    is_plain = isinstance(key, slice) and key.step is None
    return calls.slice(key.start, key.stop) if is_plain else None


def by_names(name: str) -> Any:
    return lambda calls, *names, **options: calls.then(name, names, **options)


def follow_calls() -> None:
    begin, plain = QuerySet.__init__, QuerySet.__dict__["query"]

    def init(self: Any, model: Any = None, query: Any = None, *args: Any, **options: Any) -> None:
        from redisdict.modelcache.results.chains import chain_of

        begin(self, model, query, *args, **options)
        if query is None and model is not None and not is_following:
            with following():
                self._calls = chain_of(model)

    def query_of(self: Any) -> Any:
        self.__dict__.pop("_calls", None)  # whoever gets it may change it
        return plain.fget(self)

    def follow_filter(name: str) -> Any:
        return lambda calls, *args, **kwargs: calls.filter(name, args, kwargs)

    methods = {name: follow_filter(name) for name in ("filter", "exclude")}
    for name in ("order_by", "reverse", "distinct", "only", "defer", "values", "values_list"):
        methods[name] = by_names(name)
    methods["select_related"] = by_names("select_related")
    methods["__getitem__"] = follow_slice
    methods["all"] = lambda calls: calls
    made = {name: followed(name, follow) for name, follow in methods.items()}
    QuerySet.__init__ = init  # type: ignore[method-assign]
    QuerySet.query = property(query_of, plain.fset)  # type: ignore[assignment]
    for name, method in made.items():
        setattr(QuerySet, name, method)


def tell() -> None:
    Path(os.environ["REDISDICT_SUITE_TOLD"]).write_text(json.dumps(done))


SQLCompiler.execute_sql = execute_as_a_hit  # type: ignore[method-assign]
ModelIterable.__iter__ = iterate_and_compare  # type: ignore[method-assign]
follow_calls()
atexit.register(tell)
