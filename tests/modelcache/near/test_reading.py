"""What of a `ModelDict` is answered from memory, and what makes it go."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models.signals import post_init

from redisdict import ModelDict
from redisdict.connections import registry
from redisdict.exceptions import ConfigurationError
from redisdict.modelcache import near as near_module
from redisdict.modelcache.near import NOT_NEAR
from redisdict.modelcache.plans import THREAD
from tests.modelcache.counting import queries
from tests.modelcache.near.conftest import Elsewhere, is_served, keep, near_table, settle
from tests.near.conftest import AGES
from tests.shop.models import Announced, Event, Place, Product
from tests.waiting import wait_until

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def test_a_row_is_answered_from_memory(products: ModelDict[Product], tea: Product) -> None:
    before = products.stats()
    found = [products[tea.pk] for _ in range(5)]
    assert [row.name for row in found] == ["Tea"] * 5
    assert products.get(tea.pk) == products.get_or_404(tea.pk) == tea
    assert tea.pk in products
    after = products.stats()
    assert (after.hits, after.misses) == (before.hits, before.misses)


def test_an_instance_is_as_the_one_that_a_hit_of_the_server_gives(
    database: str, server: str
) -> None:
    row = Product.objects.create(
        name="Tea",
        price=Decimal("2.50"),
        created_at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        released_on=date(2026, 1, 2),
        sku=uuid.uuid4(),
        rating=4.5,
    )
    products = ModelDict(Product, near=AGES)
    other = ModelDict(Product, near=AGES)
    keep(products, row.pk)
    by_near = products[row.pk]
    body = near_table(products).codec.encode(Product.objects.get(pk=row.pk))
    by_server = near_table(products).decode(body)
    for one in (by_near, other[row.pk]):
        assert vars(one).keys() == vars(by_server).keys()
        values = {name: value for name, value in vars(one).items() if name != "_state"}
        assert values == {name: vars(by_server)[name] for name in values}
        assert {name: type(value) for name, value in values.items()} == {
            name: type(vars(by_server)[name]) for name in values
        }
        assert vars(one._state) == vars(by_server._state)
    by_near.name = "changed"
    assert products[row.pk].name == "Tea"
    by_near.save()
    assert products[row.pk].name == "changed"


def test_values_that_can_be_changed_are_made_anew(database: str, server: str) -> None:
    place = Place.objects.create(name="x", facts={"a": [1]})
    places = ModelDict(Place, near=AGES)
    keep(places, place.pk)
    first: Any = places[place.pk]
    first.facts["a"].append(2)
    assert places[place.pk].facts == {"a": [1]}
    assert is_served(places, place.pk)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_arrays_are_made_anew(database: str, server: str) -> None:
    event = Event.objects.create(scores=[1])
    events = ModelDict(Event, near=AGES)
    keep(events, event.pk)
    first: Any = events[event.pk]
    first.scores.append(2)
    assert events[event.pk].scores == [1]


@on_sqlite
def test_listeners_hear_of_every_instance(products: ModelDict[Product], tea: Product) -> None:
    heard: list[Any] = []

    def listen(instance: Any, **_: Any) -> None:
        heard.append(instance)

    post_init.connect(listen, sender=Product)
    try:
        found = products[tea.pk]
    finally:
        post_init.disconnect(listen, sender=Product)
    assert heard == [found]
    assert products.near_stats().hits > 0


@on_sqlite
def test_a_model_that_makes_its_instances_itself_does_so(database: str, server: str) -> None:
    row = Announced.objects.create(name="x")
    rows = ModelDict(Announced, near=AGES)
    keep(rows, row.pk)
    assert vars(rows[row.pk]).keys() == vars(Announced.objects.get(pk=row.pk)).keys()


@on_sqlite
def test_an_instance_that_cannot_be_made_is_read_from_the_database(
    database: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Announced.objects.create(name="x")
    rows = ModelDict(Announced, near=AGES)
    keep(rows, row.pk)
    make = Announced.from_db.__func__  # type: ignore[attr-defined]  # of a classmethod
    fails = [True]

    def from_db(cls: type[Announced], *arguments: Any, **options: Any) -> Announced:
        if fails:
            fails.pop()
            raise ValueError("not now")
        made: Announced = make(cls, *arguments, **options)
        return made

    monkeypatch.setattr(Announced, "from_db", classmethod(from_db))
    assert rows[row.pk].name == "x"
    assert not fails


def test_many(products: ModelDict[Product], tea: Product) -> None:
    others = [Product.objects.create(name=str(number)) for number in range(60)]
    pks = [tea.pk, *(each.pk for each in others)]
    for _ in range(2):
        assert [row.pk for row in products.get_many([*pks, -1]).values()] == pks
    wait_until(lambda: products.get_many(pks) and products.near_stats().items >= len(pks))
    before = products.near_stats()
    found = products.get_many([*reversed(pks), -1])
    assert list(found) == list(reversed(pks))
    assert products.near_stats().hits == before.hits + len(pks)


async def test_in_tasks(database: str, server: str) -> None:
    tea = await sync_to_async(Product.objects.create)(name="Tea", slug="tea")
    products = ModelDict(Product, near=AGES)
    by_slug = ModelDict(Product, key="slug", near=AGES)
    for rows, key in ((products, tea.pk), (by_slug, "tea")):

        async def is_served(rows: Any = rows, key: Any = key) -> bool:
            before = (await rows.anear_stats()).hits
            assert await rows.agetitem(key) == tea
            hits: int = (await rows.anear_stats()).hits
            return hits > before

        while not await is_served():
            pass
        before = (await rows.anear_stats()).hits
        assert await rows.aget_many([key]) == {key: tea}
        assert (await rows.anear_stats()).hits == before + 1
    tea.name = "Green tea"
    await sync_to_async(tea.save)()
    assert (await products.agetitem(tea.pk)).name == "Green tea"
    assert (await by_slug.agetitem("tea")).name == "Green tea"


def test_a_change_elsewhere_is_told(
    products: ModelDict[Product], tea: Product, elsewhere: Elsewhere
) -> None:
    elsewhere.rename(products, tea.pk, "Green tea")
    settle(products)
    assert products[tea.pk].name == "Green tea"


def test_a_change_of_all_rows_elsewhere_is_told(
    products: ModelDict[Product], tea: Product, elsewhere: Elsewhere
) -> None:
    other = Product.objects.create(name="Coffee")
    keep(products, other.pk)
    elsewhere.rename(products, tea.pk, "Green tea", all_rows=True)
    settle(products)
    assert products.near_stats().items == 0
    assert products[tea.pk].name == "Green tea"


@pytest.mark.parametrize("way", ["save", "update", "all rows", "delete", "invalidate", "clear"])
def test_own_changes_are_seen_at_once(products: ModelDict[Product], tea: Product, way: str) -> None:
    if way == "save":
        tea.name = "Green tea"
        tea.save()
    elif way == "update":
        Product.objects.filter(pk=tea.pk).update(name="Green tea")
    elif way == "all rows":
        Product.objects.filter(name="Tea").update(name="Green tea")
    elif way == "delete":
        tea_pk = tea.pk
        tea.delete()
        assert tea_pk not in products
        return
    else:
        Product.objects.filter(pk=tea.pk).update(name="Green tea")
        products.invalidate(tea.pk) if way == "invalidate" else products.clear()
        assert not is_served(products, tea.pk)
    assert products[tea.pk].name == "Green tea"


def test_changes_by_a_handle_of_another_kind_are_seen(
    products: ModelDict[Product], tea: Product
) -> None:
    plain = ModelDict(Product)
    assert plain[tea.pk].name == "Tea"
    keep(products, tea.pk)
    Product.objects.filter(pk=tea.pk).update(name="Green tea")
    assert plain[tea.pk].name == products[tea.pk].name == "Green tea"


def test_in_a_transaction_that_has_changed_the_table(
    products: ModelDict[Product], tea: Product, database: str
) -> None:
    with transaction.atomic(using=database):
        Product.objects.filter(pk=tea.pk).update(name="Green tea")
        assert products[tea.pk].name == "Green tea"
        assert products.get_many([tea.pk])[tea.pk].name == "Green tea"
        transaction.set_rollback(True, using=database)
    assert products[tea.pk].name == "Tea"


def test_no_read_gives_an_older_row_than_the_one_before(
    products: ModelDict[Product], tea: Product, elsewhere: Elsewhere, database: str
) -> None:
    """A miss has seen the newest row in the database, of which the push isn't there yet."""
    state = near_table(products).near._state
    entry = state._entries[b"%d" % tea.pk]
    lookup = products._lookup()
    elsewhere.rename(products, tea.pk, "Green tea")
    settle(products)
    state._entries[entry.key] = entry  # as if the push were under way
    state._sieve.add(entry)
    assert products[tea.pk].name == "Tea"
    assert lookup.ask_database([tea.pk])[tea.pk].name == "Green tea"
    assert products[tea.pk].name == "Green tea"


@pytest.mark.parametrize("absent_timeout", [None, 60.0])
def test_a_row_that_is_absent(database: str, server: str, absent_timeout: float | None) -> None:
    products = ModelDict(Product, near=AGES, absent_timeout=absent_timeout)
    tea = Product.objects.create(name="Tea")
    keep(products, tea.pk)
    pk = tea.pk + 1
    if absent_timeout is None:
        assert [pk in products for _ in range(3)] == [False] * 3
        with queries(database) as asked:
            assert pk not in products
        assert len(asked) == 1
    else:
        keep(products, pk)
        with queries(database) as asked:
            assert products.get(pk, "none") == "none"
        assert len(asked) == 0
        Product.objects.create(pk=pk, name="Coffee")
        assert products[pk].name == "Coffee"


def test_absence_is_believed_no_longer_than_a_handle_does(database: str, server: str) -> None:
    patient = ModelDict(Product, near=AGES, absent_timeout=60)
    products = ModelDict(Product, near=AGES)
    tea = Product.objects.create(name="Tea")
    keep(products, tea.pk)
    keep(patient, tea.pk + 1)
    with queries(database) as asked:
        assert tea.pk + 1 not in products
    assert len(asked) == 1


def test_a_row_is_kept_no_longer_than_its_cell(
    database: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    products = ModelDict(Product, near=AGES, timeout=1000)
    tea = Product.objects.create(name="Tea")
    keep(products, tea.pk)
    entry = near_table(products).near._state._entries[b"%d" % tea.pk]
    left = entry.expires_at - near_module.clock()
    assert 0 < left < 1000
    monkeypatch.setattr("redisdict.near.reader.clock", lambda: entry.expires_at)
    assert not is_served(products, tea.pk)


def test_a_cell_that_ends_while_it_is_read(
    products: ModelDict[Product], tea: Product, elsewhere: Elsewhere
) -> None:
    near = near_table(products).near
    cell = near_table(products).key(tea.pk)
    asking = near_table(products).store._read([cell], b"token", 0)
    operation = near.read([cell], asking, near_table(products)._keep, None)
    request: Any = operation.send(None)
    assert request.commands[1:] == [(b"PTTL", cell)]
    with pytest.raises(StopIteration) as stop:
        operation.send([[b"a body"], -2])
    assert stop.value.value == [b"a body"]
    assert not near._state.has(b"%d" % tea.pk)


def test_bytes_that_are_no_row_are_not_kept(products: ModelDict[Product], tea: Product) -> None:
    table = near_table(products)
    state = table.near._state
    for body in (b"\xc0", b"\xc1", b"no row at all"):
        table.backend.driver.run(table.store.lift([table.key(tea.pk)], b"0" * 16))
        token = b"a token of 16 by"
        driver = table.backend.driver
        settle(products)
        driver.run(table.store._read([table.key(tea.pk)], token, 60_000))
        driver.run(table.store.fill([table.key(tea.pk)], token, [body], None))
        settle(products)
        assert driver.run(table.store.read([table.key(tea.pk)], b"1" * 16, 0)) == [body]
        assert not state.has(b"%d" % tea.pk)


def test_scopes_are_kept_apart(database: str, server: str) -> None:
    tea = Product.objects.create(name="Tea")
    scope = ["one"]
    rows = ModelDict(Product, near=AGES, scope=lambda _model, _alias: scope[0])

    def is_kept() -> bool:
        rows.get(tea.pk)
        return rows._lookup().near_hit(tea.pk, THREAD) is not NOT_NEAR

    for each in ("one", "two", "one"):
        scope[0] = each
        assert rows._lookup().near_hit(tea.pk, THREAD) is NOT_NEAR
        wait_until(is_kept)


def test_an_outage_ends_it(products: ModelDict[Product], tea: Product, database: str) -> None:
    """While a change of this process isn't told, nothing is served that it has made old."""
    outages = near_table(products).outages
    outages.begin_untold_change(b"t", 1000)
    assert not is_served(products, tea.pk)
    outages.end_untold_change(b"t")
    wait_until(lambda: outages.is_calm)
    keep(products, tea.pk)


def test_what_is_on_the_server_is_asked_of_it(products: ModelDict[Product], tea: Product) -> None:
    before = products.near_stats().hits
    near_table(products).near.drop([near_table(products).key(tea.pk)])
    assert list(products) == [tea.pk]
    assert products.near_stats().items == 0  # all rows there are may be more than memory has
    assert len(products) == 1
    assert products.warm([tea.pk]) == 1
    assert products.near_stats().hits == before


def test_stats_of_a_dict_without_near(database: str, server: str) -> None:
    rows = ModelDict(Product)
    assert rows.near_stats().is_on is False
    assert rows.near_stats().reason == "no ModelDict of this table has near"


@pytest.mark.parametrize("near", [0, -1, True, "second", float("inf"), float("nan"), [1]])
def test_what_is_no_promise_is_refused(near: Any) -> None:
    with pytest.raises(ConfigurationError, match="near"):
        ModelDict(Product, near=near)


def test_replicas_are_refused(database: str, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ModelDict(Product, near=1.0)
    monkeypatch.setattr(type(registry.get_backend("default").factory), "reads_replicas", True)
    with pytest.raises(ConfigurationError, match="read_from_replicas"):
        rows.get(1)


def test_a_row_that_is_kept_is_decoded_once(
    products: ModelDict[Product], tea: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = near_table(products).codec
    unpack, decoded = codec._unpack, []

    def count(body: bytes) -> list[Any]:
        decoded.append(body)
        return unpack(body)

    monkeypatch.setattr(codec, "_unpack", count)
    near_table(products).near.drop([near_table(products).key(tea.pk)])
    first, second = products[tea.pk], products[tea.pk]
    assert first == second == tea
    assert first is not second
    assert first.__dict__ == {**second.__dict__, "_state": first._state}
    assert len(decoded) == 1
