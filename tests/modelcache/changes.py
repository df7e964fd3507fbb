"""Change the tables of products, categories and tags, in every way there is.

There is one product, in one category.
"""

from __future__ import annotations

import pytest
from django.db import connections

from tests.modelcache import upserts
from tests.shop.models import Book, Category, Product, ProductProxy, Tag

__all__ = ["CHANGES", "drinks", "update"]


def drinks() -> Category:
    return Category.objects.get()


def insert() -> None:
    Product.objects.create(name="Coffee", category=drinks())


def insert_many() -> None:
    Product.objects.bulk_create([Product(name=name, category=drinks()) for name in "AB"])


def upsert() -> None:
    upserts.upsert(
        Product.objects, Product(name="Coffee", slug="tea", category=drinks()), "slug", ["name"]
    )


def save() -> None:
    product = Product.objects.get()
    product.name = "Coffee"
    product.save()


def update() -> None:
    Product.objects.update(name="Coffee")


def update_what_is_joined() -> None:
    Category.objects.update(name="Food")


def bulk_update() -> None:
    product = Product.objects.get()
    product.name = "Coffee"
    Product.objects.bulk_update([product], ["name"])


def delete() -> None:
    Product.objects.all().delete()


def delete_one() -> None:
    Product.objects.get().delete()


def delete_what_is_pointed_at() -> None:
    drinks().delete()


def delete_without_signals() -> None:
    Product.objects.all()._raw_delete(Product.objects.db)


def move_by_sql() -> None:
    with connections[Product.objects.db].cursor() as cursor:
        cursor.execute("UPDATE shop_product SET category_id = NULL")


def empty_by_sql() -> None:
    connection = connections[Product.objects.db]
    verb = "TRUNCATE shop_product CASCADE" if connection.vendor == "postgresql" else None
    with connection.cursor() as cursor:
        cursor.execute(verb or "DELETE FROM shop_product")


def through_a_child() -> None:
    Book.objects.create(name="Leaves", category=drinks(), pages=3)


def through_a_proxy() -> None:
    ProductProxy.objects.update(name="Coffee")


def many_to_many() -> None:
    Product.objects.get().tags.add(Tag.objects.create(name="hot"))


WAYS = [
    insert,
    insert_many,
    upsert,
    save,
    update,
    update_what_is_joined,
    bulk_update,
    delete,
    delete_one,
    delete_what_is_pointed_at,
    delete_without_signals,
    move_by_sql,
    empty_by_sql,
    through_a_child,
    through_a_proxy,
    many_to_many,
]

#: Runs a test once for each of these.
CHANGES = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
