"""A hit gives what a miss gives: the same class, the same types, the same attributes."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from asgiref.sync import sync_to_async
from django.db import models
from django.utils.safestring import SafeString, mark_safe

from redisdict import ModelDict
from redisdict.modelcache.rows import NotKept, RowCodec
from redisdict.modelcache.sameness import differences, is_same
from tests.modelcache.counting import queries
from tests.shop.models import Announced, Place, Point, Product
from tests.shop.odd import Animal, Colour, Dog, Leaf, Page, Patient, Remembering, Visit

#: The database has no part in what these are about.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def place(database: str, server: str) -> Place:
    made: Place = Place.objects.create(name="x", at=Point(1, 2))
    return made


def read_twice(database: str, rows: ModelDict[Any], pk: Any, *, is_kept: bool) -> Any:
    """What a second read gives, which is a hit or not, and the same as the first."""
    missed = rows[pk]
    with queries(database) as asked:
        second = rows[pk]
    assert bool(asked) is not is_kept
    assert type(second) is type(missed)
    assert set(differences(missed, second)) <= {"made_at"}
    assert rows.stats().unkept == (0 if is_kept else 2)
    return second


def test_a_row_of_another_class_than_the_model(
    database: str, server: str, caplog: pytest.LogCaptureFixture
) -> None:
    animals = ModelDict(Animal)
    dog = Dog.objects.create(kind="dog", tricks=3)
    assert read_twice(database, animals, dog.pk, is_kept=False).tricks == 3
    assert animals.get_many([dog.pk])[dog.pk].tricks == 3
    assert list(animals) == []
    assert "can't be stored for its class: a miss gives a tests.shop.odd.Dog" in caplog.text
    read_twice(database, ModelDict(Dog), dog.pk, is_kept=True)


@on_sqlite
def test_rows_of_two_classes_in_one_table(database: str, server: str) -> None:
    cat = Animal.objects.create(kind="cat")
    read_twice(database, ModelDict(Animal), cat.pk, is_kept=True)


@on_sqlite
def test_reasons_are_told_once(
    database: str, server: str, caplog: pytest.LogCaptureFixture
) -> None:
    animals = ModelDict(Animal)
    dogs = [Dog.objects.create(kind="dog").pk for _ in range(3)]
    with caplog.at_level(logging.WARNING, "redisdict"):
        assert len(animals.get_many(dogs)) == 3
        assert len(animals.get_many(dogs)) == 3
    assert caplog.text.count("is not cached") == 1
    assert animals.stats().unkept == 6


def test_who_finds_a_row_that_cannot_be_kept_takes_no_lease(database: str, server: str) -> None:
    """Readers would wait for one another, and none of them could store it."""
    animals = ModelDict(Animal, lease_timeout=600)
    dog = Dog.objects.create(kind="dog")
    assert animals[dog.pk]
    table = animals._lookup().table
    answers = table.backend.driver.run(table.store.read([table.key(dog.pk)], b"t" * 16, 600_000))
    assert isinstance(answers[0], bytes)
    assert animals[dog.pk].kind == "dog"


@on_sqlite
def test_a_row_that_can_be_kept_after_a_change(database: str, server: str) -> None:
    pages = ModelDict(Page)
    page = Page.objects.create(half_colour=Colour.RED)
    assert type(read_twice(database, pages, page.pk, is_kept=False).half_colour) is Colour
    page.half_colour = None
    page.save()
    assert pages[page.pk].half_colour is None
    with queries(database) as asked:
        assert pages[page.pk].half_colour is None
    assert not asked


@on_sqlite
def test_text_that_is_marked_as_safe(
    database: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page.objects.create(markup="<b>")
    found = read_twice(database, ModelDict(Page), page.pk, is_kept=False)
    assert type(found.markup) is SafeString
    field: Any = type(Page._meta.get_field("markup"))
    monkeypatch.setattr(field, "to_python", lambda self, value: mark_safe(value))
    pages = ModelDict(Page)
    pages._cached.forget_tables()
    pages.clear()
    assert type(pages[page.pk].markup) is SafeString
    with queries(database) as asked:
        assert type(pages[page.pk].markup) is SafeString
    assert not asked


@on_sqlite
def test_members_of_enums(database: str, server: str) -> None:
    page = Page.objects.create(colour=Colour.BLUE)
    found = read_twice(database, ModelDict(Page), page.pk, is_kept=True)
    assert found.colour is Colour.BLUE


def test_memoryviews_as_psycopg_2_has_them(
    database: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def view(_field: Any, value: Any, *_: Any) -> Any:
        return None if value is None else memoryview(bytes(value)).cast("c")

    monkeypatch.setattr(models.BinaryField, "from_db_value", view, raising=False)
    # Fields remember that they have no such method.
    for name in ("_get_converters", "db_converters"):
        Place._meta.get_field("seal").__dict__.pop(name, None)
    place = Place.objects.create(name="x", seal=b"\x00\xff")
    found: Any = read_twice(database, ModelDict(Place), place.pk, is_kept=True)
    assert type(found.seal) is memoryview
    assert list(found.seal) == [b"\x00", b"\xff"]


def test_what_a_base_manager_adds_is_on_no_row(database: str, server: str) -> None:
    tree = Leaf.objects.create()
    leaf = Leaf.objects.create(tree=tree)
    found = read_twice(database, ModelDict(Leaf), leaf.pk, is_kept=True)
    assert set(vars(found)) == {"_state", "id", "tree_id"}
    assert not found._state.fields_cache
    assert found.tree.pk == tree.pk


def test_attributes_that_only_a_miss_could_have(
    database: str, server: str, caplog: pytest.LogCaptureFixture
) -> None:
    visit = Visit.objects.create()
    assert read_twice(database, ModelDict(Visit), visit.pk, is_kept=False).number == 0
    assert "for its number: only a miss would give it" in caplog.text


@on_sqlite
def test_attributes_that_every_instance_makes_for_itself(database: str, server: str) -> None:
    made = Remembering.objects.create(name="old")
    found = read_twice(database, ModelDict(Remembering), made.pk, is_kept=True)
    assert found.tracker.instance is found
    assert not found.tracker.has_changed()
    found.name = "new"
    assert found.tracker.has_changed()
    assert found.rating == [5]


@on_sqlite
def test_bases_behind_model_are_initialised(database: str, server: str) -> None:
    patient = Patient.objects.create(name="x")
    assert read_twice(database, ModelDict(Patient), patient.pk, is_kept=True).rating == [5]


@on_sqlite
@pytest.mark.parametrize("error", [TypeError, KeyError, AssertionError, RecursionError])
@pytest.mark.parametrize("method", ["value_to_string", "to_python", "get_prep_value"])
def test_fields_that_raise_are_no_error_of_the_read(
    place: Place, monkeypatch: pytest.MonkeyPatch, method: str, error: type[Exception]
) -> None:
    def refuse(*_: Any) -> Any:
        raise error("no")

    monkeypatch.setattr(f"tests.shop.models.PointField.{method}", refuse)
    places = ModelDict(Place)
    for _ in range(2):
        assert places[place.pk].at == Point(1, 2)
        assert places.get_many([place.pk])[place.pk].at == Point(1, 2)
    assert places.stats().unkept == 4


@on_sqlite
def test_fields_that_raise_when_a_kept_row_is_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ModelDict(Place)
    assert places[place.pk]
    assert places.stats().fills == 1

    def refuse(*_: Any) -> Any:
        raise LookupError("the key to decrypt it is gone")

    monkeypatch.setattr("tests.shop.models.PointField.to_python", refuse)
    assert places[place.pk].at == Point(1, 2)
    assert places.get_many([place.pk])[place.pk].at == Point(1, 2)
    assert places.stats().hits == 0


@on_sqlite
def test_values_that_cannot_be_compared(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def vector(_one: Point, _other: object) -> Any:
        raise ValueError("the truth value of an array is ambiguous")

    monkeypatch.setattr(Point, "__eq__", vector)
    places = ModelDict(Place)
    assert places[place.pk].at
    assert places[place.pk].at
    assert places.stats().unkept == 2


async def test_a_model_that_asks_the_database_whenever_an_instance_is_made(
    database: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coroutines can't, so they have it made where the database is asked."""
    make = Announced.from_db.__func__  # type: ignore[attr-defined]  # of a classmethod

    def ask_and_make(cls: type[Announced], *arguments: Any, **options: Any) -> Announced:
        made: Announced = make(cls, *arguments, **options)
        vars(made)["places"] = Place.objects.count()
        return made

    monkeypatch.setattr(Announced, "from_db", classmethod(ask_and_make))
    row = await sync_to_async(Announced.objects.create)(name="x")
    rows = ModelDict(Announced)
    assert [await rows.aget(row.pk) for _ in range(2)] == [row, row]
    await sync_to_async(row.save)()
    found = [await sync_to_async(rows.get)(row.pk) for _ in range(2)]
    assert (await rows.astats()).hits == 1
    found.append(await rows.aget(row.pk))
    assert [vars(each)["places"] for each in found] == [0, 0, 0]


@on_sqlite
def test_a_change_that_is_made_whenever_an_instance_is(
    database: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hit would make it a second time."""
    make = Announced.from_db.__func__  # type: ignore[attr-defined]  # of a classmethod

    def make_louder(cls: type[Announced], *arguments: Any, **options: Any) -> Announced:
        made: Announced = make(cls, *arguments, **options)
        made.name += "!"
        return made

    monkeypatch.setattr(Announced, "from_db", classmethod(make_louder))
    row = Announced.objects.create(name="x")
    assert read_twice(database, ModelDict(Announced), row.pk, is_kept=False).name == "x!"


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Amount(Decimal):
    pass


class Moment(datetime):
    pass


class Grade(Enum):
    GOOD = "good"


def product(**values: Any) -> Product:
    held = {field.attname: None for field in Product._meta.concrete_fields}
    held |= {"id": 1, "name": "Tea", "stock": 1} | values
    return Product.from_db("default", list(held), list(held.values()))


MOMENT = datetime(2026, 10, 25, 2, 30, 0, 1)  # noqa: DTZ001  # a naive one


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("price", Decimal("-0")),
        ("price", Decimal("1.50")),
        ("price", Decimal("1E+3")),
        ("price", Decimal("NaN")),
        ("price", Decimal("sNaN123")),
        ("rating", -0.0),
        ("rating", float("nan")),
        ("rating", 1),
        ("stock", True),
        ("stock", 2**63),
        ("stock", "a database of loose types"),
        ("is_active", 1),
        ("created_at", MOMENT),
        ("created_at", MOMENT.replace(tzinfo=UTC, fold=1)),
        ("created_at", MOMENT.replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=1)),
        ("created_at", MOMENT.replace(tzinfo=timezone(timedelta(hours=2)))),
        ("created_at", MOMENT.replace(tzinfo=timezone(timedelta(hours=2), "CEST"))),
        ("name", b"bytes"),
    ],
)
def test_values_that_come_back_the_same(name: str, value: Any) -> None:
    codec = RowCodec(Product)
    for _ in range(2):  # the second time by their types alone, where these tell enough
        loaded = product(**{name: value})
        again: Any = codec.decoder(print)(codec.encode(loaded))
        assert differences(loaded, again) == []
        assert type(getattr(again, name)) is type(value)
        assert repr(getattr(again, name)) == repr(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("price", Amount("1.50")),
        ("price", 1),
        ("stock", Number(3)),
        ("stock", 2**64),
        ("name", Text("x")),
        ("name", SafeString("x")),
        ("name", "\ud800"),
        ("name", bytearray(b"x")),
        ("name", UUID(int=1)),
        ("name", ("a", "b")),
        ("name", Grade.GOOD),
        ("name", object()),
        ("created_at", Moment(2026, 1, 1, tzinfo=UTC)),
        ("created_at", date(2026, 1, 1)),
        ("released_on", MOMENT),
        ("sku", "00000000-0000-0000-0000-000000000001"),
        ("slug", models.Value(1)),
    ],
)
def test_values_that_would_not(name: str, value: Any) -> None:
    codec = RowCodec(Product)
    codec.encode(product())
    for _ in range(2):
        with pytest.raises(NotKept) as raised:
            codec.encode(product(**{name: value}))
        assert raised.value.place in (name, "values")
    codec.encode(product())


class Weird(dict[str, Any]):
    pass


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [
        ({"a": [1, 1.0, True, None, -0.0, float("nan"), "ä", {"b": 2**80}]}, True),
        ({1: "a", "b": (1, 2), "c": {1, 2}}, True),
        ([Decimal("1.50"), UUID(int=1), timedelta(1)], True),
        ({"a": SafeString("x")}, True),
        ({"a": [Text("x")]}, False),
        ({"a": Weird(b=1)}, False),
        ({"a": bytearray(b"x")}, False),
        ([memoryview(b"x")], False),
        (Weird(b=1), False),
        (Colour.RED, False),
    ],
)
def test_values_inside_others(value: Any, is_kept: bool) -> None:
    codec = RowCodec(Place)
    held = {field.attname: None for field in Place._meta.concrete_fields}
    for first in (None, value):
        loaded = Place.from_db("default", list(held), list((held | {"facts": first}).values()))
        if first is None or is_kept:
            again: Any = codec.decoder(print)(codec.encode(loaded))
            assert differences(loaded, again) == []
            assert repr(again.facts) == repr(first)
        else:
            with pytest.raises(NotKept):
                codec.encode(loaded)


def test_instances_of_another_state() -> None:
    codec = RowCodec(Product)
    codec.encode(product())
    for change in CHANGES:
        loaded = product()
        change(loaded)
        with pytest.raises(NotKept):
            codec.encode(loaded)


CHANGES: list[Callable[[Any], Any]] = [
    lambda row: setattr(row, "extra", 1),
    lambda row: setattr(row._state, "adding", True),
    lambda row: setattr(row._state, "db", "other"),
    lambda row: setattr(row._state, "peers", [1]),
    lambda row: row._state.fields_cache.update(category=None),
    lambda row: setattr(row, "_prefetched_objects_cache", {}),
    lambda row: row.__dict__.pop("description"),
    lambda row: setattr(row, "__class__", Product.__subclasses__()[0]),
]


def test_the_database_is_part_of_the_fingerprint(settings: Any) -> None:
    """Its driver and its time zone decide what type a value has."""
    before = RowCodec(Product).fingerprint
    settings.USE_TZ = not settings.USE_TZ
    assert RowCodec(Product).fingerprint != before


def test_a_file_that_has_been_opened_is_the_same_file() -> None:
    """As an ImageField does while an instance is made, to know the measures."""
    opened, closed = Place(picture="a.png").picture, Place(picture="a.png").picture
    opened.file = io.BytesIO()
    assert is_same(opened, closed)
    assert not is_same(opened, Place(picture="b.png").picture)
