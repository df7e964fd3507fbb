"""What the server of a backend can do: believed until the server itself denies it.

Version numbers don't tell: KeyDB calls itself Redis 6.3, Dragonfly 7.4 and Valkey 7.2.
"""

from __future__ import annotations

__all__ = ["Capabilities"]


class Capabilities:
    """One flag for each thing that not every server has and that is worth a try."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Try everything again: another server may have taken its place."""
        #: HSCAN has NOVALUES (Redis 7.4, Valkey 8, Dragonfly).
        self.has_scan_without_values = True
        #: There is HGETDEL (Redis 8, Valkey 9).
        self.has_hash_getdel = True
        #: There is WAITAOF, and an append-only file to wait for: not believed but asked, since a
        #: write must not be made before that is known.
        self.has_aof = False
