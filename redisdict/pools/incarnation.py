"""Which incarnation of its server a connection leads to, and what that can, once somebody asked.

A connection can't outlive the process at its other end, so what was asked over it holds for as long
as it isn't connected anew. redis-py's connections say when they are.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Assurance", "Known", "known_of"]


class Assurance:
    """That a server can make writes safe, as its connections were told.

    Attributes:
        holds: until one of them has seen a write that wasn't safe.
    """

    __slots__ = ("holds",)

    def __init__(self) -> None:
        self.holds = True


class Known:
    """What is known of the server at the other end of one connection.

    Attributes:
        name: of its incarnation, see `redisdict.connections.incarnations`; None until it is asked.
        assurances: for each guarantee (see `redisdict.connections.durability`) that it has given.
    """

    __slots__ = ("__weakref__", "assurances", "name")

    def __init__(self) -> None:
        self.name: bytes | None = None
        self.assurances: dict[str, Assurance] = {}

    def forget(self, _connection: object = None) -> None:
        """The connection was connected anew: there may be another server at its end."""
        self.name = None
        self.assurances.clear()

    def is_assured_of(self, guarantee: str) -> bool:
        """Whether the server has said that it can give it, and nothing has come of it since."""
        assurance = self.assurances.get(guarantee)
        return assurance is not None and assurance.holds

    def doubt(self, guarantee: str) -> None:
        """Have it asked for again, over every connection that knows what this one knows."""
        assurance = self.assurances.pop(guarantee, None)
        if assurance is not None:
            assurance.holds = False


def known_of(connection: Any) -> Known:
    """What is known over this connection of redis-py's, or over a `SharedConnection`."""
    known: Known | None = getattr(connection, "incarnation", None)
    if known is None:
        known = connection.incarnation = Known()
        # redis-py keeps a weak reference to the object of the method; the connection has it.
        connection.register_connect_callback(known.forget)
    return known
