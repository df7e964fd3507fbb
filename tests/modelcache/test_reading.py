"""Rows come from the server when it has them, and from the database when not."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import connections, transaction
from django.http import Http404
from django.shortcuts import get_object_or_404

from redisdict import ConfigurationError, ModelDict
from redisdict.mapping.keys import Names
from redisdict.modelcache import loading, stats
from redisdict.modelcache.overview import overview
from redisdict.modelcache.slots.lease import Reader
from redisdict.modelcache.slots.store import BUSY, RowStore
from redisdict.modelcache.stats import CacheStats, Counters
from redisdict.wire.requests import Call
from tests.modelcache.counting import queries
from tests.shop.models import Product, ProductProxy, Stamp, Tag
from tests.waiting import LIMIT_S


def test_a_row_is_asked_of_the_database_once(database: str, products: ModelDict[Product]) -> None:
    made = Product.objects.create(name="Tea")
    with queries(database) as asked:
        first, second = products[made.pk], products[made.pk]
    assert len(asked) == 1
    assert first == second == made
    assert first is not second
    assert second.__dict__.keys() == Product.objects.get(pk=made.pk).__dict__.keys()
    assert second._state.db == database
    assert not second._state.adding


def test_a_row_that_is_not_there(database: str, products: ModelDict[Product]) -> None:
    with pytest.raises(KeyError, match="404"):
        products[404]
    assert products.get(404) is None
    assert products.get(404, "none") == "none"
    assert 404 not in products
    assert products.get(None) is None
    assert None not in products
    assert products.get_many([None]) == {}
    made = Product.objects.create(pk=404, name="Found")
    assert products[404] == made
    with queries(database) as asked:
        assert 404 in products
    assert not asked


@pytest.mark.parametrize("wrong", ["tea", b"x", 1.5j, (1, 2), Tag(pk=1)])
def test_a_key_that_no_row_can_have(
    database: str, products: ModelDict[Product], wrong: object
) -> None:
    with pytest.raises(TypeError, match=r"a value of shop\.Product\.id is expected"):
        products.get(wrong)
    with pytest.raises(TypeError):
        products.get_many([1, wrong])


def test_equal_keys_are_one_key(database: str, products: ModelDict[Product]) -> None:
    made = Product.objects.create(name="Tea")
    assert products[str(made.pk)] == made
    with queries(database) as asked:
        assert products[made.pk] == made
    assert not asked


@pytest.mark.parametrize("code", ["a:b", "é\U0001f600", "{x}", "*", "a b", "a\nb", "%7B"])
def test_any_text_is_a_key(database: str, server: str, code: str) -> None:
    stamps = ModelDict(Stamp)
    Stamp.objects.create(code=code, worth=1)
    Stamp.objects.create(code="other", worth=2)
    assert stamps[code].worth == 1
    with queries(database) as asked:
        assert stamps[code].worth == 1
        assert stamps.get("OTHER" if code == "other" else "Other") is None
    assert len(asked) == 1
    Stamp.objects.filter(code=code).get().delete()
    assert code not in stamps


def test_many_rows_are_one_query(database: str, products: ModelDict[Product]) -> None:
    made = Product.objects.bulk_create([Product(name=f"Tea {n}") for n in range(20)])
    pks = [one.pk for one in made]
    assert products[pks[3]]
    with queries(database) as asked:
        found = products.get_many([*reversed(pks), 10**9])
    assert len(asked) == 1
    assert str(pks[3]) not in asked[0]["sql"].partition(" IN ")[2].replace(",", " ").split()
    assert found == {one.pk: one for one in made}
    assert list(found) == list(reversed(pks))
    with queries(database) as asked:
        assert products.get_many(pks) == found
    assert not asked
    assert products.get_many([]) == {}


def test_more_rows_than_a_script_takes(database: str, products: ModelDict[Product]) -> None:
    made = Product.objects.bulk_create([Product(name=f"Tea {n}") for n in range(2100)])
    pks = [one.pk for one in made]
    assert len(products.get_many(pks)) == 2100
    with queries(database) as asked:
        assert len(products.get_many(pks)) == 2100
    assert not asked


def test_proxies_share_rows_and_not_classes(database: str, server: str) -> None:
    products, proxies = ModelDict(Product), ModelDict(ProductProxy)
    made = Product.objects.create(name="Tea")
    assert type(products[made.pk]) is Product
    assert type(proxies[made.pk]) is ProductProxy
    assert type(proxies[made.pk]) is ProductProxy
    ProductProxy.objects.filter(pk=made.pk).update(name="Coffee")
    assert products[made.pk].name == proxies[made.pk].name == "Coffee"
    made.name = "Milk"
    made.save()
    assert products[made.pk].name == proxies[made.pk].name == "Milk"


def test_time_limits(database: str, server: str) -> None:
    long, short = ModelDict(Product, timeout=60), ModelDict(Product, timeout=0.1)
    tea, milk = Product.objects.create(name="Tea"), Product.objects.create(name="Milk")
    with queries(database) as asked:
        assert long[tea.pk]
        assert long[tea.pk]
    assert len(asked) == 1
    table = long._lookup().table
    assert 50_000 < table.backend.client().pttl(table.key(tea.pk)) <= 60_000
    with queries(database) as asked:
        assert short[milk.pk]
        time.sleep(0.15)
        assert short[milk.pk]
    assert len(asked) == 2


def test_absence_is_believed_when_asked_to(database: str, server: str) -> None:
    products = ModelDict(Product, absent_timeout=60)
    with queries(database) as asked:
        assert products.get(7) is None
        assert products.get(7) is None
        assert products.get_many([7]) == {}
    assert len(asked) == 1
    Product(pk=7, name="Tea").save()
    assert products[7].name == "Tea"
    products[7].delete()
    assert products.get(7) is None
    with transaction.atomic(using=database):
        Product.objects.bulk_create([Product(pk=7, name="Coffee")])
    assert products[7].name == "Coffee"


def test_a_thousand_threads_that_miss_one_row_are_one_query(
    database: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    products = ModelDict(Product, lease_timeout=100)
    made = Product.objects.create(name="Tea")
    asked: list[Any] = []
    ask = loading.load_rows

    def slow(table: Any, pks: Any) -> Any:
        asked.append(pks)
        time.sleep(0.5)
        try:
            return ask(table, pks)
        finally:
            connections[database].close()

    monkeypatch.setattr("redisdict.modelcache.lookup.load_rows", slow)
    found: list[Product] = []
    readers = [
        threading.Thread(target=lambda: found.append(products[made.pk])) for _ in range(1000)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert found == [made] * 1000
    assert len(asked) == 1


def test_who_waits_for_a_dead_reader_asks_itself(database: str, server: str) -> None:
    products = ModelDict(Product, lease_timeout=0.2)
    made = Product.objects.create(name="Tea")
    table = products._lookup().table
    table.backend.driver.run(table.store.read([table.key(made.pk)], b"a dead reader...", 60_000))
    begun = time.monotonic()
    assert products[made.pk] == made
    assert 0.2 <= time.monotonic() - begun < LIMIT_S  # not the minute of the dead one's lease


def test_an_error_of_the_database_gives_the_lease_back(
    database: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    products = ModelDict(Product, lease_timeout=2 * LIMIT_S)
    made = Product.objects.create(name="Tea")

    def fail(*_: Any) -> Any:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr("redisdict.modelcache.lookup.load_rows", fail)
        with pytest.raises(OSError, match="disk"):
            products[made.pk]
    begun = time.monotonic()
    assert products[made.pk] == made
    assert time.monotonic() - begun < LIMIT_S  # it hasn't waited for the lease's end


def test_a_damaged_row_is_replaced(database: str, products: ModelDict[Product]) -> None:
    made = Product.objects.create(name="Tea")
    assert products[made.pk]
    table = products._lookup().table
    client = table.backend.client()
    key = table.key(made.pk)
    stored: Any = client.get(key)
    # An array of four thousand million elements.
    client.set(key, stored[:25] + b"\xdd\xff\xff\xff\xff")
    assert products[made.pk] == made
    with queries(database) as asked:
        assert products[made.pk] == made
    assert len(asked) == 1
    with queries(database) as asked:
        assert products[made.pk] == made
    assert not asked


def test_what_is_on_the_server(database: str, products: ModelDict[Product]) -> None:
    made = Product.objects.bulk_create([Product(name=f"Tea {n}") for n in range(30)])
    assert list(products) == []
    assert products.warm(Product.objects.filter(pk__in=[one.pk for one in made[:20]])) == 20
    assert sorted(products) == [one.pk for one in made[:20]]
    assert dict(products.items()) == {one.pk: one for one in made[:20]}
    assert len(products) == 20
    assert sorted(products.keys()) == [one.pk for one in made[:20]]
    assert sorted(row.pk for row in products.values()) == [one.pk for one in made[:20]]
    made[0].save()
    assert made[0].pk not in set(products)
    assert len(products) == 19
    products.clear()
    assert list(products) == []
    with queries(database) as asked:
        assert products[made[1].pk] == made[1]
    assert len(asked) == 1


def test_an_empty_cache_is_true(products: ModelDict[Product]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(products), "_lookup", None)  # and asks nobody
        assert products


def test_warming_by_keys(database: str, server: str) -> None:
    by_pk, by_slug = ModelDict(Product), ModelDict(Product, key="slug")
    made = Product.objects.bulk_create(
        [Product(name="Tea", slug=f"tea-{number}") for number in range(5)]
    )
    pks = [one.pk for one in made]
    assert by_pk.warm([*pks[:2], str(pks[0]), 10**9, None]) == 3
    assert by_slug.warm(slug for slug in ("tea-3", "tea-4", "tea-5")) == 2
    with queries(database) as asked:
        assert by_pk.get_many(pks[:2]) == {pks[0]: made[0], pks[1]: made[1]}
        assert by_slug.get_many(["tea-3", "tea-4"]) == {"tea-3": made[3], "tea-4": made[4]}
    assert not asked
    assert by_slug.warm(Product.objects) == 5
    assert (len(by_pk), len(by_slug)) == (5, 5)
    Product.objects.filter(slug="tea-4").update(slug=None)
    assert by_pk.warm(pks) == len(by_pk) == 5
    assert len(by_slug) == len(list(by_slug)) == 4


def test_a_row_or_404(database: str, products: ModelDict[Product]) -> None:
    made = Product.objects.create(name="Tea")
    assert products.get_or_404(made.pk) == products.get_or_404(str(made.pk)) == made
    with pytest.raises(Http404) as django_says:
        get_object_or_404(Product, pk=404)
    for missing in (404, None):
        with pytest.raises(Http404) as says:
            products.get_or_404(missing)
        assert str(says.value) == str(django_says.value)


def test_the_bytes_of_removed_rows_go(database: str, products: ModelDict[Product]) -> None:
    made = Product.objects.bulk_create([Product(name=f"Tea {n}") for n in range(30)])
    products.warm(Product.objects.all())
    table = products._lookup().table
    client = table.backend.client()
    assert client.exists(*[table.key(one.pk) for one in made]) == 30
    products.clear()
    assert client.exists(*[table.key(one.pk) for one in made]) == 0


def test_rows_by_another_field(database: str, server: str) -> None:
    by_slug = ModelDict(Product, key="slug")
    made = Product.objects.create(name="Tea", slug="tea")
    Product.objects.create(name="Nameless", slug=None)
    assert by_slug["tea"] == made
    with queries(database) as asked:
        assert by_slug["tea"] == made
        assert by_slug.get_many(["tea"]) == {"tea": made}
    assert not asked
    made.slug = "green-tea"
    made.save()
    assert by_slug.get("tea") is None
    assert by_slug["green-tea"] == made
    other = Product.objects.create(name="Other", slug="tea")
    assert by_slug["tea"] == other
    Product.objects.filter(pk=other.pk).update(slug=None)
    assert "tea" not in by_slug
    assert sorted(by_slug) == ["green-tea"]
    with connections[database].cursor() as cursor:
        cursor.execute("UPDATE shop_product SET name = 'Raw' WHERE slug = 'green-tea'")
    by_slug.invalidate("green-tea")
    assert by_slug["green-tea"].name == "Raw"


def test_a_slug_that_changes_hands(database: str, server: str) -> None:
    by_slug = ModelDict(Product, key="slug")
    one = Product.objects.create(name="One", slug="first")
    two = Product.objects.create(name="Two", slug="second")
    assert by_slug.get_many(["first", "second"]) == {"first": one, "second": two}
    with transaction.atomic(using=database):
        Product.objects.filter(pk=one.pk).update(slug=None)
        Product.objects.filter(pk=two.pk).update(slug="first")
        Product.objects.filter(pk=one.pk).update(slug="second")
    assert by_slug.get_many(["first", "second"]) == {"first": two, "second": one}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Product",), "a model class is expected"),
        ((Product.tags.through,), "sends no signals for it"),
        ((Product, "nmae"), r"there is no such field. Unique are: id, slug"),
        ((Product, "name"), "isn't unique"),
        ((Product, "tags"), "a field with a column is expected"),
    ],
)
def test_what_cannot_be_cached(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ModelDict(*arguments)


def test_limits_have_to_be_times() -> None:
    with pytest.raises(ConfigurationError, match="barrier_timeout is 0"):
        ModelDict(Product, barrier_timeout=0)


def test_who_could_not_store_a_row_waits_for_nobody() -> None:
    store = RowStore(Names("", ("rows",)), b"8 bytes!")
    reader: Reader[bytes] = Reader(store, Counters(b"counts"), bytes, bytes, 3000, None, None)
    operation = reader.read([b"row"], list, b"a reader's token", is_peek=True)
    assert operation.send(None) == store.read_command([b"row"], b"a reader's token", lease_ms=0)
    assert operation.send([BUSY]) == Call(list, ([b"row"],))


def test_stats(database: str, products: ModelDict[Product]) -> None:
    made = Product.objects.create(name="Tea")
    before = products.stats()
    products[made.pk], products[made.pk], products.get(10**9)
    made.save()
    after = products.stats()
    assert (after.hits - before.hits, after.misses - before.misses) == (1, 2)
    assert (after.fills - before.fills, after.refused - before.refused) == (1, 0)
    assert after.invalidations - before.invalidations == 1
    assert after.outages == 0


def test_what_is_counted_reaches_the_others_without_being_asked_for(
    database: str, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redisdict.modelcache.lookup.MOST_HITS", 10)
    made = Product.objects.create(name="Tea")
    table = products._lookup().table
    client = table.backend.client()
    for _ in range(31):
        assert products[made.pk]
    assert client.hget(table.names.counts, "hits") == b"30"
    assert client.hget(table.names.counts, "misses") == b"1"


def test_an_overview_of_all_tables(
    database: str, products: ModelDict[Product], sqlite_alias: str
) -> None:
    made = Product.objects.create(name="Tea")
    assert products[made.pk] == products[made.pk]
    assert ModelDict(Stamp, database=sqlite_alias).get("x") is None
    ModelDict(Tag, using="nowhere")
    found = {(one.model, one.database, one.alias): one for one in overview()}
    stats = found["shop.Product", database, "default"].stats
    assert stats is not None
    assert (stats.hits, stats.misses, stats.fills) == (1, 1, 1)
    assert found["shop.Stamp", sqlite_alias, "default"].stats == CacheStats(misses=1)
    failed = found["shop.Tag", database, "nowhere"]
    assert failed.stats is None
    assert "nowhere" in failed.problem


def test_counts_go_to_the_server_once_in_a_while(
    tea: Product, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = products._lookup().table.counters
    client = products._lookup().table.backend.client()
    before = client.hgetall(counters._key)
    products.get(tea.pk + 1)
    assert client.hgetall(counters._key) == before
    monkeypatch.setattr(stats, "PUSH_EVERY_S", 0.0)
    products.get(tea.pk + 1)
    assert client.hgetall(counters._key) != before
    assert counters.misses == 0
