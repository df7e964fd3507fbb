"""Identify the database of a connection, by ids that the database reports.

Settings don't identify it: one server has several names (localhost, a socket, a pooler beside the
process), one name leads to different servers on different machines, and test databases change
NAME. So PostgreSQL, MySQL and MariaDB are asked for an id, and for a file the file system. If none
of them has one, the settings are used.

No query goes through Django's cursors, because a project's tests may count queries there.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("redisdict")


@dataclass(slots=True)
class Database:
    """The identity of the database to which some settings lead.

    Attributes:
        id: the same for every alias of one database, and different for two databases.
        is_standby: whether reads may not show the committed state: it follows another database and
            may lag behind it, or the connection reads what others haven't committed yet.
        file: the path of SQLite's file.
    """

    id: str
    is_standby: bool = False
    file: str = ""
    asked_at: float = field(default_factory=time.monotonic)


#: Whether the cluster may be asked for its own number, which is drawn when it is made, and is the
#: same on its standbys. Nothing in it fails: a failed query would abort a transaction.
ABOUT_POSTGRESQL = """
SELECT has_function_privilege(to_regprocedure('pg_catalog.pg_control_system()')::oid, 'execute'),
       (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()),
       pg_is_in_recovery()
"""
CLUSTER_OF_POSTGRESQL = "SELECT system_identifier FROM pg_catalog.pg_control_system()"

#: Ports by vendor, for settings that don't say one.
PORTS = {"postgresql": "5432", "mysql": "3306", "oracle": "1521", "microsoft": "1433"}

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

LOCAL_HOSTS = ("", "localhost", "127.0.0.1", "::1")


def ask_database(connection: BaseDatabaseWrapper) -> Database:
    """Ask the database that an open connection leads to: two queries of PostgreSQL, three of MySQL.

    Raises:
        Exception: of the driver, when the database doesn't answer.
    """
    if connection.vendor in ASKED:
        with closing(connection.connection.cursor()) as cursor:
            return ASKED[connection.vendor](cursor, connection)
    return Database(_id_of_settings(connection))


def _ask_postgresql(cursor: Any, connection: BaseDatabaseWrapper) -> Database:
    cursor.execute(ABOUT_POSTGRESQL)
    may_ask, oid, is_standby = cursor.fetchone()
    if not may_ask:
        logger.warning(NOT_TOLD, connection.alias)
        return Database(_id_of_settings(connection), is_standby)
    cursor.execute(CLUSTER_OF_POSTGRESQL)
    (cluster,) = cursor.fetchone()
    return Database(f"postgresql {cluster} {oid}", is_standby)


#: Of an alias.
NOT_TOLD = (
    "The database %r can't be identified, so its cached rows are named by HOST, PORT and NAME,"
    " which have to be the same in all processes. GRANT EXECUTE ON FUNCTION pg_control_system() to"
    " the role of each, or to none."
)


def _ask_mysql(cursor: Any, connection: BaseDatabaseWrapper) -> Database:
    cursor.execute(SERVER_OF_MYSQL)
    known = {str(name).lower(): str(value) for name, value in cursor.fetchall()}
    cursor.execute("SHOW GLOBAL STATUS LIKE 'wsrep_cluster_state_uuid'")
    cluster = cursor.fetchone()
    # Which of the server's databases it is, is the schema of its tables.
    return name_mysql(known, str(cluster[1]) if cluster else "")


def name_mysql(variables: Mapping[str, str], galera: str) -> Database:
    """A name of the server whose variables these are, and whether it may show something else than
    what is committed: it may lag behind another one, or the session reads uncommitted rows.

    Servers that replicate one another's changes as one database have one name: a client may be led
    to any of them. MariaDB has no UUID of its own, so only the name distinguishes its servers.

    Args:
        galera: the UUID of a Galera cluster's state; empty for a server that is in none.
    """
    lags = variables.get("read_only", "OFF").upper() not in ("OFF", "0")
    lags = lags or any(variables.get(name) == UNCOMMITTED for name in ISOLATION_OF_MYSQL)
    group = variables.get("group_replication_group_name", "")
    if galera and variables.get("wsrep_on", "OFF").upper() in ("ON", "1"):
        # Bit 1: a SELECT waits until the node has what the others have committed.
        waits = int(variables.get("wsrep_sync_wait") or 0) & 1
        return Database(f"mysql {galera}", lags or not waits)
    if group:
        consistency = variables.get("group_replication_consistency", "")
        waits = consistency.upper() in ("BEFORE", "BEFORE_AND_AFTER", "AFTER")
        is_alone = variables.get("group_replication_single_primary_mode", "").upper() == "ON"
        return Database(f"mysql {group}", lags or not (waits or is_alone))
    if "server_uuid" in variables:
        return Database(f"mysql {variables['server_uuid']}", lags)
    own = (variables.get(name, "") for name in NAMES_OF_MARIADB)
    return Database(f"mariadb {' '.join(own)}", lags)


#: What one MariaDB has in common with no other one.
NAMES_OF_MARIADB = ("server_uid", "server_id", "hostname", "port", "socket", "datadir")

#: What MySQL or MariaDB calls the level of a session, and that at which no row may be kept.
ISOLATION_OF_MYSQL = ("transaction_isolation", "tx_isolation")
UNCOMMITTED = "READ-UNCOMMITTED"

#: The session's values, where it has its own.
SERVER_OF_MYSQL = (
    "SHOW VARIABLES WHERE Variable_name IN ('server_uuid', 'read_only', 'wsrep_on',"
    " 'wsrep_sync_wait', 'group_replication_group_name', 'group_replication_consistency',"
    " 'group_replication_single_primary_mode',"
    f" {', '.join(map(repr, ISOLATION_OF_MYSQL + NAMES_OF_MARIADB))})"
)


ASKED: dict[str, Callable[[Any, BaseDatabaseWrapper], Database]] = {
    "postgresql": _ask_postgresql,
    "mysql": _ask_mysql,
}


def _id_of_settings(connection: BaseDatabaseWrapper) -> str:
    """Identify by vendor, host, port and name; for local names by the machine too."""
    settings, vendor = connection.settings_dict, connection.vendor
    host = str(settings.get("HOST") or "").lower().rstrip(".")
    if host in LOCAL_HOSTS:
        host = _machine()
    elif host.startswith("/"):
        host = f"{_machine()} {host}"
    port = str(settings.get("PORT") or PORTS.get(vendor, ""))
    name = str(settings.get("NAME") or "")
    return repr((vendor, host, port, name))


def is_memory(name: Any) -> bool:
    """Whether SQLite keeps a database of this NAME in memory, or nowhere."""
    text = str(name)
    return text in ("", ":memory:") or (
        text.startswith("file:")
        and ("mode=memory" in text or "vfs=memdb" in text or ":memory:" in text)
    )


def id_of_memory(name: str) -> str:
    """Identify a database in memory: it belongs to its process, also after a fork."""
    return f"memory {_process_token().hex()} {name}"


def id_of_connection() -> str:
    """Identify a database that only one connection can reach."""
    return f"connection {secrets.token_hex(16)}"


_token = (0, b"")


def _process_token() -> bytes:
    """Bytes that no other process has, nor a fork of any kind."""
    global _token
    pid, token = _token
    if pid != os.getpid():
        token = secrets.token_bytes(16)
        _token = (os.getpid(), token)
    return token


def id_of_file(path: str) -> str:
    """Identify a file of SQLite. One or two system calls.

    Its path says nothing: the same on two machines means two files, two mounts of one file have
    two, and a restored backup has the old one's. File systems use the numbers of removed files
    again, so the time at which the file was made counts, too.

    Raises:
        OSError: there is no such file.
    """
    found = Path(path).stat()
    made_at = getattr(found, "st_birthtime", None) or _made_at(path)
    return f"file {_machine()} {found.st_dev} {found.st_ino} {made_at}"


@cache
def _machine() -> str:
    """This machine since it was started."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return socket.gethostname()


def _made_at(path: str) -> str:
    """Return when a file was created, on Linux, where Python lacks that; "" if it is unknown."""
    statx = _statx()
    if statx is None:
        return ""
    answer = ctypes.create_string_buffer(256)
    if statx(AT_FDCWD, os.fsencode(path), 0, STATX_BTIME, answer) != 0:
        return ""
    if not int.from_bytes(answer.raw[0:4], "little") & STATX_BTIME:
        return ""  # this file system doesn't know
    return answer.raw[BIRTH].hex()


@cache
def _statx() -> Any:
    if platform.system() != "Linux":
        return None
    try:
        return ctypes.CDLL(None).statx
    except (OSError, AttributeError):
        return None


AT_FDCWD = -100
STATX_BTIME = 0x800

#: Where `struct statx` has the seconds and nanoseconds of the file's making.
BIRTH = slice(80, 92)
