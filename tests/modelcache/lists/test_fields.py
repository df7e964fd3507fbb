"""Lists by fields of every kind: whatever gives a row another value moves it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connections, models

from redisdict import ModelDict
from tests.shop.models import Book, Place, Price, Product, Stamp


def test_other_fields(database: str, server: str) -> None:
    by_name = ModelDict(Product, key="name", many=True)
    by_price = ModelDict(Product, key="price", many=True)
    by_activity = ModelDict(Product, key="is_active", many=True)
    one = Product.objects.create(name="Tea", price=Decimal("1.5"))
    two = Product.objects.create(name="Tea", price=2, is_active=False)
    assert [row.pk for row in by_name["Tea"]] == [one.pk, two.pk]
    assert [row.pk for row in by_price[Decimal("1.50")]] == [one.pk]
    assert [row.pk for row in by_activity[False]] == [two.pk]
    Product.plain.filter(pk=two.pk).update(price=models.F("price") - Decimal("0.5"))
    assert [row.pk for row in by_price["1.5"]] == [one.pk, two.pk]
    two.name, two.is_active = "Coffee", True
    two.save()
    assert [row.pk for row in by_name["Tea"]] == [one.pk]
    assert [row.pk for row in by_name["Coffee"]] == [two.pk]
    assert by_activity[False] == []
    with pytest.raises(TypeError, match="a value of"):
        by_price["cheap"]


def test_a_value_that_the_column_rounds(database: str, server: str) -> None:
    by_price = ModelDict(Product, key="price", many=True)
    assert by_price[Decimal("1.23")] == []
    Product.objects.create(name="Tea", price=Decimal("1.234"))
    # SQLite doesn't round.
    for price in (Decimal("1.23"), Decimal("1.234")):
        assert by_price[price] == list(Product.plain.filter(price=price))


def test_a_unique_field_and_a_composite_key(database: str, server: str) -> None:
    by_product = ModelDict(Price, key="product", many=True)
    product = Product.objects.create(name="Tea")
    assert by_product[product.pk] == []
    for currency in ("USD", "EUR"):
        Price.objects.create(product=product, currency=currency, amount=3)
    assert [row.currency for row in by_product[product.pk]] == ["EUR", "USD"]
    Price.objects.filter(currency="EUR").delete()
    assert [row.currency for row in by_product[product.pk]] == ["USD"]


def test_inheritance(database: str, server: str) -> None:
    """A list of children by a column of the parent's table, and by one of their own."""
    by_name = ModelDict(Book, key="name", many=True)
    by_pages = ModelDict(Book, key="pages", many=True)
    assert by_name["Tea"] == [] == by_pages[100]
    book = Book.objects.create(name="Tea", pages=100)
    assert [row.pk for row in by_name["Tea"]] == [book.pk]
    assert [row.pk for row in by_pages[100]] == [book.pk]
    Product.plain.filter(pk=book.pk).update(name="Coffee")
    assert by_name["Tea"] == []
    assert [row.name for row in by_name["Coffee"]] == ["Coffee"]
    book.refresh_from_db()
    book.pages = 200
    book.save()
    assert by_pages[100] == []
    assert [row.pk for row in by_pages[200]] == [book.pk]
    assert [row.pk for row in by_name["Coffee"]] == [book.pk]
    Book.objects.filter(name="Coffee").update(name="Cocoa", pages=300)
    assert [row.pages for row in by_name["Cocoa"]] == [300]
    assert [row.pk for row in by_pages[300]] == [book.pk]
    Product.objects.get(pk=book.pk).delete()
    assert by_name["Cocoa"] == [] == by_pages[300]


def test_a_column_that_the_database_computes(database: str, server: str) -> None:
    by_capitals = ModelDict(Place, key="name_in_capitals", many=True)
    assert by_capitals["TEA"] == []
    place = Place.objects.create(name="tea")
    assert [row.pk for row in by_capitals["TEA"]] == [place.pk]
    Place.objects.filter(pk=place.pk).update(name="coffee")
    assert by_capitals["TEA"] == []
    assert [row.pk for row in by_capitals["COFFEE"]] == [place.pk]


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_trigger_that_writes_other_values(database: str, server: str) -> None:
    """SQLite's triggers write by statements of their own."""
    by_worth = ModelDict(Stamp, key="worth", many=True)
    with connections[database].cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION shop_round() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.worth := NEW.worth / 10 * 10; RETURN NEW; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER shop_rounded BEFORE INSERT OR UPDATE ON shop_stamp"
            " FOR EACH ROW EXECUTE FUNCTION shop_round()"
        )
    try:
        assert by_worth[20] == []
        Stamp.objects.create(code="one", worth=23)
        assert [row.code for row in by_worth[20]] == ["one"]
        assert by_worth[40] == []
        Stamp.objects.filter(code="one").update(worth=45)
        assert by_worth[20] == []
        assert [row.code for row in by_worth[40]] == ["one"]
    finally:
        with connections[database].cursor() as cursor:
            cursor.execute("DROP FUNCTION shop_round CASCADE")


def test_text_that_the_database_compares_by_rules_of_its_own(database: str, server: str) -> None:
    connection = connections[database]
    table = "shop_stamp_of_any_case"
    collation = "shop_any_case"
    column = f'varchar(50) COLLATE "{collation}"'
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                f"CREATE COLLATION {collation} (provider = icu, locale = 'und-u-ks-level2',"
                " deterministic = false)"
            )
    else:
        column = "varchar(50) COLLATE NOCASE"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, word {column})")

    class Cased(models.Model):  # noqa: DJ008
        id = models.BigAutoField(primary_key=True)
        word = models.CharField(max_length=50)

        class Meta:
            app_label = "shop"
            db_table = table
            managed = False

    from django.apps import apps

    try:
        by_word = ModelDict(Cased, key="word", many=True)
        assert by_word["tea"] == []
        rows = Cased._default_manager
        rows.create(pk=1, word="Tea")
        rows.create(pk=2, word="tea")
        assert [row.pk for row in by_word["TEA"]] == [1, 2]
        rows.filter(pk=1).update(word="coffee")
        assert [row.pk for row in by_word["TEA"]] == [2]
        assert [row.pk for row in by_word["Coffee"]] == [1]
        found = by_word.get_many(["COFFEE", "Tea", "milk"])
        assert {key: [row.pk for row in rows] for key, rows in found.items()} == {
            "COFFEE": [1],
            "Tea": [2],
            "milk": [],
        }
        by_word.invalidate("tea")
    finally:
        del apps.all_models["shop"]["cased"]
        apps.clear_cache()
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {table}")
            if connection.vendor == "postgresql":
                cursor.execute(f"DROP COLLATION {collation}")
