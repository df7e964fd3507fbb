"""A change of one row that changes others: deletions, relations, inheritance."""

from __future__ import annotations

from redisdict import ModelDict
from tests.modelcache.counting import queries
from tests.shop.models import (
    Book,
    Category,
    Price,
    Product,
    Signed,
    SignedBook,
    Tag,
)


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
    database = products._lookup().table.database
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
