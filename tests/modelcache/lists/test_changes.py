"""Whatever moves a row, the next read of either list has it moved; other lists stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from tests.modelcache.counting import queries
from tests.modelcache.lists.conftest import Lists, names
from tests.modelcache.moves import WAYS, _save
from tests.shop.models import Category, Product


@pytest.mark.parametrize("move", WAYS)
def test_a_row_moves(
    tea: Product,
    drinks: Category,
    food: Category,
    lists: Lists,
    move: Callable[[Product, Category], None],
) -> None:
    move(tea, food)
    assert names(lists[drinks.pk]) == ["Coffee"]
    assert names(lists[food.pk]) == ["Tea"]


@pytest.mark.parametrize("move", WAYS)
def test_a_row_moves_in_a_transaction(
    tea: Product,
    drinks: Category,
    food: Category,
    lists: Lists,
    move: Callable[[Product, Category], None],
) -> None:
    with transaction.atomic(using=tea._state.db):
        move(tea, food)
        assert names(lists[drinks.pk]) == ["Coffee"]
        assert names(lists[food.pk]) == ["Tea"]
    assert names(lists[drinks.pk]) == ["Coffee"]
    assert names(lists[food.pk]) == ["Tea"]


def test_a_move_that_is_rolled_back(
    tea: Product, drinks: Category, food: Category, lists: Lists
) -> None:
    with transaction.atomic(using=tea._state.db):
        _save(tea, food)
        assert names(lists[food.pk]) == ["Tea"]
        transaction.set_rollback(True, using=tea._state.db)
    with queries(str(tea._state.db)) as asked:
        assert names(lists[drinks.pk]) == ["Tea", "Coffee"]
        assert lists[food.pk] == []
    assert not asked


def test_lists_that_a_change_doesn_t_concern(
    tea: Product, drinks: Category, food: Category, lists: Lists
) -> None:
    """Other columns leave all lists as they are, and a move all but two."""
    other = Category.objects.create(name="Other")
    assert lists[other.pk] == []
    fills = lists.stats().fills

    def fills_of(change: Callable[[], Any]) -> int:
        nonlocal fills
        change()
        for category in (drinks, food, other):
            lists[category.pk]
        before, fills = fills, lists.stats().fills
        return fills - before

    assert fills_of(lambda: Product.plain.update(price=3)) == 0
    assert fills_of(lambda: tea.save(update_fields=["name"])) == 0
    assert fills_of(lambda: tea.tags.create(name="new")) == 0
    assert fills_of(lambda: _save(tea, food)) == 2
    assert fills_of(lambda: Product.plain.filter(name="Tea").update(category=drinks)) == 2
    assert fills_of(lambda: Product.objects.create(name="Bread", category=food)) == 1
    assert fills_of(lambda: Product.plain.filter(name="Bread").delete()) == 1
    assert fills_of(lambda: Product.objects.create(name="Nothing")) == 0
    # What hasn't moved leaves its list as it was.
    tea.refresh_from_db()
    assert fills_of(lambda: tea.save()) == 0
    assert names(lists[drinks.pk]) == ["Tea", "Coffee"]


def test_rows_come_and_go(tea: Product, drinks: Category, food: Category, lists: Lists) -> None:
    bread = Product.objects.create(name="Bread", category=food)
    assert names(lists[food.pk]) == ["Bread"]
    Product.plain.bulk_create([Product(name="Salt", category=food), Product(name="Water")])
    assert names(lists[food.pk]) == ["Bread", "Salt"]
    bread.delete()
    assert names(lists[food.pk]) == ["Salt"]
    Product.plain.filter(name="Salt")._raw_delete(tea._state.db)
    assert lists[food.pk] == []
    Product.plain.filter(category__name="Drinks").delete()
    assert lists[drinks.pk] == []


def test_a_category_goes(tea: Product, drinks: Category, lists: Lists) -> None:
    """Its products lose it, by SET_NULL; and nobody is in the list of nothing."""
    drinks.delete()
    assert lists[drinks.pk or 0] == []
    assert Product.plain.filter(category=None).count() == 2
    assert lists[None] == []
    with pytest.raises(KeyError):
        lists.get_many([None])[None]


def test_a_row_with_a_key_of_its_own(
    tea: Product, drinks: Category, food: Category, lists: Lists
) -> None:
    """`save()` looks for the row first, by an UPDATE that finds none."""
    pk = tea.pk + 1000
    Product(pk=pk, name="Bread", category=food).save()
    assert names(lists[food.pk]) == ["Bread"]
    Product(pk=pk, name="Bread", category=drinks).save()
    assert names(lists[drinks.pk]) == ["Tea", "Coffee", "Bread"]
    assert lists[food.pk] == []


def test_a_changed_row_is_new_in_its_list(tea: Product, drinks: Category, lists: Lists) -> None:
    tea.name = "Oolong"
    tea.save()
    assert names(lists[drinks.pk]) == ["Oolong", "Coffee"]
    Product.plain.filter(pk=tea.pk).update(name="Mate")
    assert names(lists[drinks.pk]) == ["Mate", "Coffee"]


def test_more_rows_than_are_told_one_by_one(
    tea: Product, drinks: Category, food: Category, lists: Lists, monkeypatch: Any
) -> None:
    from redisdict.modelcache.invalidation import listed_writes

    monkeypatch.setattr(listed_writes, "MOST_ROWS", 1)
    Product.plain.filter(category=drinks).update(category=food)
    assert lists[drinks.pk] == []
    assert names(lists[food.pk]) == ["Tea", "Coffee"]
    Product.plain.filter(category=food).delete()
    assert lists[food.pk] == []


def test_a_row_that_has_moved_between_the_two_reads(
    tea: Product, drinks: Category, food: Category, lists: Lists, monkeypatch: Any
) -> None:
    """The list is read, then the row moves, then the rows are read: the database is asked."""
    lookup: Any = lists._lookup()
    find = lookup.by_pk.find_near

    def move_first(*arguments: Any) -> Any:
        monkeypatch.undo()
        _save(tea, food)
        return find(*arguments)

    monkeypatch.setattr(lookup.by_pk, "find_near", move_first)
    assert names(lists[drinks.pk]) == ["Coffee"]
