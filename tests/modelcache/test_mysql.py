"""MySQL and MariaDB, as far as it can be told without one: texts, codes, rows of the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connections

from redisdict import ModelDict
from redisdict.modelcache import database_ids
from redisdict.modelcache.connection_state import BEGUN, is_in_transaction, may_have_ended
from redisdict.modelcache.invalidation.effects import ANYTHING, Catalog, _read_mysql
from redisdict.modelcache.invalidation.statements import read_statement
from redisdict.modelcache.invalidation.transactions import forget_changes, note_begin
from redisdict.modelcache.slots.barrier import _is_certainly_undone
from tests.modelcache.elsewhere import elsewhere
from tests.shop.models import Product, Tag


def name_mysql(variables: dict[str, str], galera: str) -> tuple[str, bool]:
    told = database_ids.name_mysql(variables, galera)
    return told.id, told.is_standby


CATALOG: dict[str, list[tuple[Any, ...]]] = {
    "referential_constraints": [
        ("Parent", "child", "CASCADE", "RESTRICT"),
        ("lone", "leaf", "CASCADE", "RESTRICT"),
        ("parent", "other", "NO ACTION", "SET NULL"),
    ],
    "views": [("shown", "select `db`.`parent`.`id` from `db`.`parent`"), ("hidden", "")],
    "routines": [
        ("brew", b"UPDATE shop SET name = 'Coffee'"),
        ("asked", "BEGIN RETURN `brew`(); END"),
        ("secret", None),
        ("twice", "RETURN 2 * x"),
    ],
    "triggers": [
        ("tag", "BEGIN UPDATE product SET name = NEW.name; END", "AFTER"),
        ("stamp", "SET @x = asked()", b"BEFORE"),
        ("price", "CALL somewhere()", "AFTER"),
    ],
}


def _catalog() -> Catalog:
    catalog = Catalog()
    _read_mysql(
        catalog, lambda query: next(rows for name, rows in CATALOG.items() if f".{name} " in query)
    )
    return catalog


def _changed_by(sql: str) -> set[str]:
    return _catalog().changed_by(read_statement(sql))


def test_triggers_that_may_write_other_values() -> None:
    assert _catalog().rewritten == {"stamp"}


@pytest.mark.parametrize(
    ("sql", "changed"),
    [
        ("DELETE FROM parent", {"child"}),
        ("UPDATE parent SET id = 2", {"other"}),
        ("UPDATE shown SET id = 2", {"parent"}),
        ("UPDATE hidden SET id = 2", {ANYTHING}),
        ("INSERT INTO tag VALUES (1)", {"product"}),
        ("INSERT INTO stamp VALUES (1)", {"shop"}),
        ("INSERT INTO price VALUES (1)", {ANYTHING}),
        ("SELECT brew()", {"shop"}),
        ("SELECT db.`asked`()", {"shop"}),
        ("SET @x = asked()", {"shop"}),
        ("SELECT secret()", {ANYTHING}),
    ],
)
def test_what_the_database_changes_itself(sql: str, changed: set[str]) -> None:
    assert changed <= _changed_by(sql)


def test_what_it_leaves_alone() -> None:
    assert _changed_by("DELETE FROM lone") == {"leaf"}
    assert not _changed_by("INSERT INTO lone VALUES (1)")
    assert not _changed_by("SELECT twice(2)")


class OfMysql(Exception):  # stands for a class of a driver
    """An error of a driver of MySQL."""


@pytest.mark.parametrize(
    ("arguments", "is_undone"),
    [
        ((1054, "Unknown column"), True),
        ((1205, "Lock wait timeout"), True),
        ((1213, "Deadlock"), True),
        ((4025, "CONSTRAINT failed"), True),
        ((1053, "Server shutdown in progress"), False),
        ((1180, "Got error during COMMIT"), False),
        ((1927, "Connection was killed"), False),
        ((2006, "Server has gone away"), False),
        ((2013, "Lost connection"), False),
        ((9001, "A proxy's"), False),
        ((0, ""), False),
    ],
)
def test_which_errors_say_that_nothing_was_done(
    arguments: tuple[Any, ...], is_undone: bool
) -> None:
    cause = OfMysql(*arguments)
    cause.sqlstate = "HY000"  # type: ignore[attr-defined]  # as MySQL's own driver has it
    error = DatabaseError(*arguments)
    error.__cause__ = cause
    assert _is_certainly_undone(error) is is_undone


ONE = {
    "server_uid": "a",
    "server_id": "1",
    "hostname": "db",
    "port": "3306",
    "socket": "/run/s",
    "datadir": "/var",
    "read_only": "OFF",
}


def test_servers_of_mariadb_are_told_apart() -> None:
    name, may_lag = name_mysql(ONE, "")
    assert not may_lag
    assert name_mysql(dict(ONE), "")[0] == name
    for key in ONE.keys() - {"read_only"}:
        assert name_mysql(ONE | {key: "other"}, "")[0] != name
    assert name_mysql(ONE | {"read_only": "ON"}, "")[1]


def test_servers_of_mysql_are_told_apart() -> None:
    assert name_mysql({"server_uuid": "a"}, "") == ("mysql a", False)
    assert name_mysql({"server_uuid": "b"}, "") == ("mysql b", False)
    assert name_mysql({"server_uuid": "b", "read_only": "1"}, "") == ("mysql b", True)


def test_nodes_of_a_cluster_are_one() -> None:
    galera = {"wsrep_on": "ON", "wsrep_sync_wait": "0"}
    names = {name_mysql(ONE | galera | {"hostname": name}, "uuid") for name in "ab"}
    assert names == {("mysql uuid", True)}
    assert not name_mysql(ONE | galera | {"wsrep_sync_wait": "7"}, "uuid")[1]
    group = {"server_uuid": "a", "group_replication_group_name": "g"}
    assert name_mysql(group, "") == ("mysql g", True)
    assert name_mysql(group | {"group_replication_single_primary_mode": "ON"}, "")[1] is False


class Raw:
    """A connection of a driver that tells what some drivers do."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def close(self) -> None:
        pass

    def rollback(self) -> None:
        pass


@pytest.fixture
def mysql(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A connection that says it is MySQL's, in autocommit mode, of a driver that tells nothing."""
    connection: Any = connections["default"].copy()
    monkeypatch.setattr(connection, "vendor", "mysql")
    connection.autocommit = True
    connection.connection = Raw(get_autocommit=lambda: True)
    yield connection
    connection.connection = None


def test_a_driver_that_tells_of_transactions(mysql: Any) -> None:
    for raw, is_open in (
        (Raw(server_status=2), False),
        (Raw(server_status=3), True),
        (Raw(server_status=0, get_autocommit=lambda: False), True),
        (Raw(in_transaction=True), True),
        (Raw(in_transaction=False), False),
        (Raw(get_autocommit=lambda: False), True),
        (Raw(), False),
    ):
        mysql.connection = raw
        assert is_in_transaction(mysql) is is_open


def test_a_driver_that_does_not(mysql: Any) -> None:
    note_begin(mysql, is_certain=True)
    assert is_in_transaction(mysql)
    assert may_have_ended(mysql)
    mysql.rollback()
    assert not is_in_transaction(mysql)
    note_begin(mysql, is_certain=True)
    mysql.connection = Raw(get_autocommit=lambda: True)  # the connection was lost
    assert not is_in_transaction(mysql)
    forget_changes(mysql)


@pytest.mark.parametrize("answer", [0, 1])
def test_the_server_is_asked_after_a_procedure(answer: int, mysql: Any) -> None:
    asked = []
    cursor = Raw(execute=asked.append, fetchone=lambda: (answer,))
    mysql.connection = Raw(get_autocommit=lambda: True, cursor=lambda: cursor)
    note_begin(mysql, is_certain=False)
    assert is_in_transaction(mysql) is bool(answer)
    assert asked
    forget_changes(mysql)
    assert BEGUN not in mysql.__dict__


def test_a_server_that_can_not_be_asked(mysql: Any) -> None:
    """MySQL has no such variable."""

    def refuse() -> Any:
        raise OfMysql(1193, "Unknown system variable")

    mysql.connection = Raw(get_autocommit=lambda: True, cursor=refuse)
    note_begin(mysql, is_certain=False)
    assert is_in_transaction(mysql)
    forget_changes(mysql)
    assert not is_in_transaction(mysql)


def test_several_rows_whose_keys_do_not_come_back(database: str, server: str) -> None:
    """As those of MySQL, and of any database when conflicts are ignored."""
    tags = ModelDict(Tag, database=database, absent_timeout=60)
    newest = Tag.objects.using(database).create(name="one").pk
    assert newest + 1 not in tags
    Tag.objects.using(database).bulk_create([Tag(name="two")], ignore_conflicts=True)
    assert Tag.objects.using(database).filter(pk=newest + 1).exists()
    assert newest + 1 in tags


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_transaction_that_ends_and_another_begins_in_one_text(
    database: str, tea: Product, products: ModelDict[Product]
) -> None:
    with connections[database].cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("COMMIT; BEGIN; UPDATE shop_product SET name = 'Coffee'")
        assert [elsewhere(lambda: products[tea.pk].name) for _ in range(2)] == ["Tea", "Tea"]
        cursor.execute("COMMIT")
    assert products[tea.pk].name == "Coffee"
    with connections[database].cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE shop_product SET name = 'Milk'")
        cursor.execute("COMMIT; BEGIN; UPDATE shop_product SET name = 'Soda'")
        assert [elsewhere(lambda: products[tea.pk].name) for _ in range(2)] == ["Milk", "Milk"]
        cursor.execute("COMMIT")
    assert elsewhere(lambda: products[tea.pk].name) == "Soda"
