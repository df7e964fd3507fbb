"""The shop's tables in a database of each kind, and a server to keep their rows on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from asgiref.sync import SyncToAsync
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_save
from django.test import override_settings
from pytest_django.plugin import DjangoDbBlocker

from redisdict import ModelDict
from redisdict.modelcache import registrations, search_paths, stats
from redisdict.modelcache.invalidation import hooks, relations
from tests.codec.models import Author, EveryField
from tests.conftest import UNPACKAGED
from tests.modelcache.availability import cluster_for_tests, mariadb_for_tests
from tests.modelcache.left_out import reason_on_mariadb
from tests.modelcache.mariadb import MariadbServer
from tests.modelcache.places import forget_places
from tests.modelcache.postgres import PostgresCluster
from tests.shop.models import Product

#: A database of PostgreSQL with the shop's tables, to which nobody connects, so it can be copied.
TEMPLATE = "shop_template"

#: The alias that the shop's models are in, chosen by the test.
chosen: list[str] = []


#: Labels of the apps in it.
ROUTED = ("shop", "codec", "moving")


class ShopRouter:
    """Sends the shop's models to the database that the test is about."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return (
            chosen[-1] if chosen and model._meta.app_label in ("shop", "codec", "moving") else None
        )

    db_for_write = db_for_read


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    with cluster_for_tests() as cluster:
        yield cluster


def add_database(alias: str, values: dict[str, Any]) -> None:
    """As if DATABASES had had it from the beginning; with the shop's tables."""
    connections.settings[alias] = connections.configure_settings({"default": {}, alias: values})[
        alias
    ]
    connection = connections[alias]
    with connection.schema_editor() as editor:
        shop = apps.get_app_config("shop").get_models()
        for model in (ContentType, *shop, Author, EveryField):
            if model._meta.can_migrate(connection) and not model._meta.proxy:
                with short_binary_keys(connection, model):
                    editor.create_model(model)


@contextmanager
def short_binary_keys(connection: BaseDatabaseWrapper, model: Any) -> Iterator[None]:
    """MySQL's keys are of a bounded length, which Django's `longblob` isn't."""
    types = connection.data_types
    if connection.vendor == "mysql" and model._meta.pk.get_internal_type() == "BinaryField":
        connection.data_types = {**types, "BinaryField": "varbinary(255)"}
    try:
        yield
    finally:
        connection.data_types = types


def add_sqlite(alias: str, directory: Path, blocker: DjangoDbBlocker) -> str:
    values = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(directory / "shop.sqlite3"),
        "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"},
    }
    with blocker.unblock():
        add_database(alias, values)
    return alias


@pytest.fixture(scope="session")
def sqlite_alias(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> str:
    return add_sqlite("shop_sqlite", tmp_path_factory.mktemp("shop"), django_db_blocker)


@pytest.fixture(scope="session")
def postgres_alias(postgres: PostgresCluster, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    with django_db_blocker.unblock():
        add_database("shop_postgres", postgres.settings())
        connections["shop_postgres"].close()
        postgres.copy_database("postgres", TEMPLATE)
    yield "shop_postgres"
    connections["shop_postgres"].close()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariadbServer]:
    with mariadb_for_tests() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_alias(mariadb: MariadbServer, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    with django_db_blocker.unblock():
        add_database("shop_mariadb", mariadb.settings())
    yield "shop_mariadb"
    connections["shop_mariadb"].close()


@pytest.fixture(params=["sqlite", "postgres", pytest.param("mariadb", marks=pytest.mark.deep)])
def database(request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The alias of an empty database that has the shop's tables. The test runs on each."""
    if request.param == "mariadb" and (reason := reason_on_mariadb(request.node.name)):
        pytest.skip(reason)
    alias: str = request.getfixturevalue(f"{request.param}_alias")
    with shop_in(alias, django_db_blocker):
        yield alias


@contextmanager
def shop_in(alias: str, blocker: DjangoDbBlocker) -> Iterator[None]:
    """The shop's models are in that database, and its tables are empty before and after."""
    with blocker.unblock(), override_settings(DATABASE_ROUTERS=[ShopRouter()]):
        chosen.append(alias)
        _empty(alias)
        yield
        _empty(alias)
        chosen.remove(alias)
        connections[alias].close()
        # The thread in which queries of tasks run keeps none, either, for a later test, which may
        # find it dead.
        SyncToAsync.single_thread_executor.submit(_close, alias).result()


def _close(alias: str) -> None:
    connections[alias].close()


#: What empties the shop's tables, by the connection to their database.
_emptying: WeakKeyDictionary[BaseDatabaseWrapper, str] = WeakKeyDictionary()


def _empty(alias: str) -> None:
    connection = connections[alias]
    connection.ensure_connection()
    if connection not in _emptying:
        _emptying[connection] = _deletions(connection)
    # Below Django: whatever is registered, these rows are no concern of it.
    if connection.vendor == "mysql":
        with closing(connection.connection.cursor()) as cursor:
            for statement in _emptying[connection].split(";"):
                cursor.execute(statement)
        return
    with connection.constraint_checks_disabled(), closing(connection.connection.cursor()) as cursor:
        execute_all = getattr(cursor, "executescript", cursor.execute)  # SQLite's takes one alone
        execute_all(_emptying[connection])


def _deletions(connection: BaseDatabaseWrapper) -> str:
    """Statements for one round trip and one transaction.

    A TRUNCATE of so many tables takes PostgreSQL a hundred times as long, with new files for each.
    """
    present = connection.introspection.table_names()
    shop = apps.get_app_config("shop").get_models(include_auto_created=True)
    names = dict.fromkeys(model._meta.db_table for model in (*shop, EveryField, Author))
    deletions = "".join(
        f"DELETE FROM {connection.ops.quote_name(name)};" for name in names if name in present
    )
    if connection.vendor == "postgresql":
        # Neither triggers nor foreign keys are looked at, so the order of the tables is no matter.
        return f"SET LOCAL session_replication_role = replica; {deletions}"
    if connection.vendor == "mysql":
        return f"SET foreign_key_checks = 0;BEGIN;{deletions}COMMIT;SET foreign_key_checks = 1"
    return f"BEGIN; {deletions} COMMIT"


@pytest.fixture(autouse=True)
def _alike_in_any_order(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Each test may use databases, which are made for tests, and leaves no model registered.

    It begins with no search path set. Where one was, in whatever test of this process, each thread
    looks at a connection of its own, and a thousand threads need more of them than there are.
    """
    if search_paths.are_several:
        forget_places()
    with django_db_blocker.unblock():
        yield
    if registrations._registered:
        forget_registrations()


@pytest.fixture(autouse=True)
def patient_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a query can take longer than a lease lasts: then its rows aren't kept."""
    monkeypatch.setitem(ModelDict.__init__.__kwdefaults__, "lease_timeout", 60.0)


@pytest.fixture(autouse=True)
def patient_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a second is over in any test, and the counts of it are one command more."""
    monkeypatch.setattr(stats, "PUSH_EVERY_S", 1000.0)


@pytest.fixture(scope="session", params=["valkey", *UNPACKAGED])
def cache_url(request: pytest.FixtureRequest) -> str:
    """The server that the rows are on."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def server(cache_url: str, alias_for: Callable[..., dict[str, Any]]) -> Iterator[str]:
    """REDISDICT has an alias "default"; what is registered in the test is forgotten after it."""
    with override_settings(REDISDICT={"default": alias_for(cache_url)}):
        yield cache_url
    forget_registrations()


@pytest.fixture
def products(server: str) -> ModelDict[Product]:
    return ModelDict(Product)


@pytest.fixture
def tea(database: str, products: ModelDict[Product]) -> Product:
    """A row that is on the server."""
    made = Product.objects.create(name="Tea")
    assert products[made.pk].name == "Tea"
    return made


def forget_registrations() -> None:
    registrations._registered.clear()
    relations.forget()
    for model in apps.get_models(include_auto_created=True):
        post_save.disconnect(sender=model, dispatch_uid=hooks.UID)
