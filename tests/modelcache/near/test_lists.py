"""Lists that are answered from memory: `ModelDict(…, many=True, near=…)`."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from redisdict import ModelDict
from redisdict.modelcache.slots.barrier import change_behind_barriers
from redisdict.modelcache.slots.store import new_token
from redisdict.near.barrier import near_barrier
from redisdict.near.reader import STRICT
from tests.modelcache.beneath import change_unseen
from tests.modelcache.counting import queries
from tests.modelcache.near.conftest import Elsewhere, keep, settle
from tests.near.conftest import AGES
from tests.shop.models import Category, Product
from tests.waiting import wait_until

Lists = Any

pytestmark = pytest.mark.each_value_once("lists")


@pytest.fixture(params=[AGES, STRICT])
def lists(database: str, server: str, request: pytest.FixtureRequest) -> Lists:
    return ModelDict(Product, key="category", many=True, near=request.param)


@pytest.fixture
def drinks(lists: Lists) -> Category:
    """A category whose two products are in memory; and there is an empty one."""
    made = Category.objects.create(name="Drinks")
    # With `near="strict"` each change waits for readers.
    Product.objects.bulk_create(Product(name=name, category=made) for name in ("Tea", "Coffee"))
    keep(lists, made.pk)
    wait_until(lambda: is_from_memory(lists, made.pk))
    return made


@pytest.fixture
def food(drinks: Category, lists: Lists) -> Category:
    made = Category.objects.create(name="Food")
    keep(lists, made.pk)
    return made


def names(rows: list[Product]) -> list[str]:
    return [row.name for row in rows]


def is_from_memory(lists: Lists, key: Any) -> bool:
    """Whether list and rows are: each of them is looked up there once, and found."""
    rows = lists._lookup().by_pk.table.near
    before = lists.near_stats(), rows.stats()
    found = lists[key]
    after = lists.near_stats(), rows.stats()
    hits = [then.hits - one.hits for one, then in zip(before, after, strict=True)]
    return hits == [1, len(found)]


def test_a_list_and_its_rows_come_from_memory(lists: Lists, drinks: Category) -> None:
    assert is_from_memory(lists, drinks.pk)
    assert names(lists[drinks.pk]) == names(lists.get(drinks.pk)) == ["Tea", "Coffee"]
    assert names(lists.get_many([drinks.pk])[drinks.pk]) == ["Tea", "Coffee"]
    assert names(async_to_sync(lists.aget)(drinks.pk)) == ["Tea", "Coffee"]
    lists[drinks.pk].clear()  # it was one's own
    assert names(lists[drinks.pk]) == ["Tea", "Coffee"]


def test_an_empty_list_comes_from_memory(lists: Lists, food: Category) -> None:
    wait_until(lambda: is_from_memory(lists, food.pk))
    assert lists[food.pk] == []


def test_own_changes_are_seen_at_once(lists: Lists, drinks: Category, food: Category) -> None:
    tea = Product.objects.get(name="Tea")
    tea.category = food
    tea.save()
    assert names(lists[drinks.pk]) == ["Coffee"]
    assert names(lists[food.pk]) == ["Tea"]
    Product.objects.filter(name="Tea").update(name="Oolong")
    assert names(lists[food.pk]) == ["Oolong"]
    Product.objects.create(name="Milk", category=drinks)
    assert names(lists[drinks.pk]) == ["Coffee", "Milk"]
    Product.objects.filter(name="Milk").delete()
    assert names(lists[drinks.pk]) == ["Coffee"]
    with transaction.atomic(using=Product.objects.db):
        Product.objects.filter(name="Oolong").update(category=drinks)
        assert lists[food.pk] == []
        assert names(lists[drinks.pk]) == ["Oolong", "Coffee"]
    assert lists[food.pk] == []


def test_what_another_process_moves(
    lists: Lists, drinks: Category, food: Category, elsewhere: Elsewhere
) -> None:
    tea = Product.objects.get(name="Tea")
    table, rows = lists._lookup().table, lists._lookup().by_pk.table
    cells = [[table.key(drinks.pk), table.key(food.pk)], [rows.key(tea.pk)]]
    sql = f"UPDATE shop_product SET category_id = {food.pk} WHERE id = {tea.pk}"
    change = change_behind_barriers(
        cells, new_token(), 60_000, lambda: change_unseen(Product.objects.db, sql)
    )
    elsewhere.backend.driver.run(change)
    settle(lists)
    assert names(lists[drinks.pk]) == ["Coffee"]
    assert names(lists[food.pk]) == ["Tea"]


def test_a_list_that_its_rows_disagree_with_is_asked_of_the_database(
    lists: Lists, drinks: Category, food: Category
) -> None:
    """As when the message about the row has come, and the one about the list hasn't."""
    tea = Product.objects.get(name="Tea")
    change_unseen(
        Product.objects.db,
        f"UPDATE shop_product SET category_id = {food.pk} WHERE id = {tea.pk}",
    )
    rows = lists._lookup().by_pk
    rows.table.near.drop([rows.table.key(tea.pk)])
    rows.table.backend.driver.run(rows.store.lift([rows.table.key(tea.pk)], new_token()))
    assert names(lists[drinks.pk]) == ["Coffee"]


def test_as_of_the_request(database: str, server: str) -> None:
    drinks = Category.objects.create(name="Drinks")
    lists: Lists = ModelDict(Product, key="category", many=True, near="request")
    assert lists[drinks.pk] == []
    with near_barrier():
        assert lists[drinks.pk] == []
    Product.objects.create(name="Tea", category=drinks)
    with near_barrier():
        assert names(lists[drinks.pk]) == ["Tea"]


def test_absent_rows_may_be_remembered_beside_lists(database: str, server: str) -> None:
    """`absent_timeout` is for the rows; that a list is empty is kept without it."""
    lists: Lists = ModelDict(Product, key="category", many=True, absent_timeout=60)
    drinks = Category.objects.create(name="Drinks")
    assert lists[drinks.pk] == []
    with queries(database) as asked:
        assert lists[drinks.pk] == []
    assert not asked
    Product.objects.create(name="Tea", category=drinks)
    assert names(lists[drinks.pk]) == ["Tea"]
