"""Which database an alias leads to: the same by another name, another by the same."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.backends.signals import connection_created

from redisdict import ModelDict
from redisdict.modelcache import identity
from redisdict.modelcache.database_ids import ask_database
from redisdict.modelcache.overview import overview
from tests.modelcache.availability import cluster_for_tests
from tests.modelcache.beneath import change_unseen
from tests.modelcache.conftest import TEMPLATE
from tests.modelcache.counting import queries
from tests.modelcache.elsewhere import elsewhere
from tests.modelcache.places import another_alias, copy_sqlite, forget_places
from tests.shop.models import Product, Stamp


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


def test_an_overview_of_two_aliases(database: str, tea: Product) -> None:
    with another_alias("second", database) as second:
        assert ModelDict(Product, database=second)[tea.pk].name == "Tea"
        found = [one.database for one in overview() if one.model == "shop.Product"]
    assert found == [f"{database}, second"]


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


def test_one_database_by_two_hosts_and_two_by_one_name() -> None:
    """A host is a name for a server from somewhere; the server itself tells who it is."""
    names = set()
    with cluster_for_tests(listen="tcp") as one, cluster_for_tests() as two:
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


def test_a_database_that_does_not_tell_who_it_is() -> None:
    """Its settings have to do: the same host may be written in several ways."""

    def name(host: str) -> str:
        settings = {"HOST": host, "PORT": "", "NAME": "shop"}
        connection: Any = SimpleNamespace(vendor="oracle", settings_dict=settings)
        return ask_database(connection).id

    assert name("DB.example.") == name("db.example") != name("localhost")
    assert name("localhost") == name("127.0.0.1") == name("")


def test_a_table_that_is_not_there_yet(postgres_alias: str, server: str) -> None:
    change_unseen(postgres_alias, "ALTER TABLE shop_stamp RENAME TO shop_later")
    try:
        place = identity.place_of(postgres_alias, Stamp)
    finally:
        change_unseen(postgres_alias, "ALTER TABLE shop_later RENAME TO shop_stamp")
    assert identity.place_of(postgres_alias, Stamp) != place
    assert identity.known_place(postgres_alias, Stamp) is not None


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
