"""A value is computed again after any change of its tables, and not before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import connections, transaction

from redisdict import ComputedDict, ModelDict
from redisdict.modelcache.overview import overview
from tests.modelcache.changes import CHANGES, drinks, update
from tests.modelcache.computed_dict.conftest import Menu, is_kept
from tests.modelcache.elsewhere import elsewhere
from tests.shop.models import Category, Price, Product, Tag


@CHANGES
def test_any_change_of_its_tables_has_it_computed_again(
    menu: ComputedDict[list[str]], compute: Menu, way: Callable[[], None]
) -> None:
    way()
    assert not is_kept(menu, compute)
    assert menu["Drinks"] == compute("Drinks")
    assert is_kept(menu, compute)


@CHANGES
def test_a_transaction_sees_its_own_changes_and_others_see_them_after_it(
    menu: ComputedDict[list[str]], compute: Menu, way: Callable[[], None]
) -> None:
    with transaction.atomic(using=Product.objects.db):
        way()
        assert menu["Drinks"] == compute("Drinks")
        assert elsewhere(lambda: is_kept(menu, compute))
    assert not is_kept(menu, compute)
    assert menu["Drinks"] == compute("Drinks")


@CHANGES
def test_what_is_rolled_back_changes_nothing(
    menu: ComputedDict[list[str]], compute: Menu, way: Callable[[], None]
) -> None:
    with suppress(ZeroDivisionError), transaction.atomic(using=Product.objects.db):
        way()
        raise ZeroDivisionError
    assert menu["Drinks"] == ["Tea"]
    assert menu["Drinks"] == ["Tea"]


def test_a_savepoint_that_is_rolled_back(menu: ComputedDict[list[str]]) -> None:
    with transaction.atomic(using=Product.objects.db):
        with suppress(ZeroDivisionError), transaction.atomic(using=Product.objects.db):
            update()
            raise ZeroDivisionError
        assert menu["Drinks"] == ["Tea"]
        Category.objects.create(name="Food")
    assert menu["Drinks"] == ["Tea"]


def test_changes_of_other_tables_leave_it(menu: ComputedDict[Any], compute: Menu) -> None:
    Tag.objects.create(name="cold")
    Price.objects.create(product=Product.objects.get(), currency="EUR", amount=2)
    assert is_kept(menu, compute)


def test_the_tags_of_a_product_are_a_part_of_it(server: str, database: str) -> None:
    def compute(name: str) -> list[str]:
        return list(Product.objects.get(name=name).tags.values_list("name", flat=True))

    tags = ComputedDict("tags", depends_on=[Product, Tag], compute=compute)
    product = Product.objects.create(name="Tea")
    hot, green = (Tag.objects.create(name=name) for name in ("hot", "green"))
    assert tags["Tea"] == []
    product.tags.add(hot)
    assert tags["Tea"] == ["hot"]
    product.tags.set([green])
    assert tags["Tea"] == ["green"]
    assert tags.stats().fills == 3
    green.product_set.clear()
    assert tags["Tea"] == []
    product.tags.add(hot)
    hot.delete()
    assert tags["Tea"] == []


def test_a_change_while_it_is_computed_is_not_lost(server: str, database: str) -> None:
    names = []

    def compute() -> list[str]:
        names[:] = Product.objects.values_list("name", flat=True)
        if not names:
            elsewhere(lambda: Product.objects.create(name="Tea"))
        return list(names)

    computed = ComputedDict("names", depends_on=[Product], compute=compute)
    assert computed.get() == []
    assert computed.get() == ["Tea"]


def test_by_hand(menu: ComputedDict[list[str]], compute: Menu) -> None:
    menu.invalidate("Drinks")
    assert not is_kept(menu, compute)
    menu.clear()
    assert not is_kept(menu, compute)
    with transaction.atomic(using=Product.objects.db):
        menu.invalidate("Drinks")
        elsewhere(lambda: menu["Drinks"])
    assert not is_kept(menu, compute)
    assert menu.stats().fills >= 3


def test_in_a_transaction_that_sees_what_is_committed(
    menu: ComputedDict[list[str]], compute: Menu, database: str
) -> None:
    """In ATOMIC_REQUESTS every view is in one."""
    update()
    with transaction.atomic(using=database):
        assert menu["Drinks"] == ["Coffee"]
    assert is_kept(menu, compute) is (connections[database].vendor == "postgresql")


def test_in_a_transaction_that_sees_what_was_committed_at_its_beginning(
    menu: ComputedDict[list[str]], compute: Menu, database: str
) -> None:
    if connections[database].vendor == "postgresql":
        begin = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
    else:
        begin = "SELECT 1"
    if connections[database].vendor == "mysql":  # in a transaction it would be too late
        with connections[database].cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    with transaction.atomic(using=database):
        with connections[database].cursor() as cursor:
            cursor.execute(begin)
        assert Product.objects.get().name == "Tea"
        elsewhere(update)
        assert menu["Drinks"] == ["Tea"]  # as every query of this transaction
    assert menu["Drinks"] == ["Coffee"]


def test_rows_and_results_side_by_side(menu: ComputedDict[list[str]], database: str) -> None:
    products = ModelDict(Product)
    product = products[Product.objects.get().pk]
    Product.objects.filter(name="Tea").update(name="Coffee")
    assert products[product.pk].name == "Coffee"
    assert menu["Drinks"] == ["Coffee"]
    Product.objects.create(name="Water", category=drinks())
    assert menu["Drinks"] == ["Coffee", "Water"]
    assert [one.model for one in overview()] == [
        "shop.Category as a whole",
        "shop.Product",
        "shop.Product as a whole",
    ]
