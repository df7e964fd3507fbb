"""What is read from the text of a statement: never less than what it may change."""

from __future__ import annotations

import pytest

from redisdict.modelcache.invalidation.statements import Control, read_body, read_statement, text_of


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ('INSERT INTO "shop" ("a", "b") VALUES (%s, lower(%s)) RETURNING "id"', "shop"),
        ("insert into shop.stock(a) select a from other", "stock"),
        ("INSERT OR IGNORE INTO `shop` VALUES (1)", "shop"),
        ("INSERT INTO shop (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2", "shop"),
        ("INSERT INTO shop (a) VALUES (1) ON DUPLICATE KEY UPDATE a = 2", "shop"),
        ("REPLACE INTO shop VALUES (1)", "shop"),
        ("UPDATE shop SET a = replace(a, 'x', 'y')", "shop"),
        ('UPDATE ONLY "s" . "shop" AS t SET a = 1 FROM other', "shop"),
        ("\n-- why\n/* how */\tUPDATE shop SET a = 1", "shop"),
        ("DELETE FROM shop WHERE id IN (SELECT id FROM other)", "shop"),
        ("DELETE FROM [shop]", "shop"),
        ('UPDATE "Shop" SET a = 1', "shop"),
        ('UPDATE "sh""op" SET a = 1', 'sh"op'),
        ('UPDATE "päckchen" SET a = 1', "päckchen"),
        ("DELETE FROM shop;", "shop"),
        ("DELETE FROM shop; -- done", "shop"),
        ("UPDATE LOW_PRIORITY IGNORE shop SET a = 1", "shop"),
        ("UPDATE `shop` AS `t` SET a = 1", "shop"),
        ("SET STATEMENT max_statement_time = 1 FOR UPDATE shop SET a = 1", "shop"),
    ],
)
def test_one_table_is_changed(sql: str, table: str) -> None:
    statement = read_statement(sql)
    assert statement.writes == {table}
    assert not statement.is_unknown
    assert not statement.only_reads


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("WITH gone AS (DELETE FROM shop RETURNING *) SELECT * FROM gone", {"shop"}),
        ("WITH a AS (SELECT 1) UPDATE shop SET x = 1", {"shop"}),
        ("INSERT INTO a WITH gone AS (DELETE FROM b RETURNING *) SELECT * FROM gone", {"a", "b"}),
        ("UPDATE a, b SET a.x = b.x", {"a", "b"}),
        ("UPDATE a JOIN b ON a.id = b.id SET b.x = 1", {"a", "b"}),
        ("UPDATE a AS t, b SET b.x = 1", {"a", "b"}),
        ("DELETE b FROM a JOIN b", {"a", "b"}),
        ("DELETE FROM a.*, b.* USING a JOIN b", {"a", "b"}),
        ("UPDATE a # which\n JOIN b SET b.x = 1", {"a", "b"}),
        ("UPDATE a /*! , b */ SET b.x = 1", {"a", "b"}),
        ("UPDATE a FORCE INDEX (x) JOIN b SET b.x = 1", {"a", "b"}),
        ("UPDATE a PARTITION (p), b SET b.x = 1", {"a", "b"}),
        ("INSERT shop SET x = 1", {"shop"}),
        ("REPLACE LOW_PRIORITY shop VALUES (1)", {"shop"}),
        ("ANALYZE FORMAT=JSON UPDATE a SET x = 1", {"a"}),
        ("IF 1 THEN DELETE FROM a; END IF", {"a"}),
        ("BEGIN NOT ATOMIC UPDATE a SET x = 1; END", {"a"}),
        ("TRUNCATE a, b CASCADE", {"a", "b"}),
        ("MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE", {"a", "b"}),
        ("SELECT 1; DELETE FROM a", {"a"}),
        ("COPY a (x) FROM STDIN", {"a"}),
        ("COPY (DELETE FROM a RETURNING *) TO STDOUT", {"a"}),
        ("EXPLAIN (ANALYZE, VERBOSE) DELETE FROM a", {"a"}),
        ("ALTER TABLE a ALTER COLUMN x TYPE int USING x::int", {"a"}),
        ("DROP TABLE IF EXISTS a", {"a"}),
        ("REFRESH MATERIALIZED VIEW a", {"a"}),
        ("LOAD DATA INFILE 'x' INTO TABLE a", {"a"}),
        ("PREPARE p AS UPDATE a SET x = 1", {"a"}),
        ("UPDATE /* /* */ */ a SET x = 1", {"a"}),
    ],
)
def test_whatever_is_mentioned_may_be_changed(sql: str, tables: set[str]) -> None:
    statement = read_statement(sql)
    assert statement.is_unknown or tables <= statement.writes


@pytest.mark.parametrize(
    "sql",
    [
        "CALL brew()",
        "DO $$ BEGIN DELETE FROM a; END $$",
        "EXECUTE p",
        "COMMIT PREPARED 'x'",
        "FLY TO THE MOON",
        "/* a /* nested */ SELECT 1 */ DELETE FROM a",
        "SELECT 1; CALL brew()",
        "HANDLER a OPEN",
        "{call brew()}",
        "SET STATEMENT max_statement_time = 1 FOR CALL brew()",
        "EXECUTE IMMEDIATE 'DELETE FROM a'",
    ],
)
def test_anything_may_be_changed(sql: str) -> None:
    assert read_statement(sql).is_unknown


@pytest.mark.parametrize(
    "sql",
    [
        "",
        " ; ",
        "SELECT * FROM shop WHERE note = 'DELETE FROM shop'",
        'SELECT "update", "delete" FROM "insert"',
        "SELECT 1 FROM shop FOR UPDATE",
        "SELECT 1 FROM shop FOR NO KEY UPDATE OF shop SKIP LOCKED",
        "(SELECT 1) UNION (SELECT 2)",
        "VALUES (1)",
        "WITH RECURSIVE t AS (SELECT id FROM shop) SELECT * FROM t",
        "EXPLAIN SELECT * FROM shop",
        "COPY shop TO STDOUT",
        "PRAGMA foreign_keys",
        "BEGIN",
        "START TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        'SAVEPOINT "s1"',
        'RELEASE SAVEPOINT "s1"',
        "SET CONSTRAINTS x IMMEDIATE",
        "SET TIME ZONE 'UTC'",
        "SHOW search_path",
        "LISTEN redisdict",
        "DECLARE c CURSOR FOR SELECT * FROM shop",
        "FETCH 10 FROM c",
        "LOCK TABLE shop",
        "VACUUM shop",
        "ANALYZE shop",
    ],
)
def test_nothing_is_changed(sql: str) -> None:
    statement = read_statement(sql)
    assert statement.only_reads
    assert not statement.functions


@pytest.mark.parametrize(
    ("sql", "control"),
    [
        ("COMMIT", Control.COMMIT),
        ("commit and chain", Control.COMMIT),
        ("END", Control.COMMIT),
        ("ROLLBACK", Control.ROLLBACK),
        ("ABORT", Control.ROLLBACK),
        ('ROLLBACK TO SAVEPOINT "s1"', Control.NONE),
        ("UPDATE a SET x = 1; COMMIT", Control.COMMIT),
        ("BEGIN", Control.NONE),
        ("SET autocommit = 1", Control.COMMIT),
        ("SET NAMES utf8mb4", Control.NONE),
    ],
)
def test_the_end_of_a_transaction(sql: str, control: Control) -> None:
    assert read_statement(sql).control is control


@pytest.mark.parametrize(
    "sql",
    [
        "SET search_path TO other",
        "SET LOCAL search_path = other",
        "RESET ALL",
        "DISCARD ALL",
        "SET ROLE somebody",
        "SELECT set_config(%s, %s, false)",
        "SELECT Set_Config ( 'Search_Path', %s, true)",
        "SELECT set_config('app.tenant', '5', true), set_config(%s, %s, true)",
        "USE other",
        "SELECT 1; SET search_path TO other",
        "ROLLBACK",
    ],
)
def test_names_may_mean_other_tables_afterwards(sql: str) -> None:
    assert read_statement(sql).changes_session


def test_settings_of_the_project_change_no_names() -> None:
    assert not read_statement("SELECT set_config('app.tenant', '5', true)").changes_session
    assert not read_statement("SET app.tenant = '5'").changes_session


def test_functions() -> None:
    sql = 'SELECT brew(upper(name)), "Brew It" (1) FROM shop WHERE id IN (1) AND (a OR b)'
    assert read_statement(sql).functions == {"brew", "brew it"}
    assert read_statement("UPDATE shop SET a = brew(1)").functions == {"brew"}

    assert read_statement("SET @a = `Brew` (1)").functions == {"brew"}


@pytest.mark.parametrize(
    ("sql", "begins"),
    [
        ("BEGIN", True),
        ("/* a */ start  transaction with consistent snapshot", True),
        ("XA START 'x'", True),
        ("XA END 'x'", False),
        ("COMMIT AND CHAIN", True),
        ("COMMIT AND NO CHAIN", False),
        ("ROLLBACK AND CHAIN", True),
        ("START SLAVE", False),
        ("COMMIT; START TRANSACTION", True),
        ("START TRANSACTION; UPDATE a SET x = 1", True),
        ("START TRANSACTION; UPDATE a SET x = 1; COMMIT", False),
        ("BEGIN NOT ATOMIC SELECT 1; END", False),
        ("UPDATE a SET x = 1", False),
    ],
)
def test_a_transaction_is_begun(sql: str, begins: bool) -> None:
    assert read_statement(sql).begins is begins


def test_bodies_of_functions() -> None:
    assert read_body("BEGIN NEW.changed = now(); RETURN NEW; END").writes == frozenset()
    assert "shop" in read_body("BEGIN UPDATE shop SET a = 1; END").writes
    assert read_body("BEGIN EXECUTE format('DELETE FROM %I', t); END").is_unknown
    assert read_body("BEGIN PERFORM brew(1); END").functions == {"brew"}


def test_texts() -> None:
    from psycopg import sql

    assert text_of("SELECT 1", None) == "SELECT 1"
    assert text_of(b"SELECT 1", None) == "SELECT 1"
    composed = sql.SQL("UPDATE {} SET a = 1").format(sql.Identifier("shop"))
    assert read_statement(text_of(composed, None)).writes == {"shop"}


def test_a_long_text_is_not_kept() -> None:
    from redisdict.modelcache.invalidation import statements

    before = statements._remembered.cache_info().currsize
    sql = "INSERT INTO shop (a) VALUES " + ",".join(["(%s)"] * 10_000)
    assert read_statement(sql).writes == {"shop"}
    assert statements._remembered.cache_info().currsize == before
