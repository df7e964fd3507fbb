"""Whatever changes a row: the next read has it, and no read has anything older."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, models, transaction

from redisdict import ModelDict
from redisdict.modelcache.slots.store import BLOCKED, new_token
from tests.modelcache.counting import queries
from tests.modelcache.upserts import upsert
from tests.shop.models import (
    Product,
)


def _save(tea: Product) -> None:
    tea.name = "Coffee"
    tea.save()


def _save_some_fields(tea: Product) -> None:
    tea.name = "Coffee"
    tea.save(update_fields=["name"])


def _update(tea: Product) -> None:
    assert Product.objects.filter(name="Tea").update(name="Coffee") == 1


def _update_with_expression(tea: Product) -> None:
    Product.objects.filter(pk=tea.pk).update(name=models.Value("Coffee"))


def _bulk_update(tea: Product) -> None:
    tea.name = "Coffee"
    assert Product.objects.bulk_update([tea], ["name"]) == 1


def _update_or_create(tea: Product) -> None:
    Product.objects.update_or_create(pk=tea.pk, defaults={"name": "Coffee"})


def _bulk_create_over(tea: Product) -> None:
    upsert(Product.objects, Product(pk=tea.pk, name="Coffee"), "id", ["name"])


def _raw_and_invalidate(tea: Product) -> None:
    connection = connections[tea._state.db]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_product SET name = 'Coffee' WHERE id = %s", [tea.pk])
    ModelDict(Product).invalidate(tea.pk)


def _raw_and_clear(tea: Product) -> None:
    connection = connections[tea._state.db]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_product SET name = 'Coffee' WHERE id = %s", [tea.pk])
    ModelDict(Product).clear()


WAYS = pytest.mark.parametrize(
    "change",
    [
        _save,
        _save_some_fields,
        _update,
        _update_with_expression,
        _bulk_update,
        _update_or_create,
        _bulk_create_over,
        _raw_and_invalidate,
        _raw_and_clear,
    ],
)


@WAYS
def test_a_change_is_seen(
    tea: Product, products: ModelDict[Product], change: Callable[[Product], None]
) -> None:
    change(tea)
    assert products[tea.pk].name == "Coffee"
    assert products[tea.pk].name == "Coffee"


@WAYS
def test_a_change_is_seen_inside_its_transaction_and_by_others_after_it(
    tea: Product, products: ModelDict[Product], change: Callable[[Product], None]
) -> None:
    table = products._lookup().table

    def what_others_get() -> Any:
        return table.backend.driver.run(table.store.read([table.key(tea.pk)], new_token(), 0))[0]

    with transaction.atomic(using=table.database):
        change(tea)
        with queries(table.database) as asked:
            assert products[tea.pk].name == "Coffee"
            assert products.get_many([tea.pk])[tea.pk].name == "Coffee"
        assert len(asked) == 2
        assert b"Tea" in what_others_get()
    assert what_others_get() == BLOCKED
    assert products[tea.pk].name == "Coffee"
    with queries(table.database) as asked:
        assert products[tea.pk].name == "Coffee"
    assert not asked


@WAYS
def test_a_change_that_is_rolled_back_costs_nothing(
    tea: Product, products: ModelDict[Product], change: Callable[[Product], None]
) -> None:
    table = products._lookup().table
    with transaction.atomic(using=table.database):
        change(tea)
        transaction.set_rollback(True, using=table.database)
    with queries(table.database) as asked:
        assert products[tea.pk].name == "Tea"
    assert not asked


def test_a_savepoint_that_is_rolled_back(tea: Product, products: ModelDict[Product]) -> None:
    database = products._lookup().table.database
    with transaction.atomic(using=database):
        with transaction.atomic(using=database):
            _save(tea)
            transaction.set_rollback(True, using=database)
        assert products[tea.pk].name == "Tea"
    assert products[tea.pk].name == "Tea"


def test_a_barrier_stands_at_the_commit(
    tea: Product, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = products._lookup().table
    connection = connections[table.database]
    client = table.backend.client()
    seen: list[Any] = []
    commit = connection._commit

    def watched_commit() -> None:
        seen.append(client.get(table.key(tea.pk)))
        commit()
        seen.append(client.get(table.key(tea.pk)))

    monkeypatch.setattr(connection, "_commit", watched_commit)
    with transaction.atomic(using=table.database):
        _save(tea)
    assert [stored[:1] for stored in seen] == [b"B", b"B"]
    assert client.get(table.key(tea.pk)) is None
    assert "commit" not in vars(connection)


def test_a_barrier_stands_during_a_save_outside_a_transaction(
    tea: Product, products: ModelDict[Product]
) -> None:
    table = products._lookup().table
    client = table.backend.client()
    seen: list[Any] = []

    def watch(execute: Any, *arguments: Any) -> Any:
        seen.append(client.get(table.key(tea.pk)))
        result = execute(*arguments)
        seen.append(client.get(table.key(tea.pk)))
        return result

    with connections[table.database].execute_wrapper(watch):
        _save(tea)
    assert [stored[:1] for stored in seen] == [b"B", b"B"]
    assert client.get(table.key(tea.pk)) is None


def test_a_save_that_fails_leaves_no_barrier(database: str, server: str) -> None:
    """The database has said that it refused, so nothing is in doubt."""
    products = ModelDict(Product)
    one = Product.objects.create(name="One", slug="one")
    two = Product.objects.create(name="Two", slug="two")
    assert products.get_many([one.pk, two.pk])
    two.slug = "one"
    with pytest.raises(Exception, match=r"(?i)unique"):
        two.save()
    assert products[two.pk].slug == "two"
    with queries(database) as asked:
        assert products[two.pk].slug == "two"
    assert not asked


def test_a_save_inside_a_save(tea: Product, products: ModelDict[Product]) -> None:
    """A receiver saves the same instance while it is being saved."""
    from django.db.models.signals import pre_save

    table = products._lookup().table
    client = table.backend.client()
    seen: list[Any] = []

    def touch(instance: Product, update_fields: Any, **_: Any) -> None:
        if update_fields is None:
            instance.save(update_fields=["stock"])
            seen.append(client.get(table.key(tea.pk)))
            assert products[tea.pk].name == "Tea"

    pre_save.connect(touch, sender=Product)
    try:
        _save(tea)
    finally:
        pre_save.disconnect(touch, sender=Product)
    assert seen == [None]
    assert client.get(table.key(tea.pk)) is None
    assert products[tea.pk].name == "Coffee"


def test_two_transactions_of_one_connection(tea: Product, products: ModelDict[Product]) -> None:
    database = products._lookup().table.database
    for name in ("Coffee", "Milk"):
        with transaction.atomic(using=database):
            Product.objects.filter(pk=tea.pk).update(name=name)
        assert products[tea.pk].name == name


def test_a_connection_that_is_lost_in_a_transaction(
    tea: Product, products: ModelDict[Product]
) -> None:
    table = products._lookup().table
    connection = connections[table.database]
    with transaction.atomic(using=table.database):
        _save(tea)
        connection.close()
    assert products[tea.pk].name == "Tea"
    assert connection not in table.changed_by
