"""Which values of a column are one: text, numbers, and what the database takes for equal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connections

from redisdict import cache_results_of
from tests.modelcache.declared_columns.conftest import is_kept, kept
from tests.shop.models import Category, Product
from tests.shop.spellings import Word


@pytest.mark.parametrize("text", ["Tea", "tea", "Tea ", "TEA"])
def test_text_is_the_same_only_when_it_is_identical(drinks: Category, text: str) -> None:
    def ask() -> int:
        number: int = kept().filter(name=text).count()
        return number

    assert ask() == (text == "Tea")
    Product.objects.create(name=text.swapcase())
    assert is_kept(ask)
    Product.objects.create(name=text)
    assert ask() == (text == "Tea") + 1


def test_two_spellings_of_one_number(drinks: Category) -> None:
    for price in ("2.5", "2.50", Decimal("2.500"), 2.5):
        assert kept().filter(price=price).count() == 2
    Product.objects.create(name="Milk", price=Decimal("2.5"))
    for price in ("2.5", "2.50", Decimal("2.500"), 2.5):
        assert kept().filter(price=price).count() == 3


@pytest.fixture
def word(server: str, database: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A table whose text the database compares without regard to case; with one word."""
    connection = connections[database]
    text = "varchar(10) COLLATE NOCASE"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "CREATE COLLATION IF NOT EXISTS any_case (provider = icu, locale ="
                " 'und-u-ks-level2', deterministic = false)"
            )
            text = "varchar(10) COLLATE any_case"
        cursor.execute(
            f"CREATE TABLE shop_word (spelling {text} PRIMARY KEY, nick {text},"
            " worth integer NOT NULL)"
        )
    monkeypatch.setattr(Word._meta.managers_map["objects"], "versions", ("nick",))
    cache_results_of(Word)
    Word.objects.create(spelling="one", nick="Tea")
    yield Word
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE shop_word")


def test_text_that_the_database_takes_for_equal(word: Any) -> None:
    """ "tea" finds "Tea", so results depend on the whole table, and are right."""

    def ask() -> list[str]:
        rows = kept(Word).filter(nick="TEA").order_by("spelling")
        return [row.nick for row in rows]

    assert ask() == ["Tea"]
    assert is_kept(ask)
    Word.objects.create(spelling="two", nick="tEA")
    assert ask() == ["Tea", "tEA"]
    Word.objects.filter(spelling="one").update(nick="Mate")
    assert ask() == ["tEA"]
