"""Track every database connection of the process, in all threads, from its creation on.

This module is imported at every start of a project, so it imports only what Django has imported by
then. The model cache asks it for the connections when there is something to cache.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

UID = "redisdict.database_connections"

_known: weakref.WeakSet[BaseDatabaseWrapper] = weakref.WeakSet()
_listeners: list[Callable[[BaseDatabaseWrapper], None]] = []


def keep_track() -> None:
    """Track the present connections, and each that is made from now on."""
    create = connections.create_connection
    if not hasattr(create, "__wrapped__"):

        @functools.wraps(create)
        def create_known(alias: str) -> Any:
            connection = create(alias)
            _note(connection)
            return connection

        connections.create_connection = create_known  # type: ignore[method-assign]  # Django has no hook
        # For those that are made in another way, such as by `connection.copy()`.
        connection_created.connect(_on_connection, dispatch_uid=UID)
    for connection in connections.all(initialized_only=True):
        _note(connection)


def for_each(listener: Callable[[BaseDatabaseWrapper], None]) -> None:
    """Call `listener` with each connection, now and whenever one is made or has connected."""
    if listener not in _listeners:
        _listeners.append(listener)
        for connection in list(_known):
            listener(connection)


def _on_connection(connection: BaseDatabaseWrapper, **_: Any) -> None:
    _note(connection)


def _note(connection: BaseDatabaseWrapper) -> None:
    _known.add(connection)
    for listener in _listeners:
        listener(connection)
