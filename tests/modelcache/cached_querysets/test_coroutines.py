"""`cached()` in coroutines: hits need no thread, and the database is asked in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.db import models, transaction
from django.db.models import (
    Sum,
)
from django.test import override_settings

from redisdict.modelcache.results import in_tasks
from tests.modelcache.cached_querysets.conftest import comparable, listen, products
from tests.modelcache.counting import queries
from tests.shop.models import Product


def test_coroutines(shop: str) -> None:
    async def read() -> list[Any]:
        rows = Product.objects.order_by("name").cached()
        return [
            [row.name async for row in rows],
            await rows.acount(),
            (await rows.aget(slug="tea")).name,
            await rows.aexists(),
            (await rows.afirst()).name,
            await rows.aaggregate(Sum("stock")),
        ]

    async def block() -> None:
        list(Product.objects.cached())

    first = async_to_sync(read)()
    with queries(shop) as asked:
        assert async_to_sync(read)() == first
    assert len(asked) == 0
    with pytest.raises(SynchronousOnlyOperation):
        async_to_sync(block)()


#: What is asked in coroutines.
ASKED: list[Callable[[Any], Any]] = [
    lambda rows: rows.acount(),
    lambda rows: rows.aexists(),
    lambda rows: rows.aget(slug="tea"),
    lambda rows: rows.afirst(),
    lambda rows: rows.alast(),
    lambda rows: rows.aaggregate(Sum("stock")),
    lambda rows: rows.ain_bulk(),
    lambda rows: rows.acontains(Product(pk=1)),
    lambda rows: rows.aearliest("pk"),
    lambda rows: rows.alatest("pk"),
    lambda rows: _rows(rows),
    lambda rows: _rows(rows.select_related("category")[1:3]),
    lambda rows: _rows(rows.prefetch_related("prices")),
    lambda rows: _rows(rows.values("name", "price")),
]


async def _rows(rows: Any) -> list[Any]:
    return [row async for row in rows]


@pytest.mark.parametrize("ask", ASKED, ids=range(len(ASKED)))
def test_coroutines_take_hits_without_a_thread(
    shop: str, ask: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asking(rows: Any) -> Any:
        return await ask(rows)

    plain = comparable(async_to_sync(asking)(products()))
    for _ in range(2):
        assert comparable(async_to_sync(asking)(products().cached())) == plain
    monkeypatch.setattr(in_tasks, "sync_to_async", _refuse)
    assert comparable(async_to_sync(asking)(products().cached())) == plain


def _refuse(*_: Any) -> Any:
    raise AssertionError("a hit needs no thread")


def test_coroutines_ask_the_database_in_a_thread(
    shop: str, monkeypatch: pytest.MonkeyPatch, alias_for: Callable[..., dict[str, Any]]
) -> None:
    def names() -> list[str]:
        return [row.name for row in async_to_sync(_rows)(products().cached())]

    first = names()
    Product.objects.create(name="Water")
    assert names() == [*first, "Water"]
    with transaction.atomic(using=shop):
        Product.objects.filter(name="Water").delete()
        assert names() == first
    listener = models.signals.post_init.connect(listen, sender=Product)
    assert listener is None
    assert names() == first
    models.signals.post_init.disconnect(listen, sender=Product)
    monkeypatch.setattr("redisdict.modelcache.cached_models.CachedModel.known_table", _know_nothing)
    assert names() == first
    monkeypatch.setattr(in_tasks, "MOST_QUESTIONS", 0)
    assert names() == first
    with override_settings(REDISDICT={"default": alias_for("redis://127.0.0.1:1/0")}):
        monkeypatch.undo()
        assert names() == first
        assert names() == first


def _know_nothing(*_: Any) -> None:
    """No table is known without a look at a connection."""
