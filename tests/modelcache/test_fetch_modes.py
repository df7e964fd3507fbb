"""How instances of a hit fetch what they lack (Django 6.1): as those that Django makes."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models

from redisdict import ModelDict, cache_results_of
from tests.modelcache.counting import queries
from tests.shop.models import Category, Product

NAMES = ("FETCH_ONE", "FETCH_PEERS", "FETCH_RAISE")

pytestmark = pytest.mark.skipif(
    not hasattr(models, "FETCH_PEERS"), reason="this Django has no fetch modes"
)


@pytest.fixture
def shop(server: str, database: str) -> str:
    """The alias of a database with some products, of which one has no category."""
    cache_results_of(Product, Category)
    drinks = Category.objects.create(name="Drinks")
    Product.objects.create(name="Tea", category=drinks)
    Product.objects.create(name="Coffee", category=Category.objects.create(name="Hot"))
    Product.objects.create(name="Nothing")
    return database


def rows(mode: Any) -> Any:
    chosen: Any = Product.objects.order_by("name").fetch_mode(mode)
    return chosen.select_related("category").defer("description", "category__name")


def described(got: list[Any]) -> Any:
    """What instances, and those that are joined to them, know of how to fetch."""
    joined = [one.category for one in got if one.category is not None]
    return [
        (type(one), one.pk, one._state.fetch_mode, [peer().pk for peer in one._state.peers])
        for one in (*got, *joined)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_instances_of_a_hit_fetch_as_djangos(shop: str, name: str) -> None:
    mode = getattr(models, name)
    plain = described(list(rows(mode)))
    assert described(list(rows(mode).cached())) == plain  # a miss
    with queries(shop) as asked:
        hit = list(rows(mode).cached())
    assert not asked
    assert described(hit) == plain


def test_peers_are_fetched_together(shop: str) -> None:
    for _ in range(2):
        hit = list(rows(getattr(models, NAMES[1])).cached())
    with queries(shop) as asked:
        assert {one.description for one in hit} == {""}
        assert {one.category.name for one in hit if one.category} == {"Drinks", "Hot"}
    assert len(asked) == 2


def test_what_may_not_be_fetched_raises(shop: str) -> None:
    from django.core.exceptions import FieldFetchBlocked

    for _ in range(2):
        hit = list(rows(getattr(models, NAMES[2])).cached())
    with pytest.raises(FieldFetchBlocked):
        hit[0].description  # noqa: B018  # fetched


def test_rows_of_a_model_dict_fetch_one_by_one(shop: str) -> None:
    """Each is asked for by itself, and so is what it lacks."""
    products = ModelDict(Product)
    [pk] = Product.objects.filter(name="Tea").values_list("pk", flat=True)
    for _ in range(2):
        row: Any = products[pk]
        assert row._state.fetch_mode is getattr(models, NAMES[0])
        assert not row._state.peers
