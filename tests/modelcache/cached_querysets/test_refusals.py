"""Which queries `cached()` refuses: what they give isn't a function of known tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, models, transaction
from django.db.models import (
    Func,
    Prefetch,
)
from django.db.models.functions import (
    Now,
    Random,
)

from redisdict import NotCacheable, cache_results_of
from redisdict.modelcache.results.queries import name_of
from tests.shop.models import Product, Tag


class _Own(Func):
    function = "lower"


REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda rows: list(rows.annotate(now=Now())), r"it asks for Now\(\)"),
    (lambda rows: list(rows.filter(created_at__lt=Now())), r"it asks for Now\(\)"),
    (lambda rows: list(rows.order_by("?")), r"RANDOM|RAND|Random"),
    (lambda rows: list(rows.order_by(Random())), r"it asks for Random\(\)"),
    (lambda rows: list(rows.extra(where=["1 = 1"])), "SQL of its own"),
    (lambda rows: list(rows.extra(select={"one": "1"})), r"by extra\(\)"),
    (
        lambda rows: list(rows.annotate(one=models.expressions.RawSQL("1", ()))),
        "SQL of its own, which may call anything",
    ),
    (lambda rows: list(rows.select_for_update()), r"by select_for_update\(\)"),
    (lambda rows: list(rows.annotate(one=_Own("name"))), "_Own, whose effect is unknown"),
    (lambda rows: list(rows.annotate(one=Func("name", function="lower"))), "it calls lower, whose"),
    (lambda rows: rows.filter(stock__lt=Func(function="random")).count(), "it calls random, whose"),
    (
        lambda rows: list(
            rows.filter(pk__in=Product.objects.filter(created_at__lt=Now()).values("pk"))
        ),
        r"it asks for Now\(\)",
    ),
    (
        lambda rows: list(rows.order_by().union(Product.objects.filter(created_at__lt=Now()))),
        r"it asks for Now\(\)",
    ),
    (
        lambda rows: list(rows.prefetch_related(Prefetch("tags", Tag.objects.order_by("?")))),
        r"RANDOM|RAND|Random",
    ),
]


@pytest.mark.parametrize(("ask", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_function_of_its_tables_is_refused(
    shop: str, ask: Callable[[Any], Any], reason: str
) -> None:
    if ask is REFUSED[7][0] and connections[shop].vendor == "sqlite":
        pytest.skip("Django leaves the lock out on SQLite, and refuses nothing.")
    for _ in range(2):
        with transaction.atomic(using=shop), pytest.raises(NotCacheable, match=reason):
            ask(Product.objects.cached())


def test_a_table_of_which_nobody_tells_is_refused(server: str, database: str) -> None:
    cache_results_of(Product)
    assert Product.objects.cached().count() == 0
    reason = r"it reads shop\.Category, whose changes aren't announced: call cache_results_of\("
    with pytest.raises(NotCacheable, match=reason):
        Product.objects.filter(category__name="Drinks").cached().count()


def test_a_parameter_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(NotCacheable, match="a parameter can't be written: "):
        name_of("SELECT %s", [object()], "multi", "UTC")
