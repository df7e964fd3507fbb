"""Which rows a query depends on: those with some values of a declared column, or all."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import models
from django.db.models import Count, Exists, F, OuterRef, Q, Sum, Value, Window
from django.db.models.functions import Lower, RowNumber

from redisdict import CachedQuerySet
from redisdict.modelcache.results import versions
from tests.modelcache.declared_columns.conftest import change_bread, is_kept, kept
from tests.shop.models import Category, Product

#: Queries that depend on the rows of one category alone.
NARROW: list[Callable[[Any, Any], Any]] = [
    lambda rows, c: list(rows.filter(category=c)),
    lambda rows, c: list(rows.filter(category=c.pk)),
    lambda rows, c: list(rows.filter(category_id=c.pk)),
    lambda rows, c: list(rows.filter(category_id=str(c.pk))),
    lambda rows, c: list(rows.filter(category__id=c.pk)),
    lambda rows, c: list(rows.filter(category__pk=c.pk)),
    lambda rows, c: list(rows.filter(category__in=[c])),
    lambda rows, c: list(rows.filter(category__in=[c.pk, None, -1])),
    lambda rows, c: list(rows.filter(category=c, stock__gte=0).exclude(name="Water")),
    lambda rows, c: list(rows.filter(Q(stock__gte=0) & (Q(category=c) & ~Q(name="Water")))),
    lambda rows, c: list(rows.filter(Q(category=c) & (Q(stock=0) | Q(stock=1)))),
    lambda rows, c: list(rows.filter(category=c).select_related("category")),
    lambda rows, c: list(rows.filter(category=c, category__name="Drinks")),
    lambda rows, c: list(rows.filter(category=c).values("category__name", "price")),
    lambda rows, c: list(rows.filter(category=c).order_by("name")[:1]),
    lambda rows, c: list(rows.filter(category=c).annotate(low=Lower("name"))),
    lambda rows, c: list(
        rows.filter(category=c).annotate(n=Window(RowNumber(), order_by="name")).filter(n=1)
    ),
    lambda rows, c: list(rows.filter(category=c).values("name").annotate(Sum("stock"))),
    lambda rows, c: rows.filter(category=c).order_by("pk").first(),
    lambda rows, c: rows.filter(category=c).count(),
    lambda rows, c: rows.filter(category=c)[:1].count(),
    lambda rows, c: rows.filter(category=c).exists(),
    lambda rows, c: rows.filter(category=c).aggregate(Sum("stock")),
    lambda rows, c: rows.get(name="Tea"),
    lambda rows, c: list(rows.filter(price=Decimal("2.5"))),
    lambda rows, c: list(rows.filter(price="2.500")),
    lambda rows, c: list(kept(Category).filter(pk=c.pk, product__category=c).distinct()),
    lambda rows, c: list(kept(Category).filter(pk=c.pk, product__name="Tea")),
]


@pytest.mark.parametrize("ask", NARROW)
def test_others_leave_it_as_it_is(drinks: Category, ask: Callable[[Any, Any], Any]) -> None:
    ask(kept(), drinks)
    assert is_kept(lambda: ask(kept(), drinks))
    change_bread()
    assert is_kept(lambda: ask(kept(), drinks))
    Product.objects.create(name="Salt", category=None)
    Product.plain.filter(name="Salt").delete()
    assert is_kept(lambda: ask(kept(), drinks))
    Product.plain.filter(name="Tea").update(stock=F("stock") + 1)
    assert not is_kept(lambda: ask(kept(), drinks))


#: Queries that may depend on other rows, or of which that isn't certain.
WIDE: list[Callable[[Any, Any], Any]] = [
    lambda rows, c: list(rows),
    lambda rows, c: list(rows.filter(Q(category=c) | Q(stock=0))),
    lambda rows, c: list(rows.filter(Q(category=c) ^ Q(stock=0))),
    lambda rows, c: list(rows.exclude(category=c)),
    lambda rows, c: list(rows.filter(~Q(category=c))),
    lambda rows, c: list(rows.filter(category__gt=c.pk - 1)),
    lambda rows, c: list(rows.filter(category__isnull=False)),
    lambda rows, c: list(rows.filter(category=None)),
    lambda rows, c: list(rows.filter(category__name="Drinks")),
    lambda rows, c: list(rows.filter(category=F("stock"))),
    lambda rows, c: list(rows.filter(category=Value(c.pk) + Value(0))),
    lambda rows, c: list(rows.filter(price__in=[F("stock"), 2])),
    lambda rows, c: list(rows.filter(category__in=Category.objects.filter(pk=c.pk))),
    lambda rows, c: list(rows.filter(category__in=range(c.pk, c.pk + versions.MOST_VALUES + 1))),
    lambda rows, c: list(rows.filter(name__iexact="tea")),
    lambda rows, c: list(rows.annotate(low=Lower("name")).filter(low="tea")),
    lambda rows, c: list(rows.filter(category=c).union(Product.objects.filter(stock=3))),
    lambda rows, c: list(
        rows.filter(category=c).filter(Exists(Product.objects.filter(stock=OuterRef("stock"))))
    ),
    lambda rows, c: list(
        rows.filter(category=c).annotate(
            n=models.Subquery(
                Product.objects.order_by()
                .values("is_active")
                .annotate(n=Count("pk"))
                .values("n")[:1]
            )
        )
    ),
    lambda rows, c: list(rows.filter(category__product__category=c).distinct()),
    lambda rows, c: rows.aggregate(n=Count("pk", filter=Q(category=c))),
]


@pytest.mark.parametrize("ask", WIDE)
def test_it_depends_on_the_whole_table(drinks: Category, ask: Callable[[Any, Any], Any]) -> None:
    ask(kept(), drinks)
    assert is_kept(lambda: ask(kept(), drinks))
    change_bread()
    assert not is_kept(lambda: ask(kept(), drinks))


def test_several_columns_and_the_first_that_is_named(drinks: Category, food: Category) -> None:
    """By category and price it depends on the category: so says the order of the declaration."""

    def ask() -> list[Any]:
        return list(kept().filter(price="2.5", category=drinks))

    ask()
    Product.objects.create(name="Salt", category=food, price="2.50")
    assert is_kept(ask)
    Product.objects.create(name="Water", category=drinks, price=9)
    assert not is_kept(ask)


def test_near_depends_on_the_whole_table(drinks: Category) -> None:
    def ask() -> list[Any]:
        rows = CachedQuerySet(Product).using(Product.objects.db).cached(near=60.0)
        return list(rows.filter(category=drinks))

    ask()
    assert is_kept(ask)
    change_bread()
    assert not is_kept(ask)
