"""A shop whose results may be kept, and what can be compared of its results."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import models

from redisdict import cache_results_of
from tests.shop.models import Book, Category, Place, Point, Price, Product, Tag


@pytest.fixture
def shop(server: str, database: str) -> str:
    """The alias of a database with some products, whose results may be kept."""
    drinks, food = (Category.objects.create(name=name) for name in ("Drinks", "Food"))
    made_at = datetime.datetime(2026, 5, 4, 3, 2, 1, 123, datetime.UTC)
    tea = Product.objects.create(
        name="Tea", category=drinks, slug="tea", price=Decimal("2.50"), created_at=made_at
    )
    Product.objects.create(name="Coffee", category=drinks, stock=3, sku=UUID(int=5), rating=4.5)
    Product.objects.create(name="Bread", category=food, released_on=made_at.date())
    Product.objects.create(name="Nothing")
    tea.tags.add(*(Tag.objects.create(name=name) for name in ("hot", "green")))
    Book.objects.create(name="Leaves", category=drinks, pages=3)
    Price.objects.create(product=tea, currency="EUR", amount=2)
    Place.objects.create(name="here", at=Point(1, 2), facts={"a": [1]}, seal=b"\x00\xff")
    cache_results_of(Product, Category, Tag, Book, Price, Place)  # which makes changes dearer
    return database


def products() -> Any:
    return Product.objects.order_by("name")


def comparable(got: Any, within: tuple[int, ...] = ()) -> Any:
    """What can be compared of anything that a queryset gives."""

    def described(value: Any) -> Any:
        return "itself" if id(value) in within else comparable(value, (*within, id(got)))

    if isinstance(got, models.Model):
        state = {name: described(value) for name, value in vars(got).items() if name != "_state"}
        joined = {name: described(value) for name, value in got._state.fields_cache.items()}
        return type(got), got._state.db, got._state.adding, state, joined
    if isinstance(got, dict):
        return {key: described(value) for key, value in got.items()}
    if isinstance(got, list | models.QuerySet):
        return [described(one) for one in got]
    return type(got), got


def listen(**_: Any) -> None:
    """A receiver of signals of new instances."""
