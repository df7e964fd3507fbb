"""What raw SQL and other programs change is removed when PostgreSQL tells of it."""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from redisdict import ModelDict
from redisdict.modelcache import registrations, triggers
from redisdict.modelcache.invalidation import relations
from redisdict.modelcache.triggers import Changes, Listener, parse
from tests.modelcache.counting import queries
from tests.shop.models import Book, Price, Product, Stamp
from tests.shop.spellings import Badge, Day, Length, Mailbox, Moment, Reading, Weight
from tests.waiting import wait_until

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
    monkeypatch.setattr("redisdict.modelcache.triggers.IDLE_S", 0.1)
    monkeypatch.setattr("redisdict.modelcache.triggers.PAUSE_S", 0.1)
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
        wait_until(lambda: is_listened_to(database))

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

#: Settings of a session that change how values are written.
OTHER_FORMS = (
    "SET bytea_output = escape; SET intervalstyle = sql_standard; SET extra_float_digits = -5;"
    " SET datestyle = 'German, DMY'; SET timezone = 'Asia/Kathmandu'"
)


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
    wait_until(lambda: everything()[0] == {tea.pk: "TEA", milk.pk: "MILK"})
    raw.execute("UPDATE shop_product SET id = %s WHERE id = %s", [new, milk.pk])
    wait_until(lambda: everything()[0] == {tea.pk: "TEA", new: "MILK"})
    raw.execute("UPDATE shop_price SET amount = 4")
    wait_until(lambda: everything()[1] == 4)
    raw.execute("DELETE FROM shop_product WHERE id = %s", [new])
    wait_until(lambda: everything()[0] == {tea.pk: "TEA"})
    raw.execute("INSERT INTO shop_product SELECT %s, 'New', NULL, '', 1, 0, true", [milk.pk])
    wait_until(lambda: everything()[0] == {tea.pk: "TEA", milk.pk: "New"})
    raw.execute("DELETE FROM shop_stamp")
    wait_until(lambda: everything()[2] is None)
    raw.execute("TRUNCATE shop_product CASCADE")
    wait_until(lambda: everything()[:2] == ({}, None))


def test_only_what_changed_goes(
    database: str, raw: psycopg.Connection[Any], listener: Callable[[], None]
) -> None:
    products = ModelDict(Product)
    listener()
    tea, milk = Product.objects.create(name="Tea"), Product.objects.create(name="Milk")
    # These changes were announced, too, and before this one:
    last = Product.objects.create(name="Last")
    assert products[last.pk].name == "Last"
    raw.execute("UPDATE shop_product SET name = 'Told' WHERE id = %s", [last.pk])
    wait_until(lambda: products[last.pk].name == "Told")
    assert products.get_many([tea.pk, milk.pk])
    raw.execute("UPDATE shop_product SET name = 'Coffee' WHERE id = %s", [tea.pk])
    wait_until(lambda: products[tea.pk].name == "Coffee")
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
    wait_until(lambda: books[made.pk].name == "Roots")
    raw.execute("UPDATE shop_book SET pages = 4")
    wait_until(lambda: books[made.pk].pages == 4)


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
    wait_until(lambda: stamps[code].worth == 2)


@pytest.mark.parametrize("session", ["", OTHER_FORMS], ids=["plain", "other forms of text"])
def test_keys_of_every_type(
    database: str,
    raw: psycopg.Connection[Any],
    listener: Callable[[], None],
    session: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the session that changes them has set, and none ends the listener for the others."""
    products = ModelDict(Product)
    noon = datetime(2024, 3, 1, 12, tzinfo=UTC)
    made = [
        Weight.objects.create(grams=Decimal("1234567890123456789012345.60"), ounces=1),
        Weight.objects.create(grams=100, ounces=2),
        Moment.objects.create(at=noon, until=noon),
        Moment.objects.create(at=noon.replace(microsecond=1200), until=noon.replace(day=2)),
        Badge.objects.create(number=uuid.UUID(int=2**100), address="10.0.0.1"),
        Reading.objects.create(seal=b"\0\xff'\\", degrees=0.1, lasts=timedelta(1)),
        Length.objects.create(metres=0.1),
        Length.objects.create(metres=1e300),
        Day.objects.create(lasts=-timedelta(days=400, hours=2, microseconds=3)),
        Mailbox.objects.create(address="tea@example.org"),
    ]
    tea = Product.objects.create(name="Tea")
    dicts = {type(row): ModelDict(type(row)) for row in made}
    parsed: list[Changes] = []

    def watch(*arguments: Any) -> Changes:
        parsed.append(parse(*arguments))
        return parsed[-1]

    monkeypatch.setattr("redisdict.modelcache.triggers.parse", watch)
    listener()
    if session:
        raw.execute(session)

    def seen() -> list[int]:
        return [dicts[type(row)][row.pk].worth for row in made]

    assert seen() == [0] * len(made)
    assert products[tea.pk].name == "Tea"
    for model in dicts:
        raw.execute(f"UPDATE {model._meta.db_table} SET worth = 1")
    wait_until(lambda: seen() == [1] * len(made))
    raw.execute("UPDATE shop_product SET name = 'Coffee'")
    wait_until(lambda: products[tea.pk].name == "Coffee")
    assert not any(changes.whole or changes.is_everything for changes in parsed)


@pytest.mark.parametrize("notice", ["garbage", "[]", "{}", '"shop_product"', "[[]]", "[1, 2]", ""])
def test_a_notification_of_somebody_elses(
    database: str, raw: psycopg.Connection[Any], listener: Callable[[], None], notice: str
) -> None:
    products = ModelDict(Product)
    listener()
    tea = Product.objects.create(name="Tea")
    assert products[tea.pk].name == "Tea"
    raw.execute("SELECT pg_notify('redisdict', %s)", [notice])
    raw.execute("UPDATE shop_product SET name = 'Coffee'")
    wait_until(lambda: products[tea.pk].name == "Coffee")


def test_a_table_whose_rows_cannot_be_named_is_not_the_others(
    database: str,
    raw: psycopg.Connection[Any],
    listener: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    products, stamps = ModelDict(Product), ModelDict(Stamp)
    listener()
    tea = Product.objects.create(name="Tea")
    Stamp.objects.create(code="red", worth=1)
    ModelDict(Product, using="nowhere")  # has no server

    def fail(model: Any, *arguments: Any) -> Any:
        raise RuntimeError("no rows of it can be told")

    monkeypatch.setattr("redisdict.modelcache.triggers.rows_of_table", fail)
    assert (products[tea.pk].name, stamps["red"].worth) == ("Tea", 1)
    raw.execute("UPDATE shop_product SET name = 'Coffee'")
    raw.execute("UPDATE shop_stamp SET worth = 2")
    wait_until(lambda: (products[tea.pk].name, stamps["red"].worth) == ("Coffee", 2))
    # Without a server it would refuse the statements that clean up.
    del registrations._registered[Product, "nowhere", (), False, None, None, False]
    relations.forget()


@pytest.mark.parametrize(
    ("model", "key", "pk"),
    [
        (Product, "7", 7),
        (Price, '7, "EUR"', (7, "EUR")),
        (Weight, "1.50", Decimal("1.50")),
        (Moment, '"2024-03-01T13:00:00+01:00"', datetime(2024, 3, 1, 12, tzinfo=UTC)),
        (Reading, '"\\\\x00ff"', b"\0\xff"),
        (Badge, '"00000000-0000-0000-0000-000000000001"', uuid.UUID(int=1)),
        (Length, '"Infinity"', float("inf")),
        (Day, '"-1 days +02:00:00"', timedelta(hours=-22)),
        # What can't be parsed for certain is none.
        (Product, "null", None),
        (Product, '"x"', None),
        (Product, "1.5", None),
        (Product, "[1]", None),
        (Price, "7", None),
        (Moment, '"infinity"', None),
        (Reading, '"seal"', None),
        (Day, '"1 mon"', None),
    ],
)
def test_parsing(database: str, model: Any, key: str, pk: Any) -> None:
    table = model._meta.db_table
    changes = parse([f'["{table}", {key}]'], {table: model}, database)
    assert not changes.is_everything
    assert (changes.pks, changes.whole) == (({}, {table}) if pk is None else ({table: [pk]}, set()))


def test_more_rows_than_are_removed_one_by_one(
    database: str,
    raw: psycopg.Connection[Any],
    listener: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("redisdict.modelcache.triggers.MOST_ROWS", 5)
    products = ModelDict(Product)
    listener()
    made = Product.objects.bulk_create([Product(name="Tea") for _ in range(20)])
    pks = [one.pk for one in made]
    assert len(products.get_many(pks)) == 20
    raw.execute("UPDATE shop_product SET name = 'Coffee'")
    wait_until(lambda: {row.name for row in products.get_many(pks).values()} == {"Coffee"})


def test_what_happened_while_nobody_listened(
    database: str, raw: psycopg.Connection[Any], listener: Callable[[], None]
) -> None:
    products = ModelDict(Product)
    made = Product.objects.create(name="Tea")
    assert products[made.pk].name == "Tea"
    raw.execute("UPDATE shop_product SET name = 'Coffee'")
    assert products[made.pk].name == "Tea"  # nobody has told
    listener()
    wait_until(lambda: products[made.pk].name == "Coffee")
    raw.execute("ALTER TABLE shop_product DISABLE TRIGGER USER")
    try:
        raw.execute("UPDATE shop_product SET name = 'Milk'")
    finally:
        raw.execute("ALTER TABLE shop_product ENABLE TRIGGER USER")
    raw.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = ANY(%s)",
        [list(LISTENING)],
    )
    wait_until(lambda: products[made.pk].name == "Milk")


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
    with pytest.raises(CommandError, match="only PostgreSQL can announce changes"):
        call_command("modeldict", "create", database=sqlite_alias)
    with pytest.raises(CommandError, match="--database is 'nowhere'"):
        call_command("modeldict", "listen", database="nowhere")
