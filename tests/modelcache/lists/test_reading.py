"""What lists of rows give, in threads and tasks; and what can't have a list."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.http import Http404

from redisdict import ConfigurationError, ModelDict
from redisdict.modelcache.model_dict import ModelLists
from tests.modelcache.counting import queries
from tests.modelcache.lists.conftest import Lists, names
from tests.shop.models import Category, Place, Product


def test_what_comes(tea: Product, drinks: Category, food: Category, lists: Lists) -> None:
    with queries(str(tea._state.db)) as asked:
        assert lists[drinks.pk] == list(Product.plain.filter(category=drinks).order_by("pk"))
        assert names(lists.get(drinks.pk)) == ["Tea", "Coffee"]
        assert lists.get(food.pk) == [] == lists[None] == lists.get(None)
        assert names(lists.get(food.pk, [tea])) == ["Tea"]
        assert drinks.pk in lists
        assert food.pk not in lists
        assert None not in lists
        found = lists.get_many([drinks.pk, food.pk, None])
        assert {key: names(rows) for key, rows in found.items()} == {
            drinks.pk: ["Tea", "Coffee"],
            food.pk: [],
        }
        assert names(lists.get_or_404(str(drinks.pk))) == ["Tea", "Coffee"]
        with pytest.raises(Http404, match="No Product matches"):
            lists.get_or_404(food.pk)
    assert len(asked) == 1  # the one that is compared with
    assert lists[drinks.pk][0] is not lists[drinks.pk][0]


@pytest.fixture
def aitems(tea: Product, drinks: Category, food: Category, lists: Lists) -> Any:
    return lists, drinks, food, tea


async def test_what_comes_to_a_task(server: str, aitems: Any) -> None:
    lists, drinks, food, tea = aitems
    assert names(await lists.agetitem(drinks.pk)) == ["Tea", "Coffee"]
    assert names(await lists.aget(drinks.pk)) == ["Tea", "Coffee"]
    assert names(await lists.aget(food.pk, [tea])) == ["Tea"]
    assert await lists.aget(None) == []
    assert await lists.acontains(drinks.pk)
    assert names((await lists.aget_many([drinks.pk]))[drinks.pk]) == ["Tea", "Coffee"]
    assert names(await lists.aget_or_404(drinks.pk)) == ["Tea", "Coffee"]
    with pytest.raises(Http404):
        await lists.aget_or_404(food.pk)
    with pytest.raises(SynchronousOnlyOperation, match="agetitem"):
        lists[drinks.pk]
    assert [key async for key in lists] == [drinks.pk]
    assert [names(rows) async for rows in lists.avalues()] == [["Tea", "Coffee"]]
    assert await lists.alen() == 1
    await tea.adelete()
    assert names(await lists.agetitem(drinks.pk)) == ["Coffee"]
    await lists.ainvalidate(drinks.pk)
    assert await lists.awarm([drinks.pk]) == 1
    await lists.aclear()
    assert names(await lists.agetitem(drinks.pk)) == ["Coffee"]
    assert (await lists.astats()).misses


def test_iteration(tea: Product, drinks: Category, lists: Lists) -> None:
    assert list(lists.keys()) == [drinks.pk] == list(lists)
    assert [(key, names(rows)) for key, rows in lists.items()] == [(drinks.pk, ["Tea", "Coffee"])]
    assert [names(rows) for rows in lists.values()] == [["Tea", "Coffee"]]
    assert len(lists) == 1
    lists.clear()
    assert len(lists) == 0
    assert list(lists.items()) == []


def test_warming(tea: Product, drinks: Category, food: Category, lists: Lists) -> None:
    lists.clear()
    assert lists.warm(Product.plain.all()) == 2
    assert lists.warm([food.pk, drinks.pk]) == 2
    with queries(str(tea._state.db)) as asked:
        assert names(lists[drinks.pk]) == ["Tea", "Coffee"]
    assert not asked


def test_invalidation_by_hand(tea: Product, drinks: Category, food: Category, lists: Lists) -> None:
    from tests.modelcache.beneath import change_unseen

    change_unseen(str(tea._state.db), f"UPDATE shop_product SET category_id = {food.pk}")
    assert names(lists[drinks.pk]) == ["Tea", "Coffee"]
    lists.invalidate(drinks.pk, food.pk)
    assert lists[drinks.pk] == []
    assert names(lists[food.pk]) == ["Tea", "Coffee"]


def test_copies(tea: Product, drinks: Category, lists: Lists) -> None:
    for other in (
        copy.copy(lists),
        copy.deepcopy(lists),
        pickle.loads(pickle.dumps(lists)),
    ):  # our own
        assert isinstance(other, ModelLists)
        with queries(str(tea._state.db)) as asked:
            assert names(other[drinks.pk]) == ["Tea", "Coffee"]
        assert not asked
    assert repr(lists) == "<ModelLists of shop.Product by category on 'default'>"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "pk"}, "has one row"),
        ({"key": "id"}, "has one row"),
        ({"key": "colour"}, "no such field with a column. Possible are: name, slug"),
        ({"key": "tags"}, "no such field with a column"),
        ({"key": "category", "exclude": ["category"]}, "no field that can be left out"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_is_refused(server: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ModelDict(Product, many=True, **options)


def test_json_is_refused(server: str) -> None:
    with pytest.raises(ConfigurationError, match="JSON can't be a key"):
        ModelDict(Place, key="facts", many=True)
