"""What a process counts of a cached model for metrics, beside what `stats()` tells."""

from __future__ import annotations

import threading

from django.db import connections

from redisdict import ModelDict
from redisdict.metrics.totals import read_totals
from redisdict.modelcache.slots.store import new_token
from tests.shop.models import Product
from tests.waiting import wait_until


def events() -> dict[str, float]:
    return {one.labels[2]: one.value for one in read_totals() if one.metric.name == "model_events"}


def test_counts_only_grow(tea: Product, products: ModelDict[Product]) -> None:
    assert products[tea.pk].name == "Tea"
    before = events()
    assert before["hits"] >= 1
    assert before["misses"] >= 1
    products.stats()  # which adds them to those on the server, and begins anew here
    assert events() == before
    assert products[tea.pk].name == "Tea"
    assert events()["hits"] == before["hits"] + 1


def test_barriers(tea: Product, products: ModelDict[Product]) -> None:
    before = events()["barriers"]
    tea.name = "Coffee"
    tea.save()
    assert events()["barriers"] == before + 1


def test_lookups_that_wait_for_a_lease(
    tea: Product, products: ModelDict[Product], database: str
) -> None:
    table = products._lookup().table
    key = table.key(tea.pk)
    table.backend.driver.run(table.store.lift([key], new_token()))
    token = new_token()
    table.backend.driver.run(table.store.read([key], token, 60_000))

    def read() -> None:
        assert products[tea.pk].name == "Tea"
        connections[database].close()

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: events()["lease_waits"] == 1)
    table.backend.driver.run(table.store.lift([key], token))
    reader.join()
    assert events()["lease_waits"] == 1
