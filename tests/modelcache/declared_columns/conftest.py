"""Products whose manager declares columns, in two categories; and whether queries are kept."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import F

from redisdict import CachedQuerySet, cache_results_of
from tests.modelcache.counting import queries
from tests.shop.models import Book, Category, Price, Product, Tag

#: What the products' manager declares.
COLUMNS = ("category", "price", "name", "is_active")


@pytest.fixture
def drinks(server: str, database: str, monkeypatch: pytest.MonkeyPatch) -> Category:
    """A category with tea and coffee; and there is one with bread."""
    monkeypatch.setattr(Product._meta.managers_map["objects"], "versions", COLUMNS)
    drinks, food = (Category.objects.create(name=name) for name in ("Drinks", "Food"))
    for name in ("Tea", "Coffee"):
        Product.objects.create(name=name, category=drinks, price=Decimal("2.50"))
    Product.objects.create(name="Bread", category=food, price=3)
    cache_results_of(Product, Category, Tag, Book, Price)  # which makes changes dearer
    return drinks


@pytest.fixture
def food(drinks: Category) -> Category:
    return Category.objects.get(name="Food")


@pytest.fixture
def tea(drinks: Category) -> Product:
    return Product.objects.get(name="Tea")


def kept(rows: Any = Product) -> Any:
    return CachedQuerySet(rows).using(Product.objects.db).cached()


def in_category(category: Category) -> list[str]:
    rows = kept().filter(category=category).order_by("pk")
    return [row.name for row in rows]


def is_kept(ask: Callable[[], Any]) -> bool:
    """Whether the database isn't asked."""
    with queries(Product.objects.db) as asked:
        ask()
    return not asked


def change_bread() -> None:
    """A change that concerns no row of another value."""
    assert Product.plain.filter(name="Bread").update(stock=F("stock") + 1) == 1
