"""Whatever is asked of `cached()`, a hit is what Django gives."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db.models import (
    Avg,
    Count,
    Exists,
    F,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Sum,
    Value,
    Window,
)
from django.db.models.functions import (
    Concat,
    ExtractYear,
    Lower,
    RowNumber,
    TruncMonth,
)

from redisdict import CachedQuerySet, cache_results_of
from tests.codec.models import EveryField
from tests.modelcache.cached_querysets.conftest import comparable, products
from tests.modelcache.counting import queries
from tests.shop.models import Category, Place, Point, Price, Product, Tag

#: What is asked, by queries that begin with the manager's.
QUERIES: list[Callable[[Any], Any]] = [
    lambda rows: list(rows),
    lambda rows: list(rows.filter(category__name="Drinks")),
    lambda rows: list(rows.exclude(category__name="Drinks")),
    lambda rows: list(rows.select_related("category")),
    lambda rows: list(rows.prefetch_related("tags", "prices")),
    lambda rows: list(rows.prefetch_related(Prefetch("tags", Tag.objects.filter(name="hot")))),
    lambda rows: list(rows.defer("description")),
    lambda rows: list(rows.only("name", "category__name").select_related("category")),
    lambda rows: list(rows.values()),
    lambda rows: list(rows.values("name", "category__name")),
    lambda rows: list(rows.values_list("name", "price")),
    lambda rows: list(rows.values_list("name", flat=True)),
    lambda rows: list(rows.values_list("name", "stock", named=True)),
    lambda rows: list(rows[1:3]),
    lambda rows: rows[1],
    lambda rows: rows.get(slug="tea"),
    lambda rows: rows.first(),
    lambda rows: rows.last(),
    lambda rows: rows.filter(name="none").first(),
    lambda rows: rows.latest("pk"),
    lambda rows: rows.exists(),
    lambda rows: rows.filter(name="none").exists(),
    lambda rows: rows.count(),
    lambda rows: rows[:2].count(),
    lambda rows: rows.aggregate(Sum("stock"), average=Avg("price"), number=Count("tags")),
    lambda rows: rows.in_bulk(),
    lambda rows: rows.in_bulk(["tea"], field_name="slug"),
    lambda rows: list(rows.none()),
    lambda rows: list(rows.filter(pk__in=[])),
    lambda rows: list(rows.annotate(number=Count("tags")).filter(number__gt=0)),
    lambda rows: list(rows.annotate(low=Lower("name"), full=Concat("name", Value("!")))),
    lambda rows: list(rows.annotate(year=ExtractYear("created_at")).values_list("year")),
    lambda rows: list(rows.values("category").annotate(total=Sum("price")).order_by("category")),
    lambda rows: list(rows.annotate(place=Window(RowNumber(), order_by="name")).values("place")),
    lambda rows: list(rows.filter(Exists(Price.objects.filter(product=OuterRef("pk"))))),
    lambda rows: list(rows.filter(category__in=Category.objects.filter(name="Food"))),
    lambda rows: list(
        rows.annotate(
            tag=Subquery(
                Tag.objects.filter(product=OuterRef("pk")).order_by("pk").values("name")[:1]
            )
        )
    ),
    lambda rows: list(rows.filter(Q(name="Tea") | Q(stock__gt=F("price")))),
    lambda rows: list(rows.values("category__name").distinct().order_by("category__name")),
    lambda rows: list(rows.datetimes("created_at", "month")),
    lambda rows: list(rows.dates("released_on", "year")),
    lambda rows: list(rows.annotate(month=TruncMonth("created_at"))),
    lambda rows: list(rows.filter(tags__name="hot").alias(some=F("stock"))),
    lambda rows: list(rows.order_by().union(Product.objects.filter(stock=3)).order_by("name")),
    lambda rows: rows.order_by().filter(stock=3).union(Product.objects.filter(stock=0)).count(),
    lambda rows: list(rows.filter(pk__in=Place.objects.filter(facts={"a": [1]}).values("pk"))),
    lambda rows: rows.contains(Product.objects.get(slug="tea")),
]


@pytest.mark.parametrize("ask", QUERIES, ids=range(len(QUERIES)))
def test_a_hit_is_what_django_gives(shop: str, ask: Callable[[Any], Any]) -> None:
    plain = comparable(ask(products()))
    assert comparable(ask(products().cached())) == plain  # a miss
    with queries(shop) as asked:
        hit = ask(products().cached())
    allowed = 1 if ask is QUERIES[-1] else 0  # its own argument
    assert len(asked) == allowed, asked.captured_queries
    assert comparable(hit) == plain


def test_the_rest_of_a_chain_is_cached_too(shop: str) -> None:
    rows = Product.objects.cached().filter(stock=3)
    assert [one.name for one in rows.order_by("name")] == ["Coffee"]
    with queries(shop) as asked:
        assert [one.name for one in rows.order_by("name")] == ["Coffee"]
        assert rows.all().order_by("name")[0].name == "Coffee"
    assert len(asked) == 1  # LIMIT 1 is another query


def test_values_of_every_field(server: str, database: str) -> None:
    cache_results_of(EveryField, Place)
    Place.objects.create(name="here", at=Point(1, 2), facts={"a": [1]}, seal=b"\x00\xff")
    for _ in range(2):
        [place] = CachedQuerySet(Place).cached()
        assert (place.at, place.facts, bytes(place.seal)) == (Point(1, 2), {"a": [1]}, b"\x00\xff")
        assert place.name_in_capitals == "HERE"


def test_parameters_make_other_queries(shop: str) -> None:
    def names(**chosen: Any) -> list[str]:
        return list(Product.objects.filter(**chosen).cached().values_list("name", flat=True))

    for _ in range(2):
        assert names(name="Tea") == ["Tea"]
        assert names(name="Coffee") == ["Coffee"]
        assert names(price=Decimal("2.50")) == ["Tea"]
        assert names(sku=UUID(int=5)) == ["Coffee"]


def test_a_queryset_can_be_pickled(shop: str) -> None:
    rows = pickle.loads(pickle.dumps(Product.objects.order_by("name").cached()))
    assert [row.name for row in rows] == ["Bread", "Coffee", "Leaves", "Nothing", "Tea"]
    with queries(shop) as asked:
        assert copy.deepcopy(Product.objects.cached()).exists()
        assert Product.objects.cached().exists()
    assert len(asked) == 1
