"""The audit: what it finds, what it doesn't judge, and that it never raises a false alarm."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.utils import timezone

from redisdict import ModelDict, cache_results_of
from redisdict.management import audits
from redisdict.modelcache.audit import judge as judging
from redisdict.modelcache.audit.judge import CHANGED, EMPTY, SNAPSHOT, UNKNOWN, Judge
from redisdict.modelcache.audit.nines import at_least
from redisdict.modelcache.audit.passes import OLDEST, Audit, TableCount, age_class
from redisdict.modelcache.slots.store import new_token
from redisdict.models import AuditCount
from tests.shop.models import Category, Product

BY_SQLITE = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=60);"
    " c.execute(sys.argv[2]); c.commit()"
)
BY_POSTGRES = (
    "import psycopg, sys; psycopg.connect(sys.argv[1], autocommit=True).execute(sys.argv[2])"
)
BY_MYSQLCLIENT = (
    "import MySQLdb, sys; socket, _, name = sys.argv[1].partition(' ');"
    " c = MySQLdb.connect(unix_socket=socket, database=name, user='root', autocommit=True);"
    " c.cursor().execute(sys.argv[2])"
)


def change_outside(alias: str, sql: str) -> None:
    """Change rows by a program of which the project knows nothing."""
    values = connections[alias].settings_dict
    code, address = BY_SQLITE, values["NAME"]
    if connections[alias].vendor == "postgresql":
        names = {"host": "HOST", "port": "PORT", "dbname": "NAME", "user": "USER"}
        parts = [f"{name}={values[key]}" for name, key in names.items() if values[key]]
        code, address = BY_POSTGRES, " ".join(parts)
    if connections[alias].vendor == "mysql":
        code, address = BY_MYSQLCLIENT, f"{values['HOST']} {values['NAME']}"
    subprocess.run([sys.executable, "-c", code, address, sql], check=True, capture_output=True)


def only(counts: list[TableCount]) -> TableCount:
    [count] = counts
    return count


def test_what_agrees(tea: Product, products: ModelDict[Product]) -> None:
    count = only(Audit().run())
    assert (count.model, count.alias) == ("shop.Product", "default")
    assert (count.judged, count.disagreed, +count.unjudged) == (1, 0, {})


def test_a_change_from_outside_is_found_within_one_pass(
    tea: Product, products: ModelDict[Product], database: str
) -> None:
    other = Product.objects.create(name="Milk")
    assert products[other.pk].name == "Milk"
    change_outside(
        database, f"UPDATE shop_product SET name = 'Coffee', stock = 7 WHERE id = {tea.pk}"
    )
    assert products[tea.pk].name == "Tea"  # nobody has told
    count = only(Audit().run())
    assert (count.judged, count.disagreed, count.repaired) == (2, 1, 0)
    assert count.examples == [(str(tea.pk), ["name", "stock"])]
    assert dict(count.by_age) == {"under_1s": 1}
    assert only(Audit(repairs=True).run()).repaired == 1
    assert products[tea.pk].name == "Coffee"
    assert only(Audit().run()).disagreed == 0


def test_a_row_deleted_outside_is_found(
    tea: Product, products: ModelDict[Product], database: str
) -> None:
    change_outside(database, f"DELETE FROM shop_product WHERE id = {tea.pk}")
    assert only(Audit().run()).examples == [(str(tea.pk), ["the row isn't there"])]


def test_an_absence_is_judged_where_it_is_believed(database: str, server: str) -> None:
    rows = ModelDict(Category, absent_timeout=60)
    assert rows.get(12) is None
    assert (count := only(Audit().run())).judged == 1, count
    change_outside(database, "INSERT INTO shop_category (id, name) VALUES (12, 'Cups')")
    assert only(Audit().run()).examples == [("12", ["the row is there"])]


def test_an_absence_that_nobody_believes_is_none(database: str, server: str) -> None:
    rows = ModelDict(Category)
    assert rows.get(12) is None
    count = only(Audit().run())
    assert (count.judged, count.disagreed) == (0, 0)
    assert count.unjudged[EMPTY] == 1


def test_lists(database: str, server: str) -> None:
    lists = ModelDict(Product, key="category", many=True)
    cups = Category.objects.create(name="Cups")
    mug = Product.objects.create(name="Mug", category=cups)
    assert [row.pk for row in lists[cups.pk]] == [mug.pk]
    by_model = {count.model: count for count in Audit().run()}
    assert by_model["shop.Product by category_id"].judged == 1
    assert by_model["shop.Product"].judged == 1
    change_outside(database, f"UPDATE shop_product SET category_id = NULL WHERE id = {mug.pk}")
    by_model = {count.model: count for count in Audit().run()}
    assert by_model["shop.Product by category_id"].examples == [(str(cups.pk), ["the list"])]
    assert by_model["shop.Product"].examples == [(str(mug.pk), ["category_id"])]


def test_every_kind_of_field_agrees_with_itself(database: str, server: str) -> None:
    """What doesn't compare equal after a round trip is no false alarm."""
    rows = ModelDict(Product)
    moment = datetime(2026, 10, 25, 2, 30, 0, 123456, tzinfo=UTC)
    values: dict[str, Any] = {
        "price": Decimal("1.50"),
        "created_at": moment,
        "released_on": moment.date(),
        "sku": UUID(int=7),
    }
    for rating in (0.1 + 0.2, float("inf"), -0.0, 1e-300, None):
        made = Product.objects.create(name="Tea", rating=rating, **values)
        assert rows[made.pk].pk == made.pk
    count = only(Audit().run())
    assert (count.judged, count.disagreed) == (5, 0)


# SQLite stores it as NULL, and MariaDB refuses it.
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_nan_agrees_with_itself(database: str, server: str) -> None:
    rows = ModelDict(Product)
    made = Product.objects.create(name="Tea", rating=float("nan"))
    assert rows[made.pk].pk == made.pk
    count = only(Audit().run())
    assert (count.judged, count.disagreed) == (1, 0)


def test_excluded_fields_are_not_compared(database: str, server: str) -> None:
    rows = ModelDict(Product, exclude=["description"])
    made = Product.objects.create(name="Tea", description="green")
    assert rows[made.pk].name == "Tea"
    change_outside(database, "UPDATE shop_product SET description = 'black'")
    assert only(Audit().run()).disagreed == 0
    change_outside(database, "UPDATE shop_product SET name = 'Coffee'")
    assert only(Audit().run()).disagreed == 1


def test_within_a_transaction_nothing_is_judged_that_may_be_older(
    tea: Product, products: ModelDict[Product], database: str
) -> None:
    if connections[database].vendor == "postgresql":
        with transaction.atomic(using=database):
            Category.objects.create(name="Cups")  # it has an id now, and may see its own changes
            count = only(Audit().run())
    else:
        with transaction.atomic(using=database):
            count = only(Audit().run())
    assert (count.judged, count.unjudged[SNAPSHOT]) == (0, 1)


def test_a_cell_that_changes_between_the_reads_is_not_judged(
    tea: Product, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row changes after the first read of its cell."""
    judge = Judge(products._lookup().table)
    truth: Any = judge._truth
    ask = truth.ask

    def change_and_ask(bodies: Any) -> Any:
        Product.objects.filter(pk=tea.pk).update(name="Coffee")
        return ask(bodies)

    monkeypatch.setattr(truth, "ask", change_and_ask)
    verdicts = judge.judge([products._lookup().table.key(tea.pk)])
    assert (verdicts.judged, verdicts.disagreements) == (0, [])
    assert verdicts.unjudged[CHANGED] == 1


def test_a_cell_that_changes_and_changes_back_is_no_alarm(
    tea: Product, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database has another row in between, and the cell is filled with what it held before."""
    table = products._lookup().table
    judge = Judge(table)
    truth: Any = judge._truth
    ask = truth.ask
    rounds = []

    def flicker(bodies: Any) -> Any:
        Product.objects.filter(pk=tea.pk).update(name="Coffee")
        asked = ask(bodies)
        Product.objects.filter(pk=tea.pk).update(name="Tea")
        assert products[tea.pk].name == "Tea"  # the cell is as it was
        rounds.append(asked)
        return asked

    monkeypatch.setattr(truth, "ask", flicker)
    verdicts = judge.judge([table.key(tea.pk)])
    assert len(rounds) == 1 + 2 * judging.ATTEMPTS
    assert (verdicts.judged, verdicts.disagreements) == (0, [])
    assert verdicts.unjudged[CHANGED] == 1


def test_without_the_watch_that_would_be_an_alarm(
    tea: Product, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr(judging, "_watching", lambda table, cell: nullcontext())
    table = products._lookup().table
    judge = Judge(table)
    truth: Any = judge._truth
    ask = truth.ask

    def flicker(bodies: Any) -> Any:
        Product.objects.filter(pk=tea.pk).update(name="Coffee")
        asked = ask(bodies)
        Product.objects.filter(pk=tea.pk).update(name="Tea")
        assert products[tea.pk].name == "Tea"
        return asked

    monkeypatch.setattr(truth, "ask", flicker)
    assert len(judge.judge([table.key(tea.pk)]).disagreements) == 1


def test_a_barrier_or_a_lease_is_no_value(
    tea: Product, products: ModelDict[Product], database: str
) -> None:
    table = products._lookup().table
    key = table.key(tea.pk)
    change_outside(database, "UPDATE shop_product SET name = 'Coffee'")
    token = new_token()
    table.backend.driver.run(table.store.block([key], token, 60_000))
    count = only(Audit().run())
    assert (count.judged, count.disagreed, count.unjudged[EMPTY]) == (0, 0, 1)
    table.backend.driver.run(table.store.lift([key], token))
    table.backend.driver.run(table.store.read([key], new_token(), 60_000))
    assert only(Audit().run()).unjudged[EMPTY] == 1


def test_a_field_that_gives_another_value_each_time_is_no_alarm(
    tea: Product, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(1, 100))
    field = Product._meta.get_field("stock")
    # Of this field alone, as a field of somebody's own may have it.
    monkeypatch.setattr(field, "from_db_value", lambda *_: next(numbers), raising=False)
    count = only(Audit().run())
    assert count.disagreed == 0


def test_a_value_that_cannot_be_compared_is_not_judged(
    tea: Product, products: ModelDict[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = products._lookup().table
    judge = Judge(table)
    monkeypatch.setattr(judge._truth, "differences", lambda *_: None)
    verdicts = judge.judge([table.key(tea.pk)])
    assert (verdicts.judged, verdicts.unjudged[UNKNOWN]) == (0, 1)


def test_keys_of_every_kind_lead_back_to_their_value(database: str, server: str) -> None:
    from redisdict.modelcache.audit.truth import value_of
    from redisdict.modelcache.keys import KeyForm

    moment = datetime(2026, 11, 29, 12, 0, 0, 5, tzinfo=UTC)
    values = {
        "id": 42,
        "price": Decimal("1.5"),
        "is_active": True,
        "released_on": moment.date(),
        "sku": UUID(int=9),
        "created_at": moment if connections[database].vendor == "postgresql" else None,
    }
    for name, value in values.items():
        if value is None:
            continue
        form = KeyForm(Product._meta.get_field(name), database)
        cell = b"p:m:{shop.Product/x}:" + form.encode(value)
        found = value_of(form, cell)
        assert form.encode(found) == form.encode(value), name


def test_a_sample_is_of_that_size(database: str, products: ModelDict[Product]) -> None:
    made = [Product.objects.create(name=f"Tea {number}") for number in range(30)]
    products.get_many([one.pk for one in made])
    assert only(Audit().run(sample=7)).judged == 7
    assert only(Audit().run(sample=100)).judged == 30


def test_shards(database: str, server: str) -> None:
    rows = ModelDict(Product, shards=4)
    made = [Product.objects.create(name=f"Tea {number}") for number in range(12)]
    rows.get_many([one.pk for one in made])
    assert only(Audit().run()).judged == 12
    change_outside(database, f"UPDATE shop_product SET name = 'Coffee' WHERE id = {made[3].pk}")
    assert only(Audit().run()).examples == [(str(made[3].pk), ["name"])]


def test_ages_are_counted_from_the_first_sight(
    tea: Product, products: ModelDict[Product], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_outside(database, "UPDATE shop_product SET name = 'Coffee'")
    audit = Audit()
    audit.run()
    for cell, seen in audit._first_seen.items():
        audit._first_seen[cell] = seen - 30
    assert dict(only(audit.run()).by_age) == {"under_1m": 1}
    products.invalidate(tea.pk)
    products.get(tea.pk)
    audit.run()
    assert audit._first_seen == {}


@pytest.mark.parametrize(
    ("seconds", "name"),
    [(0, "under_1s"), (1, "under_10s"), (59.9, "under_1m"), (3599, "under_1h"), (3600, OLDEST)],
)
def test_classes_of_ages(seconds: float, name: str) -> None:
    assert age_class(seconds) == name


def test_nines() -> None:
    assert at_least(0, 0) is None
    assert at_least(1, 1) == 0
    found = at_least(3_000_000, 0)
    assert found is not None
    assert 5.9 < found < 6.1
    some = at_least(1_000_000, 100)
    assert some is not None
    assert 3.9 < some < 4.0
    assert (at_least(10_000, 1) or 0) < (at_least(10_000, 0) or 0)


# The command.


def audit(*arguments: str, **options: Any) -> tuple[int, str]:
    output = io.StringIO()
    try:
        call_command("modeldict", "audit", *arguments, stdout=output, stderr=output, **options)
    except SystemExit as end:
        return int(end.code or 0), output.getvalue()
    return 0, output.getvalue()


@pytest.fixture
def kept() -> Iterator[None]:
    """What audits have counted can be kept, and is gone afterwards.

    Where no test of the session is marked as one of the database there are no tables.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    is_made = AuditCount._meta.db_table not in connection.introspection.table_names()
    if is_made:
        with connection.schema_editor() as editor:
            editor.create_model(AuditCount)
    yield
    AuditCount.objects.all().delete()
    if is_made:
        with connection.schema_editor() as editor:
            editor.delete_model(AuditCount)


def test_the_command_tells_and_keeps_what_it_has_found(
    tea: Product, products: ModelDict[Product], database: str, kept: None
) -> None:
    status, output = audit()
    assert status == 0
    assert f"shop.Product ({database} on default): 1 judged, 0 disagree" in output
    change_outside(database, "UPDATE shop_product SET name = 'Coffee'")
    status, output = audit("--json")
    assert status == 1
    told = json.loads(output)
    assert (told["judged"], told["disagreed"]) == (1, 1)
    assert told["tables"][0]["examples"] == [{"key": str(tea.pk), "differs": ["name"]}]
    assert "Coffee" not in output  # values are nobody's business
    assert audit("--repair")[0] == 1
    assert audit("--no-save")[0] == 0
    stored = AuditCount.objects.get()
    assert (stored.passes, stored.judged, stored.disagreed, stored.repaired) == (3, 3, 2, 1)
    assert stored.by_age == {"under_1s": 2}


def test_passes_for_some_time(tea: Product, products: ModelDict[Product], kept: None) -> None:
    status, output = audit("--json", "--seconds", "0.3")
    assert status == 0
    [line] = output.splitlines()
    assert json.loads(line)["judged"] >= 1


def test_a_server_that_is_gone(database: str, server: str, alias_for: Any) -> None:
    from django.test import override_settings

    ModelDict(Product)
    gone = alias_for("redis://127.0.0.1:1/0")
    with override_settings(REDISDICT={"default": gone}):
        status, output = audit("--no-save")
    assert status == 3
    assert "The audit has ended: The server of REDISDICT" in output


def test_wrong_arguments(database: str, server: str) -> None:
    with pytest.raises(CommandError, match="No model has a ModelDict here"):
        audit()
    with pytest.raises(CommandError, match="--using is 'nowhere'; an alias of REDISDICT"):
        audit("--using", "nowhere")
    with pytest.raises(CommandError, match="--database is 'nowhere'; an alias of DATABASES"):
        audit("--database", "nowhere")
    with pytest.raises(CommandError, match="invalid number above 0 value: '0'"):
        audit("--sample", "0")


def test_old_counts_go(kept: None) -> None:
    now = timezone.now()
    audits.save([TableCount("shop.Product", "default", "default", judged=1)], now)
    old = now - timedelta(days=9)
    audits.save([TableCount("shop.Product", "default", "default", judged=2)], old)
    assert audits.prune(now, 8) == 1
    assert AuditCount.objects.get().judged == 1


def test_results_of_whole_tables_are_left_alone(database: str, server: str) -> None:
    cache_results_of(Product)
    assert list(Product.objects.cached()) == []
    assert Audit().tables() == []
