"""Tables that change all the time: their readers leave the server alone, and come back."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync

from redisdict import ComputedDict, NotCacheable, cache_results_of
from redisdict.modelcache import heat as heat_module
from redisdict.modelcache.heat import Heat
from redisdict.modelcache.results.dependencies import known_models
from tests.modelcache.counting import queries
from tests.shop.models import Category, Product


def test_it_rests_when_nearly_all_were_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    heat = Heat()
    for _ in range(heat_module.WINDOW - 1):
        heat.note_in_vain()
    assert not heat.is_resting
    heat.note_in_vain()
    assert heat.is_resting
    monkeypatch.setattr(heat_module, "REST_S", 0.0)
    for _ in range(heat_module.WINDOW):
        heat.note_in_vain()
    assert not heat.is_resting
    assert not heat.is_resting  # it has come back by itself, and tries again


def test_it_does_not_when_many_were_of_use() -> None:
    heat = Heat()
    heat.useful = heat_module.WINDOW // 2
    for _ in range(heat_module.WINDOW):
        heat.note_in_vain()
    assert not heat.is_resting


@pytest.fixture
def soon_hot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heat_module, "WINDOW", 4)
    monkeypatch.setattr(heat_module, "REST_S", 3600.0)


def _heat_of(model: Any, database: str) -> Heat:
    [cached] = known_models({model._meta.db_table}, "default", "a test")
    return cached.table(database).heat


@pytest.mark.usefixtures("soon_hot")
def test_readers_of_a_hot_table_leave_the_server_alone(server: str, database: str) -> None:
    cache_results_of(Product, Category)
    heat = _heat_of(Product, database)
    for number in range(12):
        Product.objects.create(name=str(number))
        assert Product.objects.cached().count() == number + 1
        if heat.is_resting:
            break
    assert heat.is_resting
    made = Product.objects.count()
    with queries(database) as asked:
        for _ in range(2):
            assert Product.objects.cached().count() == made
    assert len(asked) == 2
    stats = Product.objects.cached().result_stats()
    assert stats.rested == 2
    assert stats == async_to_sync(Product.objects.all().aresult_stats)()
    # Nothing else is: of other tables results are kept on.
    assert Category.objects.order_by("pk").first() is None
    assert not _heat_of(Category, database).is_resting
    heat._resting_until = 1e-9
    with queries(database) as asked:
        assert Product.objects.cached().count() == made  # kept, and not changed since
    assert len(asked) == 0


@pytest.mark.usefixtures("soon_hot")
def test_a_table_with_readers_is_not_hot(server: str, database: str) -> None:
    cache_results_of(Product)
    for number in range(12):
        Product.objects.create(name=str(number))
        for _ in range(2):
            assert Product.objects.cached().count() == number + 1
    assert not _heat_of(Product, database).is_resting
    assert Product.objects.cached().result_stats().rested == 0


@pytest.mark.usefixtures("soon_hot")
def test_computed_values_of_a_hot_table(server: str, database: str) -> None:
    count = ComputedDict("count", depends_on=[Product], compute=Product.objects.count)
    for number in range(12):
        Product.objects.create(name=str(number))
        assert count.get() == number + 1
    assert count.stats().rested > 0
    assert async_to_sync(count.aget)() == 12


def test_a_query_that_cannot_be_kept_has_no_stats(server: str, database: str) -> None:
    cache_results_of(Category)
    with pytest.raises(NotCacheable, match="Product"):
        Product.objects.result_stats()
