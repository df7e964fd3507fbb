"""Rows in memory in forked children, and of servers of other kinds: a Cluster, sentinels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import override_settings

from redisdict import ModelDict
from redisdict.modelcache import strict as strict_module
from redisdict.modelcache.slots import near_leases
from tests.forks.forking import FORKS, Child
from tests.modelcache.conftest import forget_registrations
from tests.modelcache.near.conftest import Elsewhere, is_served, keep, near_table, settle
from tests.near.conftest import AGES, opened
from tests.shop.models import Product
from tests.waiting import wait_until

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

#: Promises that no test comes near to breaking by its slowness.
NEARS = pytest.mark.parametrize("near", [AGES, "strict"])


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_module, "IDLE_S", 1000.0)
    monkeypatch.setattr(near_leases, "UNKNOWN_MS", 0)


@pytest.fixture(params=["cluster", "sentinel"])
def location(request: pytest.FixtureRequest) -> str:
    location: str = request.getfixturevalue(request.param).location
    return location


@pytest.fixture(params=["auto", "plain"])
def group(
    request: pytest.FixtureRequest, location: str, alias_for: Callable[..., dict[str, Any]]
) -> Iterator[None]:
    values = alias_for(location, NEAR_LEASE=1.0, NEAR_TRACKING=request.param)
    with override_settings(REDISDICT={"default": values}):
        yield
    forget_registrations()


@on_sqlite
@NEARS
def test_a_group_of_servers(
    database: str,
    location: str,
    group: None,
    near: Any,
    alias_for: Callable[..., dict[str, Any]],
) -> None:
    products = ModelDict(Product, near=near)
    by_slug = ModelDict(Product, key="slug", near=near)
    made = [Product.objects.create(name=f"Tea {n}", slug=f"tea-{n}") for n in range(3)]
    keep(products, *(row.pk for row in made))
    assert products.get_many([row.pk for row in made]) == {row.pk: row for row in made}
    wait_until(lambda: is_served(by_slug, "tea-1"))
    with opened(alias_for(location)) as backend:
        elsewhere = Elsewhere(backend, database)
        for number in range(3):
            elsewhere.rename(products, made[0].pk, f"Coffee {number}")
            settle(products)
            assert products[made[0].pk].name == f"Coffee {number}"
        if near == "strict":
            leases = near_table(products).near.writers_lease[0]
            backend.driver.run(near_leases.wait_for_readers([(leases, b"w")], 100_000))
    made[1].name = "Cocoa"
    made[1].save()
    assert products[made[1].pk].name == by_slug["tea-1"].name == "Cocoa"


@on_sqlite
@pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)
@NEARS
def test_a_forked_child(
    database: str, server: str, near: Any, fork: Callable[[], int], elsewhere: Elsewhere
) -> None:
    products = ModelDict(Product, near=near)
    tea = Product.objects.create(name="Tea")
    keep(products, tea.pk)

    def live() -> tuple[bool, str, str]:
        lookup: Any = products._lookup()
        is_kept = near == "strict" and lookup.near.find(b"%d" % tea.pk) is not None
        keep(products, tea.pk)
        first = products[tea.pk].name
        elsewhere.rename(products, tea.pk, "Green tea")
        settle(products)
        return is_kept, first, products[tea.pk].name

    assert Child(live, fork).result() == (False, "Tea", "Green tea")
    settle(products)
    assert products[tea.pk].name == "Green tea"
