"""Where a search path is set: by receivers, functions, savepoints, wrappers, below Django."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections, transaction
from django.db.backends.signals import connection_created

from redisdict import ModelDict
from redisdict.modelcache import identity, search_paths
from tests.modelcache.beneath import change_unseen
from tests.modelcache.counting import queries
from tests.modelcache.elsewhere import elsewhere
from tests.shop.models import Stamp


def test_a_path_that_is_set_when_a_connection_is_made(
    postgres_alias: str, tenants: ModelDict[Stamp]
) -> None:
    """By a receiver of the project's, for whichever tenant the thread serves."""
    tenant = ["north"]

    def enter(connection: Any, **_: Any) -> None:
        if connection.alias == postgres_alias:
            with connection.cursor() as cursor:
                cursor.execute(f"SET search_path TO {tenant[-1]}")

    def read() -> tuple[int, int]:
        first = tenants["both"].worth
        connections[postgres_alias].close()
        return first, tenants["both"].worth

    connections[postgres_alias].close()
    connection_created.connect(enter)
    try:
        assert elsewhere(read) == (5, 5)
        tenant.append("south")
        assert elsewhere(read) == (9, 9)
        tenant.append("north")
        assert elsewhere(read) == (5, 5)
    finally:
        connection_created.disconnect(enter)


@pytest.mark.parametrize("is_called", [False, True], ids=["by a statement", "by callproc()"])
def test_a_path_that_a_function_sets(
    is_called: bool, postgres_alias: str, tenants: ModelDict[Stamp]
) -> None:
    change_unseen(
        postgres_alias,
        "CREATE FUNCTION public.enter_tenant(name text) RETURNS void LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM set_config('search_path', name || ',public', false); END $$",
    )
    try:
        for name, worth in (("north", 5), ("south", 9), ("north", 5)):
            with connections[postgres_alias].cursor() as cursor:
                if is_called:
                    cursor.callproc("enter_tenant", [name])
                else:
                    cursor.execute("SELECT enter_tenant(%s)", [name])
            assert tenants["both"].worth == worth
            assert elsewhere(lambda: tenants.get("both")) is None, "that is this connection's"
    finally:
        change_unseen(postgres_alias, "DROP FUNCTION public.enter_tenant(text)")


def test_a_procedure_that_leaves_the_path_as_it_is(
    postgres_alias: str, tenants: ModelDict[Stamp]
) -> None:
    """Nobody knows what it did until the path is looked at; then reads need no connection still."""
    with connections[postgres_alias].cursor() as cursor:
        cursor.execute("DO $$ BEGIN PERFORM 1; END $$")
        assert not search_paths.are_several
        cursor.execute("DO $$ BEGIN SET search_path TO north; END $$")
    assert tenants["both"].worth == 5


def test_a_path_that_was_set_before_anybody_watched(
    postgres_alias: str, tenants: ModelDict[Stamp]
) -> None:
    connection = connections[postgres_alias]
    search_paths.note_unseen(connection)
    assert not search_paths.are_several, "nothing was set"
    change_unseen(postgres_alias, "SET search_path TO north")
    search_paths.note_unseen(connection)
    assert tenants["both"].worth == 5


def test_a_savepoint_that_is_rolled_back(postgres_alias: str, tenants: ModelDict[Stamp]) -> None:
    def enter(name: str) -> None:
        with connections[postgres_alias].cursor() as cursor:
            cursor.execute(f"SET search_path TO {name}")

    with transaction.atomic(using=postgres_alias):
        enter("north")
        with transaction.atomic(using=postgres_alias):
            enter("south")
            assert tenants["both"].worth == 9
            transaction.set_rollback(True, using=postgres_alias)
        assert tenants["both"].worth == 5


def test_a_connection_that_no_alias_has(postgres_alias: str, tenants: ModelDict[Stamp]) -> None:
    with connections[postgres_alias].cursor() as cursor:
        cursor.execute("SET search_path TO north")
    assert tenants["both"].worth == 5
    copy = connections[postgres_alias].copy()
    try:
        with copy.cursor() as cursor:
            cursor.execute("SET search_path TO north")
            cursor.execute("UPDATE shop_stamp SET worth = 6 WHERE code = 'both'")
    finally:
        copy.close()
    assert tenants["both"].worth == 6


def test_a_row_of_another_place_than_was_looked_up(
    postgres_alias: str, tenants: ModelDict[Stamp]
) -> None:
    """Between the look at the connection and the query its path is set, below Django."""
    tenants.get("both")

    def enter(execute: Any, *arguments: Any) -> Any:
        change_unseen(postgres_alias, "SET search_path TO north")
        search_paths.may_have_changed(connections[postgres_alias])
        return execute(*arguments)

    with connections[postgres_alias].execute_wrapper(enter):
        assert tenants["both"].worth == 5
    connections[postgres_alias].close()
    assert tenants.get("both") is None


class TenantsConnection:
    """What django-tenants 4 adds to a connection: it sends the path by Django's own cursor."""

    schema_name = "public"
    include_public_schema = True
    _setting_search_path = False

    def _cursor(self, name: str | None = None) -> Any:
        cursor = super()._cursor(name)  # type: ignore[misc]  # it is mixed in
        if not self._setting_search_path:
            self._setting_search_path = True
            try:
                cursor.execute(f"SET search_path = {self.schema_name}, public")
            finally:
                self._setting_search_path = False
        return cursor


def test_a_wrapper_that_sends_the_path_itself(
    postgres_alias: str, tenants: ModelDict[Stamp], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection: Any = connections[postgres_alias]
    kind = type("Connection", (TenantsConnection, type(connection)), {})
    monkeypatch.setattr(connection, "__class__", kind)
    identity._on_connection(connection)
    for name, worth in (("north", 5), ("south", 9), ("north", 5)):
        monkeypatch.setitem(vars(connection), "schema_name", name)
        assert tenants["both"].worth == worth
    connection.close()
    with queries(postgres_alias) as asked:
        before = len(asked)
        assert tenants["both"].worth == 5
        monkeypatch.setitem(vars(connection), "schema_name", "south")
        assert tenants["both"].worth == 9
        assert len(asked) == before, "tenants that are known need no query"
    Stamp.objects.using(postgres_alias).filter(code="both").update(worth=10)
    assert tenants["both"].worth == 10


def test_a_wrapper_that_nobody_knows(
    postgres_alias: str, tenants: ModelDict[Stamp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may set whatever path it likes at each cursor, so it is asked each time."""
    connection: Any = connections[postgres_alias]
    tenant = ["north"]

    class Unknown(type(connection)):  # type: ignore[misc]  # of the connection at hand
        def _cursor(self, name: str | None = None) -> Any:
            with self.connection.cursor() as cursor:
                cursor.execute(f"SET search_path = {tenant[-1]}, public")
            return super()._cursor(name)

    connection.ensure_connection()
    monkeypatch.setattr(connection, "__class__", Unknown)
    identity._on_connection(connection)
    for name, worth in (("north", 5), ("south", 9), ("north", 5)):
        tenant.append(name)
        assert tenants["both"].worth == worth
