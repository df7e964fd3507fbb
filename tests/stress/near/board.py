"""What all processes of `tests.stress.near_truth` know of one another: who wrote what, and when.

It is a file that each of them maps, so what a process has noted survives its kill. All cells are
signed numbers of 64 bits, which are read and written whole; times are nanoseconds of the clock that
all processes of the machine have together, and goes on while it sleeps.

An item has one owner, the only process that changes it. Each change has a version, greater than the
one before; so has a deletion. The owner notes that it begins, and when it was answered.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

PROCESSES: Final = 8

#: Items of each process; `items.py` says of which kinds.
OWN_ITEMS: Final = 12
ITEMS: Final = PROCESSES * OWN_ITEMS

#: Changes of an item that are remembered: enough for those of some seconds.
REMEMBERED: Final = 256

#: Threads and tasks of one process that read.
LANES: Final = 6

#: A stored number below is what INCR has made of an item that a flush had taken away.
FIRST_VERSION: Final = 1_000_000

#: For how long a version lives: for ever, and that of a deletion.
FOR_EVER: Final = -1
DELETED: Final = 0

_FLUSHES: Final = 4096
_CHANGE: Final = 4
_LANE: Final = 6

_STOPPED, _FLUSH_COUNT, _LAST_FLUSH, _PAUSED, _JUDGED_SINCE, _REQUIRED_SINCE = range(6)
_HITS: Final = 16
_FLUSHED: Final = _HITS + PROCESSES
_LANES: Final = _FLUSHED + 2 * _FLUSHES
_BEGUN: Final = _LANES + PROCESSES * LANES * _LANE
_ANSWERED: Final = _BEGUN + ITEMS
_CHANGES: Final = _ANSWERED + ITEMS
_END: Final = _CHANGES + ITEMS * REMEMBERED * _CHANGE

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> int:
    """Tell the time, in nanoseconds."""
    return time.clock_gettime_ns(_CLOCK)


class Change(NamedTuple):
    """One version of an item.

    Attributes:
        began, answered: when it was about to be written, and when that was answered; 0 while the
            outcome isn't known.
        lives: nanoseconds that it lives, `FOR_EVER`, or `DELETED`.
    """

    version: int
    began: int
    answered: int
    lives: int


class Lane(NamedTuple):
    """What one reading thread or task has seen.

    Attributes:
        reads, judged: how many there were, and how many while all was in a state to be judged.
        oldest: nanoseconds for which the oldest value had been replaced when its read began.
        missing, errors, ended: reads that gave nothing or an error, and the longest time that a
            value was given after its end.
    """

    reads: int
    judged: int
    oldest: int
    missing: int
    errors: int
    ended: int


class Board:
    """The cells, by what they mean.

    Args:
        path: the file, which `make()` has made.
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.cells = memoryview(self._map).cast("q")

    @staticmethod
    def make(path: Path) -> Board:
        path.write_bytes(bytes(8 * _END))
        return Board(path)

    # What the process says that disturbs

    @property
    def is_stopped(self) -> bool:
        return bool(self.cells[_STOPPED])

    def stop(self) -> None:
        self.cells[_STOPPED] = 1

    def pause(self) -> None:
        """Have no read judged until `resume()`: more than one server may answer."""
        self.cells[_PAUSED] = 1

    def resume(self) -> None:
        """Have reads judged that begin from now on."""
        self.cells[_JUDGED_SINCE] = now()
        self.cells[_PAUSED] = 0

    def forgive(self) -> None:
        """Require no write that was answered before now: a failover may have lost it."""
        self.cells[_REQUIRED_SINCE] = now()

    def is_judged(self, began: int) -> bool:
        """Whether a read that began then, and has just ended, is to be judged."""
        return not self.cells[_PAUSED] and began >= self.cells[_JUDGED_SINCE]

    @property
    def required_since(self) -> int:
        return self.cells[_REQUIRED_SINCE]

    def begin_flush(self) -> None:
        count = self.cells[_FLUSH_COUNT]
        at = _FLUSHED + 2 * (count % _FLUSHES)
        self.cells[at + 1] = 0
        self.cells[at] = self.cells[_LAST_FLUSH] = now()
        self.cells[_FLUSH_COUNT] = count + 1

    def end_flush(self) -> None:
        at = _FLUSHED + 2 * ((self.cells[_FLUSH_COUNT] - 1) % _FLUSHES)
        self.cells[at + 1] = now()

    @property
    def last_flush(self) -> int:
        """When the last flush began; 0 before any."""
        return self.cells[_LAST_FLUSH]

    def flushes(self) -> Iterator[tuple[int, int]]:
        """Yield when each flush began and when it was answered, or 0, the last one first."""
        count = self.cells[_FLUSH_COUNT]
        for number in range(count - 1, max(-1, count - _FLUSHES), -1):
            at = _FLUSHED + 2 * (number % _FLUSHES)
            yield self.cells[at], self.cells[at + 1]

    # What owners say

    def begun(self, item: int) -> int:
        """Tell the newest version whose write has begun."""
        return self.cells[_BEGUN + item]

    def begin(self, item: int, lives: int = FOR_EVER) -> int:
        """Note that the next version of an own item is about to be written, and which that is."""
        version = max(self.cells[_BEGUN + item], FIRST_VERSION) + 1
        at = self._place(item, version)
        self.cells[at] = -1
        self.cells[at + 1] = now()
        self.cells[at + 2] = 0
        self.cells[at + 3] = lives
        self.cells[at] = version
        self.cells[_BEGUN + item] = version
        return version

    def answer(self, item: int, version: int) -> None:
        """Note that a write was answered.

        One that a server has answered while there may be two is never required of a read.
        """
        if self.cells[_PAUSED]:
            return
        self.cells[self._place(item, version) + 2] = now()
        self.cells[_ANSWERED + item] = version

    def answered(self, item: int) -> int:
        """Tell the newest version whose write was answered; 0 when none was."""
        return self.cells[_ANSWERED + item]

    def change(self, item: int, version: int) -> Change | None:
        """Find what is known of a version; None if it is too long ago."""
        at = self._place(item, version)
        found = Change(*self.cells[at : at + _CHANGE])
        if found.version != version or self.cells[at] != version:
            return None
        return found

    @staticmethod
    def _place(item: int, version: int) -> int:
        return _CHANGES + (item * REMEMBERED + version % REMEMBERED) * _CHANGE

    # What readers say

    def add_lane(self, process: int, lane: int, seen: Lane) -> None:
        """Add what a thread or task has seen; each has a lane of its own."""
        at = _LANES + (process * LANES + lane) * _LANE
        for place, value in enumerate(seen):
            if Lane._fields[place] in ("oldest", "ended"):
                self.cells[at + place] = max(self.cells[at + place], value)
            else:
                self.cells[at + place] += value

    def lanes(self, process: int) -> list[Lane]:
        starts = [_LANES + (process * LANES + lane) * _LANE for lane in range(LANES)]
        return [Lane(*self.cells[at : at + _LANE]) for at in starts]

    def hits(self, process: int) -> int:
        return self.cells[_HITS + process]

    def note_hits(self, process: int, hits: int) -> None:
        self.cells[_HITS + process] = hits
