"""Every method of a `ModelDict` for threads has a twin for tasks, with the same arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections

from redisdict import ModelDict
from tests.shop.models import Product

#: Twins of what has no name of its own in Python.
SPECIAL = {
    "agetitem": "__getitem__",
    "acontains": "__contains__",
    "alen": "__len__",
    "__aiter__": "__iter__",
}

PUBLIC = [name for name in dir(ModelDict) if not name.startswith("_")]
TWINS = {f"a{name}": name for name in PUBLIC if f"a{name}" in PUBLIC} | SPECIAL


def test_every_method_has_a_twin() -> None:
    paired = {*TWINS, *TWINS.values()}
    assert [name for name in PUBLIC if name not in paired] == []


def shape(method: Callable[..., Any]) -> list[tuple[str, object, object]]:
    parameters = inspect.signature(method).parameters.values()
    return [(one.name, one.kind, one.default) for one in parameters]


@pytest.mark.parametrize("twin", sorted(TWINS))
def test_twins_take_the_same_arguments(twin: str) -> None:
    one, other = getattr(ModelDict, TWINS[twin]), getattr(ModelDict, twin)
    assert shape(other) == shape(one)
    hints = [inspect.get_annotations(method) for method in (one, other)]
    assert [hint.pop("return") for hint in hints]
    assert hints[0] == hints[1]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_method_says_what_it_does(name: str) -> None:
    document = inspect.getdoc(getattr(ModelDict, name)) or ""
    assert document.partition("\n")[0].rstrip(".") != document.partition("\n")[0], name
    if name in TWINS:
        assert document.startswith("As `"), name


#: Each method for threads that asks the server or the database, called on a dict with a row's key.
SYNC: dict[str, Callable[[ModelDict[Product], Any], Any]] = {
    "__getitem__": lambda d, key: d[key],
    "__contains__": lambda d, key: key in d,
    "__len__": lambda d, key: len(d),
    "__iter__": lambda d, key: iter(d),
    "get": lambda d, key: d.get(key),
    "get_or_404": lambda d, key: d.get_or_404(key),
    "get_many": lambda d, key: d.get_many([key]),
    "keys": lambda d, key: d.keys(),
    "values": lambda d, key: d.values(),
    "items": lambda d, key: d.items(),
    "warm": lambda d, key: d.warm([key]),
    "invalidate": lambda d, key: d.invalidate(key),
    "clear": lambda d, key: d.clear(),
    "stats": lambda d, key: d.stats(),
    "near_stats": lambda d, key: d.near_stats(),
    "prefetch": lambda d, key: d.prefetch([Product(pk=1)], "category"),
    "get_related": lambda d, key: d.get_related(Product(pk=1), "category"),
}


def test_all_of_them_are_here() -> None:
    assert sorted(SYNC) == sorted(TWINS.values())


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("called", sorted(SYNC))
@pytest.mark.parametrize("key", ["pk", "slug"])
async def test_no_sync_method_works_in_a_coroutine(
    database: str, server: str, called: str, key: str
) -> None:
    """Neither on a hit nor on a miss, nor for a key that no row can have."""
    tea = await Product.objects.acreate(name="Tea", slug="tea")
    rows = ModelDict(Product, key=key)
    value = tea.pk if key == "pk" else "tea"
    assert await rows.aget(value) == tea
    twin = next(name for name, plain in TWINS.items() if plain == called)
    words = "async for key in d" if twin == "__aiter__" else rf"d\.{twin}\("
    for wanted in (value, 404, None):
        with pytest.raises(SynchronousOnlyOperation, match=words):
            SYNC[called](rows, wanted)


async def test_an_iteration_that_was_begun_in_a_thread(database: str, server: str) -> None:
    iterator = await sync_to_async(ModelDict(Product).items)()
    with pytest.raises(SynchronousOnlyOperation, match="aitems"):
        next(iterator)


async def test_who_says_that_blocking_is_well(
    database: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django's own way out, for notebooks."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    assert ModelDict(Product).get(404) is None
    connections[database].close()  # which is the coroutine's own


async def test_what_asks_nobody(server: str) -> None:
    products = ModelDict(Product)
    assert products
    assert repr(products) == "<ModelDict of shop.Product on 'default'>"
