"""Describe who takes part in a schedule of near reads, and the times, in ticks of its clock."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BOUND", "LEASE", "OWN", "WAIT", "Plan"]

#: Ticks that a read under seconds may be behind, and that a strict one may be.
BOUND = 1

#: Ticks that writers wait at most: as much more than BOUND as clocks may differ.
WAIT = 2

#: Ticks of a lease on the server, and for its process.
LEASE, OWN = 4, 2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who takes part.

    Attributes:
        near: the promise of the readers: "strict" or "seconds".
        readers: near reads, one after the other or at the same time.
        database_readers: how many of these ask the database alone, as in a transaction.
        writers: "other" writes in another process, "own" in that of the readers, "all rows" in
            another one, of the whole table.
        ticks, pings, renewals: how many there may be.
        restarts: how often the server may start again, with the cells that it has; the leases may
            be lost.
        flushes: how often the server may forget everything.
        lapses: whether the process holds no lease at the beginning.
        remembers_gaps: whether it knows that it wasn't waited for while it held none.
        is_warm: whether the row is in memory at the beginning; else it is on the server.
        waits: whether writers wait.
        confirms_at_once: whether the process confirms without waiting for a PING.
        applies: whether pushes are applied.
        drops: when what is kept is dropped: by an own writer behind its barriers ("before") and at
            its end ("after"), by who has seen a row in the database ("seen").
        own_ticks, leases_last: for how long the process believes in its lease, and the server.
        unknown_ticks: for how long a server that has begun may not know of leases.
    """

    near: str = "strict"
    readers: int = 1
    database_readers: int = 0
    writers: tuple[str, ...] = ("other",)
    ticks: int = 3
    pings: int = 1
    renewals: int = 0
    restarts: int = 0
    flushes: int = 0
    lapses: bool = False
    remembers_gaps: bool = True
    is_warm: bool = True
    waits: bool = True
    confirms_at_once: bool = False
    applies: bool = True
    own_ticks: int = OWN
    leases_last: int = LEASE
    unknown_ticks: int = LEASE
    drops: tuple[str, ...] = ("before", "after", "seen")
