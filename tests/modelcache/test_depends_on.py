"""What `depends_on` may name: models, querysets, instances and other computed values."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.db import connections

from redisdict import ComputedDict
from redisdict.exceptions import ConfigurationError
from tests.modelcache.counting import queries
from tests.shop.models import Book, Category, Product, Tag


def _made(*depends_on: Any) -> ComputedDict[Any]:
    return ComputedDict("made", depends_on=depends_on, compute=lambda: Product.objects.count())


@pytest.mark.parametrize(
    ("named", "models"),
    [
        (lambda: Product, [Product]),
        (lambda: Product.objects, [Product]),
        (lambda: Product.objects.all(), [Product]),
        (lambda: Product.objects.none(), [Product]),
        (lambda: Product.objects.filter(category__name="a"), [Product, Category]),
        (lambda: Product.objects.select_related("category"), [Product, Category]),
        (
            lambda: Product.objects.filter(tags__in=Tag.objects.filter(name="a")),
            [Product, Product.tags.through, Tag],
        ),
        (lambda: Category(name="a"), [Category]),
        (lambda: _made(Category, Product), [Category, Product]),
    ],
)
def test_what_it_stands_for(server: str, database: str, named: Any, models: list[Any]) -> None:
    made = _made(named())
    assert set(made.depends_on_models) == set(models)
    assert made.depends_on_models[0] is models[0]


def test_it_is_computed_again_when_these_change(server: str, database: str) -> None:
    names = ComputedDict(
        "names",
        depends_on=[Product.objects.filter(category__name="Drinks")],
        compute=lambda: list(
            Product.objects.filter(category__name="Drinks").values_list("name", flat=True)
        ),
    )
    title = ComputedDict("title", depends_on=[names], compute=lambda: ", ".join(names.get()))
    drinks = Category.objects.create(name="Drinks")
    assert title.get() == ""
    Product.objects.create(name="Tea", category=drinks)
    assert title.get() == "Tea"
    with queries(database) as asked:
        assert title.get() == async_to_sync(title.aget)() == "Tea"
    assert len(asked) == 0
    Category.objects.update(name="Food")
    assert title.get() == ""


def test_before_all_models_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Product.objects.all()
    monkeypatch.setattr(apps, "models_ready", False)
    with pytest.raises(ConfigurationError, match="a queryset before all models are loaded"):
        _made(rows)


def test_one_row(server: str, database: str) -> None:
    drinks, food = (Category.objects.create(name=name) for name in ("Drinks", "Food"))

    def compute() -> str:
        return Category.objects.get(pk=drinks.pk).name

    title = ComputedDict("title", depends_on=[drinks], compute=compute)
    assert title.get() == "Drinks"
    Category.objects.filter(pk=food.pk).update(name="Bread")
    food.delete()
    Category.objects.create(name="Other")
    with queries(database) as asked:
        assert title.get() == async_to_sync(title.aget)() == "Drinks"
    assert not asked
    Category.objects.filter(name="Drinks").update(name="Tea")
    assert title.get() == "Tea"
    with connections[database].cursor() as cursor:
        cursor.execute("UPDATE shop_category SET name = 'Water'")
    assert title.get() == "Water"
    title.clear()
    assert title.get() == "Water"


def test_one_row_of_two_tables_and_its_relations(server: str, database: str) -> None:
    book, other = (Book.objects.create(name=name, pages=1) for name in ("Leaves", "Other"))

    def compute() -> list[object]:
        row = Book.objects.get(pk=book.pk)
        return [row.name, row.pages, *row.tags.values_list("name", flat=True)]

    made = ComputedDict("book", depends_on=[book, Tag], compute=compute)
    assert made.get() == ["Leaves", 1]
    Book.objects.filter(pk=other.pk).update(name="Another", pages=5)
    with queries(database) as asked:
        assert made.get() == ["Leaves", 1]
    assert not asked
    Product.objects.filter(pk=book.pk).update(name="Tea")
    assert made.get() == ["Tea", 1]
    Book.objects.filter(pk=book.pk).update(pages=2)
    assert made.get() == ["Tea", 2]
    book.tags.add(Tag.objects.create(name="hot"))
    assert made.get() == ["Tea", 2, "hot"]


def test_a_row_of_a_table_that_is_named_too(server: str, database: str) -> None:
    drinks = Category.objects.create(name="Drinks")
    count = ComputedDict("n", depends_on=[drinks, Category], compute=Category.objects.count)
    assert count.get() == 1
    Category.objects.create(name="Food")
    assert count.get() == 2
