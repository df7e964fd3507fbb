"""What is counted of a cached table: in the process at once, on the server now and then."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields

from redisdict.connections.requests import Batch, Operation
from redisdict.forks import on_fork

__all__ = ["MOST_HITS", "CacheStats", "Tally"]

#: Seconds between two times that a process adds its counts to those on the server.
PUSH_EVERY_S = 1.0

#: After so many hits of single rows, which don't look at the clock, it does so too.
MOST_HITS = 1000


@dataclass(slots=True)
class CacheStats:
    """What happened to a cached table since it was first used, in all processes.

    A process that is killed takes up to 1,000 hits and what it has counted in its last second with
    it.

    Attributes:
        hits: rows that came from the server.
        misses: rows that were asked of the database.
        fills: rows that were stored after a miss.
        refused: rows that were not, for somebody changed them meanwhile.
        invalidations: rows that were removed because they had been changed.
        outages: times that the server couldn't be reached or refused.
    """

    hits: int = 0
    misses: int = 0
    fills: int = 0
    refused: int = 0
    invalidations: int = 0
    outages: int = 0


NAMES = tuple(field.name for field in fields(CacheStats))


class Tally(CacheStats):
    """The counts of this process that aren't on the server yet.

    Threads may lose one another's counts now and then: a lock for each hit would cost more than
    an exact count is worth.
    """

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self._key = key
        self._pushed_at = time.monotonic()
        on_fork(self._clear)

    def push_if_due(self) -> Operation[None]:
        """Push once a second, at most."""
        if time.monotonic() - self._pushed_at >= PUSH_EVERY_S:
            yield from self.push()

    def push(self) -> Operation[None]:
        """Add the counts to those on the server. HINCRBY for each that isn't 0."""
        self._pushed_at = time.monotonic()
        counted = {name: count for name in NAMES if (count := getattr(self, name))}
        self._clear()
        if counted:
            yield Batch(
                [(b"HINCRBY", self._key, name, count) for name, count in counted.items()],
                is_repeatable=False,
            )

    def _clear(self) -> None:
        for name in NAMES:
            setattr(self, name, 0)

    def total(self) -> Operation[CacheStats]:
        """Push, and read what all processes have counted. HMGET."""
        yield from self.push()
        values = yield (b"HMGET", self._key, *NAMES)
        return CacheStats(*(int(value or 0) for value in values))
