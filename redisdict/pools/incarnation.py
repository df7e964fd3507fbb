"""Which incarnation of its server a connection leads to, once somebody has asked.

A connection can't outlive the process at its other end, so what was asked over it holds for as long
as it isn't connected anew. redis-py's connections say when they are.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Known", "known_of"]


class Known:
    """What is known of the server at the other end of one connection.

    Attributes:
        name: of its incarnation, see `redisdict.connections.incarnations`; None until it is asked.
    """

    __slots__ = ("__weakref__", "name")

    def __init__(self) -> None:
        self.name: bytes | None = None

    def forget(self, _connection: object = None) -> None:
        """The connection was connected anew: there may be another server at its end."""
        self.name = None


def known_of(connection: Any) -> Known:
    """What is known over this connection of redis-py's, or over a `SharedConnection`."""
    known: Known | None = getattr(connection, "incarnation", None)
    if known is None:
        known = connection.incarnation = Known()
        # redis-py keeps a weak reference to the object of the method; the connection has it.
        connection.register_connect_callback(known.forget)
    return known
