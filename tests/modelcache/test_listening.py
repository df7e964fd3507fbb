"""What raw SQL and other programs change is removed when PostgreSQL tells of it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from redisdict import ModelDict
from redisdict.modelcache import triggers
from redisdict.modelcache.listening import Listener
from tests.modelcache.counting import queries
from tests.shop.models import Book, Price, Product, Stamp

pytestmark = pytest.mark.parametrize("database", ["postgres"], indirect=True)


@pytest.fixture
def raw(database: str) -> Iterator[psycopg.Connection[Any]]:
    """Another program's connection."""
    settings = connections[database].settings_dict
    with psycopg.connect(
        host=settings["HOST"], user=settings["USER"], dbname=settings["NAME"], autocommit=True
    ) as connection:
        yield connection


@pytest.fixture
def listener(
    database: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], None]]:
    """Creates the triggers of what has a dict by then, and begins to listen."""
    monkeypatch.setattr("redisdict.modelcache.listening.IDLE_S", 0.1)
    monkeypatch.setattr("redisdict.modelcache.listening.PAUSE_S", 0.1)
    is_over = threading.Event()
    threads: list[threading.Thread] = []

    def listen() -> None:
        try:
            Listener(database).run(is_over.is_set)
        finally:
            connections.close_all()

    def begin() -> None:
        call_command("modeldict", "create", database=database, stdout=io.StringIO())
        threads.append(threading.Thread(target=listen))
        threads[0].start()
        eventually(lambda: is_listened_to(database))

    yield begin
    is_over.set()
    for thread in threads:
        thread.join()
    call_command("modeldict", "drop", database=database, stdout=io.StringIO())


def is_listened_to(database: str) -> bool:
    with connections[database].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE query IN (%s, %s)", LISTENING)
        return bool(cursor.fetchone()[0])


LISTENING = ("LISTEN redisdict", "SELECT 1")


def eventually(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_every_kind_of_change(
    database: str, raw: psycopg.Connection[Any], listener: Callable[[], None]
) -> None:
    products = ModelDict(Product, absent_timeout=60)
    prices, stamps = ModelDict(Price), ModelDict(Stamp)
    listener()
    tea, milk = Product.objects.create(name="Tea"), Product.objects.create(name="Milk")
    Price.objects.create(product=tea, currency="EUR", amount=3)
    Stamp.objects.create(code='it\'s "Ü", [1]', worth=1)
    new = milk.pk + 1000

    def everything() -> Any:
        rows = products.get_many([tea.pk, milk.pk, new])
        found = prices.get((tea.pk, "EUR"))
        stamp = stamps.get('it\'s "Ü", [1]')
        return ({pk: row.name for pk, row in rows.items()}, found and found.amount, stamp)

    assert everything()[:2] == ({tea.pk: "Tea", milk.pk: "Milk"}, 3)
    raw.execute("UPDATE shop_product SET name = upper(name)")
    eventually(lambda: everything()[0] == {tea.pk: "TEA", milk.pk: "MILK"})
    raw.execute("UPDATE shop_product SET id = %s WHERE id = %s", [new, milk.pk])
    eventually(lambda: everything()[0] == {tea.pk: "TEA", new: "MILK"})
    raw.execute("UPDATE shop_price SET amount = 4")
    eventually(lambda: everything()[1] == 4)
    raw.execute("DELETE FROM shop_product WHERE id = %s", [new])
    eventually(lambda: everything()[0] == {tea.pk: "TEA"})
    raw.execute("INSERT INTO shop_product SELECT %s, 'New', NULL, '', 1, 0, true", [milk.pk])
    eventually(lambda: everything()[0] == {tea.pk: "TEA", milk.pk: "New"})
    raw.execute("DELETE FROM shop_stamp")
    eventually(lambda: everything()[2] is None)
    raw.execute("TRUNCATE shop_product CASCADE")
    eventually(lambda: everything()[:2] == ({}, None))


def test_only_what_changed_goes(
    database: str, raw: psycopg.Connection[Any], listener: Callable[[], None]
) -> None:
    products = ModelDict(Product)
    listener()
    tea, milk = Product.objects.create(name="Tea"), Product.objects.create(name="Milk")
    time.sleep(0.1)  # these changes were announced, too
    assert products.get_many([tea.pk, milk.pk])
    raw.execute("UPDATE shop_product SET name = 'Coffee' WHERE id = %s", [tea.pk])
    eventually(lambda: products[tea.pk].name == "Coffee")
    with queries(database) as asked:
        assert products[milk.pk].name == "Milk"
    assert not asked


def test_a_change_of_a_parents_table(
    database: str, raw: psycopg.Connection[Any], listener: Callable[[], None]
) -> None:
    books = ModelDict(Book)
    listener()
    made = Book.objects.create(name="Leaves", pages=3)
    assert books[made.pk].name == "Leaves"
    raw.execute("UPDATE shop_product SET name = 'Roots'")
    eventually(lambda: books[made.pk].name == "Roots")
    raw.execute("UPDATE shop_book SET pages = 4")
    eventually(lambda: books[made.pk].pages == 4)


def test_a_key_that_is_too_long_to_tell(
    database: str,
    raw: psycopg.Connection[Any],
    listener: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = triggers.CREATE_FUNCTION.replace(str(triggers.LONGEST), "40")
    monkeypatch.setattr(triggers, "CREATE_FUNCTION", short)
    stamps = ModelDict(Stamp)
    listener()
    code = "x" * 50
    Stamp.objects.create(code=code, worth=1)
    assert stamps[code].worth == 1
    raw.execute("UPDATE shop_stamp SET worth = 2")
    eventually(lambda: stamps[code].worth == 2)


def test_more_rows_than_are_removed_one_by_one(
    database: str,
    raw: psycopg.Connection[Any],
    listener: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("redisdict.modelcache.listening.MOST_ROWS", 5)
    products = ModelDict(Product)
    listener()
    made = Product.objects.bulk_create([Product(name="Tea") for _ in range(20)])
    pks = [one.pk for one in made]
    assert len(products.get_many(pks)) == 20
    raw.execute("UPDATE shop_product SET name = 'Coffee'")
    eventually(lambda: {row.name for row in products.get_many(pks).values()} == {"Coffee"})


def test_what_happened_while_nobody_listened(
    database: str, raw: psycopg.Connection[Any], listener: Callable[[], None]
) -> None:
    products = ModelDict(Product)
    made = Product.objects.create(name="Tea")
    assert products[made.pk].name == "Tea"
    raw.execute("UPDATE shop_product SET name = 'Coffee'")
    assert products[made.pk].name == "Tea"  # nobody has told
    listener()
    eventually(lambda: products[made.pk].name == "Coffee")
    raw.execute("ALTER TABLE shop_product DISABLE TRIGGER USER")
    try:
        raw.execute("UPDATE shop_product SET name = 'Milk'")
    finally:
        raw.execute("ALTER TABLE shop_product ENABLE TRIGGER USER")
    raw.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = ANY(%s)",
        [list(LISTENING)],
    )
    eventually(lambda: products[made.pk].name == "Milk")


def test_the_command(database: str, server: str, sqlite_alias: str) -> None:
    output = io.StringIO()
    with pytest.raises(CommandError, match="No model has a ModelDict"):
        call_command("modeldict", "sql", database=database)
    ModelDict(Price)
    call_command("modeldict", "sql", database=database, stdout=output)
    assert """ON "shop_price" FOR EACH ROW EXECUTE FUNCTION redisdict_announce_change(""" in (
        output.getvalue()
    )
    assert "('product_id', 'currency');" in output.getvalue()
    with pytest.raises(CommandError, match="only PostgreSQL tells of changes"):
        call_command("modeldict", "create", database=sqlite_alias)
    with pytest.raises(CommandError, match="--database is 'nowhere'"):
        call_command("modeldict", "listen", database="nowhere")
