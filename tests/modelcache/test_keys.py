"""Keys that are equal to the database are one row, and no spelling gives an old one."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings as django_settings
from django.db import connections, models, transaction
from django.test import override_settings

from redisdict import ModelDict
from redisdict.modelcache.keys import KeyForm, compares_text_exactly
from tests.modelcache.counting import queries
from tests.shop.models import Place, Product, Stamp
from tests.shop.spellings import Badge, Mailbox, Moment, Reading, Translation, Weight, Word

#: The two spellings of one key are "tea" and these, by the column's type and database.
COLLATED = {
    "sqlite NOCASE": ("sqlite", "varchar(10) COLLATE NOCASE", "TEA"),
    "sqlite RTRIM": ("sqlite", "varchar(10) COLLATE RTRIM", "tea  "),
    "ICU": ("postgres", 'varchar(10) COLLATE "ignores_case"', "TEA"),
    "ICU, accents": ("postgres", 'text COLLATE "ignores_accents"', "téa"),
    "citext": ("postgres", "citext", "TEA"),
    "char(n)": ("postgres", "char(10)", "tea"),
    "MariaDB": ("mariadb", "varchar(10)", "TEA"),
    "MariaDB, accents": ("mariadb", "varchar(10)", "téa"),
    "MariaDB, blanks": ("mariadb", "varchar(10)", "tea  "),
    "MariaDB, char(n)": ("mariadb", "char(10) COLLATE utf8mb4_bin", "tea"),
}

COLLATIONS = """
CREATE EXTENSION IF NOT EXISTS citext;
CREATE COLLATION IF NOT EXISTS "ignores_case"
    (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE COLLATION IF NOT EXISTS "ignores_accents"
    (provider = icu, locale = 'und-u-ks-level1', deterministic = false)
"""


@pytest.fixture
def words(request: pytest.FixtureRequest, database: str) -> Iterator[str]:
    """Tables of words and translations whose text is of the type that the test asks for."""
    kind: str = request.param
    with connections[database].cursor() as cursor:
        if connections[database].vendor == "postgresql":
            cursor.execute(COLLATIONS)
        cursor.execute(
            f"CREATE TABLE shop_word (spelling {kind} PRIMARY KEY, nick {kind} UNIQUE,"
            " worth integer)"
        )
        cursor.execute(
            f"CREATE TABLE shop_translation (word_id {kind}, language varchar(5),"
            " text varchar(10), PRIMARY KEY (word_id, language))"
        )
        yield kind
        cursor.execute("DROP TABLE shop_word")
        cursor.execute("DROP TABLE shop_translation")


def kinds(*names: str) -> pytest.MarkDecorator:
    chosen = names or tuple(COLLATED)
    values = [
        pytest.param(*COLLATED[name], marks=pytest.mark.deep)
        if COLLATED[name][0] == "mariadb"
        else COLLATED[name]
        for name in chosen
    ]
    return pytest.mark.parametrize(
        ("database", "words", "other"), values, indirect=["database", "words"], ids=chosen
    )


class TestCollatedText:
    """The database alone knows which texts are equal."""

    @kinds()
    def test_another_spelling_is_found(
        self, database: str, words: str, server: str, other: str
    ) -> None:
        by_pk, by_nick = ModelDict(Word, absent_timeout=60), ModelDict(Word, key="nick")
        Word.objects.create(spelling="tea", nick="tea", worth=1)
        Word.objects.create(spelling="milk", nick="milk", worth=2)
        for rows in (by_pk, by_nick):
            for spelling in (other, "tea", other):
                assert rows[spelling].worth == 1
            found = rows.get_many(["none", other, "milk", "tea"])
            assert {key: row.worth for key, row in found.items()} == {other: 1, "milk": 2, "tea": 1}
            assert rows.get_many([other])[other].worth == 1
            assert "none" not in rows

    @kinds()
    @pytest.mark.parametrize("spelled", ["by the other", "by itself"])
    def test_changes_by_either_spelling(
        self, database: str, words: str, server: str, other: str, spelled: str
    ) -> None:
        by_pk, by_nick = ModelDict(Word), ModelDict(Word, key="nick")
        Word.objects.create(spelling="tea", nick="tea", worth=1)
        named = other if spelled == "by the other" else "tea"

        def seen() -> set[Any]:
            spellings = (other, "tea", by_pk[other].pk)
            singly = {rows.get(one) for rows in (by_pk, by_nick) for one in spellings}
            many = by_pk.get_many(spellings) | by_nick.get_many(spellings)
            return {row and row.worth for row in (*singly, *many.values())}

        assert seen() == {1}
        Word.objects.filter(pk=named).update(worth=2)
        assert seen() == {2}
        Word.objects.filter(pk__in=[named, "milk"]).update(worth=3)
        assert seen() == {3}
        Word(spelling=named, nick=named, worth=4).save(force_update=True)
        assert seen() == {4}
        with transaction.atomic(using=database):
            Word(spelling=named, nick=named, worth=5).save(force_update=True)
            assert seen() == {5}
        assert seen() == {5}
        Word.objects.bulk_update([Word(spelling=named, worth=6)], ["worth"])
        assert seen() == {6}
        with connections[database].cursor() as cursor:
            cursor.execute("UPDATE shop_word SET worth = 7")
        by_nick.invalidate(named)
        assert seen() == {7}
        with connections[database].cursor() as cursor:
            cursor.execute("UPDATE shop_word SET worth = 8")
        by_pk.invalidate(named)
        assert seen() == {8}
        Word(spelling=named, nick=named).delete()
        assert by_pk.get_many(["tea", other]) == by_nick.get_many(["tea", other]) == {}
        assert {rows.get(one) for rows in (by_pk, by_nick) for one in (other, "tea")} == {None}

    @kinds()
    def test_absence_is_not_believed(
        self, database: str, words: str, server: str, other: str
    ) -> None:
        rows = ModelDict(Word, absent_timeout=60)
        assert rows.get(other) is rows.get("tea") is None
        assert rows.get_many([other, "tea"]) == {}
        Word.objects.create(spelling="tea", nick="tea", worth=1)
        assert rows[other].worth == rows["tea"].worth == 1

    @kinds("sqlite NOCASE", "ICU", "MariaDB")
    def test_a_row_that_is_spelled_anew(
        self, database: str, words: str, server: str, other: str
    ) -> None:
        """The same row to the database before and after."""
        rows = ModelDict(Word)
        Word.objects.create(spelling="tea", nick="tea", worth=1)
        assert rows["tea"].pk == "tea"
        Word.objects.filter(pk="tea").update(spelling=other, worth=2)
        assert (rows["tea"].pk, rows["tea"].worth) == (other, 2)
        assert (rows[other].pk, rows[other].worth) == (other, 2)

    @kinds("sqlite NOCASE", "ICU", "citext", "MariaDB", "MariaDB, blanks")
    def test_a_part_of_a_composite_key(
        self, database: str, words: str, server: str, other: str
    ) -> None:
        rows = ModelDict(Translation, absent_timeout=60)
        assert rows.get((other, "de")) is None
        Translation.objects.create(word_id="tea", language="de", text="Tee")
        for _ in range(2):
            assert rows[other, "de"].text == rows["tea", "de"].text == "Tee"
        # Only MariaDB takes the languages for equal, whose column has its collation, too.
        is_everywhere = connections[database].vendor == "mysql"
        found = rows.get_many([(other, "de"), ("tea", "de"), ("tea", "DE")])
        assert len(found) == (3 if is_everywhere else 2)
        Translation.objects.filter(pk=(other, "de")).update(text="Tee!")
        assert rows[other, "de"].text == rows["tea", "de"].text == "Tee!"

    @kinds("sqlite NOCASE", "ICU", "MariaDB")
    def test_what_the_other_spelling_costs(
        self, database: str, words: str, server: str, other: str
    ) -> None:
        rows = ModelDict(Word)
        Word.objects.create(spelling="tea", nick="tea")
        assert rows["tea"] == rows[other]
        with queries(database) as asked:
            assert rows["tea"]
        assert not asked
        with queries(database) as asked:
            assert rows[other]
        assert len(asked) == 2  # the row, and that it is this one

    @kinds("sqlite NOCASE", "ICU", "MariaDB")
    async def test_for_tasks(self, database: str, words: str, server: str, other: str) -> None:
        by_pk, by_nick = ModelDict(Word), ModelDict(Word, key="nick")
        await Word.objects.acreate(spelling="tea", nick="tea", worth=1)
        for rows in (by_pk, by_nick):
            for spelling in (other, "tea", other):
                assert (await rows.agetitem(spelling)).worth == 1
        await Word.objects.filter(pk=other).aupdate(worth=2)
        for rows in (by_pk, by_nick):
            found = await rows.aget_many([other, "tea"])
            assert {key: row.worth for key, row in found.items()} == {other: 2, "tea": 2}

    @pytest.mark.parametrize(
        ("database", "words", "is_exact"),
        [
            ("sqlite", "varchar(10)", True),
            ("postgres", "varchar(10)", True),
            ("postgres", 'varchar(10) COLLATE "C"', True),
            ("postgres", 'text COLLATE "und-x-icu"', True),
            ("postgres", 'text COLLATE "ignores_case"', False),
            ("postgres", "citext", False),
            ("postgres", "char(10)", False),
            ("sqlite", "varchar(10) COLLATE NOCASE", False),
            ("sqlite", "varchar(10) collate rtrim", False),
        ],
        indirect=["database", "words"],
    )
    def test_which_columns_compare_exactly(self, database: str, words: str, is_exact: bool) -> None:
        assert compares_text_exactly(Word._meta.pk, database) is is_exact

    def test_a_table_that_is_not_there(self, database: str) -> None:
        assert compares_text_exactly(Word._meta.pk, database) is None
        assert not KeyForm(Word._meta.pk, database).is_exact("tea")

    def test_a_view(self, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """SQLite's tell nothing of the columns below."""
        with connections[database].cursor() as cursor:
            cursor.execute("CREATE VIEW shop_word AS SELECT code AS spelling FROM shop_stamp")
            is_exact = compares_text_exactly(Word._meta.pk, database)
            cursor.execute("DROP VIEW shop_word")
        assert is_exact is (connections[database].vendor == "postgresql")

    def test_other_text_is_told_row_by_row(self, database: str, server: str) -> None:
        stamps = ModelDict(Stamp, absent_timeout=60)
        Stamp.objects.create(code="tea", worth=1)
        Stamp.objects.create(code="milk", worth=2)
        assert {row.worth for row in stamps.get_many(["tea", "milk"]).values()} == {1, 2}
        Stamp(code="tea", worth=3).save()
        with queries(database) as asked:
            assert stamps["milk"].worth == 2
            assert stamps["tea"].worth == 3
        assert len(asked) == 1
        assert stamps.get("TEA") is None
        with queries(database) as asked:
            assert stamps.get("TEA") is None
        assert not asked


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
