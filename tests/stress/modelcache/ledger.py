"""What the processes know of one another, in memory that survives any of them."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from multiprocessing.sharedctypes import RawArray

from django.db import connection

from tests.stress.modelcache.subjects import MOST, SUBJECTS, Subject, at, state_of

__all__ = ["Ledger", "in_database", "newest_deletion"]


class Ledger:
    """For each process and row the newest state that the process knows to be committed.

    Each process writes only its own part, so no lock is needed that a kill could leave behind.

    Attributes:
        counts: how many rows each subject has: they have the primary keys from 1 on.
        checks: by process, how many rows it has read and checked.
        done: by process and way to write, how often that was done to the end.
        undone: the same for what was rolled back, or refused by the database.
        stalled: by process, whether it is held up behind a COMMIT, of which it hasn't told yet.
        stalls: by process, how often it was.
    """

    def __init__(self, processes: int, counts: Mapping[Subject, int], ways: Sequence[str]) -> None:
        self.counts = dict(counts)
        self.ways = ways
        self.checks = RawArray(ctypes.c_long, processes)
        self.done = [RawArray(ctypes.c_long, len(ways)) for _ in range(processes)]
        self.undone = [RawArray(ctypes.c_long, len(ways)) for _ in range(processes)]
        self.stalled = RawArray(ctypes.c_int, processes)
        self.stalls = RawArray(ctypes.c_long, processes)
        size = len(SUBJECTS) * MOST
        self._known = [RawArray(ctypes.c_long, size) for _ in range(processes)]

    def publish(self, process: int, item: int, state: int) -> None:
        """The state is committed."""
        known = self._known[process]
        if known[item] < state:
            known[item] = state

    def known(self, item: int) -> int:
        """The newest state of a row that anybody knows to be committed."""
        return max(known[item] for known in self._known)


def in_database(item: int) -> int:
    """The newest state of a row that the database shows to a new query.

    Asked without the ORM, which some of the caches stand in for.
    """
    subject, pk = at(item)
    state = _first(f"SELECT {subject.state} FROM {subject.table} WHERE id = %s", pk)
    return newest_deletion(item) if state is None else state


def all_in_database() -> dict[int, int]:
    """The newest states of all rows that the database shows now, by their numbers."""
    found: dict[int, int] = {}
    with connection.cursor() as cursor:
        # First: a row that is gone when its table is looked at is in neither.
        cursor.execute("SELECT row, max(version) FROM modelcache_deletion GROUP BY row")
        for item, version in cursor.fetchall():
            found[item] = state_of(version, is_deleted=True)
        for subject in SUBJECTS:
            cursor.execute(f"SELECT id, {subject.state} FROM {subject.table}")
            found |= {subject.item(pk): state for pk, state in cursor.fetchall()}
    return found


def newest_deletion(item: int) -> int:
    version = _first("SELECT max(version) FROM modelcache_deletion WHERE row = %s", item)
    return 0 if version is None else state_of(version, is_deleted=True)


def _first(sql: str, number: int) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, [number])
        row = cursor.fetchone()
    return row[0] if row else None
