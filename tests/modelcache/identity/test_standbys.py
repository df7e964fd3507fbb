"""Rows of a standby are read, and kept nowhere."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections

from redisdict import ModelDict
from redisdict.modelcache import identity, loading
from tests.modelcache.availability import cluster_for_tests
from tests.modelcache.beneath import change_unseen
from tests.modelcache.counting import queries
from tests.modelcache.places import another_alias
from tests.shop.models import Product, Stamp


def test_rows_of_a_standby_are_not_kept(server: str) -> None:
    """Which servers of a cluster a connection leads to, only the connection knows."""
    with (
        cluster_for_tests() as cluster,
        another_alias("r", "default", **cluster.settings()) as alias,
    ):
        change_unseen(alias, "CREATE TABLE shop_stamp (code text PRIMARY KEY, worth int)")
        change_unseen(alias, "INSERT INTO shop_stamp VALUES ('red', 1), ('blue', 2)")
        stamps = ModelDict(Stamp, database=alias)
        assert stamps["red"].worth == 1
        connections[alias].close()
        cluster.restart_as_standby()
        with queries(alias) as asked:
            assert stamps["red"].worth == 1
        assert not asked, "what the primary gave may be read"
        for _ in range(2):
            with queries(alias) as asked:
                assert stamps["blue"].worth == 2
            assert len(asked) == 1


def test_a_standby_is_read_and_kept_nowhere(
    database: str, tea: Product, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    products.invalidate(tea.pk)
    place = identity.place_of(database, Product)
    standby = identity.Place(place.digest, is_standby=True)
    monkeypatch.setattr("redisdict.modelcache.cached_models.place_of", lambda *_: standby)
    monkeypatch.setattr("redisdict.modelcache.cached_models.known_place", lambda *_: standby)
    for _ in range(2):
        with queries(database) as asked:
            assert products[tea.pk].name == "Tea"
        assert len(asked) == 1


@pytest.fixture
def cells_at_queries(
    database: str, tea: Product, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> list[Any]:
    """What the row's cell holds while the database is asked for it, on a standby."""
    products.invalidate(tea.pk)
    table = products._lookup().table
    standby = identity.Place(table.place.digest, is_standby=True)
    monkeypatch.setattr("redisdict.modelcache.cached_models.place_of", lambda *_: standby)
    monkeypatch.setattr("redisdict.modelcache.cached_models.known_place", lambda *_: standby)
    seen: list[Any] = []

    def watched(*arguments: Any) -> Any:
        seen.append(table.backend.client().get(table.key(tea.pk)))
        return loading.load_rows(*arguments)

    monkeypatch.setattr("redisdict.modelcache.lookup.load_rows", watched)
    return seen


def test_a_thread_takes_no_lease_on_a_standby(
    tea: Product, products: ModelDict[Product], cells_at_queries: list[Any]
) -> None:
    assert products[tea.pk] == products.get_many([tea.pk])[tea.pk] == tea
    assert cells_at_queries == [None, None]


async def test_nor_does_a_task(
    tea: Product, products: ModelDict[Product], cells_at_queries: list[Any]
) -> None:
    """Others would wait for the lease, one after another, and nothing would ever be kept."""
    assert await products.agetitem(tea.pk) == tea
    assert await products.aget_many([tea.pk]) == {tea.pk: tea}
    assert cells_at_queries == [None, None]
