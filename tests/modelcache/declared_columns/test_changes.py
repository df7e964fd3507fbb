"""What changes a row, and where it was and is: the next query for either value sees it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import F, Sum

from redisdict import CachedQuerySet, cache_results_of
from tests.modelcache.counting import queries
from tests.modelcache.declared_columns.conftest import in_category, is_kept, kept
from tests.modelcache.elsewhere import elsewhere
from tests.modelcache.moves import WAYS
from tests.modelcache.upserts import upsert
from tests.shop.models import Book, Category, Price, Product, Tag


@pytest.mark.parametrize("move", WAYS)
def test_a_row_moves(
    tea: Product, drinks: Category, food: Category, move: Callable[[Product, Category], None]
) -> None:
    assert in_category(drinks) == ["Tea", "Coffee"]
    assert in_category(food) == ["Bread"]
    move(tea, food)
    assert in_category(drinks) == ["Coffee"]
    assert sorted(in_category(food)) == ["Bread", "Tea"]
    assert not kept().filter(category=drinks, name="Tea").exists()
    assert kept().get(name="Tea").category_id == food.pk


@pytest.mark.parametrize("move", WAYS)
def test_a_row_moves_in_a_transaction(
    tea: Product, drinks: Category, food: Category, move: Callable[[Product, Category], None]
) -> None:
    assert in_category(drinks) == ["Tea", "Coffee"]
    assert in_category(food) == ["Bread"]
    with transaction.atomic(using=tea._state.db):
        move(tea, food)
        assert in_category(drinks) == ["Coffee"]
        assert sorted(in_category(food)) == ["Bread", "Tea"]
    assert in_category(drinks) == ["Coffee"]
    assert sorted(in_category(food)) == ["Bread", "Tea"]


def test_what_a_transaction_rolls_back_was_no_change(
    tea: Product, drinks: Category, food: Category
) -> None:
    in_category(drinks)
    with transaction.atomic(using=tea._state.db):
        Product.plain.filter(pk=tea.pk).update(category=food)
        transaction.set_rollback(True, using=tea._state.db)
    assert is_kept(lambda: in_category(drinks))


def test_rows_come_and_go(tea: Product, drinks: Category, food: Category) -> None:
    assert in_category(drinks) == ["Tea", "Coffee"]
    water = Product.objects.create(name="Water", category=drinks)
    assert in_category(drinks) == ["Tea", "Coffee", "Water"]
    water.delete()
    assert in_category(drinks) == ["Tea", "Coffee"]
    Product.plain.bulk_create([Product(name="Milk", category=drinks), Product(name="Salt")])
    assert in_category(drinks) == ["Tea", "Coffee", "Milk"]
    Product.plain.filter(name="Milk")._raw_delete(tea._state.db)
    assert in_category(drinks) == ["Tea", "Coffee"]
    Book.objects.create(name="Leaves", category=drinks, pages=3)
    assert in_category(drinks) == ["Tea", "Coffee", "Leaves"]
    drinks.delete()
    assert kept().filter(category_id=drinks.pk or -1).count() == 0


def test_a_change_of_another_column(tea: Product, drinks: Category, food: Category) -> None:
    """A list of `ModelDict(…, many=True)` leaves that alone, and a result must not."""
    rows = kept().filter(category=drinks).values_list("name", "stock")
    assert rows.get(name="Tea") == ("Tea", 0)
    tea.stock = 7
    tea.save(update_fields=["stock"])
    assert rows.all().get(name="Tea") == ("Tea", 7)
    tea.stock = 8
    Product.plain.bulk_update([tea], ["stock"])
    assert rows.all().get(name="Tea") == ("Tea", 8)


def test_an_upsert_takes_a_row_from_where_nobody_knows(
    tea: Product, drinks: Category, food: Category
) -> None:
    assert in_category(drinks) == ["Tea", "Coffee"]
    upsert(Product.plain, Product(pk=tea.pk, name="Tea", category=food), "id", ["category"])
    assert in_category(drinks) == ["Coffee"]


def test_what_another_thread_changes(tea: Product, drinks: Category, food: Category) -> None:
    assert in_category(drinks) == ["Tea", "Coffee"]
    if connections[Product.objects.db].vendor == "postgresql":
        with transaction.atomic(using=tea._state.db):
            assert in_category(food) == ["Bread"]
            elsewhere(lambda: Product.plain.filter(pk=tea.pk).update(category=food))
            assert sorted(in_category(food)) == ["Bread", "Tea"]
    else:
        elsewhere(lambda: Product.plain.filter(pk=tea.pk).update(category=food))
    assert in_category(drinks) == ["Coffee"]


def test_single_rows(server: str, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the primary key, which is named by most changes: these take no query more."""
    rows = Product.plain.using(database)
    tea, coffee = (rows.create(name=name) for name in ("Tea", "Coffee"))
    with queries(database) as plainly:
        coffee.save()
    monkeypatch.setattr(Product._meta.managers_map["objects"], "versions", ("id",))
    cache_results_of(Product, Category, Tag, Book, Price)

    def ask() -> list[Any]:
        one = kept().select_related("category").get(pk=tea.pk)
        several = kept().filter(pk__in=[tea.pk, 0]).values_list("name", flat=True)
        return [one.name, *several, kept().filter(id=tea.pk).count()]

    assert ask() == ["Tea", "Tea", 1]
    with queries(database) as asked:
        coffee.save()
    assert len(asked) == len(plainly)
    rows.create(name="Water").delete()
    rows.filter(name="Coffee").update(stock=3)
    assert is_kept(ask)
    rows.filter(name="Tea").update(name="Oolong")
    assert ask() == ["Oolong", "Oolong", 1]
    tea.delete()
    assert not kept().filter(pk=tea.pk).exists()
    absent = (coffee.pk or 0) + 50
    assert not kept().filter(pk=absent).exists()
    for _ in range(60):
        made = rows.create(name="Milk")
        if made.pk == absent:
            break
    assert kept().filter(pk=absent).exists()


def _differ(rows: Any, category: int) -> list[tuple[Any, Any]]:
    """What kept results and the database give that isn't the same."""
    asked: list[Callable[[Any], Any]] = [
        lambda some: sorted(some.filter(category=category).values_list("pk", "stock", "name")),
        lambda some: some.filter(category=category).count(),
        lambda some: some.filter(category=category, is_active=True).aggregate(Sum("stock")),
        lambda some: sorted(some.filter(is_active=False).values_list("pk", "category")),
        lambda some: sorted(some.filter(category__in=[1, category]).values_list("pk", "price")),
        lambda some: some.filter(price=2, name="A").exists(),
    ]
    found = [(ask(rows.cached()), ask(rows)) for ask in asked]
    return [(got, expected) for got, expected in found if got != expected]


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.deep) for seed in range(1, 3))]
)
def test_any_history_gives_what_the_database_gives(drinks: Category, seed: int) -> None:
    chance = random.Random(seed)
    using = Product.objects.db
    Category.objects.bulk_create([Category(pk=pk, name=str(pk)) for pk in range(1001, 1005)])
    categories = [None, *range(1001, 1005)]

    def some(**given: Any) -> dict[str, Any]:
        return {
            "category_id": chance.choice(categories),
            "stock": chance.randrange(5),
            "price": chance.randrange(3),
            "name": chance.choice("ABC"),
            "is_active": chance.random() < 0.5,
            **given,
        }

    def change() -> None:
        rows = Product.plain.using(using)
        one = rows.filter(stock=chance.randrange(5)).order_by("pk").first()
        values = some()
        match chance.randrange(8):
            case 0:
                Product.plain.create(**values)
            case 1:
                Product.plain.bulk_create([Product(**some()) for _ in range(3)])
            case 2 if one:
                one.delete()
            case 3 if one:
                for name, value in values.items():
                    setattr(one, name, value)
                one.save(update_fields=chance.sample(sorted({*values} - {"category_id"}), 2))
            case 4 if one:
                one.category_id = values["category_id"]
                one.save()
            case 5:
                name = chance.choice(sorted(values))
                rows.filter(category=chance.choice(categories)).update(**{name: values[name]})
            case 6:
                rows.filter(stock=values["stock"]).update(
                    stock=F("stock") + 1, price=F("price") + 1
                )
            case 7:
                rows.filter(category=chance.choice(categories), stock__gt=2).delete()
            case _:
                pass

    rows = CachedQuerySet(Product).using(using)
    for _ in range(60):
        if chance.random() < 0.2:
            with transaction.atomic(using=using):
                change()
                change()
                assert not _differ(rows, 1001)
                transaction.set_rollback(chance.random() < 0.3, using=using)
        else:
            change()
        for category in categories[1:]:
            assert category is None or not _differ(rows, category)
