"""What the process has counted elsewhere: pools, retries, models, near caches, computations."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from django.test import override_settings

from redisdict import PersistentDict
from redisdict.connections.registry import get_backend
from redisdict.exceptions import BackendUnavailable
from redisdict.metrics.totals import read_totals
from tests.waiting import wait_until


def values() -> dict[tuple[str, ...], float]:
    return {(one.metric.name, *one.labels): one.value for one in read_totals()}


def test_pools(redis_url: str, alias_for: Any) -> None:
    options = {"max_connections": 1}
    with override_settings(REDISDICT={"shop": alias_for(redis_url, OPTIONS=options)}):
        pool: Any = get_backend("shop").pool()
        connection = pool.get_connection()
        now = values()
        assert now["connections_opened", "shop", "sync"] == 1
        assert now["pool_connections", "shop", "sync", "used"] == 1
        assert now["pool_connections", "shop", "sync", "idle"] == 0
        assert now["pool_limit", "shop", "sync"] == 1
        waiter = threading.Thread(target=lambda: pool.release(pool.get_connection()))
        waiter.start()
        wait_until(lambda: values()["pool_waiting", "shop", "sync"] == 1)
        pool.release(connection)
        waiter.join()
        now = values()
        assert now["pool_waits", "shop", "sync"] == 1
        assert now["pool_wait_seconds", "shop", "sync"] > 0
        assert now["pool_waiting", "shop", "sync"] == 0


async def test_pools_of_tasks(redis_url: str, alias_for: Any) -> None:
    with override_settings(REDISDICT={"shop": alias_for(redis_url)}):
        mapping: PersistentDict[str, int] = PersistentDict("d", using="shop")
        await mapping.aget("a")
        assert values()["connections_opened", "shop", "async"] == 1
        await get_backend("shop").aclose()


def test_retries_and_what_was_given_up(alias_for: Any) -> None:
    before = Counter(values())
    with override_settings(REDISDICT={"lost": alias_for("redis://127.0.0.1:1/0")}):
        mapping: PersistentDict[str, int] = PersistentDict("d", using="lost")
        with pytest.raises(BackendUnavailable):
            mapping.get("a")
    more = Counter(values())
    more.subtract(before)
    assert more["retries", "lost"] == 1
    assert more["unavailable", "lost"] == 1


def test_near(redis_url: str, alias_for: Any) -> None:
    with override_settings(REDISDICT={"shop": alias_for(redis_url)}):
        mapping: PersistentDict[str, int] = PersistentDict(
            "d", using="shop", hset_enabled=False, near=60.0
        )
        mapping["a"] = 1
        wait_until(lambda: mapping.get("a") == 1 and mapping.near_stats().hits > 0)
        now = values()
        assert now["near_events", "shop", "dict", "hits"] == mapping.near_stats().hits
        assert now["near_items", "shop", "dict"] == 1
        assert now["near_off", "shop", "dict"] == 0
        get_backend("shop").close()


def test_computations(redis_url: str, alias_for: Any) -> None:
    before = Counter(values())
    with override_settings(REDISDICT={"shop": alias_for(redis_url)}):
        mapping: PersistentDict[str, int] = PersistentDict("d", using="shop")
        assert mapping.get_or_set("a", lambda: 1) == 1
        assert mapping.get_or_set("a", lambda: 2) == 1
        mapping.clear()
    more = Counter(values())
    more.subtract(before)
    assert more["computations", "computed"] == 1
