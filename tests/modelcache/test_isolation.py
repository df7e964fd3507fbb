"""What a transaction sees isn't always what is committed; then it must not be kept for others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections, transaction

from redisdict import ModelDict
from redisdict.modelcache import loading
from tests.modelcache.counting import queries
from tests.modelcache.elsewhere import elsewhere
from tests.shop.models import Product, Tag
from tests.waiting import wait_until


@pytest.fixture
def products(server: str) -> ModelDict[Product]:
    return ModelDict(Product, barrier_timeout=60)


@pytest.fixture
def tea(database: str, products: ModelDict[Product]) -> Product:
    return Product.objects.create(name="Tea")


def rename(tea: Product, name: str = "Coffee") -> None:
    Product.objects.filter(pk=tea.pk).update(name=name)


@contextmanager
def isolated(database: str, level: str) -> Iterator[None]:
    with transaction.atomic(using=database):
        with connections[database].cursor() as cursor:
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        yield


def is_kept(products: ModelDict[Product], tea: Product) -> bool:
    with queries(products._lookup().table.database) as asked:
        products.get(tea.pk)
    return not asked


def end_barrier(products: ModelDict[Product], tea: Product) -> None:
    """What the server does when the barrier's time is over."""
    table = products._lookup().table
    client, key = table.backend.client(), table.key(tea.pk)
    assert 0 < client.pttl(key) <= 60_000
    client.pexpire(key, 1)
    wait_until(lambda: not client.exists(key))


only_postgres = pytest.mark.parametrize("database", ["postgres"], indirect=True)
only_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@only_postgres
def test_read_committed_sees_what_is_committed(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    with transaction.atomic(using=database):
        with queries(database) as asked:
            assert products[tea.pk] == tea
        assert len(asked) == 1
        assert is_kept(products, tea)
        assert vars(products[tea.pk]).keys() == vars(tea).keys()
        elsewhere(lambda: rename(tea))
        assert products[tea.pk].name == "Coffee"


@only_postgres
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_an_old_snapshot_is_not_kept(
    database: str, tea: Product, products: ModelDict[Product], level: str
) -> None:
    with isolated(database, level):
        assert Product.objects.count() == 1
        elsewhere(lambda: rename(tea))
        assert products[tea.pk].name == "Tea"
        assert products.get_many([tea.pk])[tea.pk].name == "Tea"
        assert elsewhere(lambda: products[tea.pk].name) == "Coffee"
    assert products[tea.pk].name == "Coffee"


@only_postgres
def test_a_level_of_the_settings(
    database: str, tea: Product, products: ModelDict[Product], postgres: Any
) -> None:
    from psycopg import IsolationLevel

    alias = "shop_repeatable"
    values = postgres.settings(isolation_level=IsolationLevel.REPEATABLE_READ)
    connections.settings[alias] = connections.configure_settings({"default": {}, alias: values})[
        alias
    ]
    try:
        repeatable = ModelDict(Product, database=alias)
        with transaction.atomic(using=alias):
            assert repeatable[tea.pk].name == "Tea"
            assert repeatable._lookup().table.database == alias
        assert not is_kept(repeatable, tea)
        assert is_kept(repeatable, tea)
    finally:
        connections[alias].close()
        del connections.settings[alias], connections[alias]


def test_what_a_transaction_wrote_is_not_kept_by_whatever_means(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    with transaction.atomic(using=database):
        with connections[database].cursor() as cursor:
            cursor.execute("UPDATE shop_product SET name = 'Raw'")
        assert products[tea.pk].name == "Raw"
        transaction.set_rollback(True, using=database)
    assert products[tea.pk].name == "Tea"


@only_postgres
def test_a_transaction_that_holds_locks_keeps_nothing(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    with transaction.atomic(using=database):
        Product.objects.select_for_update().get(pk=tea.pk)
        assert products[tea.pk] == tea
        assert not is_kept(products, tea)


@only_postgres
def test_another_models_change_does_not_stop_hits(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    ModelDict(Tag)
    assert products[tea.pk] == tea
    with transaction.atomic(using=database):
        Tag.objects.create(name="new")
        assert is_kept(products, tea)


@only_sqlite
def test_sqlites_transactions_keep_nothing(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    with transaction.atomic(using=database):
        assert Product.objects.count() == 1
        elsewhere(lambda: rename(tea))
        assert products[tea.pk].name == "Tea"
    assert products[tea.pk].name == "Coffee"


@only_sqlite
def test_an_iterator_holds_an_old_snapshot_in_sqlite(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    Product.objects.bulk_create([Product(name="x") for _ in range(300)])
    rows = Product.objects.iterator(chunk_size=1)
    next(rows)
    elsewhere(lambda: rename(tea))
    assert products[tea.pk].name == "Tea"
    assert elsewhere(lambda: products[tea.pk].name) == "Coffee"
    for _ in rows:
        pass
    assert products[tea.pk].name == "Coffee"
    assert is_kept(products, tea)


@only_sqlite
def test_update_waits_for_other_writers(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """Reading first would make SQLite refuse the write at once."""
    begun, errors = threading.Event(), []

    def other() -> None:
        with transaction.atomic(using=database):
            rename(tea, "Milk")
            begun.set()
            time.sleep(0.3)
        connections.close_all()

    def this() -> None:
        try:
            begun.wait()
            rename(tea, "Coffee")
        except Exception as error:  # noqa: BLE001  # shown below
            errors.append(error)
        connections.close_all()

    threads = [threading.Thread(target=other), threading.Thread(target=this)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert products[tea.pk].name == "Coffee"


def test_a_slow_reader_cannot_keep_what_was_changed_meanwhile(
    tea: Product, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = loading.load_rows

    def slow(*arguments: Any) -> Any:
        loaded = ask(*arguments)
        elsewhere(lambda: rename(tea))
        return loaded

    with monkeypatch.context() as patch:
        patch.setattr("redisdict.modelcache.lookup.load_rows", slow)
        assert products[tea.pk].name == "Tea"  # it began before the change
    assert products[tea.pk].name == "Coffee"
    assert products.stats().refused == 1


@pytest.mark.parametrize("is_atomic", [True, False], ids=["transaction", "autocommit"])
def test_a_writer_that_dies_after_its_commit(
    database: str, tea: Product, products: ModelDict[Product], is_atomic: bool
) -> None:
    class Killed(BaseException):
        """As good as a kill: nothing is done any more."""

    assert products[tea.pk].name == "Tea"

    def die_after(execute: Callable[..., Any]) -> Callable[..., Any]:
        def executed(*arguments: Any) -> Any:
            execute(*arguments)
            raise Killed

        return executed

    def commit_and_die() -> None:
        connection = connections[database]
        connection.ensure_connection()  # which takes statements of Django's on MySQL
        tea.name = "Coffee"
        if is_atomic:
            connection._commit = die_after(connection._commit)
            with transaction.atomic(using=database):
                tea.save()
        else:
            with connection.execute_wrapper(lambda run, *rest: die_after(run)(*rest)):
                tea.save()

    def in_a_thread() -> str:
        try:
            commit_and_die()
        except Killed:
            return "killed"
        return "alive"

    assert elsewhere(in_a_thread) == "killed"
    assert products[tea.pk].name == "Coffee"
    assert not is_kept(products, tea)  # the barrier stands
    end_barrier(products, tea)
    assert products[tea.pk].name == "Coffee"
    assert is_kept(products, tea)


def test_one_writers_commit_leaves_anothers_barrier(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    table = products._lookup().table
    other = b"another writer's"
    table.backend.driver.run(table.store.block([table.key(tea.pk)], other, 60_000))
    rename(tea)
    assert not is_kept(products, tea)
    assert not is_kept(products, tea)
    table.backend.driver.run(table.store.lift([table.key(tea.pk)], other))
    assert products[tea.pk].name == "Coffee"
    assert is_kept(products, tea)


@only_postgres
def test_a_commit_that_fails(
    database: str, server: str, products: ModelDict[Product], tea: Product
) -> None:
    """A deferred constraint is checked at the commit: the database says that nothing was done."""
    assert products[tea.pk].name == "Tea"
    from django.db import IntegrityError

    with pytest.raises(IntegrityError):
        with transaction.atomic(using=database):
            Product.objects.filter(pk=tea.pk).update(category=4711)
    assert products[tea.pk].category_id is None
    assert is_kept(products, tea)


@only_postgres
def test_a_commit_whose_outcome_is_unknown(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    from django.db import OperationalError

    assert products[tea.pk].name == "Tea"
    connection = connections[database]

    def lose() -> None:
        raise OperationalError("the connection was lost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "_commit", lose)
        with pytest.raises(OperationalError), transaction.atomic(using=database):
            rename(tea)
    assert not is_kept(products, tea)  # it may be committed yet
    end_barrier(products, tea)
    assert products[tea.pk].name == "Tea"
    assert is_kept(products, tea)
