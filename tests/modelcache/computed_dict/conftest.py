"""A value that is computed of products and categories, and how often it was."""

from __future__ import annotations

from typing import Any

import pytest

from redisdict import ComputedDict
from tests.shop.models import Category, Product


class Menu:
    """The names of products by category, and how often they were computed."""

    def __init__(self) -> None:
        self.computed = 0

    def __call__(self, category: str) -> list[str]:
        self.computed += 1
        rows = Product.objects.filter(category__name=category).order_by("name")
        return [row.name for row in rows]


@pytest.fixture
def compute() -> Menu:
    return Menu()


@pytest.fixture
def menu(server: str, database: str, compute: Menu) -> ComputedDict[list[str]]:
    made = ComputedDict("menu", depends_on=[Product, Category], compute=compute)
    drinks = Category.objects.create(name="Drinks")
    Product.objects.create(name="Tea", category=drinks, slug="tea")
    assert made["Drinks"] == ["Tea"]
    assert made["Drinks"] == ["Tea"]
    assert compute.computed == 1
    return made


def is_kept(menu: ComputedDict[Any], compute: Menu) -> bool:
    """Whether it isn't computed again."""
    before = compute.computed
    _ = menu["Drinks"]
    return compute.computed == before
