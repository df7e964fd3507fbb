"""What comes between a result and its reader: barriers, outages, other databases, damaged bytes."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.migrations.recorder import MigrationRecorder
from redis.exceptions import ResponseError

from redisdict import ComputedDict, NotCacheable, cache_results_of
from redisdict.exceptions import BackendUnavailable
from redisdict.mapping.keys import Names
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.invalidation.reads import tables_in
from redisdict.modelcache.results.queries import Queries
from redisdict.modelcache.slots.results import ResultStore
from redisdict.modelcache.slots.store import BLOCKED, HEAD, RowStore, new_token
from tests.shop.models import Product


class Count:
    """How many products there are, and how often they were counted."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        return Product.objects.count()


@pytest.fixture
def count() -> Count:
    return Count()


@pytest.fixture
def computed(server: str, database: str, count: Count) -> ComputedDict[int]:
    return ComputedDict("count", depends_on=[Product], compute=count)


def _table(computed: ComputedDict[Any]) -> CachedTable:
    [table] = computed._dependencies.tables()
    return table


def test_behind_a_barrier_nothing_is_kept(computed: ComputedDict[int], count: Count) -> None:
    table, token = _table(computed), new_token()
    driver = table.backend.driver
    driver.run(table.store.block([table.store.table_key], token, 60_000))
    assert [computed.get(), computed.get()] == [0, 0]
    assert count.asked == 2
    assert computed.stats().fills == 0
    driver.run(table.store.lift([table.store.table_key], token))
    assert [computed.get(), computed.get()] == [0, 0]
    assert count.asked == 3


def test_a_server_that_has_forgotten_its_scripts(computed: ComputedDict[int]) -> None:
    assert computed.get() == 0
    _table(computed).backend.client().script_flush()
    assert computed.get() == 0
    Product.objects.create(name="Tea")
    assert computed.get() == 1


def test_bytes_that_cannot_be_read_are_replaced(
    computed: ComputedDict[int], count: Count, caplog: pytest.LogCaptureFixture
) -> None:
    assert computed.get() == 0
    space = computed._use_of(computed._dependencies.tables())
    client = space.table.backend.client()
    whole = client.get(space.cell(""))
    client.set(space.cell(""), whole[:HEAD] + b"R\xff\xff\xff")
    # Who finds it removes it; the next one has a lease.
    assert [computed.get(), computed.get(), computed.get()] == [0, 0, 0]
    assert count.asked == 3
    assert client.get(space.cell("")) == whole
    assert "A result of ComputedDict('count') is not cached: " in caplog.text


def test_after_an_outage(
    computed: ComputedDict[int], count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redisdict.modelcache.outages.REST_S", 0.0)
    assert computed.get() == 0
    outages = _table(computed).outages
    outages.note(BackendUnavailable("gone"))
    assert computed.get() == 0
    assert count.asked == 1
    assert outages.is_calm
    outages.begin_untold_change(b"a change", 60)
    assert computed.get() == 0
    assert count.asked == 2
    outages.end_untold_change(b"a change")
    outages.note(BackendUnavailable("gone"))
    with monkeypatch.context() as broken:

        def fail(*_: Any) -> Any:
            raise BackendUnavailable("gone")
            yield

        broken.setattr(RowStore, "lift", fail)
        broken.setattr(ResultStore, "read", fail)
        assert computed.get() == 0
    assert count.asked == 3
    assert computed.get() == 0


def test_reads_from_another_database_are_not_kept(
    server: str,
    sqlite_alias: str,
    postgres_alias: str,
    django_db_blocker: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with django_db_blocker.unblock():
        count = ComputedDict(
            "count",
            depends_on=[Product],
            compute=lambda: Product.objects.using(sqlite_alias).count(),
            database=postgres_alias,
        )
        assert [count.get(), count.get()] == [0, 0]
        assert (count.stats().hits, count.stats().fills) == (0, 0)
    assert f"it reads from the database {sqlite_alias!r}, which may lag behind" in caplog.text


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_in_a_transaction_that_has_failed(computed: ComputedDict[int], database: str) -> None:
    """Only PostgreSQL ends a transaction at an error."""

    def compute() -> str:
        with pytest.raises(DatabaseError), connections[database].cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
        return "failed"

    failing = ComputedDict("failing", depends_on=[Product], compute=compute)
    with transaction.atomic(using=database):
        assert failing.get() == "failed"
        transaction.set_rollback(True, using=database)
    assert failing.stats().fills == 0


def test_errors_of_the_server_are_raised() -> None:
    table, cells = (RowStore(Names("test", (name,)), b"12345678") for name in ("table", "cells"))
    for replies in ([ResponseError("OOM"), None], [[b"G" + bytes(16)], ResponseError("WRONGTYPE")]):
        operation = ResultStore([table], cells).read([b"key"], b"token", 1)
        operation.send(None)
        with pytest.raises(ResponseError):
            operation.send(replies)
    operation = ResultStore([table], cells).read([b"key"], b"token", 1)
    operation.send(None)
    with pytest.raises(StopIteration) as stopped:
        operation.send([[], None])
    assert stopped.value.value == [BLOCKED]


def test_a_query_without_a_table_is_refused(server: str, database: str) -> None:
    cache_results_of(Product)
    migrations = MigrationRecorder(connections[database]).migration_qs
    queries = Queries("default", None, 3.0, True)
    compiler = migrations.query.get_compiler(using=database)
    with pytest.raises(NotCacheable, match="it has no table"):
        queries.execute(compiler, list, "multi")
    assert queries.execute(compiler, lambda: "a cursor", "cursor") == "a cursor"


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ('SELECT 1 FROM "a" JOIN b ON 1', {"a", "b"}),
        ("SELECT 1 FROM a AS x, b y, c", {"a", "b", "c"}),
        ('SELECT 1 FROM ONLY "s"."a", (SELECT 1 FROM B)', {"a", "b"}),
        ("SELECT 1", set()),
        ("WITH x AS (SELECT * FROM a) SELECT * FROM x", {"a", "x"}),
        ("TABLE a", {"a"}),
    ],
)
def test_the_tables_in_a_statement(sql: str, tables: set[str]) -> None:
    assert set(tables_in(sql)) == tables
