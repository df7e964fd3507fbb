"""What MariaDB does in its own way, on a real server, on which the other tests run, too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from django.db import DatabaseError, OperationalError, connections, models, transaction
from django.db.models import Func

from redisdict import ModelDict
from tests.modelcache.elsewhere import elsewhere
from tests.modelcache.places import another_alias
from tests.shop.models import Product, Review, Stamp

pytestmark = [
    pytest.mark.deep,
    pytest.mark.parametrize("database", ["mariadb"], indirect=True),
]


def names(alias: str, pk: int) -> str:
    """The name that the database has, beneath Django."""
    with closing(connections[alias].connection.cursor()) as cursor:
        cursor.execute("SELECT name FROM shop_product WHERE id = %s", [pk])
        return str(cursor.fetchone()[0])


@contextmanager
def routine(alias: str, kind: str, sql: str) -> Iterator[None]:
    """A procedure or function, `brew`, while the block runs."""
    with connections[alias].cursor() as cursor:
        cursor.execute(f"CREATE {kind} {sql}")
    try:
        yield
    finally:
        with connections[alias].cursor() as cursor:
            cursor.execute(f"DROP {kind} brew")


class TestResultsThatComeLater:
    """The driver comes back with the first result, while the server executes what follows it."""

    def test_several_statements_in_one_text(
        self, database: str, products: ModelDict[Product], tea: Product
    ) -> None:
        text = (
            f"SELECT 1; SELECT SLEEP(0.3); UPDATE shop_product SET name = 'New' WHERE id = {tea.pk}"
        )
        with connections[database].cursor() as cursor:
            cursor.execute(text)
            elsewhere(lambda: products[tea.pk].name)
            assert cursor.fetchmany(1) == ((1,),)
            assert cursor.fetchmany(1) == ()
            assert cursor.nextset()
            assert list(cursor) == [(0,)]
            assert cursor.nextset()
            assert cursor.description is None
            assert cursor.rowcount == 1
            assert not cursor.nextset()
        seen = elsewhere(lambda: products[tea.pk].name)
        assert seen == products[tea.pk].name == names(database, tea.pk) == "New"

    def test_a_row_that_is_deleted_by_a_later_one(
        self, database: str, products: ModelDict[Product], tea: Product
    ) -> None:
        with connections[database].cursor() as cursor:
            cursor.execute("SELECT 1; SELECT SLEEP(0.3); DELETE FROM shop_product")
            elsewhere(lambda: products.get(tea.pk))
        assert elsewhere(lambda: products.get(tea.pk)) is None

    @pytest.mark.parametrize("way", ["CALL", "callproc"])
    def test_a_procedure_that_selects_before_it_writes(
        self, database: str, products: ModelDict[Product], tea: Product, way: str
    ) -> None:
        body = (
            "brew(pk bigint) BEGIN SELECT pk; DO SLEEP(0.3);"
            " UPDATE shop_product SET name = 'New' WHERE id = pk; END"
        )
        with (
            routine(database, "PROCEDURE", body),
            connections[database].cursor() as cursor,
        ):
            if way == "CALL":
                cursor.execute("CALL brew(%s)", [tea.pk])
            else:
                cursor.callproc("brew", [tea.pk])
            elsewhere(lambda: products[tea.pk].name)
            assert cursor.fetchall() == ((tea.pk,),)
        seen = elsewhere(lambda: products[tea.pk].name)
        assert seen == products[tea.pk].name == names(database, tea.pk) == "New"

    def test_a_commit_among_them(
        self, database: str, products: ModelDict[Product], tea: Product
    ) -> None:
        with connections[database].cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("UPDATE shop_product SET name = 'New'")
            cursor.execute("SELECT 1; SELECT SLEEP(0.3); COMMIT")
            elsewhere(lambda: products[tea.pk].name)
        seen = elsewhere(lambda: products[tea.pk].name)
        assert seen == products[tea.pk].name == names(database, tea.pk) == "New"

    def test_a_later_statement_that_is_refused(
        self, database: str, products: ModelDict[Product], tea: Product
    ) -> None:
        """It is raised where the driver raises it; and the cursor can be used again."""
        with connections[database].cursor() as cursor:
            cursor.execute("UPDATE shop_product SET name = 'New'; UPDATE nowhere SET x = 1")
            with pytest.raises(DatabaseError, match="nowhere"):
                cursor.nextset()
            cursor.execute("SELECT name FROM shop_product")
            assert cursor.fetchone() == ("New",)
            assert [column[0] for column in cursor.description] == ["name"]
            assert cursor.nextset() is None
        assert products[tea.pk].name == "New"
        assert products[tea.pk].name == "New"
        assert products.stats().hits > 0


def test_a_query_of_the_orms_that_calls_a_function(
    database: str, products: ModelDict[Product], tea: Product
) -> None:
    """Whose rows Django fetches until there are none."""
    body = (
        "brew(pk bigint) RETURNS bigint MODIFIES SQL DATA BEGIN"
        " UPDATE shop_stamp SET worth = worth + 1; RETURN pk; END"
    )
    stamps = ModelDict(Stamp)
    Stamp.objects.create(code="Tea")
    assert stamps["Tea"].worth == 0
    with routine(database, "FUNCTION", body):
        brewed = Product.objects.annotate(brewed=Func("pk", function="brew"))
        assert [product.brewed for product in brewed] == [tea.pk]
    assert stamps["Tea"].worth == 1


@pytest.mark.skipif(not hasattr(models, "DB_CASCADE"), reason="Django has it since 6.1")
def test_rows_that_the_database_deletes_and_the_transaction_does_not_see(
    database: str, server: str
) -> None:
    """At REPEATABLE READ a query finds the rows of its beginning, and a deletion those of now."""
    reviews = ModelDict(Review)
    product = Product.objects.create(name="Tea")
    with connections[database].cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    with transaction.atomic(using=database):
        assert not Review.objects.exists()
        made = elsewhere(lambda: Review.objects.create(text="good", product=product))
        assert elsewhere(lambda: reviews[made.pk]).text == "good"
        assert not Review.objects.exists()
        Product.objects.filter(name="Tea").delete()
    assert reviews.get(made.pk) is None


class TestTransactions:
    """Those of which Django knows nothing, and those that end without a word."""

    def _execute(self, alias: str, *statements: str) -> None:
        with connections[alias].cursor() as cursor:
            for sql in statements:
                cursor.execute(sql)

    def test_a_definition_commits_what_there_is(
        self, database: str, products: ModelDict[Product], tea: Product
    ) -> None:
        with transaction.atomic(using=database):
            tea.name = "New"
            tea.save()
            assert elsewhere(lambda: products[tea.pk]).name == "Tea"
            self._execute(database, "CREATE TABLE shop_passing (id integer)")
            assert elsewhere(lambda: products[tea.pk]).name == "New"
            tea.name = "Newer"
            tea.save()
        assert elsewhere(lambda: products[tea.pk]).name == "Newer"
        self._execute(database, "DROP TABLE shop_passing")

    def test_autocommit_that_is_off(
        self, database: str, products: ModelDict[Product], tea: Product
    ) -> None:
        update = "UPDATE shop_product SET name = 'New'"
        self._execute(database, "SET autocommit = 0", update)
        assert products[tea.pk].name == "New"
        assert elsewhere(lambda: products[tea.pk]).name == "Tea"
        self._execute(database, "COMMIT")
        assert elsewhere(lambda: products[tea.pk]).name == "New"
        Product.objects.update(name="Newer")
        assert elsewhere(lambda: products[tea.pk]).name == "New"
        self._execute(database, "SET autocommit = 1")
        assert elsewhere(lambda: products[tea.pk]).name == "Newer"

    def test_of_several_servers(
        self, database: str, products: ModelDict[Product], tea: Product
    ) -> None:
        self._execute(database, "XA START 'x'", "UPDATE shop_product SET name = 'New'")
        assert elsewhere(lambda: products[tea.pk]).name == "Tea"
        self._execute(database, "XA END 'x'", "XA PREPARE 'x'")
        assert elsewhere(lambda: products[tea.pk]).name == "Tea"
        self._execute(database, "XA COMMIT 'x'")
        assert elsewhere(lambda: products[tea.pk]).name == "New"

    def test_locked_tables(self, database: str, products: ModelDict[Product], tea: Product) -> None:
        self._execute(database, "SET autocommit = 0", "LOCK TABLES shop_product WRITE")
        Product.objects.filter(pk=tea.pk).update(name="New")
        self._execute(database, "COMMIT", "UNLOCK TABLES", "SET autocommit = 1")
        assert elsewhere(lambda: products[tea.pk]).name == "New"

    def test_a_deadlock_rolls_all_of_it_back(
        self, database: str, products: ModelDict[Product], tea: Product
    ) -> None:
        """The statements after it are of no transaction, or of another one."""
        milk = Product.objects.create(name="Milk")
        assert products[milk.pk].name == "Milk"
        holds, waits = threading.Event(), threading.Event()

        def other() -> None:
            with transaction.atomic(using=database):
                Product.objects.filter(pk=milk.pk).update(name="Milk of the other")
                # The lighter of two transactions is the victim.
                Product.objects.bulk_create(Product(name="x") for _ in range(50))
                holds.set()
                waits.wait(30)
                Product.objects.filter(pk=tea.pk).update(name="Tea of the other")
            connections[database].close()

        thread = threading.Thread(target=other)
        thread.start()
        assert holds.wait(30)
        self._execute(
            database, "BEGIN", f"UPDATE shop_product SET name = 'Mine' WHERE id = {tea.pk}"
        )
        waits.set()
        with pytest.raises(OperationalError, match="1213"):
            Product.objects.filter(pk=milk.pk).update(name="Mine")
        thread.join()
        assert elsewhere(lambda: products[tea.pk]).name == "Tea of the other"
        assert elsewhere(lambda: products[milk.pk]).name == "Milk of the other"
        Product.objects.filter(pk=tea.pk).update(name="Alone")
        assert elsewhere(lambda: products[tea.pk]).name == "Alone"
        self._execute(database, "ROLLBACK")


def test_a_temporary_table_of_the_same_name(
    database: str, products: ModelDict[Product], tea: Product
) -> None:
    """Only its connection sees it, and what that reads isn't kept for others."""
    milk = Product.objects.create(name="Milk")
    with connections[database].cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE shop_product AS SELECT * FROM shop_product")
        cursor.execute("UPDATE shop_product SET name = 'Passing'")
    assert products[milk.pk].name == "Passing"
    assert elsewhere(lambda: products[milk.pk]).name == "Milk"
    connections[database].close()


class TestReadUncommitted:
    """Such a connection reads what may never be committed: nothing of that is kept."""

    @contextmanager
    def _held(self, alias: str, pk: int) -> Iterator[None]:
        """Another connection's transaction has changed the row, and is rolled back in the end."""
        changed, over = threading.Event(), threading.Event()

        def change() -> None:
            try:
                with transaction.atomic(using=alias):
                    Product.objects.filter(pk=pk).update(name="Never")
                    changed.set()
                    over.wait(30)
                    transaction.set_rollback(True, using=alias)
            finally:
                changed.set()
                connections[alias].close()

        thread = threading.Thread(target=change)
        thread.start()
        assert changed.wait(30)
        yield
        over.set()
        thread.join()

    @pytest.mark.parametrize(
        "sql",
        [
            "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
            "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
            "SET tx_isolation = 'READ-UNCOMMITTED'",
            "SELECT 1; SET @@session.tx_isolation := 'read-uncommitted'",
        ],
    )
    def test_by_a_statement(
        self, database: str, server: str, products: ModelDict[Product], sql: str
    ) -> None:
        tea = Product.objects.create(name="Tea")
        assert products.get(-1) is None
        with self._held(database, tea.pk):
            with connections[database].cursor() as cursor:
                cursor.execute(sql)
            assert products[tea.pk].name == "Never"
        connections[database].close()
        assert products[tea.pk].name == "Tea"

    def test_by_the_settings(self, database: str, server: str, mariadb_alias: str) -> None:
        tea = Product.objects.create(name="Tea")
        options = connections.settings[database]["OPTIONS"]
        with another_alias(
            "dirty", mariadb_alias, OPTIONS={**options, "isolation_level": "read uncommitted"}
        ) as dirty:
            dirty_products = ModelDict(Product, database=dirty)
            with self._held(database, tea.pk):
                assert dirty_products[tea.pk].name == "Never"
            assert ModelDict(Product)[tea.pk].name == "Tea"
            assert dirty_products[tea.pk].name == "Tea"

    def test_other_levels_are_kept(
        self, database: str, products: ModelDict[Product], tea: Product
    ) -> None:
        with connections[database].cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SET tx_isolation = 'READ-COMMITTED'")
        Product.objects.update(name="New")
        assert products[tea.pk].name == "New"
        before = products.stats().hits
        assert products[tea.pk].name == "New"
        assert products.stats().hits == before + 1
