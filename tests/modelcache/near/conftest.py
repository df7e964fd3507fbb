"""A `ModelDict` with `near`, and another process that changes its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import override_settings

from redisdict import ModelDict
from redisdict.connections.backend import Backend
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.slots.barrier import change_behind_barriers
from redisdict.modelcache.slots.store import new_token
from redisdict.near.clock import clock
from tests.modelcache.beneath import change_unseen
from tests.modelcache.conftest import forget_registrations
from tests.near.conftest import AGES, opened
from tests.shop.models import Product
from tests.waiting import wait_until

#: The setting NEAR_LEASE: the longest that there may be, since the machine may be busy.
LONG_S = 1.0


@pytest.fixture
def server(cache_url: str, alias_for: Callable[..., dict[str, Any]]) -> Iterator[str]:
    with override_settings(REDISDICT={"default": alias_for(cache_url, NEAR_LEASE=LONG_S)}):
        yield cache_url
    forget_registrations()


def near_table(rows: ModelDict[Any]) -> CachedTable:
    return rows._lookup().table


def near_of(rows: ModelDict[Any]) -> Any:
    """What serves rows from this process's memory."""
    return rows._lookup().near


def settle(rows: ModelDict[Any]) -> None:
    """Let the pushes of all changes before this arrive."""
    space = near_table(rows).near.space
    assert space is not None
    assert space.parts[0].listener.ping_after(clock())


def is_served(rows: ModelDict[Any], key: Any) -> bool:
    """Whether a read of this key is answered from memory."""
    before = rows.near_stats().hits
    rows.get(key)
    return rows.near_stats().hits > before


def keep(rows: ModelDict[Any], *keys: Any) -> None:
    """Read until the rows are in memory, and nothing of what was done before can drop them."""
    for _ in range(2):
        for key in keys:
            wait_until(lambda key=key: is_served(rows, key))  # type: ignore[misc]
        settle(rows)
    for key in keys:
        wait_until(lambda key=key: is_served(rows, key))  # type: ignore[misc]


@dataclass
class Elsewhere:
    """What another process does to the rows of a table."""

    backend: Backend
    database: str

    def change(self, table: CachedTable, pk: Any, sql: str, *, all_rows: bool = False) -> None:
        """Execute a statement behind barriers, as its writers do."""
        cells = [table.store.table_key if all_rows else table.key(pk)]
        operation = change_behind_barriers(
            [cells], new_token(), 60_000, lambda: change_unseen(self.database, sql)
        )
        self.backend.driver.run(operation)

    def rename(self, rows: ModelDict[Any], pk: Any, name: str, *, all_rows: bool = False) -> None:
        sql = f"UPDATE shop_product SET name = '{name}' WHERE id = {pk}"
        self.change(near_table(rows), pk, sql, all_rows=all_rows)


@pytest.fixture
def elsewhere(
    database: str, cache_url: str, alias_for: Callable[..., dict[str, Any]]
) -> Iterator[Elsewhere]:
    with opened(alias_for(cache_url)) as backend:
        yield Elsewhere(backend, database)


@pytest.fixture
def products(database: str, server: str) -> ModelDict[Product]:
    return ModelDict(Product, near=AGES)


@pytest.fixture
def tea(products: ModelDict[Product]) -> Product:
    """A row that is in memory."""
    made = Product.objects.create(name="Tea", slug="tea")
    keep(products, made.pk)
    return made
