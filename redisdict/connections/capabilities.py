"""What a server can do, asked of the server itself and remembered.

Version numbers don't tell: KeyDB calls itself Redis 6.3, Dragonfly 7.4 and Valkey 7.2.
"""

from __future__ import annotations

from redisdict.connections.requests import Operation

__all__ = ["Capabilities"]


class Capabilities:
    """The answers of the server of one backend, each asked for when it is first needed."""

    def __init__(self) -> None:
        self._field_expiry: bool | None = None
        #: Whether HSCAN has NOVALUES (Redis 7.4, Valkey 8): true until the server says otherwise.
        self.has_scan_without_values = True

    def forget(self) -> None:
        """Ask again: another server may have taken its place."""
        self._field_expiry = None
        self.has_scan_without_values = True

    def field_expiry(self) -> Operation[bool]:
        """Whether fields of a hash have times to live in milliseconds (Redis 8, Valkey 9).

        COMMAND INFO once. Dragonfly has an HSETEX of its own, which knows only seconds; it lacks
        HPEXPIRE, as does everything that can't do this.
        """
        if self._field_expiry is None:
            known = yield (b"COMMAND", b"INFO", b"HPEXPIRE", b"HSETEX", b"HGETDEL", b"HPERSIST")
            self._field_expiry = bool(known) and len(known) == 4 and all(known)
        return self._field_expiry
