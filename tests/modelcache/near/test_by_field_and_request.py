"""Rows from memory by another unique field, and within a request."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async

from redisdict import ModelDict
from redisdict.near.barrier import near_barrier
from tests.modelcache.near.conftest import Elsewhere, is_served, keep, near_table, settle
from tests.near.conftest import AGES
from tests.shop.models import Product
from tests.waiting import wait_until


class TestByField:
    """Lookups by another unique field: from its value to the key, from the key to the row."""

    @pytest.fixture
    def by_slug(self, tea: Product) -> ModelDict[Product]:
        rows = ModelDict(Product, key="slug", near=AGES)
        keep(rows, "tea")
        return rows

    def test_a_row(self, by_slug: ModelDict[Product], tea: Product) -> None:
        assert by_slug["tea"] == tea
        assert is_served(by_slug, "tea")
        assert by_slug.get_many(["tea", "none"]) == {"tea": tea}

    def test_a_row_that_has_another_value_now(
        self, by_slug: ModelDict[Product], tea: Product
    ) -> None:
        Product.objects.filter(pk=tea.pk).update(slug="green-tea")
        assert by_slug.get("tea") is None
        keep(by_slug, "green-tea")
        other = Product.objects.create(name="Tea", slug="tea")
        assert by_slug["tea"] == other
        keep(by_slug, "tea")
        assert by_slug["green-tea"] == tea

    def test_a_row_whose_value_has_changed_elsewhere(
        self, by_slug: ModelDict[Product], tea: Product, elsewhere: Elsewhere
    ) -> None:
        sql = f"UPDATE shop_product SET slug = NULL WHERE id = {tea.pk}"
        elsewhere.change(near_table(by_slug), tea.pk, sql)
        settle(by_slug)
        products = ModelDict(Product, near=AGES)
        keep(products, tea.pk)
        assert by_slug.get("tea") is None  # the row is in memory, and hasn't the value

    def test_hints_that_say_nothing_are_not_kept(self, by_slug: ModelDict[Product]) -> None:
        for _ in range(3):
            assert by_slug.get("nothing") is None
        assert by_slug._lookup()._near_pk(b"nothing") is None  # type: ignore[attr-defined]

    def test_only_the_database_can_tell(
        self, by_slug: ModelDict[Product], tea: Product, elsewhere: Elsewhere
    ) -> None:
        """Without a hint, or the row, in memory."""
        near_table(by_slug).near.drop([near_table(by_slug).key(tea.pk)])
        assert not is_served(by_slug, "tea")


class TestPerRequest:
    @pytest.fixture
    def rows(self, tea: Product) -> ModelDict[Product]:
        return ModelDict(Product, near="request")

    def test_nothing_is_served_outside_of_one(self, rows: ModelDict[Product], tea: Product) -> None:
        assert rows[tea.pk] == tea
        assert not is_served(rows, tea.pk)

    @pytest.mark.parametrize("many", [False, True])
    def test_a_change_before_it_is_seen(
        self, rows: ModelDict[Product], tea: Product, elsewhere: Elsewhere, many: bool
    ) -> None:
        for name in ("one", "two"):
            elsewhere.rename(rows, tea.pk, name)
            with near_barrier():
                found = rows.get_many([tea.pk])[tea.pk] if many else rows[tea.pk]
                assert found.name == name
                wait_until(lambda: is_served(rows, tea.pk))
                assert rows[tea.pk].name == name

    def test_a_ping_makes_servable_what_is_kept(
        self, rows: ModelDict[Product], tea: Product
    ) -> None:
        keep(ModelDict(Product, near=AGES), tea.pk)
        with near_barrier():
            assert is_served(rows, tea.pk)
        by_slug = ModelDict(Product, key="slug", near="request")
        with near_barrier():
            wait_until(lambda: is_served(by_slug, "tea"))
        with near_barrier():
            assert is_served(by_slug, "tea")

    async def test_in_tasks(self, database: str, server: str) -> None:
        tea = await sync_to_async(Product.objects.create)(name="Tea", slug="tea")
        rows = ModelDict(Product, near="request")

        async def is_served() -> bool:
            before = (await rows.anear_stats()).hits
            assert await rows.aget(tea.pk) == tea
            return (await rows.anear_stats()).hits > before

        # At last the first read of a request is answered from memory: a PING has made it so.
        served = False
        while not served:
            with near_barrier():
                served = await is_served()
