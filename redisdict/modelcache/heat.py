"""Decide whether a table changes so often that its results aren't worth caching.

If a table changes all the time, its results are old before anybody reads them again, and each
reader would ask the server twice for nothing. So each process counts the outcomes of its lookups.
If nearly all of them found a result that a change had made old, it doesn't ask the server for a
while; then it tries again.
"""

from __future__ import annotations

import time

#: After so many lookups it is decided.
WINDOW = 64

#: The share of lookups that were in vain from which on the server is left alone.
BOUND = 0.9

#: For so many seconds.
REST_S = 10.0


class Heat:
    """The outcomes of lookups of one table's results, in this process.

    Threads may lose one another's counts now and then, which doesn't matter.

    Attributes:
        useful: lookups that found a result, since it was decided last.
        vain: lookups that found a barrier, or a result that a change of this table had made old.
    """

    __slots__ = ("_resting_until", "useful", "vain")

    def __init__(self) -> None:
        self.useful = 0
        self.vain = 0
        self._resting_until = 0.0

    def note_in_vain(self) -> None:
        """Note that a lookup was in vain, because this table was changed."""
        self.vain += 1
        if self.useful + self.vain < WINDOW:
            return
        if self.vain >= BOUND * (self.useful + self.vain):
            self._resting_until = time.monotonic() + REST_S
        self.useful = self.vain = 0

    @property
    def is_resting(self) -> bool:
        """Whether the database is asked at once, without the server."""
        if not self._resting_until:
            return False
        if time.monotonic() < self._resting_until:
            return True
        self._resting_until = 0.0
        return False
