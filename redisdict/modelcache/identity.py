"""Identify the table and the database of a model's rows, whatever the alias is called.

Cached rows are named by these. An alias names a database only within one project at one time: tests
replace it by their own database, two projects call different databases "default", two aliases may
lead to one database, and a tenant's search path to another table.

A database is asked for its id once (`database_ids`), and again when a connection is made more than
a minute later. `search_paths` finds the schema that a table's name leads to.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from operator import itemgetter
from typing import Any, NamedTuple

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from redisdict.modelcache import search_paths
from redisdict.modelcache.connection_state import ask, is_in_transaction
from redisdict.modelcache.database_connections import for_each
from redisdict.modelcache.database_ids import (
    Database,
    ask_database,
    id_of_connection,
    id_of_file,
    id_of_memory,
    is_memory,
)

#: Seconds for which an answer is trusted in any case; after that, until the next connection.
ASK_EVERY_S = 60.0

#: Seconds after which a file is checked to be still the same one.
LOOK_EVERY_S = 1.0

#: Bytes that stand for a place in the names of its rows.
DIGEST_BYTES = 8

#: The settings of an alias that decide which tables it leads to; and those of them that are changed
#: in place, as for test databases, and so are compared at each read.
VALUES = itemgetter("ENGINE", "NAME", "HOST", "PORT", "USER")
CHANGEABLE = itemgetter("NAME", "HOST", "PORT")


class Place(NamedTuple):
    """A table of a database. A tuple, since it is hashed at each read.

    Attributes:
        digest: stands for the database, the schema and the table.
        is_standby: whether the database follows another one, and may lag behind it.
        hides_rows: whether its policies may show other readers other rows (row-level security).
    """

    digest: str
    is_standby: bool = False
    hides_rows: bool = False


@dataclass(slots=True)
class _Known:
    """A place that is the same by any connection of an alias."""

    settings: dict[str, Any]
    values: tuple[Any, ...]
    place: Place
    database: Database
    looked_at: float


#: By what the settings say.
_databases: dict[Any, Database] = {}

#: By alias and model.
_places: dict[tuple[str, type[models.Model]], _Known] = {}

#: Threads that ask for a place, with what the others wait for: by process, alias and model. For to
#: ask takes a connection, and a new process may have more threads than the database allows.
_askers: dict[tuple[int, str, type[models.Model]], tuple[int, threading.Event]] = {}

#: Seconds after which a thread asks by itself.
LONGEST_WAIT_S = 5.0

#: The attribute of a connection: the driver's connection, and the database that it leads to.
LEARNED = "_redisdict_learned"

#: The attribute of a connection to SQLite: the database that it has opened.
OPENED = "_redisdict_opened"


#: The attribute of a connection: the driver's connection, `_names`, and by model the places that
#: are seen over it. Not of SQLite, where a path may lead to another file.
SEEN = "_redisdict_seen"

#: Another object whenever names may have come to mean other tables.
_names = object()

_Seen = tuple[Any, object, dict[type[models.Model], Place]]
_NOTHING_SEEN: _Seen = None, None, {}


def known_place(alias: str, model: type[models.Model]) -> Place | None:
    """The place of a model's table, if it is known without a look at the thread's connection."""
    if search_paths.are_several:
        return None
    known = _places.get((alias, model))
    if known is None:
        return None
    settings = connections.settings[alias]
    if known.settings is not settings or known.values != CHANGEABLE(settings):
        return None
    if known.database.file and not _is_still_there(known):
        return None
    return known.place


def place_of(alias: str, model: type[models.Model]) -> Place:
    """The place of a model's table, as the calling thread's connection sees it.

    Raises:
        django.db.Error: the database has to be asked, and can't be reached.
    """
    known = known_place(alias, model)
    if known is not None:
        return known
    if search_paths.are_several:  # each connection has to be looked at
        return place_through(connections[alias], model)
    own = threading.get_ident(), threading.Event()
    key = os.getpid(), alias, model
    asker, is_over = _askers.setdefault(key, own)
    if is_over is not own[1]:
        if asker != own[0]:  # else a receiver of `connection_created` reads
            is_over.wait(LONGEST_WAIT_S)
        return known_place(alias, model) or place_through(connections[alias], model)
    try:
        return place_through(connections[alias], model)
    finally:
        del _askers[key]
        is_over.set()


def place_through(connection: BaseDatabaseWrapper, model: type[models.Model]) -> Place:
    """The place of a model's table, as this connection sees it. It is opened if it has to be."""
    raw: Any = connection.connection
    seen: _Seen = connection.__dict__.get(SEEN, _NOTHING_SEEN)
    is_seen = seen[0] is raw and seen[1] is _names
    if is_seen and not search_paths.are_several and (found := seen[2].get(model)) is not None:
        return found
    database = _database_of(connection)
    place, is_there = _look(connection, database, model)
    settings = connections.settings.get(connection.alias)
    if (
        is_there
        and settings is not None
        and VALUES(settings) == VALUES(connection.settings_dict)
        and not _may_differ(connection)
    ):
        known = _Known(settings, CHANGEABLE(settings), place, database, time.monotonic())
        _places[connection.alias, model] = known
        if connection.vendor != "sqlite" and connection.connection is not None:
            if not is_seen or connection.connection is not raw:
                connection.__dict__[SEEN] = connection.connection, _names, {}
            connection.__dict__[SEEN][2][model] = place
    return place


def leads_to(connection: BaseDatabaseWrapper, place: Place, model: type[models.Model]) -> bool:
    """Whether an open connection sees the model's table at this place."""
    return _look(connection, _database_of(connection), model)[0].digest == place.digest


def place_in(connection: BaseDatabaseWrapper, model: type[models.Model], schema: str) -> Place:
    """The place of the model's tables that are in a certain schema."""
    database = _database_of(connection)
    return _place(database, model, [schema] * len(_names_of(model)), False)


def forget_names() -> None:
    """Forget names, since a statement may have changed tables, or who sees what in them."""
    global _names
    _names = object()
    _places.clear()
    search_paths.forget()


def is_on_standby(connection: BaseDatabaseWrapper) -> bool:
    """Whether an open connection leads to a standby. No query."""
    raw = connection.connection
    ask = getattr(getattr(raw, "info", raw), "parameter_status", None)
    told = ask("in_hot_standby") if ask is not None else None  # since PostgreSQL 14
    if told is not None:
        return bool(told == "on")
    return _database_of(connection).is_standby


def _look(
    connection: BaseDatabaseWrapper, database: Database, model: type[models.Model]
) -> tuple[Place, bool]:
    """The place of a model's table, and whether there is such a table by now."""
    key = (database.id, _key_of(connection))
    found = search_paths.schemas_of(connection, key, _names_of(model))
    if found is None:
        return _place(database, model, [""], False), False
    return _place(database, model, *found), True


def _place(
    database: Database, model: type[models.Model], schemas: Sequence[str], hides_rows: bool
) -> Place:
    text = "\n".join((database.id, *schemas, *_names_of(model)))
    digest = blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()
    return Place(digest, database.is_standby, hides_rows)


def _names_of(model: type[models.Model]) -> list[str]:
    """The tables that hold parts of a model's rows: its own, and those of its parents."""
    return list(dict.fromkeys(one._meta.db_table for one in (model, *model._meta.all_parents)))


# The database.


def _database_of(connection: BaseDatabaseWrapper) -> Database:
    if connection.vendor == "sqlite":
        return _database_of_sqlite(connection)
    connection.ensure_connection()
    learned: tuple[Any, Database] | None = connection.__dict__.get(LEARNED)
    if learned is None or learned[0] is not connection.connection:
        # A database may have been made anew under the same settings since the last connection.
        learned = connection.__dict__[LEARNED] = (connection.connection, _learn(connection))
    return learned[1]


def _key_of(connection: BaseDatabaseWrapper) -> Any:
    settings = connection.settings_dict
    return tuple(map(str, VALUES(settings))), repr(settings.get("OPTIONS"))


def _learn(connection: BaseDatabaseWrapper) -> Database:
    with connection.wrap_database_errors:
        learned = ask_database(connection)
    before = _databases.get(_key_of(connection), learned)
    _databases[_key_of(connection)] = learned
    if (before.id, before.is_standby) != (learned.id, learned.is_standby):
        forget_names()
    return learned


def _database_of_sqlite(connection: BaseDatabaseWrapper) -> Database:
    opened: tuple[Any, int, Database] | None = connection.__dict__.get(OPENED)
    is_open = connection.connection is not None
    if opened is not None and is_open and opened[:2] == (connection.connection, os.getpid()):
        return opened[2]
    name = connection.settings_dict["NAME"]
    if not is_open and not is_memory(name):
        with contextlib.suppress(OSError):
            return Database(id_of_file(str(name)), file=str(name))
    if not is_open:
        connection.ensure_connection()
    found = _look_at_sqlite(connection)
    connection.__dict__[OPENED] = (connection.connection, os.getpid(), found)
    return found


def _look_at_sqlite(connection: BaseDatabaseWrapper) -> Database:
    name = str(connection.settings_dict["NAME"])
    if is_memory(name):
        if "cache=shared" in name or "vfs=memdb" in name:
            return Database(id_of_memory(name))
        return Database(id_of_connection())
    if name.startswith("file:"):
        name = next(
            (file for _, of, file in ask(connection, "PRAGMA database_list") if of == "main"),
            "",
        )
    try:
        return Database(id_of_file(name), file=name)
    except OSError:
        return Database(id_of_connection())  # it was removed: nobody else comes to it any more


def _is_still_there(known: _Known) -> bool:
    """Whether the path still leads to the same file; looked at once a second."""
    now = time.monotonic()
    if now - known.looked_at < LOOK_EVERY_S:
        return True
    known.looked_at = now
    is_there = _leads_to_its_file(known.database)
    if not is_there:
        forget_names()
    return is_there


def _leads_to_its_file(database: Database) -> bool:
    """Whether the path of a file leads to that file, and not to another one or to none."""
    try:
        return id_of_file(database.file) == database.id
    except OSError:
        return False


def _on_connection(connection: BaseDatabaseWrapper) -> None:
    """Note that a connection was made: the settings may lead to another database by now."""
    if search_paths.sets_by_itself(connection):
        search_paths.note_several()
    if connection.connection is None:
        return
    connection.__dict__.pop(OPENED, None)
    settings = connections.settings.get(connection.alias)
    if settings is not None and VALUES(settings) != VALUES(connection.settings_dict):
        search_paths.note_several()
    if search_paths.are_several and (connection.settings_dict.get("OPTIONS") or {}).get("pool"):
        search_paths.may_have_changed(connection)  # by whoever had it before
    if connection.vendor == "sqlite":
        _database_of_sqlite(connection)
        for place in list(_places.values()):
            place.looked_at = 0.0
        return
    known = _databases.get(_key_of(connection))
    if known is not None and time.monotonic() - known.asked_at > ASK_EVERY_S:
        try:
            if is_in_transaction(connection):
                raise RuntimeError("a first query would begin the user's transaction")
            _learn(connection)
        except Exception:  # noqa: BLE001  # of any driver; who needs to know asks again
            _databases.pop(_key_of(connection), None)
            forget_names()


def _may_differ(connection: BaseDatabaseWrapper) -> bool:
    """Whether another connection of the alias may see another table."""
    if connection.vendor == "sqlite":
        name = str(connection.settings_dict["NAME"])
        # A connection may have a file open that its path doesn't lead to any more.
        return is_memory(name) or not _leads_to_its_file(_database_of_sqlite(connection))
    return search_paths.may_differ(connection)


for_each(_on_connection)
