"""What the processes know of one another, in memory that survives any of them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from multiprocessing.sharedctypes import RawArray

from tests.stress.modelcache.models import Deletion, Row


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
    """The newest state of a row that the database shows to a new query."""
    row = Row.objects.filter(pk=pk).values_list("version", flat=True).first()
    if row is not None:
        return state_of(row)
    return newest_deletion(pk)


def newest_deletion(pk: int) -> int:
    version = (
        Deletion.objects.filter(row=pk).order_by("-version").values_list("version", flat=True)
    ).first()
    return 0 if version is None else state_of(version, is_deleted=True)
