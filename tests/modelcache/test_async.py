"""The async twins do what the others do, and never ask the database in the event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import Http404

from redisdict import ModelDict
from redisdict.modelcache import loading
from tests.shop.models import Product
from tests.waiting import LIMIT_S, await_until


@pytest.fixture
def tea(database: str) -> Product:
    return Product.objects.create(name="Tea", slug="tea")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the database was asked for."""
    seen: list[Any] = []
    ask = loading.load_rows

    def watched(table: Any, pks: Any) -> Any:
        seen.append(list(pks))
        return ask(table, seen[-1])

    monkeypatch.setattr("redisdict.modelcache.lookup.load_rows", watched)
    return seen


async def test_reading(tea: Product, products: ModelDict[Product], asked: list[Any]) -> None:
    assert await products.aget(tea.pk) == tea
    assert await products.agetitem(tea.pk) == tea
    assert await products.aget_many([tea.pk]) == {tea.pk: tea}
    assert await products.acontains(tea.pk)
    assert asked == [[tea.pk]]
    assert await products.aget(404, "none") == "none"
    with pytest.raises(KeyError, match="404"):
        await products.agetitem(404)
    assert [key async for key in products] == [tea.pk]
    assert [pair async for pair in products.aitems()] == [(tea.pk, tea)]
    assert [key async for key in products.akeys()] == [tea.pk]
    assert [row async for row in products.avalues()] == [tea]
    assert await products.alen() == 1
    assert await products.aget_or_404(tea.pk) == tea
    with pytest.raises(Http404, match="No Product matches the given query"):
        await products.aget_or_404(404)


async def test_by_another_field(tea: Product, server: str) -> None:
    by_slug = ModelDict(Product, key="slug")
    assert await by_slug.aget("tea") == tea
    assert await by_slug.aget_many(["tea", "coffee"]) == {"tea": tea}
    tea.slug = "green"
    await tea.asave()
    assert await by_slug.aget("tea") is None
    assert (await by_slug.agetitem("green")).pk == tea.pk


async def test_changes(tea: Product, products: ModelDict[Product]) -> None:
    assert (await products.agetitem(tea.pk)).name == "Tea"
    await Product.objects.filter(pk=tea.pk).aupdate(name="Coffee")
    assert (await products.agetitem(tea.pk)).name == "Coffee"
    tea.name = "Milk"
    await tea.asave()
    assert (await products.agetitem(tea.pk)).name == "Milk"
    await tea.adelete()
    assert not await products.acontains(tea.pk)


async def test_by_hand(tea: Product, products: ModelDict[Product], asked: list[Any]) -> None:
    assert await products.awarm(Product.objects.all()) == 1
    assert await products.aget(tea.pk) == tea
    assert len(asked) == 1
    await products.ainvalidate(tea.pk)
    assert await products.aget(tea.pk) == tea
    assert len(asked) == 2
    await products.aclear()
    assert await products.awarm([tea.pk, 404, None]) == 1
    assert await products.aget(tea.pk) == tea
    assert len(asked) == 3
    await products.aclear()
    assert [key async for key in products] == []
    assert (await products.astats()).hits >= 1


async def test_inside_a_transaction_of_the_thread(
    tea: Product, products: ModelDict[Product]
) -> None:
    """As in a test case of Django's, whose transaction is open in the thread of the queries."""
    assert (await products.agetitem(tea.pk)).name == "Tea"
    # In that thread: where places were forgotten, a connection is asked, which no task can do.
    database = await sync_to_async(lambda: products._lookup().table.database)()
    atomic = transaction.atomic(using=database)
    await sync_to_async(atomic.__enter__)()
    try:
        await Product.objects.filter(pk=tea.pk).aupdate(name="Coffee")
        assert (await products.agetitem(tea.pk)).name == "Coffee"
        assert [row.name async for _, row in products.aitems()] == ["Coffee"]
        await sync_to_async(transaction.set_rollback)(True, using=database)
    finally:
        await sync_to_async(atomic.__exit__)(None, None, None)
    assert (await products.agetitem(tea.pk)).name == "Tea"


async def test_a_thousand_readers_of_a_missing_row_are_one_query(
    tea: Product, server: str, asked: list[Any]
) -> None:
    products = ModelDict(Product, lease_timeout=100)
    found = await asyncio.gather(*[products.aget(tea.pk) for _ in range(1000)])
    assert found == [tea] * 1000
    assert asked == [[tea.pk]]


async def test_a_task_that_is_cancelled_amid_its_query(
    tea: Product, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    products = ModelDict(Product, lease_timeout=2 * LIMIT_S)
    begun, is_cancelled = threading.Event(), threading.Event()
    ask = loading.load_rows

    def slow(*arguments: Any) -> Any:
        begun.set()
        is_cancelled.wait()
        return ask(*arguments)

    monkeypatch.setattr("redisdict.modelcache.lookup.load_rows", slow)
    task = asyncio.create_task(products.aget(tea.pk))
    await await_until(begun.is_set)
    task.cancel()
    is_cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(LIMIT_S):  # it doesn't wait for the lease's end
        assert await products.aget(tea.pk) == tea
