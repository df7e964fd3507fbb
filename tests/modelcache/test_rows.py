"""An instance from the server is what the database would have given, value by value."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections, models
from django.db.models.signals import post_init
from psycopg.types.range import Range

from redisdict import ModelDict, SerializationError
from redisdict.modelcache.rows import RowCodec
from tests.codec.models import Author, Color, EveryField, Size
from tests.modelcache.counting import queries
from tests.shop.models import Announced, Book, Event, Place, Point, Price, Product


def assert_same_instance(actual: models.Model, expected: models.Model) -> None:
    assert type(actual) is type(expected)
    held, wanted = dict(vars(actual)), dict(vars(expected))
    states = [each.pop("_state") for each in (held, wanted)]
    for name in vars(states[0]) | vars(states[1]):
        # Some of them are made when they are first looked at.
        assert getattr(states[0], name) == getattr(states[1], name), name
    assert list(held) == list(wanted)
    for name, value in wanted.items():
        assert type(held[name]) is type(value), name
        assert held[name] == value, name


def assert_comes_back(database: str, row: models.Model) -> models.Model:
    rows: ModelDict[Any] = ModelDict(type(row))
    expected = type(row)._default_manager.get(pk=row.pk)
    assert_same_instance(rows[row.pk], expected)
    with queries(database) as asked:
        from_server = rows[row.pk]
        many = rows.get_many([row.pk])
    assert not asked
    assert_same_instance(from_server, expected)
    assert_same_instance(many[row.pk], expected)
    return expected


def every_field() -> EveryField:
    author = Author.objects.create(name="Ann")
    made: EveryField = EveryField.objects.create(
        big_integer=2**63 - 1,
        binary=b"\x00\xff",
        boolean=True,
        char="Grüße",
        color=Color.BLUE,
        size=Size.SMALL,
        date=date(2024, 2, 29),
        datetime=datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=UTC),
        decimal=Decimal("1.50000"),
        duration=timedelta(days=-1, microseconds=1),
        email="ann@example.com",
        file="a/b.txt",
        file_path="/tmp",
        float=0.1,
        foreign_key=author,
        generic_ip_address="2001:db8::1",
        integer=-5,
        json={"a": [1, None, {"b": 0.5}], "c": 2**80},
        one_to_one=author,
        positive_big_integer=5,
        positive_integer=5,
        positive_small_integer=5,
        slug="a-b",
        small_integer=-5,
        text="",
        time=time(1, 2, 3, 4),
        url="https://example.com/",
        uuid=uuid4(),
    )
    return made


def test_every_field_of_django(database: str, server: str) -> None:
    expected = assert_comes_back(database, every_field())
    row = ModelDict(EveryField)[expected.pk]
    assert row.file.name == "a/b.txt"
    assert row.foreign_key == Author.objects.get()
    with queries(database):
        assert row.foreign_key.name == "Ann"


def test_every_kind_of_model(database: str, server: str) -> None:
    tea = Product.objects.create(
        name="Tea",
        price=Decimal("12.50"),
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        released_on=date(2026, 1, 2),
        sku=uuid4(),
        rating=4.5,
    )
    assert_comes_back(database, tea)
    assert_comes_back(database, Product.objects.create(name="All else is empty"))
    assert_comes_back(database, Book.objects.create(name="Leaves", pages=3))
    assert_comes_back(database, Price.objects.create(product=tea, currency="E,%", amount=3))


def test_fields_of_ones_own_and_generated_ones(database: str, server: str) -> None:
    place = Place.objects.create(
        name="harbour",
        at=Point(3, 4),
        facts={"deep": True},
        opens_for=timedelta(hours=8),
        opens_at=time(8, 30),
        picture="harbour.png",
        seal=b"\x00\x01",
    )
    expected: Any = assert_comes_back(database, place)
    assert expected.at == Point(3, 4)
    assert expected.name_in_capitals == "HARBOUR"
    Place.objects.filter(pk=place.pk).delete()
    assert_comes_back(database, Place.objects.create(name="nowhere"))


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_fields_of_postgresql(database: str, server: str) -> None:
    during = Range(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    assert_comes_back(database, Event.objects.create(scores=[1, 2, 3], during=during))
    assert_comes_back(database, Event.objects.create())


def test_instances_made_in_a_way_of_their_own(database: str, server: str) -> None:
    made = Announced.objects.create(name="x")
    announced = ModelDict(Announced)
    assert announced[made.pk].was_loaded
    assert announced[made.pk].was_loaded
    assert_comes_back(database, made)


@pytest.fixture
def listener() -> Iterator[list[Any]]:
    heard: list[Any] = []

    def listen(instance: models.Model, **_: Any) -> None:
        heard.append(instance.pk)

    post_init.connect(listen, sender=Product)
    yield heard
    post_init.disconnect(listen, sender=Product)


def test_who_listens_to_new_instances_hears_of_them(
    database: str, server: str, listener: list[Any]
) -> None:
    made = Product.objects.create(name="Tea")
    products = ModelDict(Product)
    assert products[made.pk]
    listener.clear()
    with queries(database) as asked:
        assert products[made.pk]
    assert not asked
    assert listener == [made.pk]


def test_the_first_way_to_make_an_instance_is_the_fast_one(database: str, server: str) -> None:
    assert RowCodec(Product)._is_made_plainly
    assert RowCodec(EveryField)._is_made_plainly  # with files and foreign keys
    assert not RowCodec(Announced)._is_made_plainly


def test_a_row_that_has_no_stored_form_is_not_kept(
    database: str, server: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Strange(str):
        __slots__ = ()

    with pytest.raises(SerializationError, match=r"A row of shop\.Product can't be stored"):
        RowCodec(Product).encode(Product(name=Strange("x")))
    places = ModelDict(Place)
    made = Place.objects.create(name="x", at=Point(1, 2))

    def forget(*_: Any) -> str:
        return "0,0"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.shop.models.PointField.value_to_string", forget)
        assert places[made.pk].at == Point(1, 2)
        assert places[made.pk].at == Point(1, 2)
    assert "A row of shop.Place of the database" in caplog.text
    assert places.stats().fills == 0


def test_other_fields_make_old_rows_misses(
    database: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Product.objects.create(name="Tea")
    assert ModelDict(Product)[made.pk]
    field = Product._meta.get_field("name")
    monkeypatch.setattr(field, "max_length", 200)
    connections[database].close()
    products = ModelDict(Product)
    products._cached.forget_tables()  # as in another process
    with queries(database) as asked:
        assert products[made.pk] == made
        assert products[made.pk] == made
    assert len(asked) == 1


def test_fingerprints_tell_fields_apart() -> None:
    fingerprints = {RowCodec(model).fingerprint for model in (Product, Book, Place, Price)}
    assert len(fingerprints) == 4
    assert RowCodec(Product).fingerprint == RowCodec(Product).fingerprint


def calls_of(function: Callable[[], object]) -> int:
    """How many functions are called meanwhile, in Python and in C."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_a_hit_is_cheap_to_make(database: str, server: str) -> None:
    """About what a from_db() costs: ten times as much would be a mistake somewhere."""
    made = Product.objects.create(name="Tea", sku=uuid4(), created_at=datetime.now(UTC))
    codec = RowCodec(Product, database)
    row, decode = codec.encode(Product.objects.get(pk=made.pk)), codec.decoder(print)
    decode(row)  # what is made once, is there
    values = [getattr(made, field.attname) for field in Product._meta.concrete_fields]
    names = [field.attname for field in Product._meta.concrete_fields]
    costs_of_a_row = calls_of(lambda: Product.from_db(database, names, values))
    assert calls_of(lambda: decode(row)) <= 2 * costs_of_a_row
