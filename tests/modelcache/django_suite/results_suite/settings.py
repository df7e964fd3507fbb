"""Settings for Django's `runtests.py`: its own of sqlite, and every query's rows as a hit has them.

A query that can be kept is executed once; its rows are written as they are for the server, and
Django is given what is read back. The tests are in transactions, in which nothing is kept, so that
is done here below the server. What was done, and why not, is told in a file at the end.
"""

import atexit
import collections
import json
import os
from pathlib import Path
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models.sql.compiler import SQLAggregateCompiler, SQLCompiler
from django.db.models.sql.constants import MULTI, SINGLE
from test_sqlite import *  # noqa: F403  # Django's, beside runtests.py

SECRET_KEY = "results"

done: collections.Counter[str] = collections.Counter()
execute_sql = SQLCompiler.execute_sql


def execute_as_a_hit(
    self: Any, result_type: Any = MULTI, chunked_fetch: bool = False, *args: Any, **kwargs: Any
) -> Any:
    from redisdict.codec import get_codec
    from redisdict.exceptions import NotCacheable
    from redisdict.modelcache.results import queries
    from redisdict.modelcache.sameness import is_same

    def execute() -> Any:
        return execute_sql(self, result_type, chunked_fetch, *args, **kwargs)

    is_reading = type(self) in (SQLCompiler, SQLAggregateCompiler)
    if chunked_fetch or result_type not in (MULTI, SINGLE) or not is_reading:
        return execute()
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
    hit = codec.decode(codec.encode(rows))
    done["same" if is_same(rows, hit) else f"another: {sql}"] += 1
    return queries.result_of(hit, result_type)


def tell() -> None:
    Path(os.environ["REDISDICT_SUITE_TOLD"]).write_text(json.dumps(done))


SQLCompiler.execute_sql = execute_as_a_hit  # type: ignore[method-assign]
atexit.register(tell)
