"""Tenants in schemas: each has the rows of the schema that its search path leads to."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction

from redisdict import ModelDict
from redisdict.modelcache import search_paths
from tests.modelcache.beneath import change_unseen
from tests.modelcache.counting import queries
from tests.modelcache.elsewhere import elsewhere
from tests.shop.models import Stamp


def _enter(alias: str, schema: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SET search_path TO {schema}, public")


def test_a_tenant_by_search_path(postgres_alias: str, tenants: ModelDict[Stamp]) -> None:
    assert tenants.get("both") is None
    _enter(postgres_alias, "north")
    assert tenants["both"].worth == 5
    assert tenants["north"].worth == 1
    _enter(postgres_alias, "south")
    assert tenants["both"].worth == 9
    assert tenants.get("north") is None
    Stamp.objects.using(postgres_alias).filter(code="both").update(worth=10)
    assert tenants["both"].worth == 10
    _enter(postgres_alias, "north")
    with queries(postgres_alias) as asked:
        assert tenants["both"].worth == 5
    assert not asked, "the other tenant's change isn't this one's"
    connections[postgres_alias].close()
    assert tenants.get("both") is None, "a new connection has the path of the settings"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE south.shop_stamp SET worth = 8",
        'WITH x AS (SELECT 8 AS worth) UPDATE "south"."shop_stamp" SET worth = (TABLE x)',
        "SELECT 1; UPDATE south . shop_stamp SET worth = 8",
    ],
)
def test_a_statement_for_another_tenant(
    sql: str, postgres_alias: str, tenants: ModelDict[Stamp]
) -> None:
    _enter(postgres_alias, "south")
    assert tenants["both"].worth == 9
    _enter(postgres_alias, "north")
    with connections[postgres_alias].cursor() as cursor:
        cursor.execute(sql)
    _enter(postgres_alias, "south")
    assert tenants["both"].worth == 8


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE north.shop_stamp SET worth = 6 WHERE code = 'both'",
        'UPDATE "north"."shop_stamp" SET worth = 6 WHERE code = \'both\'',
        "WITH one AS (UPDATE north.shop_stamp SET worth = 6 RETURNING 1) SELECT * FROM one",
        "DO $$ BEGIN UPDATE north.shop_stamp SET worth = 6; END $$",
    ],
)
def test_a_statement_about_another_schema(
    postgres_alias: str, tenants: ModelDict[Stamp], sql: str
) -> None:
    with connections[postgres_alias].cursor() as cursor:
        cursor.execute("SET search_path TO north")
        assert tenants["both"].worth == 5
        cursor.execute("SET search_path TO public")
        cursor.execute(sql)
        cursor.execute("SET search_path TO north")
    assert tenants["both"].worth == 6


def test_a_tenant_for_one_transaction(postgres_alias: str, tenants: ModelDict[Stamp]) -> None:
    with contextlib.suppress(ZeroDivisionError), transaction.atomic(using=postgres_alias):
        with connections[postgres_alias].cursor() as cursor:
            cursor.execute("SET LOCAL search_path TO north")
        assert tenants["both"].worth == 5
        raise ZeroDivisionError
    assert tenants.get("both") is None
    with transaction.atomic(using=postgres_alias):
        with connections[postgres_alias].cursor() as cursor:
            cursor.execute("SELECT set_config('search_path', 'south', true)")
        assert tenants["both"].worth == 9
    assert tenants.get("both") is None


def test_tenants_in_threads_and_tasks(postgres_alias: str, tenants: ModelDict[Stamp]) -> None:
    def read(schema: str) -> int:
        _enter(postgres_alias, schema)
        return tenants["both"].worth

    assert elsewhere(lambda: read("north")) == 5
    assert elsewhere(lambda: read("south")) == 9
    assert elsewhere(lambda: read("north")) == 5


async def test_a_tenant_in_a_task(postgres_alias: str, tenants: ModelDict[Stamp]) -> None:
    for schema, worth in (("north", 5), ("south", 9), ("north", 5)):
        await sync_to_async(_enter)(postgres_alias, schema)
        assert (await tenants.aget("both")).worth == worth
        assert list(await tenants.aget_many(["both"])) == ["both"]
    await sync_to_async(connections.close_all)()


def test_a_tenant_by_the_name_that_django_tenants_gives(
    postgres_alias: str, tenants: ModelDict[Stamp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections have a `schema_name`, and set the path when they next make a cursor."""
    connection = connections[postgres_alias]
    made = connection.create_cursor

    def create_cursor(name: str | None = None) -> Any:
        cursor = made(name)
        cursor.execute(f"SET search_path = {connection.schema_name}, public")
        return cursor

    monkeypatch.setattr(connection, "create_cursor", create_cursor)
    monkeypatch.setattr(search_paths, "are_several", True)
    for schema, worth in (("north", 5), ("south", 9), ("north", 5)):
        monkeypatch.setattr(connection, "schema_name", schema, raising=False)
        assert tenants["both"].worth == worth
    change_unseen(postgres_alias, "INSERT INTO public.shop_stamp VALUES ('shared', 3)")
    change_unseen(postgres_alias, "DROP TABLE north.shop_stamp, south.shop_stamp")
    search_paths.forget()
    monkeypatch.setattr(connection, "schema_name", "north")
    assert tenants["shared"].worth == 3
    Stamp.objects.using(postgres_alias).filter(code="shared").update(worth=4)
    monkeypatch.setattr(connection, "schema_name", "south")
    with queries(postgres_alias) as asked:
        assert tenants["shared"].worth == 4
    assert len(asked) == 1
    monkeypatch.setattr(connection, "schema_name", "north")
    with queries(postgres_alias) as asked:
        assert tenants["shared"].worth == 4
    assert not asked, "a table that tenants share has its rows once"
    change_unseen(postgres_alias, "DELETE FROM public.shop_stamp")
