"""Tell which table of which database a model's rows are in, whatever the alias is called.

Rows of the cache are named by that. An alias names a database only within one project at one time:
tests put their own database in its place, two projects call different ones "default", two aliases
may lead to one, and a tenant's search path to another table. So the database itself is asked who it
is, where it can tell; by its host and name it is known otherwise.

It is asked once, and again when a connection is made later than a minute after. As long as nothing
in the process sets a search path, a read looks at no connection.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from redisdict.database_connections import for_each
from redisdict.modelcache.connection_state import is_in_transaction
from redisdict.modelcache.table_names import table_of

__all__ = [
    "Place",
    "follow_search_path",
    "forget_schemas",
    "known_place",
    "place_in_schema",
    "place_of",
    "transaction_has_ended",
]

T = TypeVar("T")

#: Seconds that an answer is believed whatever happens; after that, until the next connection.
ASK_EVERY_S = 60.0

#: Bytes that stand for a place in the names of its rows.
DIGEST_BYTES = 8

#: The ports of databases whose setting names none.
DEFAULT_PORTS = {"postgresql": "5432", "mysql": "3306", "oracle": "1521"}

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Place:
    """A table of a database.

    Attributes:
        digest: stands for the database and the schema of the table.
        is_standby: whether the database follows another one, and may lag behind it.
    """

    digest: str
    is_standby: bool


#: Databases by the settings that lead there: who they are, whether they are standbys, and when that
#: was asked.
_databases: dict[Any, tuple[str, bool, float]] = {}

#: Places by settings and table, of processes that set no search path.
_places: dict[Any, Place] = {}

#: Schemas by database, search path and table.
_schemas: dict[Any, str] = {}

#: Whether a connection of this process may have another search path than others.
_has_search_paths = False

#: The attribute of a connection that holds its search path, with the driver's connection it is of.
PATH = "_redisdict_search_path"

#: The attribute of a connection to a database in memory that holds a name for it, in the same way.
MEMORY = "_redisdict_memory"


def known_place(alias: str, model: type[models.Model]) -> Place | None:
    """The place of a model's table, if it is known without a look at the thread's connection."""
    if _has_search_paths:
        return None
    return _places.get((_settings_of(alias), model._meta.db_table))


def place_of(alias: str, model: type[models.Model]) -> Place:
    """The place of a model's table, as the calling thread's connection sees it.

    Raises:
        django.db.Error: the database can't be reached.
    """
    known = known_place(alias, model)
    if known is not None:
        return known
    connection = connections[alias]
    connection.ensure_connection()
    database, is_standby = _database_of(connection)
    schema = _schema_of(connection, database, model._meta.db_table)
    place = Place(_digest(database, schema or "", model), is_standby)
    is_lasting = PATH not in connection.__dict__ and not hasattr(connection, "schema_name")
    if schema is not None and is_lasting and not _is_in_memory(connection):
        _places[_settings_of(alias), model._meta.db_table] = place
    return place


def place_in_schema(alias: str, model: type[models.Model], schema: str) -> Place:
    """The place of the table of a model's name in a schema that a statement has named."""
    connection = connections[alias]
    connection.ensure_connection()
    database, is_standby = _database_of(connection)
    return Place(_digest(database, schema, model), is_standby)


def forget_schemas() -> None:
    """A statement may have made, moved or removed tables."""
    _places.clear()
    _schemas.clear()


def _digest(database: str, schema: str, model: type[models.Model]) -> str:
    text = "\n".join((database, schema, table_of(model)))
    return blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def follow_search_path(connection: BaseDatabaseWrapper, run: Callable[[], T]) -> T:
    """Run a statement after which unqualified names may mean other tables; see whether they do.

    Two queries, where the connection's path has been that of the settings so far.
    """
    global _has_search_paths
    if connection.vendor not in CURRENT_SCHEMAS:
        return run()
    before = None if PATH in connection.__dict__ else _current_schemas(connection)
    result = run()
    if before is None or _current_schemas(connection) != before:
        _has_search_paths = True
        connection.__dict__[PATH] = (None, "")
    return result


def _current_schemas(connection: BaseDatabaseWrapper) -> str | None:
    """The search path; None when the transaction has failed, so that nothing can be asked."""
    drivers: Any = connection
    try:
        (path,) = _ask(connection, CURRENT_SCHEMAS[connection.vendor])
    except drivers.Database.Error:
        return None
    return str(path)


def transaction_has_ended(connection: BaseDatabaseWrapper) -> None:
    """What a search path was set to in a transaction may be undone."""
    if PATH in connection.__dict__:
        connection.__dict__[PATH] = (None, "")


def _settings_of(alias: str) -> Any:
    """The settings that lead to a database, as they are now: tests change them in place."""
    settings = connections.settings[alias]
    return alias, str(settings["NAME"]), settings["HOST"], settings["PORT"]


def _database_of(connection: BaseDatabaseWrapper) -> tuple[str, bool]:
    if _is_in_memory(connection):
        return _name_in_memory(connection), False
    key = _settings_of(connection.alias)
    known = _databases.get(key)
    if known is None:
        asked = ASKED.get(connection.vendor, _by_settings)(connection)
        known = _databases[key] = (*asked, time.monotonic())
    return known[:2]


def _on_connection(connection: BaseDatabaseWrapper) -> None:
    """A connection was made: what the settings lead to may be another database by now."""
    if connection.connection is None:
        return
    key = _settings_of(connection.alias) if connection.alias in connections.settings else None
    known = _databases.get(key)
    # MySQL's standby has another name than its primary, and may have taken over.
    is_cheap = connection.vendor in ("sqlite", "mysql")
    if known is not None and (is_cheap or time.monotonic() - known[2] > ASK_EVERY_S):
        _databases.pop(key, None)
        for place in [each for each in _places if each[0] == key]:
            _places.pop(place, None)
    if hasattr(connection, "schema_name"):  # of django-tenants
        global _has_search_paths
        _has_search_paths = True


for_each(_on_connection)


def _ask(connection: BaseDatabaseWrapper, sql: str, parameters: Iterable[Any] = ()) -> Any:
    """One row, by the driver's own cursor: no query of the user's is counted or watched here."""
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(sql, list(parameters))
        return cursor.fetchone()


def _ask_postgresql(connection: BaseDatabaseWrapper) -> tuple[str, bool]:
    is_allowed, database, is_standby = _ask(
        connection,
        "SELECT has_function_privilege('pg_control_system()', 'execute'),"
        " (SELECT oid FROM pg_database WHERE datname = current_database()), pg_is_in_recovery()",
    )
    if not is_allowed:
        return _by_settings(connection)[0], is_standby
    (cluster,) = _ask(connection, "SELECT system_identifier FROM pg_control_system()")
    return f"postgresql {cluster} {database}", is_standby


def _ask_mysql(connection: BaseDatabaseWrapper) -> tuple[str, bool]:
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(SERVER_OF_MYSQL)
        known = {str(name).lower(): str(value) for name, value in cursor.fetchall()}
        cursor.execute("SHOW GLOBAL STATUS LIKE 'wsrep_cluster_state_uuid'")
        cluster = cursor.fetchone()
    return name_mysql(known, str(cluster[1]) if cluster else "")


def name_mysql(variables: Mapping[str, str], galera: str) -> tuple[str, bool]:
    """A name of the server whose variables these are, and whether it may lag behind another one.

    Those that replicate one another's changes as one database have one name: a client may be led to
    any of them. MariaDB has no UUID of its own, so all that tells its servers apart is the name.

    Args:
        galera: the UUID of a Galera cluster's state; empty for a server that is in none.
    """
    lags = variables.get("read_only", "OFF").upper() not in ("OFF", "0")
    group = variables.get("group_replication_group_name", "")
    if galera and variables.get("wsrep_on", "OFF").upper() in ("ON", "1"):
        # Bit 1: a SELECT waits until the node has what the others have committed.
        waits = int(variables.get("wsrep_sync_wait") or 0) & 1
        return f"mysql {galera}", lags or not waits
    if group:
        consistency = variables.get("group_replication_consistency", "")
        waits = consistency.upper() in ("BEFORE", "BEFORE_AND_AFTER", "AFTER")
        is_alone = variables.get("group_replication_single_primary_mode", "").upper() == "ON"
        return f"mysql {group}", lags or not (waits or is_alone)
    if "server_uuid" in variables:
        return f"mysql {variables['server_uuid']}", lags
    own = (variables.get(name, "") for name in NAMES_OF_MARIADB)
    return f"mariadb {' '.join(own)}", lags


#: What one MariaDB has in common with no other one.
NAMES_OF_MARIADB = ("server_uid", "server_id", "hostname", "port", "socket", "datadir")

SERVER_OF_MYSQL = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'read_only', 'wsrep_on',"
    " 'wsrep_sync_wait', 'group_replication_group_name', 'group_replication_consistency',"
    f" 'group_replication_single_primary_mode', {', '.join(map(repr, NAMES_OF_MARIADB))})"
)


def _ask_sqlite(connection: BaseDatabaseWrapper) -> tuple[str, bool]:
    """The file: two machines may have different ones under one path."""
    path = os.path.realpath(str(connection.settings_dict["NAME"]))
    try:
        machine = BOOT_ID.read_text().strip()
    except OSError:
        machine = socket.gethostname()
    try:
        found = Path(path).stat()
    except OSError:  # a URI, say
        return f"sqlite {machine} {path}", False
    return f"sqlite {machine} {path} {found.st_dev} {found.st_ino}", False


def _by_settings(connection: BaseDatabaseWrapper) -> tuple[str, bool]:
    settings = connection.settings_dict
    host = settings["HOST"] or "localhost"
    if host in ("127.0.0.1", "::1"):
        host = "localhost"
    port = str(settings["PORT"] or DEFAULT_PORTS.get(connection.vendor, ""))
    return f"{connection.vendor} {host} {port} {settings['NAME']}", False


ASKED = {"postgresql": _ask_postgresql, "mysql": _ask_mysql, "sqlite": _ask_sqlite}


def _is_in_memory(connection: BaseDatabaseWrapper) -> bool:
    if connection.vendor != "sqlite":
        return False
    name = str(connection.settings_dict["NAME"])
    return name == ":memory:" or "mode=memory" in name or ":memory:" in name


def _name_in_memory(connection: BaseDatabaseWrapper) -> str:
    """A name that no other database has: of this process, or of one connection."""
    name = str(connection.settings_dict["NAME"])
    if "cache=shared" in name:
        return f"sqlite {_process_token()} {name}"
    raw = connection.connection
    made: tuple[Any, str] | None = connection.__dict__.get(MEMORY)
    if made is None or made[0] is not raw:
        made = connection.__dict__[MEMORY] = (raw, secrets.token_hex(8))
    return f"sqlite {_process_token()} {made[1]}"


_process: tuple[int, str] = (0, "")


def _process_token() -> str:
    """A name of this process, another one after any fork."""
    global _process
    if _process[0] != os.getpid():
        _process = (os.getpid(), secrets.token_hex(8))
    return _process[1]


#: By vendor: a query for the schemas in which names are looked for. MySQL's are its databases.
CURRENT_SCHEMAS = {
    "postgresql": "SELECT current_schemas(true)::text",
    "mysql": "SELECT DATABASE()",
}

TABLE_SCHEMA = """
SELECT nspname FROM pg_catalog.pg_class
JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
WHERE pg_class.oid = to_regclass(%s)
"""


def _schema_of(connection: BaseDatabaseWrapper, database: str, table: str) -> str | None:
    """The schema of the table that an unqualified name means now; None when there is no table."""
    if connection.vendor not in CURRENT_SCHEMAS:
        return ""
    if connection.vendor == "mysql":
        return _search_path(connection) or str(connection.settings_dict["NAME"])
    key = (database, _settings_of(connection.alias), _search_path(connection), table)
    known = _schemas.get(key)
    if known is None:
        if hasattr(connection, "schema_name"):
            # django-tenants sends the search path when it makes a cursor.
            connection.cursor().close()
        found = _ask(connection, TABLE_SCHEMA, [connection.ops.quote_name(table)])
        if found is None:
            return None
        known = _schemas[key] = str(found[0])
    return known


def _search_path(connection: BaseDatabaseWrapper) -> str:
    """What stands for the schemas in which names are looked for.

    Asked when a statement may have changed it. In a transaction it is asked each time after that,
    for the transaction's end may change it once more.
    """
    tenant: str | None = getattr(connection, "schema_name", None)
    if PATH not in connection.__dict__:
        # That of the settings, or of django-tenants, which sets it by itself.
        public = getattr(connection, "include_public_schema", None)
        return "" if tenant is None else f"{tenant} {public}"
    raw, path = connection.__dict__[PATH]
    if raw is not connection.connection or tenant is not None:
        if tenant is not None:
            connection.cursor().close()
        (path,) = _ask(connection, CURRENT_SCHEMAS[connection.vendor])
        if not is_in_transaction(connection):
            connection.__dict__[PATH] = (connection.connection, str(path))
    return str(path)
