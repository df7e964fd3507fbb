"""Work without the server while it fails, and invalidate its rows before they are trusted again.

A change that couldn't be announced leaves old rows on the server. So the process stops using the
table's rows before it commits such a change. When the server answers again, the process first
begins a new generation of the table, so that all rows stored before are misses.
"""

from __future__ import annotations

import logging
import threading
import time

from redis.exceptions import RedisError

from redisdict import forks
from redisdict.connections.backend import Backend
from redisdict.exceptions import BackendUnavailable
from redisdict.modelcache.slots.store import RowStore, new_token
from redisdict.modelcache.stats import Counters
from redisdict.wire.requests import Operation

logger = logging.getLogger("redisdict")

#: The server can't be reached, or refuses: it is out of memory, say, or the user lacks a right.
UNREACHED = (BackendUnavailable, RedisError)

#: Seconds after a failure in which readers don't try again.
REST_S = 1.0

#: Seconds between two attempts to have untold changes forgotten.
SHORTEST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0


class Outages:
    """Tracks the server's failures for one table, and invalidates rows that they left old."""

    def __init__(self, name: str, backend: Backend, store: RowStore, counters: Counters) -> None:
        self._name = name
        self._backend = backend
        self._store = store
        self._counters = counters
        self._lock = forks.Lock()
        self._resting_until = 0.0
        self._under_way: dict[bytes, float] = {}
        self._untold = 0
        self._told = 0
        self._repairer: threading.Thread | None = None
        forks.on_fork(self._renew)

    @property
    def is_calm(self) -> bool:
        """Whether there is no failure that isn't repaired."""
        return self._untold == self._told and not self._resting_until and not self._under_way

    @property
    def is_resting(self) -> bool:
        """Whether the server failed a moment ago."""
        return self._resting_until > 0 and time.monotonic() < self._resting_until

    @property
    def is_doubtful(self) -> bool:
        """Whether the server may have rows that a change of this process has made old."""
        return bool(self._under_way) or self._untold != self._told

    def note(self, error: Exception) -> None:
        """The server has failed."""
        self._resting_until = time.monotonic() + REST_S
        self._counters.outages += 1
        logger.warning("The cache of %s can't be used: %s", self._name, error)

    def begin_untold_change(self, token: bytes, longest_s: float) -> None:
        """The change that `token` stands for is made now, and the server doesn't know of it.

        A save that fails isn't reported; after `longest_s` seconds it counts as ended.
        """
        if not forks.own[0]:
            forks.take_over()
        with self._lock:
            self._under_way[token] = time.monotonic() + longest_s

    def end_untold_change(self, token: bytes) -> None:
        """It is made, or was given up."""
        with self._lock:
            if self._under_way.pop(token, None) is None:
                return
            self._untold += 1
            self._start_repairer()

    def recover(self) -> Operation[bool]:
        """Whether the server can be used again; it has to be tried."""
        if self.is_doubtful and not (yield from self.repair()):
            return False
        self._resting_until = 0.0
        return True

    def repair(self) -> Operation[bool]:
        """Begin a new generation of the table; return whether its rows can be trusted now.

        Not while a change is under way: its commit would come after the new generation.
        """
        with self._lock:
            for token, ends in list(self._under_way.items()):
                if time.monotonic() > ends:
                    del self._under_way[token]
                    self._untold += 1
            if self._under_way:
                return False
            untold = self._untold
        yield from self._store.lift(self._store.table_keys, new_token())
        self._told = max(self._told, untold)
        return not self.is_doubtful

    def _renew(self) -> None:
        """A forked child knows of the same untold changes, and has no thread that mends them.

        Its parent may have ended.
        """
        self._repairer = None
        if self._untold != self._told:
            self._start_repairer()

    def _start_repairer(self) -> None:
        if self._repairer is None or not self._repairer.is_alive():
            name = f"redisdict: repair of {self._name}"
            self._repairer = threading.Thread(target=self._repair, name=name, daemon=True)
            self._repairer.start()

    def _repair(self) -> None:
        """Other processes use the table too: don't wait until this one reads again."""
        pause_s = SHORTEST_PAUSE_S
        while True:
            with self._lock:
                if not self.is_doubtful:
                    self._repairer = None
                    return
            try:
                self._backend.driver.run(self.repair())
            except UNREACHED:
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            if self.is_doubtful:
                time.sleep(pause_s)
