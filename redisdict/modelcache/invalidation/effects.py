"""Find the tables that the database itself changes when a table is changed or a function called.

Triggers, rules, views, partitions, the actions of foreign keys, and functions change tables that a
statement doesn't name. The database's catalog has all of them, and their texts are analysed like
statements: if a text may write, every table that it mentions counts as changed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from redisdict import forks
from redisdict.modelcache.connection_state import ask
from redisdict.modelcache.invalidation.statements import Statement, names_in, read_body
from redisdict.modelcache.registrations import on_registration
from redisdict.modelcache.triggers import FUNCTION

#: Seconds after which the catalog is read again: another process may have made a trigger.
READ_EVERY_S = 300.0

#: Stands for every table.
ANYTHING = "*"

Graph = dict[str, set[str]]


@dataclass(slots=True)
class Catalog:
    """The further names that a change of each name concerns.

    Attributes:
        always: by table or view: what triggers and rules change, and what a view shows.
        shown_by: by table: views and partitions that have its rows, or parts of them.
        on_truncate: by table: all whose foreign keys point at it: TRUNCATE … CASCADE empties them.
        on_delete: by table: those whose foreign keys point at it and act on a deletion.
        on_update: by table: those whose foreign keys follow a changed key.
        functions: by name: what a call may change. Those that change nothing aren't in it.
        rewritten: tables whose rows a trigger may give other values before they are written.
        path_setters: functions after whose call names may mean other tables.
    """

    always: Graph = field(default_factory=dict)
    shown_by: Graph = field(default_factory=dict)
    on_truncate: Graph = field(default_factory=dict)
    on_delete: Graph = field(default_factory=dict)
    on_update: Graph = field(default_factory=dict)
    functions: Graph = field(default_factory=dict)
    path_setters: set[str] = field(default_factory=set)
    rewritten: set[str] = field(default_factory=set)
    read_at: float = field(default_factory=time.monotonic)

    def may_rewrite(self, table: str) -> bool:
        """Whether a row of the table, or of a partition of it, may get other values than given."""
        return not self.rewritten.isdisjoint({table, *_followed([table], [self.shown_by])})

    def changed_by(self, statement: Statement, changes_keys: bool = True) -> set[str]:
        """Return the names that a statement changes besides those in its text.

        Args:
            changes_keys: whether an UPDATE may change a column that foreign keys point at.

        `ANYTHING` is among them when that can't be known.
        """
        graphs = [self.always]
        if statement.is_definition:
            graphs.append(self.on_truncate)
        if statement.replaces or statement.verb not in ("insert", "update"):
            graphs.append(self.on_delete)
        may_update = statement.upserts or statement.replaces
        if (may_update or statement.verb not in ("insert", "delete")) and changes_keys:
            graphs.append(self.on_update)
        found = _followed(statement.writes, graphs)
        for name in statement.functions & self.functions.keys():
            found |= self.functions[name]
        # What a change brings about is a change of whatever kind.
        found |= _followed(found, [self.always, self.on_delete, self.on_update])
        # The same rows elsewhere; those of the statement's own names it has told of.
        return found | (_followed(statement.writes | found, [self.shown_by]) - statement.writes)


def _followed(names: Iterable[str], graphs: Iterable[Graph]) -> set[str]:
    """Everything that can be reached in one step or more."""
    graphs = list(graphs)
    found: set[str] = set()
    new = set(names)
    while new:
        reached = {after for graph in graphs for name in new for after in graph.get(name, ())}
        new = reached - found
        found |= reached
    return found


_catalogs: dict[Any, Catalog] = {}
_lock = forks.Lock()


def catalog_of(connection: BaseDatabaseWrapper) -> Catalog:
    """The catalog of the connection's database; read once in a while, below Django's cursors."""
    name = _name_of(connection)
    known = _catalogs.get(name)
    if known is None or time.monotonic() - known.read_at > READ_EVERY_S:
        with _lock:
            known = Catalog()
            if (read := READERS.get(connection.vendor)) is not None:
                read(known, partial(ask, connection))
            _catalogs[name] = known
    return known


def forget_catalog(connection: BaseDatabaseWrapper) -> None:
    """A statement may have changed it."""
    _catalogs.pop(_name_of(connection), None)


# What has changed while nothing was cached wasn't seen.
on_registration(_catalogs.clear)


def _name_of(connection: BaseDatabaseWrapper) -> Any:
    settings = connection.settings_dict
    return connection.vendor, settings["HOST"], settings["PORT"], str(settings["NAME"])


Rows = Callable[[str], list[tuple[Any, ...]]]

FOREIGN_KEYS = """
SELECT DISTINCT referenced.relname, pointing.relname, confdeltype, confupdtype
FROM pg_constraint
JOIN pg_class referenced ON referenced.oid = confrelid
JOIN pg_class pointing ON pointing.oid = conrelid
WHERE contype = 'f'
"""

VIEWS = """
SELECT DISTINCT base.relname, shown.relname
FROM pg_depend
JOIN pg_rewrite ON pg_rewrite.oid = objid
JOIN pg_class shown ON shown.oid = ev_class AND shown.relkind = 'v'
JOIN pg_class base ON base.oid = refobjid AND base.oid <> shown.oid
JOIN pg_namespace ON pg_namespace.oid = shown.relnamespace
WHERE classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass
AND nspname NOT IN ('pg_catalog', 'information_schema')
"""

PARTITIONS = """
SELECT DISTINCT parent.relname, child.relname
FROM pg_inherits
JOIN pg_class parent ON parent.oid = inhparent AND parent.relkind IN ('r', 'p', 'f')
JOIN pg_class child ON child.oid = inhrelid
"""

RULES = """
SELECT relname, pg_get_ruledef(pg_rewrite.oid)
FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE ev_type <> '1' AND nspname NOT IN ('pg_catalog', 'information_schema')
"""

TRIGGERS = f"""
SELECT DISTINCT relname, proname, tgtype & 3 = 3
FROM pg_trigger
JOIN pg_class ON pg_class.oid = tgrelid
JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE NOT tgisinternal AND proname <> '{FUNCTION}'
"""  # noqa: S608  # a name of ours

#: Those that may change tables: a function that isn't volatile can't, and neither do those in C.
FUNCTIONS = """
SELECT proname, lanname, prosrc || ' ' || coalesce({body}, '')
FROM pg_proc
JOIN pg_language ON pg_language.oid = prolang
JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE provolatile = 'v' AND lanname NOT IN ('c', 'internal')
AND nspname NOT IN ('pg_catalog', 'information_schema')
"""


def _read_postgresql(catalog: Catalog, rows: Rows) -> None:
    for referenced, pointing, on_delete, on_update in rows(FOREIGN_KEYS):
        _add(catalog.on_truncate, referenced, [pointing])
        _add_foreign_key(catalog, referenced, pointing, _text(on_delete), _text(on_update))
    for base, shown in rows(VIEWS):
        _add_view(catalog, shown, [base])
    for parent, child in rows(PARTITIONS):
        _add(catalog.shown_by, parent, [child])
        _add(catalog.shown_by, child, [parent])
    for table, rule in rows(RULES):
        _add(catalog.always, table, names_in(rule))
    [(version,)] = rows("SELECT current_setting('server_version_num')::int")
    body = "pg_get_function_sqlbody(pg_proc.oid)" if version >= 140000 else "NULL"
    texts: dict[str, str] = {}
    for name, language, text in rows(FUNCTIONS.format(body=body)):
        is_readable = language in ("sql", "plpgsql")
        texts[name] = texts.get(name, "") + " " + (text if is_readable else OPAQUE)
    catalog.functions = _effects(texts)
    catalog.path_setters = _path_setters(texts)
    for table, function, is_before_row in rows(TRIGGERS):
        _add(catalog.always, table, catalog.functions.get(function.lower(), ()))
        if is_before_row:
            catalog.rewritten.add(table.lower())


def _text(value: Any) -> str:
    """A column of a catalog as text; NULL is "".

    MySQL gives bytes where its collation is binary, and psycopg 2 may of the type "char".
    """
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


#: Stands for a text that can't be read: it may change anything.
OPAQUE = "execute"


def _effects(texts: dict[str, str]) -> Graph:
    """Find what a call of each function may change, by the texts of all."""
    bodies = {name.lower(): read_body(text) for name, text in texts.items()}
    changed: Graph = {}
    for name, body in bodies.items():
        seen, new = {name}, [body]
        found: set[str] = set()
        while new:
            one = new.pop()
            found |= {ANYTHING} if one.is_unknown else one.writes
            called = (one.functions & bodies.keys()) - seen
            seen |= called
            new += [bodies[other] for other in called]
        if found:
            changed[name] = found
    return changed


def _path_setters(texts: dict[str, str]) -> set[str]:
    """Functions whose texts mention the search path or the role, and those that mention these."""
    words = {name.lower(): names_in(text) for name, text in texts.items()}
    found: set[str] = set()
    new = {"search_path", "set_config", "role"}
    while new:
        new = {name for name, mentioned in words.items() if mentioned & new} - found
        found |= new
    return found


def _read_sqlite(catalog: Catalog, rows: Rows) -> None:
    for kind, name, table, text in rows(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type IN ('view', 'trigger')"
    ):
        if kind == "view":
            _add_view(catalog, name, names_in(text) - {name.lower()})
        else:
            body = re.split(r"\bBEGIN\b", text, maxsplit=1, flags=re.IGNORECASE)[-1]
            _add(catalog.always, table, read_body(body).writes)
    for pointing, referenced, on_update, on_delete in rows(
        'SELECT m.name, f."table", f.on_update, f.on_delete FROM sqlite_master AS m,'
        " pragma_foreign_key_list(m.name) AS f WHERE m.type = 'table'"
    ):
        _add_foreign_key(catalog, referenced, pointing, on_delete, on_update)


#: What a foreign key does of itself, also as PostgreSQL's catalog writes it.
ACTIONS = frozenset({"CASCADE", "SET NULL", "SET DEFAULT", "c", "n", "d"})


#: A statement may name a table of any database, and what the database does of itself as well.
OF_USERS = "NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')"

SCHEMA_OF = {
    "referential_constraints": "constraint_schema",
    "views": "table_schema",
    "routines": "routine_schema",
    "triggers": "trigger_schema",
}


def _read_mysql(catalog: Catalog, rows: Rows) -> None:
    """Read MySQL's or MariaDB's catalog, as far as the user may see it.

    It shows triggers of tables only to those who have the privilege TRIGGER on them. The text of a
    view or a routine may be hidden too: then it may change anything.
    """

    def texts(columns: str, table: str) -> list[list[str]]:
        sql = f"SELECT {columns} FROM information_schema.{table}"  # noqa: S608  # names of ours
        found = rows(f"{sql} WHERE {SCHEMA_OF[table]} {OF_USERS}")
        return [[_text(value) for value in row] for row in found]

    for referenced, pointing, on_delete, on_update in texts(
        "referenced_table_name, table_name, delete_rule, update_rule", "referential_constraints"
    ):
        _add_foreign_key(catalog, referenced, pointing, on_delete, on_update)
    for name, text in texts("table_name, view_definition", "views"):
        if not text:
            _add(catalog.always, name, [ANYTHING])
        _add_view(catalog, name, names_in(text) - {name.lower()})
    routines: dict[str, str] = {}
    for name, text in texts("routine_name, routine_definition", "routines"):
        routines[name] = f"{routines.get(name, '')} {text or OPAQUE}"
    catalog.functions = _effects(routines)
    for table, text, timing in texts(
        "event_object_table, action_statement, action_timing", "triggers"
    ):
        if timing == "BEFORE":
            catalog.rewritten.add(table.lower())
        body = read_body(text)
        _add(catalog.always, table, {ANYTHING} if body.is_unknown else body.writes)
        for name in body.functions & catalog.functions.keys():
            _add(catalog.always, table, catalog.functions[name])


READERS: dict[str, Callable[[Catalog, Rows], None]] = {
    "postgresql": _read_postgresql,
    "sqlite": _read_sqlite,
    "mysql": _read_mysql,
}


def _add_foreign_key(
    catalog: Catalog, referenced: str, pointing: str, on_delete: str, on_update: str
) -> None:
    if on_delete in ACTIONS:
        _add(catalog.on_delete, referenced, [pointing])
    if on_update in ACTIONS:
        _add(catalog.on_update, referenced, [pointing])


def _add_view(catalog: Catalog, name: str, bases: Iterable[str]) -> None:
    for base in bases:
        _add(catalog.shown_by, base, [name])
        _add(catalog.always, name, [base])


def _add(graph: Graph, name: str, names: Iterable[str]) -> None:
    names = [one.lower() for one in names]
    if names:
        graph.setdefault(name.lower(), set()).update(names)
