"""What `depends_on` may name: models, querysets, instances and other computed values."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps

from redisdict import ComputedDict
from redisdict.exceptions import ConfigurationError
from tests.modelcache.counting import queries
from tests.shop.models import Category, Product, Tag


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
