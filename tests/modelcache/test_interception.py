"""Statements that no manager and no signal knows of are noticed all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext, suppress

import pytest
from django.db import connections, models, transaction
from django.test.utils import isolate_apps

from redisdict import ModelDict
from redisdict.modelcache.invalidation import relations
from tests.modelcache.counting import queries
from tests.modelcache.elsewhere import elsewhere
from tests.shop.models import Product, Stamp
from tests.shop.spellings import Word

#: Statements that turn Tea into Coffee. Those of each database, and those of both.
BOTH = {
    "update": "UPDATE shop_product SET name = 'Coffee' WHERE name = 'Tea'",
    "capitals and quotes": "update \"shop_product\" Set name = 'Coffee'",
    "a comment before": "/* by hand */ -- really\n UPDATE shop_product SET name = 'Coffee'",
    "a comment between": "UPDATE /* which */ shop_product SET name = 'Coffee'",
    "an expression": "WITH other AS (SELECT 'Coffee' AS name)"
    " UPDATE shop_product SET name = (SELECT name FROM other)",
    "a view": "UPDATE shop_names SET name = 'Coffee'",
    "a trigger": "INSERT INTO shop_tag (name) VALUES ('Coffee')",
}
POSTGRESQL = {
    "only": "UPDATE ONLY shop_product SET name = 'Coffee'",
    "a schema": "UPDATE public.\"shop_product\" AS p SET name = 'Coffee'",
    "several statements": "SELECT 1; UPDATE shop_product SET name = 'Coffee'; SELECT 2",
    "within a query": "WITH changed AS (UPDATE shop_product SET name = 'Coffee' RETURNING *)"
    " SELECT * FROM changed",
    "within an insertion": "WITH changed AS (UPDATE shop_product SET name = 'Coffee' RETURNING *)"
    " INSERT INTO shop_category (name) SELECT name FROM changed",
    "merge": "MERGE INTO shop_product p USING (SELECT 'Tea' AS old) o ON p.name = o.old"
    " WHEN MATCHED THEN UPDATE SET name = 'Coffee'",
    "an anonymous block": "DO $$ BEGIN UPDATE shop_product SET name = 'Coffee'; END $$",
    "a procedure": "CALL shop_brew()",
    "a function": "SELECT shop_brewed('Coffee')",
    "a function that calls one": "SELECT * FROM shop_asked()",
    "a function by dynamic SQL": "SELECT shop_composed()",
    "explain analyze": "EXPLAIN ANALYZE UPDATE shop_product SET name = 'Coffee'",
    "a rule": "INSERT INTO shop_stamp (code, worth) VALUES ('Coffee', 1)",
}
SQLITE = {
    "or": "UPDATE OR REPLACE shop_product SET name = 'Coffee'",
    "brackets": "UPDATE [shop_product] SET name = 'Coffee'",
    "replace": "REPLACE INTO shop_product (id, name, description, price, stock, is_active)"
    " SELECT id, 'Coffee', description, price, stock, is_active FROM shop_product",
}

MADE_ON_POSTGRESQL = """
CREATE FUNCTION shop_on_tag() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN UPDATE shop_product SET name = NEW.name; RETURN NEW; END $$;
CREATE TRIGGER shop_tagged AFTER INSERT ON shop_tag FOR EACH ROW EXECUTE FUNCTION shop_on_tag();
CREATE VIEW shop_names AS SELECT id, name FROM shop_product;
CREATE PROCEDURE shop_brew() LANGUAGE sql AS $$ UPDATE shop_product SET name = 'Coffee' $$;
CREATE FUNCTION shop_brewed(text) RETURNS void LANGUAGE sql
AS $$ UPDATE shop_product SET name = $1 $$;
CREATE FUNCTION shop_asked() RETURNS int LANGUAGE plpgsql
AS $$ BEGIN PERFORM shop_brewed('Coffee'); RETURN 1; END $$;
CREATE FUNCTION shop_composed() RETURNS void LANGUAGE plpgsql AS $$
BEGIN EXECUTE 'UPDATE shop_' || 'product SET name = ''Coffee'''; END $$;
CREATE FUNCTION shop_doubled(int) RETURNS int LANGUAGE sql AS $$ SELECT $1 * 2 $$;
CREATE RULE shop_stamped AS ON INSERT TO shop_stamp
DO ALSO UPDATE shop_product SET name = NEW.code;
"""
DROPPED_ON_POSTGRESQL = """
DROP TRIGGER shop_tagged ON shop_tag; DROP VIEW shop_names; DROP PROCEDURE shop_brew;
DROP FUNCTION shop_on_tag, shop_asked, shop_brewed, shop_composed, shop_doubled;
DROP RULE shop_stamped ON shop_stamp
"""
MADE_ON_SQLITE = (
    "CREATE TRIGGER shop_tagged AFTER INSERT ON shop_tag"
    " BEGIN UPDATE shop_product SET name = NEW.name; END",
    "CREATE VIEW shop_names AS SELECT id, name FROM shop_product",
    "CREATE TRIGGER shop_named INSTEAD OF UPDATE ON shop_names"
    " BEGIN UPDATE shop_product SET name = NEW.name WHERE id = NEW.id; END",
)
DROPPED_ON_SQLITE = ("DROP TRIGGER shop_tagged", "DROP VIEW shop_names")


@pytest.fixture
def furnished(database: str) -> Iterator[str]:
    """The database has triggers, views, functions, rules of its own."""
    is_postgresql = connections[database].vendor == "postgresql"
    with connections[database].cursor() as cursor:
        for sql in [MADE_ON_POSTGRESQL] if is_postgresql else MADE_ON_SQLITE:
            cursor.execute(sql)
    yield database
    with connections[database].cursor() as cursor:
        for sql in [DROPPED_ON_POSTGRESQL] if is_postgresql else DROPPED_ON_SQLITE:
            cursor.execute(sql)


EACH = pytest.mark.parametrize(
    ("database", "sql"),
    [
        pytest.param(database, sql, id=f"{database}, {name}")
        for database, own in (("sqlite", SQLITE), ("postgres", POSTGRESQL))
        for name, sql in (BOTH | own).items()
    ],
    indirect=["database"],
)


@EACH
def test_a_statement_outside_a_transaction(
    sql: str, furnished: str, tea: Product, products: ModelDict[Product]
) -> None:
    with connections[furnished].cursor() as cursor:
        cursor.execute(sql)
    assert products[tea.pk].name == "Coffee"
    with queries(furnished) as asked:
        assert products[tea.pk].name == "Coffee"
    assert not asked, "a barrier was left behind"


@EACH
def test_a_statement_in_a_transaction(
    sql: str, furnished: str, tea: Product, products: ModelDict[Product]
) -> None:
    with transaction.atomic(using=furnished), connections[furnished].cursor() as cursor:
        cursor.execute(sql)
        assert products[tea.pk].name == "Coffee"  # the own change
        assert elsewhere(lambda: products[tea.pk].name) == "Tea"
    assert products[tea.pk].name == "Coffee"
    with queries(furnished) as asked:
        assert products[tea.pk].name == "Coffee"
    assert not asked, "a barrier was left behind"


def test_a_transaction_of_statements(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """Django knows nothing of it: it takes the connection to be in autocommit mode."""
    with connections[database].cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE shop_product SET name = 'Coffee'")
        assert products[tea.pk].name == "Coffee"
        assert elsewhere(lambda: products[tea.pk].name) == "Tea"
        cursor.execute("COMMIT")
    assert products[tea.pk].name == "Coffee"
    with connections[database].cursor() as cursor:
        cursor.execute("BEGIN")
        Product.plain.update(name="Milk")
        assert products[tea.pk].name == "Milk"
        cursor.execute("ROLLBACK")
    assert products[tea.pk].name == "Coffee"
    with queries(database) as asked:
        assert products[tea.pk].name == "Coffee"
    assert not asked, asked.captured_queries


def test_a_transaction_that_begins_amid_several_statements(
    postgres_alias: str, server: str
) -> None:
    from django.test import override_settings

    from tests.modelcache.conftest import ShopRouter, chosen

    with override_settings(DATABASE_ROUTERS=[ShopRouter()]):
        chosen.append(postgres_alias)
        try:
            products = ModelDict(Product)
            tea = Product.objects.create(name="Tea")
            assert products[tea.pk].name == "Tea"
            with connections[postgres_alias].cursor() as cursor:
                cursor.execute("BEGIN; UPDATE shop_product SET name = 'Coffee'")
                assert elsewhere(lambda: products[tea.pk].name) == "Tea"
                assert elsewhere(lambda: products[tea.pk].name) == "Tea"
                cursor.execute("COMMIT; SELECT 1")
            assert elsewhere(lambda: products[tea.pk].name) == "Coffee"
            tea.delete()
        finally:
            chosen.remove(postgres_alias)


def test_many_at_once(database: str, tea: Product, products: ModelDict[Product]) -> None:
    with connections[database].cursor() as cursor:
        cursor.executemany(
            "UPDATE shop_product SET name = %s WHERE id = %s", [("Coffee", tea.pk), ("Milk", 0)]
        )
    assert products[tea.pk].name == "Coffee"


def test_other_ways_to_execute(database: str, tea: Product, products: ModelDict[Product]) -> None:
    """What Django's `execute_wrappers` don't see."""
    with connections[database].cursor() as cursor:
        if connections[database].vendor == "sqlite":
            cursor.executescript("UPDATE shop_product SET name = 'Coffee'; SELECT 1")
        else:
            cursor.execute(
                "CREATE FUNCTION shop_brew(text) RETURNS void LANGUAGE sql"
                " AS 'UPDATE shop_product SET name = $1'"
            )
            list(cursor.stream("SELECT shop_brew('Coffee')"))
            cursor.execute("DROP FUNCTION shop_brew")
    assert products[tea.pk].name == "Coffee"


def test_copy(postgres_alias: str, server: str) -> None:
    stamps = ModelDict(Stamp, database=postgres_alias, absent_timeout=60)
    assert "red" not in stamps
    with connections[postgres_alias].cursor() as cursor:
        with cursor.copy("COPY shop_stamp (code, worth) FROM STDIN") as copy:
            copy.write_row(("red", 5))
        assert stamps["red"].worth == 5
        cursor.execute("DELETE FROM shop_stamp")
    assert "red" not in stamps


@pytest.mark.parametrize("how", ["own", "copied", "atomic", "begun"])
def test_a_copy_changes_rows_when_it_ends(how: str, postgres_alias: str, server: str) -> None:
    """What others read meanwhile, and find absent, isn't believed afterwards."""
    stamps = ModelDict(Stamp, database=postgres_alias, absent_timeout=60)
    connection = connections[postgres_alias]
    if how == "copied":
        connection = connection.copy()
    sql = "COPY shop_stamp (code, worth) FROM STDIN"
    seen = []
    try:
        with connection.cursor() as cursor:
            if how == "begun":
                cursor.execute("BEGIN")
            own = transaction.atomic(using=postgres_alias) if how == "atomic" else nullcontext()
            with own, cursor.copy(sql) as copy:
                copy.write_row(("red", 5))
                seen += [elsewhere(lambda: "red" in stamps) for _ in range(2)]
            if how == "begun":
                cursor.execute("COMMIT")
            seen.append("red" in stamps)
            with suppress(ZeroDivisionError), cursor.copy(sql) as copy:
                copy.write_row(("blue", 1 / 0))
            seen.append("blue" in stamps)
        assert seen == [False, False, True, False]
        assert connection.get_autocommit()
        assert not connection.in_atomic_block
    finally:
        connection.close()
        Stamp.objects.using(postgres_alias).all().delete()
    assert "red" not in stamps


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_stream_changes_rows_when_it_is_iterated(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    sql = "UPDATE shop_product SET name = 'Coffee' RETURNING name"
    with connections[database].cursor() as cursor:
        rows = cursor.stream(sql)
        assert elsewhere(lambda: products[tea.pk].name) == "Tea"
        assert elsewhere(lambda: products[tea.pk].name) == "Tea"
        assert list(rows) == [("Coffee",)]
        assert products[tea.pk].name == "Coffee"
        assert list(cursor.stream("SELECT name FROM shop_product")) == [("Coffee",)]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_script_commits_the_transaction(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """As the driver's documentation says; what it does itself is visible at once."""
    other = Product.objects.create(name="Milk")
    assert products[other.pk].name == "Milk"
    with transaction.atomic(using=database), connections[database].cursor() as cursor:
        Product.plain.filter(pk=tea.pk).update(name="Coffee")
        cursor.executescript(f"UPDATE shop_product SET name = 'Cocoa' WHERE id = {other.pk}")
        assert elsewhere(lambda: products[tea.pk].name) == "Coffee"
        assert elsewhere(lambda: products[other.pk].name) == "Cocoa"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT name, upper(name), count(*) FROM shop_product GROUP BY name",
        "WITH RECURSIVE t AS (SELECT id FROM shop_product) SELECT * FROM t",
        "INSERT INTO shop_category (name) SELECT name FROM shop_product",
        "UPDATE shop_category SET name = (SELECT max(name) FROM shop_product)",
        "DELETE FROM shop_category WHERE id IN (SELECT id FROM shop_product)",
        "SAVEPOINT a",
        "EXPLAIN SELECT * FROM shop_product",
    ],
)
def test_what_changes_nothing_costs_nothing(
    sql: str, furnished: str, tea: Product, products: ModelDict[Product]
) -> None:
    with transaction.atomic(using=furnished), connections[furnished].cursor() as cursor:
        cursor.execute(sql)
    with queries(furnished) as asked:
        assert products[tea.pk].name == "Tea"
    assert not asked, asked.captured_queries


def test_a_lock_and_a_function_that_only_reads(postgres_alias: str, server: str) -> None:
    stamps = ModelDict(Stamp, database=postgres_alias)
    with connections[postgres_alias].cursor() as cursor:
        cursor.execute("CREATE FUNCTION shop_twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1*2'")
        cursor.execute("INSERT INTO shop_stamp (code, worth) VALUES ('red', 5)")
        assert stamps["red"].worth == 5
        with transaction.atomic(using=postgres_alias):
            cursor.execute("SELECT shop_twice(worth) FROM shop_stamp FOR NO KEY UPDATE")
        with queries(postgres_alias) as asked:
            assert stamps["red"].worth == 5
        assert not asked
        cursor.execute("DELETE FROM shop_stamp")
        cursor.execute("DROP FUNCTION shop_twice")


def test_what_made_tables_be_dropped_is_counted(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    with connections[database].cursor() as cursor:
        for _ in range(2):
            cursor.execute("UPDATE shop_product SET name = 'Coffee'")
    stats = products.stats()
    assert stats.dropped == 2
    [(place, count)] = stats.dropped_by.items()
    assert place.startswith("tests/modelcache/test_interception.py:")
    assert place.endswith(" UPDATE")
    assert count == 2
    Product.plain.update(name="Milk")
    assert products.stats().dropped == 2


def test_a_view_of_the_table_costs_its_changes_nothing(
    furnished: str, tea: Product, products: ModelDict[Product]
) -> None:
    """They tell their rows as they do without it."""
    other = Product.objects.create(name="Milk")
    assert products[other.pk].name == "Milk"
    Product.plain.filter(pk=tea.pk).update(name="Coffee")
    with queries(furnished) as asked:
        assert products[other.pk].name == "Milk"
    assert not asked
    assert products[tea.pk].name == "Coffee"


@isolate_apps("tests.shop")
def test_a_cached_view(furnished: str, tea: Product, server: str) -> None:
    class Named(models.Model):
        name = models.CharField(max_length=100)

        class Meta:
            app_label = "shop"
            db_table = "shop_names"
            managed = False

        def __str__(self) -> str:
            return self.name

    names = ModelDict(Named, database=furnished)
    assert names[tea.pk].name == "Tea"
    Product.plain.filter(pk=tea.pk).update(name="Coffee")
    assert names[tea.pk].name == "Coffee"
    relations.forget()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_statement_is_over_when_its_rows_are_fetched(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """What SQLite returns rows for is visible to others after the last of them only."""
    sql = "UPDATE shop_product SET name = 'Coffee' RETURNING id, name"
    with connections[database].cursor() as cursor:
        cursor.execute(sql)
        assert elsewhere(lambda: products[tea.pk].name) == "Coffee"
        assert cursor.fetchone() == (tea.pk, "Coffee")
        assert cursor.fetchone() is None
        assert [column[0] for column in cursor.description] == ["id", "name"]
        cursor.execute(sql)
        assert list(cursor) == [(tea.pk, "Coffee")]
        cursor.execute(sql)
        assert cursor.fetchmany(5) == [(tea.pk, "Coffee")]
        assert cursor.rowcount == 1
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]
        cursor.executemany("UPDATE shop_product SET name = %s", [("Milk",)])
        assert cursor.fetchall() == []
    assert products[tea.pk].name == "Milk"


@pytest.fixture
def nicknames(database: str) -> Iterator[None]:
    """Words whose nickname is that of a stamp, and goes with it."""
    with connections[database].cursor() as cursor:
        cursor.execute(
            "CREATE TABLE shop_word (spelling varchar(10) PRIMARY KEY, nick varchar(50) UNIQUE,"
            " worth integer, FOREIGN KEY (nick) REFERENCES shop_stamp (code)"
            " ON UPDATE CASCADE ON DELETE CASCADE)"
        )
    yield
    with connections[database].cursor() as cursor:
        cursor.execute("DROP TABLE shop_word")


#: What an INSERT or UPDATE does with a row that is in its way, by databases.
IN_THE_WAY = {
    "postgresql": ["ON CONFLICT (code) DO UPDATE SET code = 'b'"],
    "sqlite": ["ON CONFLICT (code) DO UPDATE SET code = 'b'", "OR REPLACE"],
    "mysql": ["ON DUPLICATE KEY UPDATE code = 'b'", "REPLACE"],
}


def test_what_the_database_does_with_rows_that_follow_one_in_the_way(
    database: str, server: str, nicknames: None
) -> None:
    words, stamps = ModelDict(Word), ModelDict(Stamp)
    for way in IN_THE_WAY[connections[database].vendor]:
        Stamp.objects.create(code="a", worth=1)
        Word.objects.create(spelling="x", nick="a", worth=1)
        assert words["x"].nick == stamps["a"].code == "a"
        verb = {"OR REPLACE": "INSERT OR REPLACE", "REPLACE": "REPLACE"}.get(way, "INSERT")
        rest = way if verb == "INSERT" else ""
        with connections[database].cursor() as cursor:
            cursor.execute(f"{verb} INTO shop_stamp (code, worth) VALUES ('a', 1) {rest}")
            cursor.execute("SELECT nick FROM shop_word")
            found = cursor.fetchone()
        seen = words.get("x")
        assert (seen and seen.nick) == (found and found[0]), way
        Stamp.objects.all().delete()
