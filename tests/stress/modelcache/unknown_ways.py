"""Ways to change the rows that no manager of a cache's and no signal knows of."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from tests.stress.modelcache.checker import RolledBack
from tests.stress.modelcache.known_ways import KnownWays
from tests.stress.modelcache.ledger import in_database
from tests.stress.modelcache.models import Bump, Row, Shown, code_of
from tests.stress.modelcache.subjects import ROWS, state_of

__all__ = ["UNKNOWN_WAYS", "UnknownWays"]

UNKNOWN_WAYS = (
    "update_by_name",
    "upsert",
    "raw_delete",
    "second_model",
    "trigger",
    "sql_in_autocommit",
    "sql_in_atomic",
    "sql_in_begin",
    "sql_in_script",
    "sql_many_times",
    "sql_delete",
    "sql_make_again",
    "copy_make_again",
)

#: Statements that raise the version of a row.
BOTH = (
    "UPDATE modelcache_row SET version = version + 1 WHERE id = {pk}",
    '/* by hand */ update "modelcache_row" Set version = version + 1 where id = {pk}',
    "UPDATE stress_view SET version = version + 1 WHERE id = {pk}",
    "INSERT INTO modelcache_bump (row) VALUES ({pk})",
)
WITH_BEFORE_UPDATE = (
    "WITH wanted AS (SELECT {pk} AS id)"
    " UPDATE modelcache_row SET version = version + 1 WHERE id = (SELECT id FROM wanted)"
)
POSTGRESQL = (
    WITH_BEFORE_UPDATE,
    "WITH raised AS (UPDATE modelcache_row SET version = version + 1 WHERE id = {pk} RETURNING id)"
    " SELECT id FROM raised",
    "MERGE INTO modelcache_row r USING (SELECT {pk} AS id) w ON r.id = w.id"
    " WHEN MATCHED THEN UPDATE SET version = version + 1",
    "DO $$ BEGIN UPDATE modelcache_row SET version = version + 1 WHERE id = {pk}; END $$",
    "SELECT stress_raise({pk})",
    "CALL stress_call({pk})",
)
SQLITE = (
    WITH_BEFORE_UPDATE,
    "UPDATE OR REPLACE modelcache_row SET version = version + 1 WHERE id = {pk}",
    "REPLACE INTO modelcache_row (id, code, version, name, changed_at)"
    " SELECT id, code, version + 1, name, changed_at FROM modelcache_row WHERE id = {pk}",
)
COPIED = "SELECT id, code, version + 1, name, changed_at FROM modelcache_row WHERE id = {pk}"
MARIADB = (
    "UPDATE modelcache_row r JOIN (SELECT {pk} AS id) w ON r.id = w.id"
    " SET r.version = r.version + 1",
    f"REPLACE INTO modelcache_row (id, code, version, name, changed_at) {COPIED} FOR UPDATE",
    f"INSERT INTO modelcache_row (id, code, version, name, changed_at) {COPIED}"
    " ON DUPLICATE KEY UPDATE modelcache_row.version = modelcache_row.version + 1",
    "/*!40000 UPDATE modelcache_row SET version = version + 1 WHERE id = {pk} */",
    "SET STATEMENT sort_buffer_size = 100000 FOR"
    " UPDATE modelcache_row SET version = version + 1 WHERE id = {pk}",
    "BEGIN NOT ATOMIC UPDATE modelcache_row SET version = version + 1 WHERE id = {pk}; END",
    "EXECUTE IMMEDIATE 'UPDATE modelcache_row SET version = version + 1 WHERE id = {pk}'",
    "SELECT stress_raise({pk})",
    "CALL stress_call({pk})",
)
OWN = {"postgresql": POSTGRESQL, "sqlite": SQLITE, "mysql": MARIADB}

COLUMNS = ("id", "code", "version", "name", "changed_at")


def is_on_postgresql() -> bool:
    return connection.vendor == "postgresql"


class UnknownWays(KnownWays):
    def update_by_name(self) -> None:
        """The filter names no primary key; the rows are found out."""
        code = code_of(pk := self.some_row())
        if Row._base_manager.filter(code=code).update(version=F("version") + 1):
            self.published(pk)

    def upsert(self) -> None:
        pks = sorted({self.some_row() for _ in range(3)})
        by = self.random.choice(["id", "code"])
        with transaction.atomic():
            rows = list(Row.objects.select_for_update().filter(pk__in=pks).order_by("pk"))
            states = {row.pk: state_of(row.version + 1) for row in rows}
            for row in rows:
                row.version += 1
                if by == "code":
                    row.pk = None
            fields = [by] if connection.features.supports_update_conflicts_with_target else None
            Row.objects.bulk_create(
                rows, update_conflicts=True, unique_fields=fields, update_fields=["version"]
            )
        for pk, state in states.items():
            self.publish(pk, state)

    def raw_delete(self) -> None:
        self.delete_by(
            lambda row: Row.objects.filter(pk=row.pk)._raw_delete("default")  # type: ignore[attr-defined]  # the stubs lack it
        )

    def second_model(self) -> None:
        pk = self.some_row()
        if self.random.random() < 0.5:
            if Shown.objects.filter(pk=pk).update(version=F("version") + 1):
                self.published(pk)
            return
        with transaction.atomic():
            shown = Shown.objects.select_for_update().filter(pk=pk).first()
            if shown is None:
                return
            shown.version += 1
            shown.save(update_fields=["version"])
        self.publish(pk, state_of(shown.version))

    def trigger(self) -> None:
        Bump.objects.create(row=(pk := self.some_row()))
        self.published(pk)

    def sql_in_autocommit(self) -> None:
        self.execute(self.some_sql(pk := self.some_row()))
        self.published(pk)

    def sql_in_atomic(self) -> None:
        pk = self.some_row()
        with transaction.atomic():
            self.execute(self.some_sql(pk))
            state = self.state_in_transaction(pk)
            if self.random.random() < 0.2:
                raise RolledBack
        self.publish(pk, state)

    def sql_in_begin(self) -> None:
        """A transaction that Django knows nothing of."""
        pk, other = self.some_row(), self.some_row()
        before = self.known(ROWS, [other])
        self.execute(begin())
        try:
            self.execute(self.some_sql(pk))
            state = self.state_in_transaction(pk)
            if other != pk:
                self.check_against(before)
            is_wanted = self.random.random() > 0.2
            self.execute("COMMIT" if is_wanted else "ROLLBACK")
        except Exception:
            self.execute("ROLLBACK")
            raise
        if not is_wanted:
            raise RolledBack
        self.publish(pk, state)

    def sql_in_script(self) -> None:
        """Several statements in one text."""
        one, other = sorted([self.some_row(), self.some_row()])
        statements = [self.some_sql(one), "SELECT 1", self.some_sql(other)]
        if self.random.random() < 0.5:
            statements = ["BEGIN", *statements, "COMMIT"]
        text = "; ".join(statements)
        with connection.cursor() as cursor:
            try:
                if connection.vendor == "sqlite":
                    cursor.executescript(text)
                else:
                    cursor.execute(text)
                while connection.vendor == "mysql" and cursor.nextset():
                    pass  # a refusal of a later statement comes with its result
            except Exception:
                if statements[0] == "BEGIN":
                    cursor.execute("ROLLBACK")
                raise
        self.published(one, other)

    def sql_many_times(self) -> None:
        pks = sorted({self.some_row() for _ in range(3)})
        with connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE modelcache_row SET version = version + 1 WHERE id = %s",
                [(pk,) for pk in pks],
            )
        self.published(*pks)

    def sql_delete(self) -> None:
        """On PostgreSQL a deletion within an insertion, in autocommit mode."""
        if not is_on_postgresql():
            self.delete_by(
                lambda row: self.execute(f"DELETE FROM modelcache_row WHERE id = {row.pk}")
            )
            return
        self.execute(
            f"WITH gone AS (DELETE FROM modelcache_row WHERE id = {(pk := self.some_row())}"
            " RETURNING id, version) INSERT INTO modelcache_deletion (row, version, is_undone)"
            " SELECT id, version + 1, false FROM gone"
        )
        self.published(pk)

    def sql_make_again(self) -> None:
        sql = (
            f"INSERT INTO modelcache_row ({', '.join(COLUMNS)})"
            f" VALUES ({', '.join(['%s'] * len(COLUMNS))})"
        )
        self.make_again_by(lambda row: self.execute(sql, values_of(row)))

    def copy_make_again(self) -> None:
        if not is_on_postgresql():
            self.sql_make_again()
            return
        sql = f"COPY modelcache_row ({', '.join(COLUMNS)}) FROM STDIN"

        def copy(row: Row) -> None:
            with connection.cursor() as cursor, cursor.copy(sql) as copying:
                copying.write_row(values_of(row))
                self.dawdle()

        self.make_again_by(self.within_or_without(copy))

    def within_or_without(self, act: Callable[[Row], Any]) -> Callable[[Row], Any]:
        """In a transaction, or not."""
        return transaction.atomic()(act) if self.random.random() < 0.5 else act

    def execute(self, sql: str, parameters: Any = None) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            while connection.vendor == "mysql" and cursor.nextset():
                pass  # as above, of a procedure

    def some_sql(self, pk: int) -> str:
        return random.choice(BOTH + OWN[connection.vendor]).format(pk=pk)

    def state_in_transaction(self, pk: int) -> int:
        """The state that the transaction has left the row in; sees whether the cache has it."""
        state = in_database(pk)
        if state and state % 2 == 0:
            self.see_own_change(pk, state // 2)
        return state


def begin() -> str:
    isolation: str = settings.ISOLATION
    return f"BEGIN ISOLATION LEVEL {isolation.upper()}" if isolation else "BEGIN"


def values_of(row: Row) -> list[Any]:
    return [row.pk, row.code, row.version, row.name, timezone.now()]
