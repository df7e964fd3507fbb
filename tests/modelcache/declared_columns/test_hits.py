"""What a hit takes, and what it leaves: scripts, coroutines, statistics, a forgetful server."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync

from redisdict.modelcache.results import in_tasks, space, versions
from tests.modelcache.declared_columns.conftest import in_category, is_kept, kept
from tests.shop.models import Category, Product


def test_a_hit_takes_one_script(drinks: Category, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def ask(backend: Any, key: bytes, step: Any) -> Any:
        asked.append(step)
        return in_tasks.ask(backend, key, step)

    rows = kept().filter(category=drinks)
    list(rows.all())
    monkeypatch.setattr(space, "ask", ask)
    list(rows.all())
    # The versions of the column and of the value, and the result.
    [(_, _, count, *_)] = [step.arguments[0] for step in asked]
    assert count == 3


def test_what_the_server_has_forgotten_is_computed_again(drinks: Category) -> None:
    from redisdict.connections import registry

    def flush() -> None:
        registry.get_backend("default").driver.run(_flush())

    assert in_category(drinks) == ["Tea", "Coffee"]
    flush()
    assert in_category(drinks) == ["Tea", "Coffee"]
    assert is_kept(lambda: in_category(drinks))


def _flush() -> Any:
    return (yield (b"FLUSHDB",))


def test_in_coroutines(drinks: Category, food: Category) -> None:
    async def names_of(category: Category) -> list[str]:
        return [row.name async for row in kept().filter(category=category).order_by("pk")]

    async def ask() -> None:
        assert await names_of(drinks) == ["Tea", "Coffee"]
        assert await names_of(drinks) == ["Tea", "Coffee"]
        assert await names_of(food) == ["Bread"]
        assert await kept().filter(category=drinks).acount() == 2
        await Product.objects.acreate(name="Water", category=drinks)
        assert await names_of(drinks) == ["Tea", "Coffee", "Water"]
        assert await kept().filter(category=drinks).acount() == 3

    async_to_sync(ask)()


def test_statistics_are_those_of_the_query(drinks: Category) -> None:
    rows = kept().filter(category=drinks)
    before = rows.result_stats()
    list(rows.all())
    list(rows.all())
    after = rows.result_stats()
    assert after.hits == before.hits + 1
    assert after.misses == before.misses + 1


def test_more_choices_than_are_remembered(
    drinks: Category, food: Category, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "MOST_CHOICES", 1)
    for _ in range(2):
        assert in_category(drinks) == ["Tea", "Coffee"]
        assert in_category(food) == ["Bread"]
    assert is_kept(lambda: (in_category(drinks), in_category(food)))
