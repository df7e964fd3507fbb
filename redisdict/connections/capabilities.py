"""What the server of a backend can do: believed until the server itself denies it.

Version numbers don't tell: KeyDB calls itself Redis 6.3, Dragonfly 7.4 and Valkey 7.2.
"""

from __future__ import annotations

from redisdict.pools.incarnation import Assurance

__all__ = ["Capabilities"]


class Capabilities:
    """One flag for each thing that not every server has and that is worth a try."""

    def __init__(self) -> None:
        self._assurances: dict[str, Assurance] = {}
        self.forget()

    def forget(self) -> None:
        """Try everything again: another server may have taken its place."""
        #: HSCAN has NOVALUES (Redis 7.4, Valkey 8, Dragonfly).
        self.has_scan_without_values = True
        #: There is HGETDEL (Redis 8, Valkey 9).
        self.has_hash_getdel = True
        for assurance in self._assurances.values():
            assurance.holds = False

    def assurance_of(self, guarantee: str) -> Assurance:
        """What stands for a guarantee, in all connections that have just heard of it."""
        assurance = self._assurances.get(guarantee)
        if assurance is None or not assurance.holds:
            assurance = self._assurances[guarantee] = Assurance()
        return assurance
