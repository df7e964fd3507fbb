"""Changes that go ways which no manager and no signal knows are noticed all the same."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from django.db import connections, models, transaction
from django.db.models.functions import Rank
from django.db.models.signals import post_save
from django.test.utils import isolate_apps

from redisdict import ModelDict
from redisdict.modelcache.invalidation import relations
from redisdict.modelcache.invalidation.effects import forget_catalog
from tests.modelcache.beneath import change_unseen
from tests.modelcache.counting import queries
from tests.modelcache.elsewhere import elsewhere
from tests.shop.models import Book, Category, Price, Product, Stamp, Tag

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


def test_a_stream_changes_rows_when_it_is_iterated(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    if connections[database].vendor != "postgresql":
        return
    sql = "UPDATE shop_product SET name = 'Coffee' RETURNING name"
    with connections[database].cursor() as cursor:
        rows = cursor.stream(sql)
        assert elsewhere(lambda: products[tea.pk].name) == "Tea"
        assert elsewhere(lambda: products[tea.pk].name) == "Tea"
        assert list(rows) == [("Coffee",)]
        assert products[tea.pk].name == "Coffee"
        assert list(cursor.stream("SELECT name FROM shop_product")) == [("Coffee",)]


def test_a_script_commits_the_transaction(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """As the driver's documentation says; what it does itself is visible at once."""
    if connections[database].vendor != "sqlite":
        return
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


def _plain_update(tea: Product) -> None:
    Product.plain.filter(name="Tea").update(name="Coffee")


def _plain_bulk_update(tea: Product) -> None:
    tea.name = "Coffee"
    Product.plain.bulk_update([tea], ["name"])


def _plain_bulk_create(tea: Product) -> None:
    tea.name = "Coffee"
    Product.plain.bulk_create(
        [tea], update_conflicts=True, unique_fields=["id"], update_fields=["name"]
    )


def _update_or_create(tea: Product) -> None:
    Product.plain.update_or_create(pk=tea.pk, defaults={"name": "Coffee"})


def _related_update(tea: Product) -> None:
    category = Category.objects.create(name="Drinks")
    Product.plain.filter(pk=tea.pk).update(category=category)
    category.product_set.update(name="Coffee")  # type: ignore[attr-defined]  # a related manager


def _save_without_signals(tea: Product) -> None:
    tea.name = "Coffee"
    tea.save_base(raw=True)


@pytest.mark.parametrize(
    "change",
    [
        _plain_update,
        _plain_bulk_update,
        _plain_bulk_create,
        _update_or_create,
        _related_update,
        _save_without_signals,
    ],
)
@pytest.mark.parametrize("is_atomic", [False, True])
def test_a_plain_manager_tells_which_rows(
    change: Callable[[Product], None],
    is_atomic: bool,
    database: str,
    tea: Product,
    products: ModelDict[Product],
) -> None:
    other = Product.objects.create(name="Milk")
    assert products[other.pk].name == "Milk"
    if is_atomic:
        with transaction.atomic(using=database):
            change(tea)
    else:
        change(tea)
    with queries(database) as asked:
        assert products[other.pk].name == "Milk"
    assert not asked, asked.captured_queries
    assert products[tea.pk].name == "Coffee"


def test_a_change_by_another_field_asks_nothing_more(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """The statement itself tells which rows it has changed; in a transaction as Django's own."""
    milk = Product.objects.create(name="Milk", stock=1)
    books = [Book.objects.create(name="Book", pages=n) for n in range(3)]
    Price.objects.create(product=tea, currency="EUR", amount=1)
    prices = ModelDict(Price)
    cached_books = ModelDict(Book)
    assert products.get_many([tea.pk, milk.pk])
    assert cached_books.get_many([one.pk for one in books])
    assert prices[tea.pk, "EUR"].amount == 1
    with transaction.atomic(using=database), queries(database) as asked:
        assert Product.plain.filter(name="Tea").update(name="Coffee") == 1
        assert Product.plain.filter(name="Nothing").update(name="Coffee") == 0
        assert Price.objects.filter(amount__lt=5).update(amount=7) == 1
        assert Book.objects.filter(pages__gt=0).update(pages=10) == 2
        assert Product.plain.filter(stock=1)._raw_delete(database) == 1
    assert len(asked) == 5, asked.captured_queries
    with queries(database) as asked:
        assert cached_books[books[0].pk].pages == 0
    assert not asked
    assert products[tea.pk].name == "Coffee"
    assert prices[tea.pk, "EUR"].amount == 7
    assert cached_books[books[1].pk].pages == 10
    assert milk.pk not in products


@pytest.mark.parametrize("is_atomic", [False, True])
def test_a_deletion_without_signals(
    is_atomic: bool, database: str, tea: Product, products: ModelDict[Product]
) -> None:
    other = Product.objects.create(name="Milk")
    assert products[other.pk].name == "Milk"
    if is_atomic:
        with transaction.atomic(using=database):
            Product.plain.filter(name="Tea")._raw_delete(database)
    else:
        Product.plain.filter(name="Tea")._raw_delete(database)
    assert tea.pk not in products
    with queries(database) as asked:
        assert products[other.pk].name == "Milk"
    assert not asked, asked.captured_queries


def test_the_first_statement_of_a_connection_tells_its_rows(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    other = Product.objects.create(name="Milk")
    assert products[other.pk].name == "Milk"
    elsewhere(lambda: Product.plain.filter(name="Tea").update(name="Coffee"))
    with queries(database) as asked:
        assert products[other.pk].name == "Milk"
    assert not asked, asked.captured_queries
    assert products[tea.pk].name == "Coffee"


def test_the_first_statement_of_a_process(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """Nothing is known of the database, and no connection is open."""
    forget_catalog(connections[database])
    connections[database].close()
    Product.plain.filter(name="Tea").update(name="Coffee")
    assert products[tea.pk].name == "Coffee"
    forget_catalog(connections[database])
    connections[database].close()
    Product.plain.filter(name="Coffee").delete()
    assert tea.pk not in products


@isolate_apps("tests.shop")
def test_a_second_model_of_the_table(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    class Shown(models.Model):
        name = models.CharField(max_length=100)

        class Meta:
            app_label = "shop"
            db_table = "shop_product"
            managed = False

        def __str__(self) -> str:
            return self.name

    other = Product.objects.create(name="Milk")
    assert products[other.pk].name == "Milk"
    Shown._base_manager.using(database).filter(name="Tea").update(name="Coffee")
    with queries(database) as asked:
        assert products[other.pk].name == "Milk"
    assert not asked, asked.captured_queries
    assert products[tea.pk].name == "Coffee"
    shown = Shown._base_manager.using(database).get(pk=tea.pk)
    shown.delete(using=database)
    assert tea.pk not in products
    relations.forget()


@isolate_apps("tests.shop")
def test_a_second_model_with_another_key(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """Which row of the one is which of the other isn't known: all count as changed."""

    class BySlug(models.Model):
        slug = models.SlugField(primary_key=True)
        name = models.CharField(max_length=100)

        class Meta:
            app_label = "shop"
            db_table = "shop_product"
            managed = False

        def __str__(self) -> str:
            return self.name

    Product.plain.update(slug="tea")
    assert products[tea.pk].name == "Tea"
    BySlug._base_manager.using(database).filter(pk="tea").update(name="Coffee")
    assert products[tea.pk].name == "Coffee"
    relations.forget()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_commit_amid_an_atomic_block(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """What comes after it in the block is visible to others at once."""
    with contextlib.suppress(Exception), transaction.atomic(using=database):
        with connections[database].cursor() as cursor:
            cursor.execute("COMMIT")
        Product.plain.filter(pk=tea.pk).update(name="Coffee")
        assert elsewhere(lambda: products[tea.pk].name) == "Coffee"
    assert products[tea.pk].name == "Coffee"


def test_others_wrappers(database: str, tea: Product, products: ModelDict[Product]) -> None:
    """One that is there for a while takes itself away, and whoever replaces the list loses."""
    connection = connections[database]
    connection.close()
    seen = []

    def look(execute: Callable[..., Any], *arguments: Any) -> Any:
        seen.append(arguments[0])
        return execute(*arguments)

    with connection.execute_wrapper(look), connection.cursor() as cursor:
        cursor.execute("UPDATE shop_product SET name = 'Coffee'")
    assert seen
    assert products[tea.pk].name == "Coffee"
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_product SET name = 'Milk'")
    assert products[tea.pk].name == "Milk"


def test_a_wrapper_that_changes_the_table_itself(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    """Amid a change of another row, of which the ORM tells."""
    other = Product.objects.create(name="Milk")
    assert products[other.pk].name == "Milk"
    connection = connections[database]
    raw = f"UPDATE shop_product SET name = 'Cocoa' WHERE id = {other.pk}"

    def audit(execute: Callable[..., Any], sql: Any, *arguments: Any) -> Any:
        if sql != raw and sql.startswith("UPDATE"):
            with connection.cursor() as cursor:
                cursor.execute(raw)
        return execute(sql, *arguments)

    with connection.execute_wrapper(audit):
        Product.plain.filter(pk=tea.pk).update(name="Coffee")
    assert products[other.pk].name == "Cocoa"
    assert products[tea.pk].name == "Coffee"


def test_a_copy_of_a_connection(database: str, tea: Product, products: ModelDict[Product]) -> None:
    copied = connections[database].copy()
    with copied.cursor() as cursor:
        cursor.execute("UPDATE shop_product SET name = 'Coffee'")
    copied.close()
    assert products[tea.pk].name == "Coffee"


def test_without_autocommit(database: str, tea: Product, products: ModelDict[Product]) -> None:
    connection = connections[database]
    connection.set_autocommit(False)
    try:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE shop_product SET name = 'Coffee'")
        assert products[tea.pk].name == "Coffee"
        assert elsewhere(lambda: products[tea.pk].name) == "Tea"
        connection.commit()
        assert elsewhere(lambda: products[tea.pk].name) == "Coffee"
        with connection.cursor() as cursor:
            cursor.execute("UPDATE shop_product SET name = 'Milk'")
        connection.rollback()
    finally:
        connection.set_autocommit(True)
    assert products[tea.pk].name == "Coffee"


def test_a_statement_that_fails_leaves_no_barrier(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    with pytest.raises(Exception, match="nowhere"), connections[database].cursor() as cursor:
        cursor.execute("UPDATE shop_product SET nowhere = 1")
    assert products[tea.pk].name == "Tea"
    with queries(database) as asked:
        assert products[tea.pk].name == "Tea"
    assert not asked, asked.captured_queries


def test_a_signal_sent_by_hand(database: str, tea: Product, products: ModelDict[Product]) -> None:
    """For a change that went below Django; whatever it leaves out."""
    change_unseen(database, "UPDATE shop_product SET name = 'Coffee'")
    post_save.send(Product, instance=tea)
    assert products[tea.pk].name == "Coffee"
    change_unseen(database, "UPDATE shop_product SET name = 'Milk'")
    post_save.send(sender=Product, instance=tea, created=False, using=database)
    assert products[tea.pk].name == "Milk"
    post_save.send(sender=Product)
    post_save.send(sender=Product, instance=Product(name="new"))
    models.signals.m2m_changed.send(sender=Product.tags.through, instance=tea, action="post_add")
    models.signals.m2m_changed.send(sender=Product.tags.through)


def test_muted_signals(database: str, tea: Product, products: ModelDict[Product]) -> None:
    receivers = post_save.receivers
    post_save.receivers = []
    post_save.sender_receivers_cache.clear()
    try:
        tea.name = "Coffee"
        tea.save()
    finally:
        post_save.receivers = receivers
        post_save.sender_receivers_cache.clear()
    assert products[tea.pk].name == "Coffee"


def test_a_row_taken_for_absent(database: str, server: str) -> None:
    """An insertion outside a transaction, whose primary key the database chooses."""
    tags = ModelDict(Tag, database=database, absent_timeout=60)
    newest = Tag.objects.using(database).create(name="one").pk
    assert newest + 1 not in tags
    assert Tag.objects.using(database).create(name="two").pk == newest + 1
    assert tags[newest + 1].name == "two"


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


def test_rows_chosen_in_ways_that_can_not_be_locked(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    ranked = Product.plain.annotate(
        rank=models.Window(Rank(), order_by="name"), many=models.Count("tags")
    )
    ranked.filter(rank=1).update(name="Coffee")
    assert products[tea.pk].name == "Coffee"
    Product.plain.distinct().filter(category__name=None).update(name="Milk")
    assert products[tea.pk].name == "Milk"
    Product.plain.filter(pk__in=Product.plain.filter(name="Milk")).delete()
    assert tea.pk not in products
