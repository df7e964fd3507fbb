"""What the ORM writes past managers and signals is noticed, and with which rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connections, models, transaction
from django.db.models.functions import Rank
from django.test.utils import isolate_apps

from redisdict import ModelDict
from redisdict.modelcache.invalidation import relations
from redisdict.modelcache.invalidation.effects import forget_catalog
from tests.modelcache.counting import queries
from tests.modelcache.elsewhere import elsewhere
from tests.modelcache.upserts import upsert
from tests.shop.models import Book, Category, Price, Product


def _plain_update(tea: Product) -> None:
    Product.plain.filter(name="Tea").update(name="Coffee")


def _plain_bulk_update(tea: Product) -> None:
    tea.name = "Coffee"
    Product.plain.bulk_update([tea], ["name"])


def _plain_bulk_create(tea: Product) -> None:
    tea.name = "Coffee"
    upsert(Product.plain, tea, "id", ["name"])


def _update_or_create(tea: Product) -> None:
    Product.plain.update_or_create(pk=tea.pk, defaults={"name": "Coffee"})


def _related_update(tea: Product) -> None:
    category = Category.objects.create(name="Drinks")
    Product.plain.filter(pk=tea.pk).update(category=category)
    category.product_set.update(name="Coffee")


def _save_without_signals(tea: Product) -> None:
    tea.name = "Coffee"
    tea.save_base(raw=True)


@pytest.mark.parametrize(
    "change",
    [
        _plain_update,
        _plain_bulk_update,
        _plain_bulk_create,
        _update_or_create,
        _related_update,
        _save_without_signals,
    ],
)
@pytest.mark.parametrize("is_atomic", [False, True])
def test_a_plain_manager_tells_which_rows(
    change: Callable[[Product], None],
    is_atomic: bool,
    database: str,
    tea: Product,
    products: ModelDict[Product],
) -> None:
    other = Product.objects.create(name="Milk")
    assert products[other.pk].name == "Milk"
    if is_atomic:
        with transaction.atomic(using=database):
            change(tea)
    else:
        change(tea)
    with queries(database) as asked:
        assert products[other.pk].name == "Milk"
    assert not asked, asked.captured_queries
    assert products[tea.pk].name == "Coffee"


def test_a_change_by_another_field_asks_nothing_more(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """The statement itself tells which rows it has changed; in a transaction as Django's own."""
    milk = Product.objects.create(name="Milk", stock=1)
    books = [Book.objects.create(name="Book", pages=n) for n in range(3)]
    Price.objects.create(product=tea, currency="EUR", amount=1)
    prices = ModelDict(Price)
    cached_books = ModelDict(Book)
    assert products.get_many([tea.pk, milk.pk])
    assert cached_books.get_many([one.pk for one in books])
    assert prices[tea.pk, "EUR"].amount == 1
    with transaction.atomic(using=database), queries(database) as asked:
        assert Product.plain.filter(name="Tea").update(name="Coffee") == 1
        assert Product.plain.filter(name="Nothing").update(name="Coffee") == 0
        assert Price.objects.filter(amount__lt=5).update(amount=7) == 1
        assert Book.objects.filter(pages__gt=0).update(pages=10) == 2
        assert Product.plain.filter(stock=1)._raw_delete(database) == 1
    assert len(asked) == 5, asked.captured_queries
    with queries(database) as asked:
        assert cached_books[books[0].pk].pages == 0
    assert not asked
    assert products[tea.pk].name == "Coffee"
    assert prices[tea.pk, "EUR"].amount == 7
    assert cached_books[books[1].pk].pages == 10
    assert milk.pk not in products


@pytest.mark.parametrize("is_atomic", [False, True])
def test_a_deletion_without_signals(
    is_atomic: bool, database: str, tea: Product, products: ModelDict[Product]
) -> None:
    other = Product.objects.create(name="Milk")
    assert products[other.pk].name == "Milk"
    if is_atomic:
        with transaction.atomic(using=database):
            Product.plain.filter(name="Tea")._raw_delete(database)
    else:
        Product.plain.filter(name="Tea")._raw_delete(database)
    assert tea.pk not in products
    with queries(database) as asked:
        assert products[other.pk].name == "Milk"
    assert not asked, asked.captured_queries


def test_the_first_statement_of_a_connection_tells_its_rows(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    other = Product.objects.create(name="Milk")
    assert products[other.pk].name == "Milk"
    elsewhere(lambda: Product.plain.filter(name="Tea").update(name="Coffee"))
    with queries(database) as asked:
        assert products[other.pk].name == "Milk"
    assert not asked, asked.captured_queries
    assert products[tea.pk].name == "Coffee"


def test_the_first_statement_of_a_process(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """Nothing is known of the database, and no connection is open."""
    forget_catalog(connections[database])
    connections[database].close()
    Product.plain.filter(name="Tea").update(name="Coffee")
    assert products[tea.pk].name == "Coffee"
    forget_catalog(connections[database])
    connections[database].close()
    Product.plain.filter(name="Coffee").delete()
    assert tea.pk not in products


@isolate_apps("tests.shop")
def test_a_second_model_of_the_table(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    class Shown(models.Model):
        name = models.CharField(max_length=100)

        class Meta:
            app_label = "shop"
            db_table = "shop_product"
            managed = False

        def __str__(self) -> str:
            return self.name

    other = Product.objects.create(name="Milk")
    assert products[other.pk].name == "Milk"
    Shown._base_manager.using(database).filter(name="Tea").update(name="Coffee")
    with queries(database) as asked:
        assert products[other.pk].name == "Milk"
    assert not asked, asked.captured_queries
    assert products[tea.pk].name == "Coffee"
    shown = Shown._base_manager.using(database).get(pk=tea.pk)
    shown.delete(using=database)
    assert tea.pk not in products
    relations.forget()


@isolate_apps("tests.shop")
def test_a_second_model_with_another_key(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """Which row of the one is which of the other isn't known: all count as changed."""

    class BySlug(models.Model):
        slug = models.SlugField(primary_key=True)
        name = models.CharField(max_length=100)

        class Meta:
            app_label = "shop"
            db_table = "shop_product"
            managed = False

        def __str__(self) -> str:
            return self.name

    Product.plain.update(slug="tea")
    assert products[tea.pk].name == "Tea"
    BySlug._base_manager.using(database).filter(pk="tea").update(name="Coffee")
    assert products[tea.pk].name == "Coffee"
    relations.forget()


def test_rows_chosen_in_ways_that_can_not_be_locked(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    ranked = Product.plain.annotate(
        rank=models.Window(Rank(), order_by="name"), many=models.Count("tags")
    )
    ranked.filter(rank=1).update(name="Coffee")
    assert products[tea.pk].name == "Coffee"
    Product.plain.distinct().filter(category__name=None).update(name="Milk")
    assert products[tea.pk].name == "Milk"
    Product.plain.filter(pk__in=Product.plain.filter(name="Milk")).delete()
    assert tea.pk not in products
