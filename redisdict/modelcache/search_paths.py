"""Find out which tables unqualified names mean in a connection: track its search path and role.

As long as nothing in the process has set a search path, all connections of an alias see the same
tables (`are_several`), and no connection has to be looked at. `interception` sees the statements
that set one; a wrapper of a connection that chooses tenants by itself is asked for the tenant.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from redisdict.modelcache.connection_state import ask, is_in_transaction

T = TypeVar("T")

#: Whether two connections of one alias may see different tables.
are_several = False

#: The attribute of a connection whose session may not be as the settings have it: the driver's
#: connection, and its search path and role, or None until they are asked.
PATH = "_redisdict_search_path"

#: Schemas of tables, and whether policies hide rows of them, by settings, session and names.
_schemas: dict[Any, tuple[tuple[str, ...], bool]] = {}

#: The schema of the table that a name means now, and whether policies hide rows of it.
TABLE = """
SELECT nspname, row_security_active(pg_class.oid) FROM pg_catalog.pg_class
JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
WHERE pg_class.oid = to_regclass(%s)
"""

SCHEMAS = {
    "postgresql": """
SELECT nspname FROM pg_catalog.pg_class
JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
WHERE relname = %s AND relkind IN ('r', 'p', 'v', 'm', 'f')
""",
    "mysql": "SELECT table_schema FROM information_schema.tables WHERE table_name = %s",
}

#: What decides which tables unqualified names mean, and what is seen of them.
SESSIONS = {
    "postgresql": "SELECT current_schemas(true)::text, current_user::text",
    "mysql": "SELECT DATABASE()",
}

#: Whether neither the search path nor the role was set since the connection was made.
UNCHANGED = """
SELECT bool_and(setting = reset_val) FROM pg_catalog.pg_settings
WHERE name IN ('search_path', 'role')
"""


def note_several() -> None:
    """From now on look at the connection at each read."""
    global are_several
    are_several = True


def forget() -> None:
    """Forget names, since a statement may have changed tables, or who sees what in them."""
    _schemas.clear()


def follow(connection: BaseDatabaseWrapper, run: Callable[[], T]) -> T:
    """Run a statement after which unqualified names may mean other tables; see whether they do.

    Two queries, where the connection's path has been that of the settings so far; none where a
    wrapper for tenants sends its own path.
    """
    if not _has_schemas(connection) or connection.connection is None:
        return run()
    if _tenant_of(connection) is not None and getattr(connection, "_setting_search_path", True):
        result = run()
        # That undoes what others have sent.
        connection.__dict__.pop(PATH, None)
        return result
    before = None if _has_own_path(connection) else _ask_session(connection)
    result = run()
    if before is None or _ask_session(connection) != before:
        may_have_changed(connection)
    return result


def may_have_changed(connection: BaseDatabaseWrapper) -> None:
    """From now on unqualified names may mean other tables in this connection."""
    note_several()
    connection.__dict__[PATH] = (connection.connection, None)


def transaction_has_ended(connection: BaseDatabaseWrapper) -> None:
    """Note that a search path that was set in a transaction may be undone."""
    if _has_own_path(connection):
        connection.__dict__[PATH] = (connection.connection, None)


def note_unseen(connection: BaseDatabaseWrapper) -> None:
    """A connection was open before it was watched: it may have set a search path."""
    if not _has_schemas(connection) or connection.connection is None:
        return
    if _tenant_of(connection) is not None:
        return
    with contextlib.suppress(Exception):  # of another thread, or amid a failed transaction
        connection.validate_thread_sharing()
        if connection.vendor == "postgresql" and ask(connection, UNCHANGED)[0][0]:
            return
    may_have_changed(connection)


def may_differ(connection: BaseDatabaseWrapper) -> bool:
    """Whether another connection of the alias may see another table."""
    return _has_own_path(connection) or sets_by_itself(connection)


def sets_by_itself(connection: BaseDatabaseWrapper) -> bool:
    """Whether the wrapper of a connection may send a search path, as those for tenants do."""
    return _tenant_of(connection) is not None or _has_own_cursors(connection)


def schemas_with(connection: BaseDatabaseWrapper, table: str) -> list[str]:
    """The schemas that have a table of a model's name. One query; none where there are none."""
    if connection.vendor not in SCHEMAS:
        return []
    connection.ensure_connection()
    name = table.strip('"').rsplit('"."', 1)[-1]
    return [str(schema) for (schema,) in ask(connection, SCHEMAS[connection.vendor], [name])]


def _has_schemas(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor in SESSIONS


def schemas_of(
    connection: BaseDatabaseWrapper, database: Any, names: Sequence[str]
) -> tuple[tuple[str, ...], bool] | None:
    """The schemas of tables, and whether policies hide rows of them; None when one isn't there.

    Args:
        database: what stands for the database and for the settings that lead there.
        names: of tables, as models have them.

    A query for each, once.
    """
    if not _has_schemas(connection):
        return ("",) * len(names), False
    session = _session_of(connection)
    key = (database, session, *names)
    known = _schemas.get(key)
    if known is None:
        connection.ensure_connection()
        if connection.vendor == "mysql":
            [(schema,)] = ask(connection, SESSIONS["mysql"])
            found = [(str(schema), False)] * len(names)
        else:
            _send_path(connection)
            quoted = map(connection.ops.quote_name, names)
            found = [row for name in quoted for row in ask(connection, TABLE, [name])]
            if len(found) < len(names):
                return None
        known = tuple(str(schema) for schema, _ in found), any(hides for _, hides in found)
        _schemas[key] = known
    return known


def _session_of(connection: BaseDatabaseWrapper) -> Any:
    """Return an identity of the search path, and the role, of a connection.

    Asked when a statement may have changed it. In a transaction it is asked each time after that,
    for the transaction's end may change it once more.
    """
    tenant = _tenant_of(connection)
    if tenant is None and are_several:
        connection.ensure_connection()  # it may set its path when it is made
    is_free = tenant is None and _has_own_cursors(connection)
    if not is_free and not _has_own_path(connection):
        return tenant  # that of the settings, or of the wrapper
    session = None if is_free else connection.__dict__[PATH][1]
    if session is None:
        connection.ensure_connection()
        _send_path(connection)
        [session] = ask(connection, SESSIONS[connection.vendor])
        if _has_own_path(connection) and not is_in_transaction(connection):
            connection.__dict__[PATH] = (connection.connection, session)
    return session


def _has_own_path(connection: BaseDatabaseWrapper) -> bool:
    """Whether a statement may have changed the path since this connection was made."""
    noted = connection.__dict__.get(PATH)
    return noted is not None and noted[0] is connection.connection


def _ask_session(connection: BaseDatabaseWrapper) -> Any:
    """Its search path and role; None when its transaction has failed: nothing can be asked then."""
    with contextlib.suppress(DatabaseError):
        return ask(connection, SESSIONS[connection.vendor])[0]
    return None


def _tenant_of(connection: BaseDatabaseWrapper) -> Any:
    """The tenant whose schema the connection's wrapper chooses by itself; None without such."""
    tenant = getattr(connection, "schema_name", None)
    if tenant is None and hasattr(connection, "_search_path"):
        schemas = sys.modules.get("django_pgschemas.schema")
        if schemas is not None:
            tenant = schemas.get_current_schema().schema_name
    return None if tenant is None else (tenant, getattr(connection, "include_public_schema", None))


def _has_own_cursors(connection: BaseDatabaseWrapper) -> bool:
    """Whether a third-party wrapper may run statements before each statement.

    If the wrapper doesn't give the tenant either, each read asks for the search path.
    """
    plain: Any = BaseDatabaseWrapper
    kind: Any = type(connection)
    return _has_schemas(connection) and kind._cursor is not plain._cursor


def _send_path(connection: BaseDatabaseWrapper) -> None:
    """Let a wrapper send the search path, if it does so when it makes a cursor."""
    if _has_own_cursors(connection) or _tenant_of(connection) is not None:
        connection.cursor().close()
