"""The tables, with what the database does by itself, and the rows that there are at first."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import connection

from tests.stress.modelcache.models import (
    Bump,
    Deletion,
    Leaf,
    Node,
    Office,
    Owner,
    Part,
    Place,
    Row,
    Shop,
    code_of,
    step_of,
)
from tests.stress.modelcache.subjects import LEAVES, NODES, PARTS, PLACES, ROWS, Subject

__all__ = ["counts", "make_tables"]

#: Tables whose foreign keys Django can't make, and a view.
BOTH = (
    "CREATE TABLE modelcache_part (id bigint PRIMARY KEY, version integer NOT NULL,"
    " owner_id bigint,"
    " FOREIGN KEY (owner_id) REFERENCES modelcache_owner (id) ON DELETE SET NULL)",
    "CREATE TABLE modelcache_leaf (id bigint PRIMARY KEY, version integer NOT NULL,"
    " owner_id bigint NOT NULL,"
    " FOREIGN KEY (owner_id) REFERENCES modelcache_owner (id) ON DELETE CASCADE)",
)

POSTGRESQL = (
    "CREATE FUNCTION stress_on_bump() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " UPDATE modelcache_row SET version = version + 1 WHERE id = NEW.row; RETURN NEW; END $$",
    "CREATE TRIGGER stress_bumped AFTER INSERT ON modelcache_bump"
    " FOR EACH ROW EXECUTE FUNCTION stress_on_bump()",
    "CREATE VIEW stress_view AS SELECT id, version FROM modelcache_row",
    "CREATE FUNCTION stress_raise(bigint) RETURNS void LANGUAGE sql"
    " AS $$ UPDATE modelcache_row SET version = version + 1 WHERE id = $1 $$",
    "CREATE PROCEDURE stress_call(bigint) LANGUAGE plpgsql"
    " AS $$ BEGIN PERFORM stress_raise($1); END $$",
)

SQLITE = (
    "CREATE TRIGGER stress_bumped AFTER INSERT ON modelcache_bump BEGIN"
    " UPDATE modelcache_row SET version = version + 1 WHERE id = NEW.row; END",
    "CREATE VIEW stress_view AS SELECT id, version FROM modelcache_row",
    "CREATE TRIGGER stress_viewed INSTEAD OF UPDATE ON stress_view BEGIN"
    " UPDATE modelcache_row SET version = NEW.version WHERE id = NEW.id; END",
)

MYSQL = (
    "CREATE TRIGGER stress_bumped AFTER INSERT ON modelcache_bump FOR EACH ROW"
    " UPDATE modelcache_row SET version = version + 1 WHERE id = NEW.row",
    "CREATE VIEW stress_view AS SELECT id, version FROM modelcache_row",
    "CREATE FUNCTION stress_raise(pk bigint) RETURNS bigint MODIFIES SQL DATA BEGIN"
    " UPDATE modelcache_row SET version = version + 1 WHERE id = pk; RETURN pk; END",
    # What it selects comes before what it changes.
    "CREATE PROCEDURE stress_call(pk bigint) BEGIN SELECT pk; SELECT stress_raise(pk); END",
)

#: What the database does by itself, by its vendor.
FURNITURE = {"postgresql": POSTGRESQL, "sqlite": SQLITE, "mysql": MYSQL}


def counts(rows: int) -> dict[Subject, int]:
    """How many rows each table has."""
    few = max(rows // 3, 2)
    return {ROWS: rows, PLACES: few, NODES: few, PARTS: few, LEAVES: few}


def make_tables(of: Mapping[Subject, int]) -> None:
    """Make the tables, with all rows in version 1."""
    with connection.schema_editor() as editor:
        for model in (Row, Deletion, Bump, Place, Shop, Office, Node, Owner):
            editor.create_model(model)
    with connection.cursor() as cursor:
        for sql in (*BOTH, *FURNITURE[connection.vendor]):
            cursor.execute(sql)
    pks = range(1, of[ROWS] + 1)
    Row.objects.bulk_create([Row(pk=pk, code=code_of(pk), version=1) for pk in pks])
    for pk in range(1, of[PLACES] + 1):
        place = Place.objects.create(pk=pk, version=1)
        for child in (Shop(place_ptr=place), Office(place_ptr=place)):
            child.save_base(raw=True)  # the parent's row is there
    root = step_of(1)
    Node.objects.create(pk=1, path=root, children=of[NODES] - 1, version=1)
    Node.objects.bulk_create(
        [Node(pk=pk, path=root + step_of(pk), version=1) for pk in range(2, of[NODES] + 1)]
    )
    for pk in range(1, of[PARTS] + 1):
        owner = Owner.objects.create(pk=pk)
        Part.objects.create(pk=pk, version=1, owner=owner)
        Leaf.objects.create(pk=pk, version=1, owner=owner)
