"""Lists of products by their category: of drinks, and of food, of which there is none."""

from __future__ import annotations

from typing import Any

import pytest

from redisdict import ModelDict
from redisdict.modelcache.model_dict import ModelLists
from tests.shop.models import Category, Product

Lists = ModelLists[Product]


@pytest.fixture
def lists(server: str) -> Lists:
    return ModelDict(Product, key="category", many=True)


@pytest.fixture
def drinks(database: str) -> Category:
    return Category.objects.create(name="Drinks")


@pytest.fixture
def food(database: str) -> Category:
    return Category.objects.create(name="Food")


@pytest.fixture
def tea(drinks: Category, food: Category, lists: Lists) -> Product:
    """One of two drinks whose list is on the server, as that of food is, which is empty."""
    tea = Product.plain.create(name="Tea", category=drinks)
    Product.objects.create(name="Coffee", category=drinks)
    assert names(lists[drinks.pk]) == ["Tea", "Coffee"]
    assert lists[food.pk] == []
    return tea


def names(rows: Any) -> list[str]:
    return [row.name for row in rows]
