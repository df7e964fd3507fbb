"""Count what happens to a cached table: at once in the process, from time to time on the server."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, fields

from redisdict.forks import on_fork
from redisdict.wire.requests import Batch, Operation

#: Seconds between two times that a process adds its counts to those on the server.
PUSH_EVERY_S = 1.0

#: After so many hits of single rows, which don't look at the clock, it does so too.
MOST_HITS = 1000


@dataclass(slots=True)
class CacheStats:
    """The counts of a cached table since it was first used, in all processes.

    A process that is killed loses up to 1,000 hits, and its counts of the last second.

    Attributes:
        hits: rows that came from the server.
        misses: rows that were read from the database.
        fills: rows that were stored after a miss.
        refused: rows that were not stored, because they were changed meanwhile.
        unkept: rows that were not stored, because a hit would give another instance than a miss.
        invalidations: rows that were removed because they had been changed.
        rested: results that were computed without asking the server, because one of their tables
            changes so often that nearly no result was of use.
        outages: times that the server couldn't be reached, or refused.
        dropped: times that all rows of the table counted as changed, because it was unknown which
            rows a statement changed.
        dropped_by: the lines of code that sent such statements, with their first word, and how
            often each did; at most 100 from one process.
    """

    hits: int = 0
    misses: int = 0
    fills: int = 0
    refused: int = 0
    unkept: int = 0
    invalidations: int = 0
    rested: int = 0
    outages: int = 0
    dropped: int = 0
    dropped_by: dict[str, int] = field(default_factory=dict)


NAMES = tuple(each.name for each in fields(CacheStats) if each.name != "dropped_by")

#: How the names of fields on the server begin that count for lines of code.
BY = b"by:"

#: Lines of code that a process tells apart.
MOST_PLACES = 100


class Counters(CacheStats):
    """Counts in this process, and adds new counts to the server's.

    Threads may lose one another's counts now and then: a lock for each hit would cost more than
    an exact count is worth.
    """

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self._key = key
        self._pushed_at = time.monotonic()
        #: What was counted here since the process's start, for metrics; as far as it was pushed.
        self._pushed: Counter[str] = Counter()
        #: For metrics alone: lookups that have waited for another's lease, and rounds of barriers.
        self.lease_waits = self.barriers = 0
        on_fork(self._begin_anew)

    def count_drop(self, place: str) -> None:
        """Count that all rows counted as changed, by a statement from this line of code."""
        self.dropped += 1
        if place in self.dropped_by or len(self.dropped_by) < MOST_PLACES:
            self.dropped_by[place] = self.dropped_by.get(place, 0) + 1

    def push_if_due(self) -> Operation[None]:
        """Push once a second, at most."""
        if time.monotonic() - self._pushed_at >= PUSH_EVERY_S:
            yield from self.push()

    def push(self) -> Operation[None]:
        """Add the counts to those on the server. HINCRBY for each that isn't 0."""
        self._pushed_at = time.monotonic()
        counted: dict[str | bytes, int] = {
            name: count for name in NAMES if (count := getattr(self, name))
        }
        self._pushed.update({name: getattr(self, name) for name in NAMES})
        counted.update({BY + place.encode(): count for place, count in self.dropped_by.items()})
        self._clear()
        if counted:
            yield Batch(
                [(b"HINCRBY", self._key, name, count) for name, count in counted.items()],
                is_repeatable=False,
            )

    def since_start(self) -> dict[str, int]:
        """Get the counts of this process since its start. Sends nothing to the server."""
        counted = {name: self._pushed[name] + getattr(self, name) for name in NAMES}
        return {**counted, "lease_waits": self.lease_waits, "barriers": self.barriers}

    def _begin_anew(self) -> None:
        self._clear()
        self._pushed.clear()
        self.lease_waits = self.barriers = 0

    def _clear(self) -> None:
        for name in NAMES:
            setattr(self, name, 0)
        self.dropped_by = {}

    def total(self) -> Operation[CacheStats]:
        """Push, and read the counts of all processes. HKEYS and HMGET."""
        yield from self.push()
        names: list[bytes] = yield (b"HKEYS", self._key)
        if not names:
            return CacheStats()
        values = yield (b"HMGET", self._key, *names)
        found = {name: int(value or 0) for name, value in zip(names, values, strict=True)}
        places = {name[len(BY) :].decode(): found[name] for name in names if name.startswith(BY)}
        dropped_by = dict(sorted(places.items(), key=lambda one: -one[1]))
        counts = {name: found.get(name.encode(), 0) for name in NAMES}
        return CacheStats(**counts, dropped_by=dropped_by)
