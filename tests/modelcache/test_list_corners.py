"""Lists and relations where the usual way isn't open: values that can't be known, lost servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.apps import apps
from django.db import models, transaction
from django.test import override_settings

from redisdict import BackendUnavailable, ModelDict
from redisdict.modelcache import outages
from redisdict.modelcache.invalidation import listed_writes
from redisdict.modelcache.invalidation.writes import Write
from redisdict.modelcache.members import read_members, write_members
from redisdict.servers.process import ServerProcess
from tests.conftest import program_for_tests
from tests.modelcache.beneath import change_unseen
from tests.modelcache.conftest import forget_registrations
from tests.modelcache.counting import queries
from tests.shop.models import Category, Label, Product, Shelf, Slot


@pytest.fixture
def moved(database: str, server: str) -> Callable[[], list[list[str]]]:
    """Gives the names in the lists of drinks and food, of which the first has tea."""
    lists = ModelDict(Product, key="category", many=True)
    drinks, food = (Category.objects.create(name=name) for name in ("Drinks", "Food"))
    Product.plain.create(name="Tea", category=drinks)

    def names() -> list[list[str]]:
        return [[row.name for row in lists[one.pk]] for one in (drinks, food)]

    assert names() == [["Tea"], []]
    return names


def food() -> Category:
    return Category.objects.get(name="Food")


def test_rows_that_cannot_be_locked(
    moved: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does the statement return where they were."""
    monkeypatch.setattr(Write, "can_lock", False)
    monkeypatch.setattr(Write, "can_return_keys", False)
    Product.plain.filter(name="Tea").update(category=food())
    assert moved() == [[], ["Tea"]]
    Product.plain.filter(name="Tea").delete()
    assert moved() == [[], []]


def test_a_deletion_that_does_not_return_rows(
    moved: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Write, "can_return_keys", False)
    Product.plain.filter(name="Tea").delete()
    assert moved() == [[], []]


def test_a_transaction_that_may_have_ended(
    moved: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of MySQL, in which the change may be visible at once."""
    monkeypatch.setattr(listed_writes, "may_have_ended", lambda _connection: True)
    Product.plain.filter(name="Tea").update(category=food())
    assert moved() == [[], ["Tea"]]


def test_a_row_that_comes_between_the_lock_and_the_update(
    moved: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows in which list it was."""
    monkeypatch.setattr(listed_writes, "lock_values", lambda *_, **__: [])
    tea = Product.plain.get(name="Tea")
    Product.plain.filter(pk=tea.pk).update(category=food())
    assert moved() == [[], ["Tea"]]


def test_a_second_model_of_the_table_that_lacks_the_column(database: str, server: str) -> None:
    class Text(models.Model):
        id = models.BigAutoField(primary_key=True)
        text = models.CharField(max_length=50)

        class Meta:
            app_label = "shop"
            db_table = "shop_label"
            managed = False

        def __str__(self) -> str:
            return self.text

    try:
        lists = ModelDict(Label, key="parent", many=True)
        by_text = ModelDict(Label, key="text", many=True)
        top = Label.objects.create(text="top")
        child = Label.objects.create(text="child", parent=top)
        assert lists[top.pk] == [child]
        assert by_text["new"] == []
        texts = Text._default_manager
        texts.create(text="new")
        assert [row.text for row in by_text["new"]] == ["new"]
        texts.filter(pk=child.pk).update(text="renamed")
        assert [row.text for row in lists[top.pk]] == ["renamed"]
        assert by_text["child"] == []
        texts.filter(pk=child.pk).delete()
        assert lists[top.pk] == []
    finally:
        del apps.all_models["shop"]["text"]
        apps.clear_cache()


def test_a_field_that_makes_values_of_its_own(
    database: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_day = ModelDict(Product, key="released_on", many=True)
    by_time = ModelDict(Product, key="created_at", many=True)
    day, moment = date(2026, 5, 1), datetime(2026, 5, 1, tzinfo=UTC)
    assert by_day[day] == [] == by_time[moment]
    Product.plain.create(name="Tea", released_on=day, created_at=moment)
    assert [row.name for row in by_day[day]] == ["Tea"]
    assert [row.name for row in by_time[moment]] == ["Tea"]
    by_slug = ModelDict(Product, key="slug", many=True)
    assert by_slug["made"] == []
    monkeypatch.setattr(models.SlugField, "pre_save", lambda *_, **__: "made", raising=False)
    Product.plain.create(name="Coffee")
    assert [row.name for row in by_slug["made"]] == ["Coffee"]
    monkeypatch.undo()
    assert by_day[date(2026, 5, 2)] == []
    Product.plain.bulk_create([Product(name="Mate", released_on=models.Value(date(2026, 5, 2)))])
    assert [row.name for row in by_day[date(2026, 5, 2)]] == ["Mate"]
    monkeypatch.setattr(Product._meta.get_field("released_on"), "auto_now_add", True)
    made = Product.plain.create(name="Cocoa")
    assert [row.name for row in by_day[made.released_on]] == ["Cocoa"]


def test_an_order_that_changes(database: str, server: str) -> None:
    shelves = ModelDict(Shelf, related=("slots",))
    Shelf.objects.create(code="one")
    Shelf.objects.create(code="two")
    slots = [Slot.objects.create(shelf_id="one", place=place) for place in (1, 2)]

    def places() -> list[list[int]]:
        found = list(Shelf.objects.order_by("pk"))
        shelves.prefetch(found, "slots")
        return [[slot.place for slot in shelf.slots.all()] for shelf in found]

    assert places() == [[2, 1], []]
    Slot.objects.filter(pk=slots[0].pk).update(place=3)
    assert places() == [[3, 2], []]
    slots[1].place, slots[1].shelf_id = 4, "two"
    slots[1].save()
    assert places() == [[3], [4]]
    Slot.objects.update(place=models.F("place") + 1, shelf="one")
    assert places() == [[5, 4], []]


def test_bodies() -> None:
    body = write_members([1, 2])
    assert body is not None
    assert read_members(body) == [1, 2]
    assert write_members([object()]) is None
    assert read_members(b"M\xc1") is None
    assert read_members(b"M\x01") is None


@pytest.fixture
def own_server(
    alias_for: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServerProcess]:
    """A server that the test may kill."""
    monkeypatch.setattr(outages, "REST_S", 0.0)
    with ServerProcess(program_for_tests("redis"), listen="tcp") as process:
        with override_settings(REDISDICT={"default": alias_for(process.url)}):
            yield process
            forget_registrations()


def test_lists_while_the_server_is_away(database: str, own_server: ServerProcess) -> None:
    lists = ModelDict(Product, key="category", many=True)
    refusing = ModelDict(Product, key="category", many=True, serve_when_down=False)
    products = ModelDict(Product, related=("category", "prices"))
    drinks = Category.objects.create(name="Drinks")
    tea = Product.plain.create(name="Tea", category=drinks)
    assert lists[drinks.pk] == [tea]
    own_server.kill()
    assert lists[drinks.pk] == [tea]
    assert lists.get_many([drinks.pk, 404]) == {drinks.pk: [tea], 404: []}
    Product.plain.filter(pk=tea.pk).update(category=None)
    assert lists[drinks.pk] == []
    lists.invalidate(drinks.pk)
    with pytest.raises(BackendUnavailable):
        refusing[drinks.pk]
    found = Product.plain.get(pk=tea.pk)
    found.category_id = drinks.pk
    products.prefetch([found], "category", "prices")
    with queries(database) as asked:
        assert found.category == drinks
        assert list(found.prices.all()) == []
    assert not asked


def test_readers_of_different_scopes(database: str, server: str) -> None:
    scope = ["north"]
    lists = ModelDict(Product, key="category", many=True, scope=lambda *_: scope[0])
    drinks = Category.objects.create(name="Drinks")
    tea = Product.plain.create(name="Tea", category=drinks)
    assert lists[drinks.pk] == [tea]
    change_unseen(database, "UPDATE shop_product SET category_id = NULL")
    assert lists[drinks.pk] == [tea]
    scope[0] = "south"
    assert lists[drinks.pk] == []


def test_in_a_transaction_that_has_changed_nothing_lists_are_kept(
    database: str, server: str
) -> None:
    """On PostgreSQL; on SQLite a transaction may not see what others have committed."""
    lists = ModelDict(Product, key="category", many=True)
    drinks = Category.objects.create(name="Drinks")
    with transaction.atomic(using=database):
        assert lists[drinks.pk] == []
    with queries(database) as asked:
        assert lists[drinks.pk] == []
    assert len(asked) == (0 if lists._lookup().table.is_on_postgresql else 1)
