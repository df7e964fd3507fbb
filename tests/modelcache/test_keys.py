"""Keys that are equal to the database are one row, and no spelling gives an old one."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings as django_settings
from django.db import connections, models
from django.test import override_settings

from redisdict import ModelDict
from redisdict.modelcache.keys import KeyForm
from tests.modelcache.counting import queries
from tests.shop.models import Place, Product, Stamp
from tests.shop.spellings import Badge, Mailbox, Moment, Reading, Weight

#: A model, the field and value of its row, other spellings of that, and of another value.
SPELLINGS: dict[str, tuple[Any, str, Any, list[Any], Any]] = {
    "decimal": (
        Weight,
        "grams",
        Decimal("1.50"),
        [Decimal("1.5"), "1.500", 1.5, Decimal("15E-1")],
        Decimal("1.51"),
    ),
    "whole decimal": (Weight, "grams", Decimal("100.00"), [100, "1e2", Decimal("1E+2")], 1000),
    "decimal zero": (Weight, "grams", Decimal("0.00"), [0, "-0.0", False], 1),
    "decimal by another field": (Weight, "ounces", Decimal("1.5000"), ["1.5", 1.5], 1.51),
    "instant": (
        Moment,
        "at",
        datetime(2024, 3, 1, 12, tzinfo=UTC),
        [
            datetime(2024, 3, 1, 13, tzinfo=ZoneInfo("Europe/Berlin")),
            "2024-03-01T07:00:00-05:00",
            datetime.fromisoformat("2024-03-01T14:30:00+02:30"),
        ],
        datetime(2024, 3, 1, 13, tzinfo=UTC),
    ),
    "instant by another field": (
        Moment,
        "until",
        datetime(2024, 3, 1, 12, 0, 0, 1, tzinfo=UTC),
        [datetime(2024, 3, 1, 13, 0, 0, 1, tzinfo=ZoneInfo("Europe/Berlin"))],
        datetime(2024, 3, 1, 12, tzinfo=UTC),
    ),
    "uuid": (
        Badge,
        "number",
        uuid.UUID("6a6a6a6a-0000-4000-8000-00000000abcd"),
        [
            "6A6A6A6A-0000-4000-8000-00000000ABCD",
            "6a6a6a6a00004000800000000000abcd",
            "{6a6a6a6a-0000-4000-8000-00000000abcd}",
            "urn:uuid:6a6a6a6a-0000-4000-8000-00000000abcd",
            0x6A6A6A6A00004000800000000000ABCD,
        ],
        uuid.UUID(int=1),
    ),
    "address": (
        Badge,
        "address",
        "2001:db8::1",
        ["2001:DB8:0:0:0:0:0:1", "2001:0db8::0001"],
        "10.0.0.1",
    ),
    "bytes": (Reading, "seal", b"\0seal", [memoryview(b"\0seal"), "AHNlYWw="], b"seal"),
    "float": (Reading, "degrees", 0.0, [-0.0, "0", 0, False, Decimal(0)], 0.1),
    "duration": (
        Reading,
        "lasts",
        timedelta(days=1, hours=2),
        ["1 02:00:00", timedelta(hours=26), "P1DT2H"],
        timedelta(days=2),
    ),
    "somebody's own field": (
        Mailbox,
        "address",
        "a@example.org",
        ["A@example.org", "A@EXAMPLE.ORG"],
        "b@example.org",
    ),
    "integer": (Product, "id", 7, ["7", 7.0, Decimal("7.0"), " 7 "], 8),
    "true": (Product, "id", 1, [True, "1"], 2),
}

#: What the other fields of the models need.
REST: dict[Any, dict[str, Any]] = {
    Weight: {"grams": 9, "ounces": 9},
    Moment: {"at": datetime(1999, 1, 1, tzinfo=UTC), "until": datetime(1999, 1, 1, tzinfo=UTC)},
    Badge: {"number": uuid.UUID(int=9), "address": "10.9.9.9"},
    Reading: {"seal": b"9", "degrees": 9.0, "lasts": timedelta(9)},
    Mailbox: {"address": "9@example.org"},
    Product: {"id": 9},
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_all_spellings_are_one_key(database: str, server: str, spelling: str) -> None:
    model, field, value, others, another = SPELLINGS[spelling]
    worth = "stock" if model is Product else "worth"
    rows = ModelDict(model, key=field)
    model.objects.create(**REST[model] | {field: value, worth: 1})

    def seen() -> set[Any]:
        kept = [rows.get(one) for one in (value, *others)]
        kept += rows.get_many(others).values()
        return {row and getattr(row, worth) for row in kept}

    assert seen() == {1}
    with queries(database) as asked:
        assert seen() == {1}
    assert not asked
    assert rows.get(another) is None
    for other in (value, *others):
        rows.clear()
        assert getattr(rows[other], worth) == 1
    # Django takes fewer spellings than a dict.
    others = [
        one for one in others if type(one) is not str or type(value) not in (bytes, timedelta)
    ]
    for number, other in enumerate(others, 2):
        model.objects.filter(**{field: other}).update(**{worth: number})
        assert seen() == {number}
    if rows._field is None:
        for number, other in enumerate(others, 20):
            model(**REST[model] | {field: other, worth: number}).save(force_update=True)
            assert seen() == {number}
        model(**REST[model] | {field: others[0]}).delete()
        assert seen() == {None}


def test_a_number_that_the_database_rounds(database: str, server: str) -> None:
    """It isn't told what will become of it, so all rows count as changed."""
    rows = ModelDict(Weight, absent_timeout=60)
    big = Decimal("1234567890123456789012345.67")  # more digits than SQLite keeps
    numbers = ["1.506", "1.51", big, big + 1]
    assert rows.get_many(numbers) == {}
    Weight(grams=Decimal("1.506"), ounces=1, worth=1).save(force_insert=True)
    Weight(grams=big, ounces=2, worth=2).save(force_insert=True)
    for number in numbers:
        made = Weight.objects.filter(pk=number).first()
        for _ in range(2):
            found = rows.get(number)
            assert (found and found.worth) == (made and made.worth)
    assert rows[big].worth == 2


@pytest.mark.parametrize("wrong", ["tea", "1,5", "nan", float("inf"), float("nan"), b"1", [1], ()])
def test_what_is_no_number(database: str, server: str, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"a value of shop\.Weight\.grams is expected"):
        ModelDict(Weight).get(wrong)
    if wrong != b"1":  # which int() takes
        with pytest.raises(TypeError, match=r"a value of shop\.Product\.id is expected"):
            ModelDict(Product).get(wrong)


def test_what_the_field_takes_is_taken_when_the_row_is_not_kept(database: str, server: str) -> None:
    """Also where Django's own lookups don't."""
    rows = ModelDict(Badge, key="address")
    Badge.objects.create(number=uuid.UUID(int=1), address="10.0.0.1")
    for _ in range(2):
        assert rows[" 10.0.0.1 "].address == rows["10.0.0.1"].address == "10.0.0.1"
        assert len(rows.get_many([" 10.0.0.1 ", "10.0.0.1"])) == 2


def test_a_key_without_text_is_refused(database: str) -> None:
    """Where an object lies in memory would be its key: another's, when that one is gone."""

    class Opaque:
        pass

    class OpaqueField(models.Field):  # type: ignore[type-arg]  # not subscriptable at run time
        def get_prep_value(self, value: Any) -> Any:
            return Opaque()

    form = KeyForm(OpaqueField(name="opaque"), database)
    with pytest.raises(TypeError, match="makes Opaque of it, which has no text"):
        form.encode("x")
    assert not form.is_exact("x")


class Shade(str, enum.Enum):  # noqa: UP042  # as older code has them
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


def test_members_of_enums(database: str) -> None:
    text, number = KeyForm(Stamp._meta.pk, database), KeyForm(Product._meta.pk, database)
    assert text.encode(Shade.RED) == text.encode("red")
    assert number.encode(Level.HIGH) == number.encode(3)


FIELDS: list[tuple[Callable[[], Any], Any, bool]] = [
    (models.DateField, date(2024, 1, 1), True),
    (models.TimeField, time(1, 2, 3), True),
    (models.TimeField, time(1, 2, 3, tzinfo=UTC), False),
    (models.BooleanField, True, True),
    (models.GenericIPAddressField, "10.0.0.1", True),
    (models.GenericIPAddressField, "10.0.0.1/32", False),
    (models.JSONField, {"a": 1}, False),
]


@pytest.mark.parametrize(("make", "value", "is_exact"), FIELDS)
def test_what_is_exact(database: str, make: Any, value: Any, is_exact: bool) -> None:
    options = {"decimal_places": 2, "max_digits": 5} if make is models.DecimalField else {}
    field = make(**options)
    field.set_attributes_from_name("it")
    field.model = Place
    form = KeyForm(field, database)
    assert form.encode(value)
    assert form.is_exact(value) is is_exact


def test_databases_whose_rules_are_not_known(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(connections[database]), "vendor", "mysql")
    assert KeyForm(Product._meta.pk, database).is_exact(1)
    assert KeyForm(Badge._meta.pk, database).is_exact(uuid.UUID(int=1))
    assert not KeyForm(Stamp._meta.pk, database).is_exact("tea")
    assert not KeyForm(Moment._meta.pk, database).is_exact(datetime(2024, 1, 1, tzinfo=UTC))
    assert not KeyForm(Weight._meta.pk, database).is_exact(Decimal(1))


def test_times_without_zones(database: str) -> None:
    assert django_settings.TIME_ZONE
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
        form = KeyForm(Moment._meta.pk, database)
        local = datetime(2024, 3, 1, 13)  # noqa: DTZ001  # this is about those
        assert form.encode(datetime(2024, 3, 1, 12, tzinfo=UTC)) == form.encode(local)
        twice = datetime(2024, 10, 27, 2, 30)  # noqa: DTZ001
        assert form.encode(twice) != form.encode(twice.replace(fold=1))
        assert form.is_exact(local) is (connections[database].vendor == "sqlite")
