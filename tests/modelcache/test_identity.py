"""Rows are those of a table of a database, whatever the alias that leads there is called."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.db.backends.signals import connection_created

from redisdict import ModelDict
from redisdict.modelcache import identity, loading, search_paths
from tests.modelcache.beneath import change_unseen
from tests.modelcache.conftest import TEMPLATE
from tests.modelcache.counting import queries
from tests.modelcache.elsewhere import elsewhere
from tests.modelcache.places import another_alias, copy_sqlite, forget_places, tenant_schemas
from tests.modelcache.postgres import PostgresCluster
from tests.shop.models import Product, Stamp


@pytest.fixture(autouse=True)
def _known_anew() -> Iterator[None]:
    """As a process that has just been started."""
    yield
    forget_places()


@contextlib.contextmanager
def renamed(alias: str, name: str) -> Iterator[None]:
    """The alias leads to another database, as in the tests of a project."""
    settings = connections.settings[alias]
    before = settings["NAME"]
    connections[alias].close()
    settings["NAME"] = name
    try:
        yield
    finally:
        connections[alias].close()
        settings["NAME"] = before


@pytest.fixture
def other_database(database: str, tmp_path: Path) -> Iterator[str]:
    """The NAME of a database beside that of the alias, with equal tables and no rows."""
    connection = connections[database]
    if connection.vendor == "sqlite":
        connection.close()
        path = tmp_path / "other.sqlite3"
        copy_sqlite(connection.settings_dict["NAME"], path)
        yield str(path)
        return
    with another_alias("template", database, NAME="template1") as template:
        connection.close()
        change_unseen(template, f"CREATE DATABASE test_shop TEMPLATE {TEMPLATE}")
        yield "test_shop"
        connection.close()
        change_unseen(template, "DROP DATABASE test_shop")


def test_a_test_database_has_rows_of_its_own(
    database: str, other_database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """Of a `TestCase`, of a run that died, of a worker of `test --parallel`."""
    with renamed(database, other_database):
        assert products.get(tea.pk) is None
        Product.objects.create(pk=tea.pk, name="Test")
        assert products[tea.pk].name == "Test"
    with queries(database) as asked:
        assert products[tea.pk].name == "Tea"
    assert not asked
    with renamed(database, other_database):
        assert products[tea.pk].name == "Test"
        Product.objects.all().delete()


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_database_made_anew_under_its_name(
    database: str, other_database: str, products: ModelDict[Product]
) -> None:
    """Right after the last one was asked who it is: a restored backup, a test database."""
    with renamed(database, other_database):
        Product.objects.create(pk=1, name="Old")
        assert products[1].name == "Old"
        old = products._lookup().table
        connections[database].close()
        with another_alias("upkeep", database, NAME="template1") as upkeep:
            change_unseen(upkeep, f"DROP DATABASE {other_database} WITH (FORCE)")
            change_unseen(upkeep, f"CREATE DATABASE {other_database} TEMPLATE {TEMPLATE}")
        made = Product.objects.create(pk=1, name="New")
        assert products[1].name == "New"
        assert products._lookup().table.names != old.names
        made.name = "Newer"
        made.save()
        assert products[1].name == "Newer"


def test_two_aliases_of_one_database(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    with another_alias("second", database) as second:
        others = ModelDict(Product, database=second)
        with queries(second) as asked:
            assert others[tea.pk].name == "Tea"
        assert not asked, "the other alias's row wasn't used"
        Product.plain.using(second).filter(pk=tea.pk).update(name="Coffee")
        assert products[tea.pk].name == "Coffee"
        with transaction.atomic(using=second):
            Product.plain.using(second).filter(pk=tea.pk).update(name="Milk")
            assert others[tea.pk].name == "Milk"
            assert products[tea.pk].name == "Coffee"
        assert products[tea.pk].name == "Milk"
        with connections[second].cursor() as cursor:
            cursor.execute("UPDATE shop_product SET name = 'Cocoa'")
        assert products[tea.pk].name == "Cocoa"


def test_one_database_by_two_hosts_and_two_by_one_name() -> None:
    """A host is a name for a server from somewhere; the server itself tells who it is."""
    names = set()
    with PostgresCluster(listen="tcp") as one, PostgresCluster() as two:
        by_tcp = one.settings()
        by_socket = {**by_tcp, "HOST": str(one.directory)}
        for number, settings in enumerate((by_tcp, by_socket, two.settings())):
            with another_alias(f"one_{number}", "default", **settings) as alias:
                connection = connections[alias]
                connection.ensure_connection()
                names.add(identity._database_of(connection).id)
    assert len(names) == 2


def test_who_may_not_ask_who_it_is(postgres_alias: str) -> None:
    change_unseen(postgres_alias, "CREATE ROLE waiter LOGIN")
    change_unseen(postgres_alias, "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    try:
        with another_alias("waiter", postgres_alias, USER="waiter") as alias:
            with transaction.atomic(using=alias):
                found = identity._database_of(connections[alias])
                assert "postgres" in found.id
                assert not found.is_standby
                with connections[alias].cursor() as cursor:
                    cursor.execute("SELECT 1")  # the transaction isn't aborted
    finally:
        change_unseen(postgres_alias, "GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
        change_unseen(postgres_alias, "DROP ROLE waiter")


@pytest.fixture
def tenants(postgres_alias: str, server: str) -> Iterator[ModelDict[Stamp]]:
    """Two schemas with the same table, and the cached rows of it."""
    with tenant_schemas(postgres_alias):
        yield ModelDict(Stamp, database=postgres_alias)


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


def test_what_readers_may_see(postgres_alias: str, server: str) -> None:
    """Row-level security: a row that one reader was given isn't another's."""
    change_unseen(postgres_alias, "CREATE ROLE guest")
    change_unseen(postgres_alias, "GRANT ALL ON shop_stamp TO guest")
    change_unseen(postgres_alias, "ALTER TABLE shop_stamp ENABLE ROW LEVEL SECURITY")
    change_unseen(
        postgres_alias,
        "CREATE POLICY own ON shop_stamp USING (code = current_setting('app.guest', true))",
    )
    change_unseen(postgres_alias, "INSERT INTO shop_stamp VALUES ('ann', 1), ('bob', 2)")
    guest = []

    def scope(model: Any, alias: str) -> str:
        return guest[-1]

    def enter(name: str) -> None:
        guest.append(name)
        with connections[postgres_alias].cursor() as cursor:
            cursor.execute("SELECT set_config('app.guest', %s, false)", [name])

    stamps = ModelDict(Stamp, database=postgres_alias, scope=scope)
    change_unseen(postgres_alias, "SET ROLE guest")
    try:
        enter("ann")
        assert stamps["ann"].worth == 1
        assert stamps.get("bob") is None
        enter("bob")
        assert stamps.get("ann") is None
        assert stamps["bob"].worth == 2
        enter("ann")
        assert stamps["ann"].worth == 1
        Stamp.objects.using(postgres_alias).update(worth=7)
        assert stamps["ann"].worth == 7
        enter("bob")
        assert stamps["bob"].worth == 2
    finally:
        change_unseen(postgres_alias, "RESET ROLE")
        change_unseen(postgres_alias, "DROP POLICY own ON shop_stamp")
        change_unseen(postgres_alias, "ALTER TABLE shop_stamp DISABLE ROW LEVEL SECURITY")
        change_unseen(postgres_alias, "REVOKE ALL ON shop_stamp FROM guest")
        change_unseen(postgres_alias, "DROP ROLE guest")
        change_unseen(postgres_alias, "DELETE FROM shop_stamp")
        connections[postgres_alias].close()


def test_a_standby_is_read_and_kept_nowhere(
    database: str, tea: Product, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    products.invalidate(tea.pk)
    place = identity.place_of(database, Product)
    standby = identity.Place(place.digest, is_standby=True)
    monkeypatch.setattr("redisdict.modelcache.cached_models.place_of", lambda *_: standby)
    monkeypatch.setattr("redisdict.modelcache.cached_models.known_place", lambda *_: standby)
    for _ in range(2):
        with queries(database) as asked:
            assert products[tea.pk].name == "Tea"
        assert len(asked) == 1


@pytest.fixture
def cells_at_queries(
    database: str, tea: Product, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> list[Any]:
    """What the row's cell holds while the database is asked for it, on a standby."""
    products.invalidate(tea.pk)
    table = products._lookup().table
    standby = identity.Place(table.place.digest, is_standby=True)
    monkeypatch.setattr("redisdict.modelcache.cached_models.place_of", lambda *_: standby)
    monkeypatch.setattr("redisdict.modelcache.cached_models.known_place", lambda *_: standby)
    seen: list[Any] = []

    def watched(*arguments: Any) -> Any:
        seen.append(table.backend.client().get(table.key(tea.pk)))
        return loading.load_rows(*arguments)

    monkeypatch.setattr("redisdict.modelcache.lookup.load_rows", watched)
    return seen


def test_a_thread_takes_no_lease_on_a_standby(
    tea: Product, products: ModelDict[Product], cells_at_queries: list[Any]
) -> None:
    assert products[tea.pk] == products.get_many([tea.pk])[tea.pk] == tea
    assert cells_at_queries == [None, None]


async def test_nor_does_a_task(
    tea: Product, products: ModelDict[Product], cells_at_queries: list[Any]
) -> None:
    """Others would wait for the lease, one after another, and nothing would ever be kept."""
    assert await products.agetitem(tea.pk) == tea
    assert await products.aget_many([tea.pk]) == {tea.pk: tea}
    assert cells_at_queries == [None, None]


IN_MEMORY = """
import sys
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "redisdict", "tests.shop"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[2]}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    REDISDICT={"default": {"LOCATION": sys.argv[1], "KEY_PREFIX": sys.argv[3]}},
    USE_TZ=True,
)
import django
django.setup()
from django.db import connection
from redisdict import ModelDict
from tests.shop.models import Stamp
with connection.schema_editor() as editor:
    editor.create_model(Stamp)
stamps = ModelDict(Stamp)
found = stamps.get("red")
Stamp.objects.create(code="red", worth=int(sys.argv[4]))
print(found, stamps["red"].worth, stamps["red"].worth)
"""


@pytest.mark.parametrize("name", [":memory:", "file:shop?mode=memory&cache=shared"])
def test_a_database_in_memory_is_its_process_s_own(
    name: str, valkey_url: str, key_prefix: str
) -> None:
    printed = [
        subprocess.check_output(
            [sys.executable, "-c", IN_MEMORY, valkey_url, name, key_prefix, str(worth)],
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=60,
        )
        for worth in (1, 2)
    ]
    assert printed == ["None 1 1\n", "None 2 2\n"]


def test_a_file_in_the_place_of_another(
    sqlite_alias: str, server: str, tmp_path: Path, alias_for: Callable[..., Any]
) -> None:
    """A backup that is put back, say: the next connection leads to another file."""
    first, second = tmp_path / "first", tmp_path / "second"
    copy_sqlite(connections.settings[sqlite_alias]["NAME"], first)
    with another_alias("restored", sqlite_alias, NAME=str(first)) as alias:
        stamps = ModelDict(Stamp, database=alias)
        Stamp.objects.using(alias).create(code="red", worth=1)
        connections[alias].close()
        copy_sqlite(first, second)
        Stamp.objects.using(alias).update(worth=2)
        assert stamps["red"].worth == 2
        connections[alias].close()
        second.rename(first)
        connections[alias].ensure_connection()
        assert stamps["red"].worth == 1


def test_a_table_that_is_not_there_yet(postgres_alias: str, server: str) -> None:
    change_unseen(postgres_alias, "ALTER TABLE shop_stamp RENAME TO shop_later")
    try:
        place = identity.place_of(postgres_alias, Stamp)
    finally:
        change_unseen(postgres_alias, "ALTER TABLE shop_later RENAME TO shop_stamp")
    assert identity.place_of(postgres_alias, Stamp) != place
    assert identity.known_place(postgres_alias, Stamp) is not None


def test_a_procedure_that_leaves_the_path_as_it_is(
    postgres_alias: str, tenants: ModelDict[Stamp]
) -> None:
    """Nobody knows what it did until the path is looked at; then reads need no connection still."""
    with connections[postgres_alias].cursor() as cursor:
        cursor.execute("DO $$ BEGIN PERFORM 1; END $$")
        assert not search_paths.are_several
        cursor.execute("DO $$ BEGIN SET search_path TO north; END $$")
    assert tenants["both"].worth == 5


def test_threads_of_a_new_process_ask_once(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """What is on the server takes no connections, however many read it at first."""
    forget_places()
    made = []

    def note(**_: Any) -> None:
        made.append(threading.get_ident())
        products.get(tea.pk)  # a receiver may read, too

    def read() -> None:
        start.wait()
        names.append(elsewhere(lambda: products[tea.pk].name))

    count = 8
    start = threading.Barrier(count)
    names: list[str] = []
    threads = [threading.Thread(target=read) for _ in range(count)]
    connection_created.connect(note)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        connection_created.disconnect(note)
    assert names == ["Tea"] * count
    assert len(made) <= 1  # a file is known without one
