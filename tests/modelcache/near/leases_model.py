"""A model of the near leases of one table: what the two scripts do, in Python.

`test_leases_model.py` holds it against real servers, reply by reply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from redisdict.modelcache.slots.near_leases import RENEW, UNKNOWN, WAIT
from redisdict.modelcache.slots.store import REFUSAL

Held = tuple[int, int, int]


@dataclass
class LeasesModel:
    """Leases by process: the end, the number confirmed, and how far the process may be behind.

    Attributes:
        signals: how often the key was changed that tells of an announcement.
    """

    incarnation: bytes | None = None
    begun: int = 0
    number: int = 0
    held: dict[bytes, Held] = field(default_factory=dict)
    signals: int = 0

    def execute(self, command: tuple[Any, ...], now: int) -> list[int]:
        """Carry out an EVALSHA at this time, in milliseconds of the server's clock."""
        script, count = command[1], command[2]
        arguments = command[3 + count :]
        if script == RENEW.digest:
            return self.renew(now, *arguments)
        assert script == WAIT.digest
        return self.wait(now, *arguments)

    def renew(
        self,
        now: int,
        process: bytes,
        lease_ms: int,
        begun: int,
        confirmed: int,
        bound_ms: int,
        begin: bytes,
        incarnation: bytes,
    ) -> list[int]:
        self._begin(now, begin, incarnation)
        ends, _, _ = self.held.get(process, (0, 0, 0))
        is_held = ends > now
        if lease_ms:
            counts = is_held and begun == self.begun
            self.held[process] = (now + lease_ms, confirmed if counts else 0, bound_ms)
        else:
            self.held.pop(process, None)
        return [self.begun, self.number, int(is_held)]

    def wait(
        self,
        now: int,
        process: bytes,
        begun: int,
        number: int,
        unknown_ms: int,
        begin: bytes,
        incarnation: bytes,
    ) -> list[int]:
        self._begin(now, begin, incarnation)
        is_new = not begun
        if not incarnation or now - self.begun < unknown_ms or not (is_new or begun == self.begun):
            return [self.begun, self.number, UNKNOWN]
        if is_new:
            number = self.number + 1
        self.held = {one: held for one, held in self.held.items() if held[0] > now}
        slowest = max(
            (
                bound
                for one, (_, confirmed, bound) in self.held.items()
                if one != process and confirmed < number
            ),
            default=0,
        )
        if is_new and slowest:
            self.number = number
            self.signals += 1
        return [self.begun, number, slowest]

    def _begin(self, now: int, begin: bytes, incarnation: bytes) -> None:
        if self.incarnation == incarnation:
            return
        if self.incarnation is not None and not begin:
            raise ResponseError(f"{REFUSAL} the leases are of another one")
        self.incarnation, self.begun, self.number, self.held = incarnation, now, 0, {}
