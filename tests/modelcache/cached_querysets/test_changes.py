"""After any change, what `cached()` gives is never older than what is committed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import (
    Count,
)

from redisdict import CachedQuerySet, ComputedDict, cache_results_of
from tests.modelcache.changes import CHANGES
from tests.modelcache.counting import queries
from tests.modelcache.elsewhere import elsewhere
from tests.shop.models import Category, Product, Tag


@CHANGES
def test_any_change_is_seen(server: str, database: str, way: Callable[[], None]) -> None:
    cache_results_of(Product, Category, Tag)
    Product.objects.create(name="Tea", category=Category.objects.create(name="Drinks"), slug="tea")

    def read(*, is_cached: bool) -> Any:
        rows = Product.objects.order_by("name", "pk")
        rows = rows.cached() if is_cached else rows
        joined = rows.select_related("category").prefetch_related("tags")
        return [
            [
                (row.name, row.category and row.category.name, list(row.tags.all()))
                for row in joined
            ],
            rows.filter(category__name="Drinks").count(),
            rows.aggregate(Count("tags")),
        ]

    assert read(is_cached=True) == read(is_cached=True)
    way()
    assert read(is_cached=True) == read(is_cached=False)
    with transaction.atomic(using=database):
        Product.objects.create(name="Water")
        assert read(is_cached=True) == read(is_cached=False)
    assert read(is_cached=True) == read(is_cached=False)


def test_what_a_transaction_has_changed_others_see_at_its_commit(shop: str) -> None:
    def count() -> int:
        return Product.objects.filter(stock=3).cached().count()

    assert count() == 1
    with transaction.atomic(using=shop):
        Product.objects.update(stock=3)
        assert count() == 5
        assert elsewhere(count) == 1
    assert count() == 5


def test_within_a_computed_dict_its_tables_count(shop: str, caplog: Any) -> None:
    counts = ComputedDict(
        "counts", depends_on=[Tag], compute=lambda: Product.objects.cached().count()
    )
    assert Product.objects.cached().count() == 5
    assert counts.get() == 5
    Product.objects.create(name="Water")
    assert counts.get() == 6
    assert "it reads shop.Product too; add that to depends_on." in caplog.text


def test_what_is_known_by_its_sql_goes_with_any_of_its_tables(shop: str) -> None:
    """Unions, and the many-to-many queries of `prefetch_related()`, are compiled, and kept."""

    def union() -> list[str]:
        names = CachedQuerySet(Product).using(shop).cached().order_by().values_list("name")
        both = names.filter(slug="tea").union(Category.objects.using(shop).values_list("name"))
        return sorted(name for (name,) in both)

    def tags() -> list[str]:
        rows = CachedQuerySet(Product).using(shop).cached().filter(slug="tea")
        return [tag.name for row in rows.prefetch_related("tags") for tag in row.tags.all()]

    def is_kept(ask: Callable[[], Any]) -> bool:
        with queries(shop) as asked:
            ask()
        return not asked

    tea = Product.objects.get(slug="tea")
    for ask, changes in (
        (
            union,
            [
                lambda: Product.objects.filter(slug="tea").update(stock=1),
                lambda: Category.objects.create(name="More"),
            ],
        ),
        (
            tags,
            [
                lambda: Tag.objects.filter(name="hot").update(name="warm"),
                lambda: tea.tags.remove(Tag.objects.get(name="warm")),
                lambda: tea.tags.add(Tag.objects.create(name="black")),
            ],
        ),
    ):
        ask()
        assert is_kept(ask)
        for change in changes:
            change()
            assert not is_kept(ask)
            assert is_kept(ask)
    assert union() == ["Drinks", "Food", "More", "Tea"]
    assert sorted(tags()) == ["black", "green"]
