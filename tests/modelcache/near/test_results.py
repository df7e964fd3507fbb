"""Results from memory: never for longer than promised, and own changes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings

from redisdict import ComputedDict, cache_results_of, near_barrier
from redisdict.connections import registry
from redisdict.exceptions import ConfigurationError
from redisdict.modelcache.results.dependencies import known_models
from redisdict.modelcache.slots.store import new_token, put_barriers
from redisdict.near.clock import clock
from tests.modelcache.beneath import change_unseen
from tests.modelcache.conftest import forget_registrations
from tests.modelcache.counting import queries
from tests.shop.models import Category, Product
from tests.waiting import wait_until

LONG_S = 3600.0


@pytest.fixture(params=["auto", "plain"])
def server(
    request: pytest.FixtureRequest, cache_url: str, alias_for: Callable[..., dict[str, Any]]
) -> Iterator[str]:
    values = alias_for(cache_url, NEAR_TRACKING=request.param)
    with override_settings(REDISDICT={"default": values}):
        yield cache_url
    forget_registrations()


def _counting(near: Any, **options: Any) -> ComputedDict[int]:
    count = ComputedDict(
        "count", depends_on=[Product], compute=Product.objects.count, near=near, **options
    )
    count.get()
    wait_until(lambda: _settled(count))
    return count


def _settled(count: ComputedDict[Any]) -> bool:
    """Whether all changes before this have been told of."""
    count.get()
    near = count._use_of(count._dependencies.tables()).near
    assert near is not None
    return near._space.parts[0].listener.ping_after(clock())


def _is_served(count: ComputedDict[Any], read: Callable[[], Any]) -> bool:
    before = count.near_stats().hits
    read()
    return count.near_stats().hits > before


def _change_elsewhere(database: str, change: Callable[[], None]) -> None:
    """Change rows as another process does: this one is told by the server alone."""
    [cached] = known_models({"shop_product"}, "default", "a test")
    table = cached.table(database)
    key, token = table.store.table_key, new_token()
    driver = table.backend.driver
    driver.run(put_barriers([[key]], token, 60_000))
    change()
    driver.run(put_barriers([[key]], token, 0))


def test_values_from_memory(server: str, database: str) -> None:
    count = _counting(LONG_S)
    wait_until(lambda: _is_served(count, count.get))
    with queries(database) as asked:
        assert count.get() == async_to_sync(count.aget)() == 0
        assert _is_served(count, async_to_sync(count.aget))
    assert len(asked) == 0
    stats = async_to_sync(count.anear_stats)()
    assert stats.is_on
    assert stats.items == 1
    Product.objects.create(name="Tea")  # an own change
    assert count.get() == 1
    assert async_to_sync(count.aget)() == 1


def test_changes_of_others(server: str, database: str) -> None:
    count = _counting(LONG_S)
    Product.objects.create(name="Tea")
    wait_until(lambda: _is_served(count, count.get))
    _change_elsewhere(database, lambda: change_unseen(database, "DELETE FROM shop_product"))
    assert _settled(count)
    assert count.get() == 0


def test_querysets_from_memory(server: str, database: str) -> None:
    cache_results_of(Product, Category)

    def rows() -> Any:
        return Product.objects.cached(near=LONG_S).select_related("category").order_by("name")

    Product.objects.create(name="Tea", category=Category.objects.create(name="Drinks"))
    first = [(row.name, row.category.name) for row in rows()]

    def is_served() -> bool:
        read = list(rows())
        [space] = [one for one in rows()._queries._spaces.values() if len(one.tables) == 2]
        before = space.near.stats().hits
        assert [(row.name, row.category.name) for row in rows()] == first
        assert [(row.name, row.category.name) for row in read] == first
        return bool(space.near.stats().hits > before)

    wait_until(is_served)
    Category.objects.update(name="Food")
    assert [row.category.name for row in rows()] == ["Food"]


def test_as_of_the_start_of_a_request(server: str, database: str) -> None:
    count = _counting("request")
    with near_barrier():
        count.get()
    wait_until(lambda: _is_served_in_request(count))

    async def read() -> int:
        return await count.aget()

    with near_barrier():
        assert async_to_sync(read)() == 0
    _change_elsewhere(
        database,
        lambda: change_unseen(database, "INSERT INTO shop_category (name) VALUES ('a')"),
    )
    with near_barrier():
        assert count.get() == 0


def _is_served_in_request(count: ComputedDict[int]) -> bool:
    with near_barrier():
        return _is_served(count, count.get)


def test_times_to_live_count_in_memory_too(server: str, database: str) -> None:
    count = _counting(LONG_S, timeout=0.2)
    before = count.stats().fills
    wait_until(lambda: count.get() == 0 and count.stats().fills > before)


def test_without_near_nothing_is_kept(server: str, database: str) -> None:
    count = ComputedDict("count", depends_on=[Product], compute=Product.objects.count)
    assert count.near_stats().reason == "this ComputedDict has no near"


@pytest.mark.parametrize("near", ["strict", 0, True, "soon"])
def test_other_promises_are_refused(near: Any) -> None:
    with pytest.raises(ConfigurationError, match="near"):
        ComputedDict("count", depends_on=[Product], compute=int, near=near)
    with pytest.raises(ConfigurationError, match="near"):
        Product.objects.cached(near=near)


def test_several_servers_are_refused(
    server: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = ComputedDict("count", depends_on=[Product], compute=Product.objects.count, near=1.0)
    with monkeypatch.context() as clustered:
        clustered.setattr(registry.get_backend("default"), "cluster", object())
        with pytest.raises(ConfigurationError, match="is a Cluster"):
            count.get()
