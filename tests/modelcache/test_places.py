"""What leads to a table may change under a process: files, servers, sessions, wrappers, readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.backends.signals import connection_created
from django.test import override_settings
from pytest_django.plugin import DjangoDbBlocker

from redisdict import ComputedDict, ModelDict
from redisdict.exceptions import ConfigurationError
from redisdict.modelcache import identity, search_paths
from redisdict.modelcache.database_ids import ask_database, id_of_file
from redisdict.modelcache.overview import overview
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


@pytest.fixture
def tenants(postgres_alias: str, server: str) -> Iterator[ModelDict[Stamp]]:
    with tenant_schemas(postgres_alias):
        yield ModelDict(Stamp, database=postgres_alias)


# Files.


@pytest.fixture
def file(sqlite_alias: str, tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[Path]:
    """A database with the shop's tables."""
    path = tmp_path / "shop.sqlite3"
    with django_db_blocker.unblock():
        copy_sqlite(connections.settings[sqlite_alias]["NAME"], path)
        yield path


def test_a_file_in_the_place_of_another_by_hits_alone(
    sqlite_alias: str, server: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection is made that could notice; and ext4 gives the removed file's inode again."""
    monkeypatch.setattr(identity, "LOOK_EVERY_S", 0.0)
    with another_alias("restored", sqlite_alias, NAME=str(file)) as alias:
        stamps = ModelDict(Stamp, database=alias)
        Stamp.objects.using(alias).create(code="red", worth=1)
        connections[alias].close()
        backup = file.read_bytes()
        Stamp.objects.using(alias).update(worth=2)
        assert stamps["red"].worth == 2
        connections[alias].close()
        with queries(alias) as asked:
            assert stamps["red"].worth == 2
        assert not asked
        connections[alias].close()
        file.unlink()
        file.write_bytes(backup)
        assert stamps["red"].worth == 1


def test_a_file_has_another_name_once_it_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    first = id_of_file(str(path))
    path.write_bytes(b"2")
    assert id_of_file(str(path)) == first
    path.unlink()
    path.write_bytes(b"1")
    assert id_of_file(str(path)) != first


def test_one_file_by_two_paths(sqlite_alias: str, server: str, file: Path) -> None:
    """As SQLite itself takes them."""
    link = file.with_name("link")
    link.symlink_to(file)
    with (
        another_alias("one", sqlite_alias, NAME=str(file)) as one,
        another_alias("two", sqlite_alias, NAME=link) as two,
    ):
        first, second = ModelDict(Stamp, database=one), ModelDict(Stamp, database=two)
        Stamp.objects.using(one).create(code="red", worth=1)
        assert (first["red"].worth, second["red"].worth) == (1, 1)
        Stamp.objects.using(two).update(worth=2)
        assert first["red"].worth == 2


def test_a_file_by_a_uri(sqlite_alias: str, server: str, file: Path) -> None:
    with (
        another_alias("one", sqlite_alias, NAME=str(file)) as one,
        another_alias("two", sqlite_alias, NAME=f"file:{file}?mode=rw") as two,
    ):
        assert identity.place_of(one, Stamp) == identity.place_of(two, Stamp)


# Servers.


def test_a_database_of_the_same_name(
    postgres_alias: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was restored beside the old one, and has taken its name: a connection later."""
    monkeypatch.setattr(identity, "ASK_EVERY_S", -1.0)
    connections[postgres_alias].close()
    with another_alias("admin", postgres_alias, NAME="template1") as admin:
        change_unseen(admin, f"CREATE DATABASE shop TEMPLATE {TEMPLATE}")
        with another_alias("shop", postgres_alias, NAME="shop") as alias:
            stamps = ModelDict(Stamp, database=alias)
            Stamp.objects.using(alias).create(code="red", worth=1)
            assert stamps["red"].worth == 1
            connections[alias].close()
            change_unseen(admin, "ALTER DATABASE shop RENAME TO former")
            change_unseen(admin, "CREATE DATABASE shop TEMPLATE former")
            change_unseen(alias, "UPDATE shop_stamp SET worth = 2")
            assert stamps["red"].worth == 2
            with another_alias("former", postgres_alias, NAME="former") as former:
                with queries(former) as asked:
                    assert ModelDict(Stamp, database=former)["red"].worth == 1
                assert not asked, "a renamed database is the same one"
        change_unseen(admin, "DROP DATABASE shop")
        change_unseen(admin, "DROP DATABASE former")


def test_rows_of_a_standby_are_not_kept(server: str) -> None:
    """Which servers of a cluster a connection leads to, only the connection knows."""
    with PostgresCluster() as cluster, another_alias("r", "default", **cluster.settings()) as alias:
        change_unseen(alias, "CREATE TABLE shop_stamp (code text PRIMARY KEY, worth int)")
        change_unseen(alias, "INSERT INTO shop_stamp VALUES ('red', 1), ('blue', 2)")
        stamps = ModelDict(Stamp, database=alias)
        assert stamps["red"].worth == 1
        connections[alias].close()
        cluster.restart_as_standby()
        with queries(alias) as asked:
            assert stamps["red"].worth == 1
        assert not asked, "what the primary gave may be read"
        for _ in range(2):
            with queries(alias) as asked:
                assert stamps["blue"].worth == 2
            assert len(asked) == 1


def test_a_database_that_does_not_tell_who_it_is() -> None:
    """Its settings have to do: the same host may be written in several ways."""

    def name(host: str) -> str:
        settings = {"HOST": host, "PORT": "", "NAME": "shop"}
        connection: Any = SimpleNamespace(vendor="oracle", settings_dict=settings)
        return ask_database(connection).id

    assert name("DB.example.") == name("db.example") != name("localhost")
    assert name("localhost") == name("127.0.0.1") == name("")


# Sessions.


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
        monkeypatch.setattr(connection, "schema_name", name)
        assert tenants["both"].worth == worth
    connection.close()
    with queries(postgres_alias) as asked:
        before = len(asked)
        assert tenants["both"].worth == 5
        monkeypatch.setattr(connection, "schema_name", "south")
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


# Readers.


@pytest.fixture
def guests(postgres_alias: str, server: str) -> Iterator[Callable[[str], None]]:
    """Each guest sees one row. What makes the connection a guest's."""
    for sql in (
        "CREATE ROLE guest",
        "GRANT ALL ON shop_stamp TO guest",
        "ALTER TABLE shop_stamp ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY own ON shop_stamp USING (code = current_setting('app.guest', true))",
        "INSERT INTO shop_stamp VALUES ('ann', 1), ('bob', 2)",
    ):
        change_unseen(postgres_alias, sql)
    identity.forget_names()

    def enter(name: str) -> None:
        with connections[postgres_alias].cursor() as cursor:
            cursor.execute("SET ROLE guest")
            cursor.execute("SELECT set_config('app.guest', %s, false)", [name])

    yield enter
    connections[postgres_alias].close()
    for sql in (
        "DROP POLICY own ON shop_stamp",
        "ALTER TABLE shop_stamp DISABLE ROW LEVEL SECURITY",
        "REVOKE ALL ON shop_stamp FROM guest",
        "DROP ROLE guest",
        "DELETE FROM shop_stamp",
    ):
        change_unseen(postgres_alias, sql)


def test_results_of_tables_with_hidden_rows(
    postgres_alias: str, guests: Callable[[str], None]
) -> None:
    worth = ComputedDict(
        "worth",
        depends_on=[Stamp],
        compute=lambda: sorted(Stamp.objects.using(postgres_alias).values_list("worth", flat=True)),
        database=postgres_alias,
    )
    assert worth.get() == [1, 2], "the owner sees all"
    for name, seen in (("bob", [2]), ("ann", [1])):
        guests(name)
        assert worth.get() == seen


def test_a_relation_with_hidden_rows(postgres_alias: str, guests: Callable[[str], None]) -> None:
    table = "shop_product_tags"
    change_unseen(postgres_alias, f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    identity.forget_names()
    computed = ComputedDict(
        "tags", depends_on=[Product], compute=lambda: 3, database=postgres_alias
    )
    try:
        guests("ann")
        assert [computed.get(), computed.get()] == [3, 3]
        assert (computed.stats().hits, computed.stats().fills) == (0, 0)
    finally:
        connections[postgres_alias].close()  # which is a guest's
        change_unseen(postgres_alias, f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        identity.forget_names()


def test_hidden_rows_without_a_scope(postgres_alias: str, guests: Callable[[str], None]) -> None:
    """Nobody has said who may see what, so nobody is given what another was."""
    stamps = ModelDict(Stamp, database=postgres_alias)
    assert stamps["ann"].worth == 1, "the owner sees all"
    guests("bob")
    assert stamps.get("ann") is None
    assert stamps["bob"].worth == 2
    guests("ann")
    assert stamps.get("bob") is None
    assert stamps.get_many(["ann", "bob"]).keys() == {"ann"}
    assert "ann" not in [row.code for row in _as("bob", guests, stamps)]
    assert "bob" not in [row.code for row in _as("ann", guests, stamps)]


def _as(name: str, guests: Callable[[str], None], stamps: ModelDict[Stamp]) -> list[Stamp]:
    """The rows that a guest finds on the server."""
    guests(name)
    return list(stamps.values())


current: list[str] = []


def current_guest(model: Any, alias: str) -> str:
    return current[-1]


def test_a_scope_by_the_settings(
    postgres_alias: str,
    guests: Callable[[str], None],
    valkey_url: str,
    alias_for: Callable[..., dict[str, Any]],
) -> None:
    values = {**alias_for(valkey_url), "SCOPE": f"{__name__}.current_guest"}
    with override_settings(REDISDICT={"default": values}):
        stamps = ModelDict(Stamp, database=postgres_alias)
        for name, other in (("ann", "bob"), ("bob", "ann"), ("ann", "bob")):
            current.append(name)
            guests(name)
            assert stamps[name].code == name
            assert stamps.get(other) is None
        with queries(postgres_alias) as asked:
            assert stamps["ann"].worth == 1
        assert not asked
        assert [row.code for row in stamps.values()] == ["ann"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.scope", r'REDISDICT\["default"\]\["SCOPE"\] is \'nowhere.scope\', which can'),
        (f"{__name__}.current", r"a list; a function of a model and an alias of DATABASES is"),
        (5, r'REDISDICT\["default"\]\["SCOPE"\] is int; a string or None is expected'),
    ],
)
def test_a_scope_that_is_none(
    path: Any,
    message: str,
    database: str,
    valkey_url: str,
    alias_for: Callable[..., dict[str, Any]],
) -> None:
    values = {**alias_for(valkey_url), "SCOPE": path}
    with (
        override_settings(REDISDICT={"default": values}),
        pytest.raises(ConfigurationError, match=message),
    ):
        ModelDict(Product).get(1)


def test_a_scope_that_gives_no_text(database: str, server: str) -> None:
    products = ModelDict(Product, scope=lambda model, alias: 5)  # type: ignore[arg-type, return-value]  # what is refused
    with pytest.raises(TypeError, match=r"scope of ModelDict\(shop.Product\) gave 5, which is int"):
        products.get(1)


def test_no_more_scopes_are_remembered_than_there_is_use_for(
    database: str, tea: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redisdict.modelcache.cached_models.MOST_SCOPES", 5)
    monkeypatch.setattr("redisdict.modelcache.handle.MOST_SCOPES", 5)
    products = ModelDict(Product, scope=current_guest)
    for number in range(20):
        current.append(str(number))
        assert products[tea.pk].name == "Tea"
    assert len(products._lookups) <= 6
    tea.name = "Coffee"
    tea.save()
    assert products[tea.pk].name == "Coffee", "a writer of any scope"


# What is shown.


def test_an_overview_of_two_aliases(database: str, tea: Product) -> None:
    with another_alias("second", database) as second:
        assert ModelDict(Product, database=second)[tea.pk].name == "Tea"
        found = [one.database for one in overview() if one.model == "shop.Product"]
    assert found == [f"{database}, second"]
