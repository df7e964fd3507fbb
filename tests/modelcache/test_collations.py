"""Text whose column ignores case, accents or blanks: all spellings of a key are one row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, transaction

from redisdict import ModelDict
from redisdict.modelcache.keys import KeyForm, compares_text_exactly
from tests.modelcache.counting import queries
from tests.shop.models import Stamp
from tests.shop.spellings import Translation, Word

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
