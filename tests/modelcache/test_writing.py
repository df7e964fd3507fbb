"""Whatever changes a row: the next read has it, and no read has anything older."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, models, transaction

from redisdict import ModelDict
from redisdict.modelcache import signals
from redisdict.modelcache.cells import BLOCKED, new_token
from tests.modelcache.test_reading import queries
from tests.shop.models import (
    Book,
    Category,
    Price,
    Product,
    Signed,
    SignedBook,
    Stamp,
    Tag,
)


@pytest.fixture
def products(server: str) -> ModelDict[Product]:
    return ModelDict(Product)


@pytest.fixture
def tea(database: str, products: ModelDict[Product]) -> Product:
    made = Product.objects.create(name="Tea")
    assert products[made.pk].name == "Tea"
    return made


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
    Product.objects.bulk_create(
        [Product(pk=tea.pk, name="Coffee")],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["name"],
    )


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
    table = products._view().table

    def what_others_get() -> Any:
        return table.backend.driver.run(table.cells.read([table.key(tea.pk)], new_token(), 0))[0]

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
    table = products._view().table
    with transaction.atomic(using=table.database):
        change(tea)
        transaction.set_rollback(True, using=table.database)
    with queries(table.database) as asked:
        assert products[tea.pk].name == "Tea"
    assert not asked


def test_a_savepoint_that_is_rolled_back(tea: Product, products: ModelDict[Product]) -> None:
    database = products._view().table.database
    with transaction.atomic(using=database):
        with transaction.atomic(using=database):
            _save(tea)
            transaction.set_rollback(True, using=database)
        assert products[tea.pk].name == "Tea"
    assert products[tea.pk].name == "Tea"


def test_a_barrier_stands_at_the_commit(
    tea: Product, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = products._view().table
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
    table = products._view().table
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


def test_a_save_that_fails_leaves_a_barrier_that_ends(database: str, server: str) -> None:
    products = ModelDict(Product, barrier_timeout=0.3)
    one = Product.objects.create(name="One", slug="one")
    two = Product.objects.create(name="Two", slug="two")
    assert products.get_many([one.pk, two.pk])
    two.slug = "one"
    with pytest.raises(Exception, match=r"(?i)unique"):
        two.save()
    with queries(database) as asked:
        assert products[two.pk].slug == "two"
        assert products[two.pk].slug == "two"
    assert len(asked) == 2
    import time

    time.sleep(0.35)
    assert products[two.pk].slug == "two"
    with queries(database) as asked:
        assert products[two.pk].slug == "two"
    assert not asked


def test_a_save_inside_a_save(tea: Product, products: ModelDict[Product]) -> None:
    """A receiver saves the same instance while it is being saved."""
    from django.db.models.signals import pre_save

    table = products._view().table
    client = table.backend.client()
    seen: list[Any] = []

    def touch(instance: Product, update_fields: Any, **_: Any) -> None:
        if update_fields is None:
            instance.save(update_fields=["stock"])
            seen.append(client.get(table.key(tea.pk)))

    pre_save.connect(touch, sender=Product)
    try:
        _save(tea)
    finally:
        pre_save.disconnect(touch, sender=Product)
    assert [stored[:1] for stored in seen] == [b"B"]
    assert client.get(table.key(tea.pk)) is None
    assert products[tea.pk].name == "Coffee"


def test_two_transactions_of_one_connection(tea: Product, products: ModelDict[Product]) -> None:
    database = products._view().table.database
    for name in ("Coffee", "Milk"):
        with transaction.atomic(using=database):
            Product.objects.filter(pk=tea.pk).update(name=name)
        assert products[tea.pk].name == name


def test_a_connection_that_is_lost_in_a_transaction(
    tea: Product, products: ModelDict[Product]
) -> None:
    table = products._view().table
    connection = connections[table.database]
    with transaction.atomic(using=table.database):
        _save(tea)
        connection.close()
    assert products[tea.pk].name == "Tea"
    assert connection not in table.changed_by


def test_delete(tea: Product, products: ModelDict[Product]) -> None:
    pk = tea.pk
    tea.delete()
    assert pk not in products


def test_queryset_delete(tea: Product, products: ModelDict[Product]) -> None:
    Product.plain.filter(pk=tea.pk).delete()
    assert tea.pk not in products


def test_rows_that_go_with_another(database: str, server: str) -> None:
    prices = ModelDict(Price)
    product = Product.objects.create(name="Tea")
    Price.objects.create(product=product, currency="EUR", amount=3)
    assert prices[product.pk, "EUR"].amount == 3
    assert prices[product.pk, "EUR"].amount == 3
    pk = product.pk
    product.delete()
    assert (pk, "EUR") not in prices


def test_a_foreign_key_that_is_set_to_null(database: str, products: ModelDict[Product]) -> None:
    drinks = Category.objects.create(name="Drinks")
    food = Category.objects.create(name="Food")
    tea = Product.objects.create(name="Tea", category=drinks)
    bread = Product.objects.create(name="Bread", category=food)
    assert products[tea.pk].category_id == drinks.pk
    assert products[bread.pk].category_id == food.pk
    drinks.delete()
    assert products[tea.pk].category_id is None
    with queries(database) as asked:
        assert products[bread.pk].category_id == food.pk
    assert not asked


def test_a_foreign_key_that_is_set_to_null_with_many(
    database: str, products: ModelDict[Product]
) -> None:
    drinks = Category.objects.create(name="Drinks")
    tea = Product.objects.create(name="Tea", category=drinks)
    assert products[tea.pk].category_id == drinks.pk
    Category.objects.all().delete()
    assert products[tea.pk].category_id is None


def test_related_managers(database: str, products: ModelDict[Product]) -> None:
    drinks = Category.objects.create(name="Drinks")
    tea = Product.objects.create(name="Tea")
    assert products[tea.pk].category_id is None
    drinks.product_set.add(tea)  # by the base manager
    assert products[tea.pk].category_id == drinks.pk
    drinks.product_set.remove(tea)
    assert products[tea.pk].category_id is None
    drinks.product_set.set([tea])
    assert products[tea.pk].category_id == drinks.pk
    drinks.product_set.clear()
    assert products[tea.pk].category_id is None


def test_many_to_many(tea: Product, products: ModelDict[Product]) -> None:
    database = products._view().table.database
    new = Tag.objects.create(name="new")
    for change in (
        lambda: tea.tags.add(new),
        lambda: new.product_set.remove(tea),
        lambda: tea.tags.set([new]),
        lambda: tea.tags.clear(),
    ):
        assert products[tea.pk]
        change()
        with queries(database) as asked:
            assert products[tea.pk]
        assert len(asked) == 1


def test_inheritance(database: str, server: str) -> None:
    products, books = ModelDict(Product), ModelDict(Book)
    made = Book.objects.create(name="Tea and its leaves", pages=100)
    pk = made.pk

    def everything() -> tuple[str, str, int]:
        return products[pk].name, books[pk].name, books[pk].pages

    assert everything() == ("Tea and its leaves",) * 2 + (100,)
    made.name, made.pages = "Leaves", 200
    made.save()
    assert everything() == ("Leaves", "Leaves", 200)
    parent = Product.objects.get(pk=pk)
    parent.name = "Tea"
    parent.save()
    assert everything() == ("Tea", "Tea", 200)
    Book.objects.filter(pk=pk).update(name="Both", pages=300)
    assert everything() == ("Both", "Both", 300)
    Product.objects.filter(pk=pk).update(name="Parent's")
    assert everything() == ("Parent's", "Parent's", 300)
    Product.objects.get(pk=pk).delete()
    assert pk not in products
    assert pk not in books


def test_a_second_parent_has_another_primary_key(database: str, server: str) -> None:
    Signed.objects.create(signature="so that the primary keys differ")
    signed, books, both = ModelDict(Signed), ModelDict(Book), ModelDict(SignedBook)
    made = SignedBook.objects.create(name="Leaves", signature="me")
    assert made.signed_id != made.pk
    assert signed[made.signed_id].signature == both[made.pk].signature == "me"
    parent = Signed.objects.get(pk=made.signed_id)
    parent.signature = "you"
    parent.save()
    assert signed[made.signed_id].signature == both[made.pk].signature == "you"
    made.signature, made.name = "them", "Roots"
    made.save()
    assert signed[made.signed_id].signature == both[made.pk].signature == "them"
    assert books[made.pk].name == "Roots"
    Signed.objects.get(pk=made.signed_id).delete()
    assert made.pk not in both


def test_a_conflict_in_another_field_than_the_primary_key(
    database: str, products: ModelDict[Product]
) -> None:
    tea = Product.objects.create(name="Tea", slug="tea")
    assert products[tea.pk].name == "Tea"
    Product.objects.bulk_create(
        [Product(pk=tea.pk + 1000, slug="tea", name="Coffee")],
        update_conflicts=True,
        unique_fields=["slug"],
        update_fields=["name"],
    )
    assert products[tea.pk].name == "Coffee"


def test_conflicts_of_rows_without_primary_key(database: str, products: ModelDict[Product]) -> None:
    tea = Product.objects.create(name="Tea", slug="tea")
    other = Product.objects.create(name="Other")
    assert products.get_many([tea.pk, other.pk])
    Product.objects.bulk_create(
        [Product(slug="tea", name="Coffee")],
        update_conflicts=True,
        unique_fields=["slug"],
        update_fields=["name"],
    )
    assert products[tea.pk].name == "Coffee"


def test_update_of_many_rows_counts_as_all(
    database: str, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redisdict.modelcache.managers.MOST_ROWS", 3)
    pks = [one.pk for one in Product.objects.bulk_create([Product(name="Tea") for _ in range(5)])]
    products.get_many(pks)
    with transaction.atomic(using=database):
        assert Product.objects.update(name="Coffee") == 5
        assert products[pks[0]].name == "Coffee"
    assert {one.name for one in products.get_many(pks).values()} == {"Coffee"}
    with queries(database) as asked:
        products.get_many(pks)
    assert not asked


def test_a_transaction_with_many_rows_counts_as_all(
    database: str, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redisdict.modelcache.transactions.MOST_ROWS", 3)
    made = Product.objects.bulk_create([Product(name="Tea") for _ in range(5)])
    assert len(products.get_many([one.pk for one in made])) == 5
    with transaction.atomic(using=database):
        for one in made:
            one.name = "Coffee"
            one.save()
    assert {one.name for one in products.get_many([one.pk for one in made]).values()} == {"Coffee"}


def test_update_does_what_djangos_does(database: str, products: ModelDict[Product]) -> None:
    Product.objects.bulk_create([Product(name=name, stock=1) for name in ("a", "b", "c")])
    assert Product.objects.filter(name="nobody").update(stock=5) == 0
    assert Product.objects.none().update(stock=5) == 0
    assert Product.objects.exclude(name="a").update(stock=models.F("stock") + 1) == 2
    assert Product.objects.order_by("name").annotate(n=models.Count("tags")).update(stock=9) == 3
    assert Product.objects.filter(category__name="x").update(stock=0) == 0
    with pytest.raises(TypeError, match="slice"):
        Product.objects.all()[:1].update(stock=0)
    with pytest.raises(Exception, match="nmae"):
        Product.objects.update(nmae="x")
    assert set(Product.objects.values_list("stock", flat=True)) == {9}


def test_models_without_dict_pay_nothing(database: str, server: str) -> None:
    made = Product.objects.create(name="Tea")
    with queries(database) as asked:
        assert Product.objects.filter(pk=made.pk).update(name="Coffee") == 1
    assert len(asked) == 1
    stamp = Stamp.objects.create(code="x")
    ModelDict(Product)
    with queries(database) as asked:
        stamp.delete()
    assert len(asked) == 1


def test_migrate_and_flush_remove_all_rows(
    database: str, products: ModelDict[Product], tea: Product
) -> None:
    from django.apps import apps
    from django.db.models.signals import post_migrate

    app = apps.get_app_config("redisdict")
    with connections[database].cursor() as cursor:
        cursor.execute("UPDATE shop_product SET name = 'Migrated'")
    assert post_migrate.has_listeners(app)
    signals._after_migrate(using=database, plan=[])
    assert products[tea.pk].name == "Tea"  # nothing was migrated
    signals._after_migrate(using=database, plan=["a migration"])
    assert products[tea.pk].name == "Migrated"


def test_loaddata(tea: Product, products: ModelDict[Product]) -> None:
    from django.core import serializers

    database = products._view().table.database
    tea.name = "Coffee"
    for loaded in serializers.deserialize("json", serializers.serialize("json", [tea])):
        loaded.save(using=database)
    assert products[tea.pk].name == "Coffee"


def test_an_update_that_names_its_rows_asks_nothing_more(
    database: str, products: ModelDict[Product], tea: Product
) -> None:
    other = Product.objects.create(name="Other", stock=5)
    assert products.get_many([tea.pk, other.pk])
    for rows, count in (
        (Product.objects.filter(pk=tea.pk), 1),
        (Product.objects.filter(id__in=[tea.pk, other.pk], stock=5), 1),
        (Product.objects.filter(stock__gte=0).filter(pk=str(tea.pk)), 1),
        (Product.objects.filter(pk__in=[]), 0),
    ):
        with queries(database) as asked:
            assert rows.update(description="x") == count
        assert len(asked) == bool(count)
    assert products[tea.pk].description == "x"
    assert products[other.pk].description == "x"


def test_an_update_that_names_no_rows_finds_them(
    database: str, products: ModelDict[Product], tea: Product
) -> None:
    other = Product.objects.create(name="Other", stock=5, slug="other")
    for number, rows in enumerate(
        (
            Product.objects.exclude(pk=tea.pk),
            Product.objects.filter(models.Q(pk=tea.pk) | models.Q(stock=5)),
            Product.objects.filter(~models.Q(pk=tea.pk)),
            Product.objects.filter(pk__in=Product.plain.filter(stock=5)),
            Product.objects.filter(pk=models.F("id")),
            Product.objects.filter(slug="other"),
            Product.objects.distinct().filter(stock=5),
            Product.objects.annotate(n=models.Count("tags")).filter(n=0),
        )
    ):
        assert products[other.pk].rating != number
        assert rows.update(rating=number) >= 1
        assert products[other.pk].rating == number, rows.query


def test_an_update_by_primary_key_that_fails(
    database: str, products: ModelDict[Product], tea: Product
) -> None:
    from django.db import IntegrityError

    other = Product.objects.create(name="Other", slug="other")
    with pytest.raises(IntegrityError):
        Product.objects.filter(pk=tea.pk).update(slug="other")
    assert products[tea.pk].slug is None
    with queries(database) as asked:
        assert products[tea.pk].slug is None  # no barrier is left: the database said no
    assert not asked
    assert products[other.pk].slug == "other"
