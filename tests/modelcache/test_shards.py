"""Rows spread over slots: as without shards, and each slot has its part of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import override_settings

from redisdict import ConfigurationError, ModelDict
from redisdict.modelcache.slots.sharded import ShardedStore
from redisdict.modelcache.slots.store import BLOCKED, new_token
from redisdict.near.barrier import near_barrier
from tests.modelcache.beneath import change_unseen
from tests.modelcache.conftest import forget_registrations
from tests.modelcache.counting import queries
from tests.near.conftest import AGES
from tests.shop.models import Category, Product, Stamp
from tests.waiting import wait_until

COUNT = 4

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def sharded(server: str) -> ModelDict[Product]:
    return ModelDict(Product, shards=COUNT)


@pytest.fixture
def made(database: str, sharded: ModelDict[Product]) -> list[Product]:
    """Rows that are on the server."""
    made = [Product.objects.create(name=f"Tea {n}") for n in range(40)]
    sharded.warm([one.pk for one in made])
    return made


def store_of(products: ModelDict[Product]) -> ShardedStore:
    store = products._lookup().table.store
    assert isinstance(store, ShardedStore)
    return store


def test_rows_are_spread(made: list[Product], sharded: ModelDict[Product], database: str) -> None:
    pks = [one.pk for one in made]
    store = store_of(sharded)
    groups = store.groups([sharded._lookup().table.key(pk) for pk in pks])
    assert len(groups) == COUNT
    with queries(database) as asked:
        assert sharded.get_many(pks) == {one.pk: one for one in made}
        assert sharded[pks[0]] == made[0]
        assert sorted(sharded) == pks
        assert len(sharded) == len(pks)
    assert not asked


async def test_rows_are_spread_for_tasks_too(
    made: list[Product], sharded: ModelDict[Product]
) -> None:
    pks = [one.pk for one in made]
    assert await sharded.aget_many(pks) == {one.pk: one for one in made}
    assert await sharded.aget(pks[0]) == made[0]
    await made[0].adelete()
    assert await sharded.aget(pks[0]) is None
    assert sorted([pk async for pk in sharded]) == pks[1:]


def _save(made: list[Product]) -> None:
    for one in made:
        one.name = "Coffee"
        one.save()


def _update(made: list[Product]) -> None:
    Product.plain.filter(name__startswith="Tea").update(name="Coffee")


def _by_sql(made: list[Product]) -> None:
    with connections[str(made[0]._state.db)].cursor() as cursor:
        cursor.execute("UPDATE shop_product SET name = 'Coffee'")


def _clear(made: list[Product]) -> None:
    change_unseen(str(made[0]._state.db), "UPDATE shop_product SET name = 'Coffee'")
    ModelDict(Product, shards=COUNT).clear()


@pytest.mark.parametrize("change", [_save, _update, _by_sql, _clear])
def test_changes(
    made: list[Product], sharded: ModelDict[Product], change: Callable[[list[Product]], None]
) -> None:
    change(made)
    assert {one.name for one in sharded.get_many([one.pk for one in made]).values()} == {"Coffee"}


@pytest.mark.parametrize("change", [_save, _update, _by_sql])
def test_changes_in_a_transaction(
    made: list[Product], sharded: ModelDict[Product], change: Callable[[list[Product]], None]
) -> None:
    with transaction.atomic(using=made[0]._state.db):
        change(made)
    assert {one.name for one in sharded.get_many([one.pk for one in made]).values()} == {"Coffee"}


def test_a_change_of_all_rows_bars_all_shards(
    made: list[Product], sharded: ModelDict[Product]
) -> None:
    table, driver = sharded._lookup().table, sharded._lookup().table.backend.driver
    store, token = store_of(sharded), new_token()
    keys = [table.key(one.pk) for one in made]
    driver.run(store.block(table.all_rows[1], token, 60_000))
    assert driver.run(store.read(keys, new_token(), 1000)) == [BLOCKED] * len(keys)
    driver.run(store.lift(table.all_rows[1], token))
    answers = driver.run(store.read(keys, new_token(), 0))
    assert not any(isinstance(one, bytes) for one in answers)  # of an earlier generation
    assert driver.run(store.read_version(new_token()))


def test_the_table_is_read_anew_after_an_outage(
    made: list[Product], sharded: ModelDict[Product]
) -> None:
    table = sharded._lookup().table
    table.outages.begin_untold_change(b"token", 60)
    change_unseen(table.database, "UPDATE shop_product SET name = 'Coffee'")
    table.outages.end_untold_change(b"token")
    table.backend.driver.run(table.outages.recover())
    assert {one.name for one in sharded.get_many([one.pk for one in made]).values()} == {"Coffee"}


def test_lists_and_other_keys(database: str, server: str) -> None:
    lists = ModelDict(Product, key="category", many=True, shards=COUNT)
    by_slug = ModelDict(Product, key="slug", shards=COUNT)
    drinks, food = (Category.objects.create(name=name) for name in ("Drinks", "Food"))
    tea = Product.objects.create(name="Tea", slug="tea", category=drinks)
    for _ in range(2):
        assert lists.get_many([drinks.pk, food.pk]) == {drinks.pk: [tea], food.pk: []}
        assert by_slug["tea"] == tea
    tea.category = food
    tea.save()
    assert lists.get_many([drinks.pk, food.pk]) == {drinks.pk: [], food.pk: [tea]}


def test_text_and_names_with_signs(database: str, server: str) -> None:
    """What ends a slot's part of a key may be in the key itself."""
    stamps = ModelDict(Stamp, shards=COUNT)
    codes = ["}:", "a}:b", "{x}", "*", "%:1:4", ":0:4"]
    for code in codes:
        Stamp.objects.create(code=code)
    for _ in range(2):
        assert sorted(stamps.get_many(codes)) == sorted(codes)
    assert sorted(stamps) == sorted(codes)
    Stamp.objects.update(worth=3)
    assert {one.worth for one in stamps.get_many(codes).values()} == {3}


def test_other_shards_are_other_rows(database: str, server: str) -> None:
    plain, four, five = (ModelDict(Product, shards=count) for count in (None, 4, 5))
    tea = Product.objects.create(name="Tea")
    for products in (plain, four, five):
        assert products[tea.pk] == tea
    tea.name = "Coffee"
    tea.save()
    for products in (plain, four, five):
        assert products[tea.pk].name == "Coffee"


@pytest.fixture
def group(cluster: Any, alias_for: Callable[..., dict[str, Any]]) -> Iterator[None]:
    with override_settings(REDISDICT={"default": alias_for(cluster.location)}):
        yield
    forget_registrations()


@on_sqlite
def test_in_a_cluster(database: str, group: None) -> None:
    sharded = ModelDict(Product, shards=16)
    made = [Product.objects.create(name=f"Tea {n}") for n in range(60)]
    pks = [one.pk for one in made]
    for _ in range(2):
        assert sharded.get_many(pks) == {one.pk: one for one in made}
    with queries(database) as asked:
        assert sharded[pks[3]] == made[3]
        assert sorted(sharded) == pks
    assert not asked
    with transaction.atomic(using=database):
        Product.plain.update(name="Coffee")
    assert {one.name for one in sharded.get_many(pks).values()} == {"Coffee"}
    _by_sql(made)
    sharded.clear()
    assert list(sharded) == []


def _is_served(rows: ModelDict[Product], pks: list[int]) -> bool:
    """Whether all of these rows come from memory."""
    before = rows.near_stats().hits
    rows.get_many(pks)
    return rows.near_stats().hits - before == len(pks)


@pytest.mark.parametrize("near", [AGES, "request"])
def test_near(made: list[Product], database: str, near: Any) -> None:
    rows = ModelDict(Product, shards=COUNT, near=near)
    pks = [one.pk for one in made]
    with near_barrier():
        wait_until(lambda: _is_served(rows, pks))
        assert rows.get_many(pks) == {one.pk: one for one in made}
        assert {one.pk: rows[one.pk] for one in made} == {one.pk: one for one in made}
    stats = rows.near_stats()
    assert (stats.is_on, stats.items) == (True, len(pks))
    for change, expected in ((_save, "Coffee"), (_tea_again, "Tea"), (_by_sql, "Coffee")):
        with near_barrier():
            change(made)
            assert {one.name for one in rows.get_many(pks).values()} == {expected}
            wait_until(lambda: _is_served(rows, pks))
            assert {one.name for one in rows.get_many(pks).values()} == {expected}


def _tea_again(made: list[Product]) -> None:
    Product.plain.filter(pk__in=[one.pk for one in made]).update(name="Tea")


def test_near_of_lists(made: list[Product], database: str) -> None:
    drinks = Category.objects.create(name="Drinks")
    Product.plain.filter(pk=made[0].pk).update(category=drinks)
    lists: Any = ModelDict(Product, key="category", many=True, shards=COUNT, near=AGES)

    def is_from_memory() -> bool:
        before = lists.near_stats().hits
        assert lists[drinks.pk] == [made[0]]
        return bool(lists.near_stats().hits > before)

    wait_until(is_from_memory)
    Product.plain.filter(pk=made[0].pk).update(category=None)
    assert lists[drinks.pk] == []


def test_near_what_another_process_changes(made: list[Product], database: str) -> None:
    rows = ModelDict(Product, shards=COUNT, near=AGES)
    pks = [one.pk for one in made]
    wait_until(lambda: _is_served(rows, pks))
    table = rows._lookup().table
    change_unseen(database, "UPDATE shop_product SET name = 'Coffee'")
    other = ShardedStore(table.names, table.store.fingerprint, count=COUNT)
    for pk in pks[:3]:
        table.backend.driver.run(other.lift([table.key(pk)], new_token()))
    wait_until(lambda: {rows[pk].name for pk in pks[:3]} == {"Coffee"})
    assert rows[pks[5]].name.startswith("Tea")  # nobody has told of it
    table.backend.driver.run(other.lift(other.table_keys, new_token()))
    wait_until(lambda: {one.name for one in rows.get_many(pks).values()} == {"Coffee"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shards": 1}, "from 2 to 1024 are possible"),
        ({"shards": "4"}, "shards is str; an int"),
        ({"shards": 4, "near": "strict"}, "can't be combined"),
    ],
    ids=str,
)
def test_what_is_refused(server: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ModelDict(Product, **options)
