"""What the processes know of one another, in memory that survives any of them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from multiprocessing.sharedctypes import RawArray

from django.db import connection


def state_of(version: int, *, is_deleted: bool = False) -> int:
    """States of a row in their order: a deletion comes after the version that it has ended."""
    return version * 2 + is_deleted


class Ledger:
    """For each process and row the newest state that the process knows to be committed.

    Each process writes only its own part, so no lock is needed that a kill could leave behind.

    Attributes:
        checks: by process, how many rows it has read and checked.
        done: by process and way to write, how often that was done to the end.
        undone: the same for what was rolled back, or refused by the database.
    """

    def __init__(self, processes: int, rows: int, ways: Sequence[str]) -> None:
        self.rows = rows
        self.ways = ways
        self.checks = RawArray(ctypes.c_long, processes)
        self.done = [RawArray(ctypes.c_long, len(ways)) for _ in range(processes)]
        self.undone = [RawArray(ctypes.c_long, len(ways)) for _ in range(processes)]
        self._known = [RawArray(ctypes.c_long, rows + 1) for _ in range(processes)]

    def publish(self, process: int, pk: int, state: int) -> None:
        """The state is committed."""
        known = self._known[process]
        if known[pk] < state:
            known[pk] = state

    def known(self, pk: int) -> int:
        """The newest state of a row that anybody knows to be committed."""
        return max(known[pk] for known in self._known)


def in_database(pk: int) -> int:
    """The newest state of a row that the database shows to a new query.

    Asked without the ORM, which some of the caches stand in for.
    """
    version = _first("SELECT version FROM modelcache_row WHERE id = %s", pk)
    return newest_deletion(pk) if version is None else state_of(version)


def newest_deletion(pk: int) -> int:
    version = _first("SELECT max(version) FROM modelcache_deletion WHERE row = %s", pk)
    return 0 if version is None else state_of(version, is_deleted=True)


def _first(sql: str, pk: int) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, [pk])
        row = cursor.fetchone()
    return row[0] if row else None
