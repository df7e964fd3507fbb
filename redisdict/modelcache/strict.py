"""Hold near leases for readers with `near="strict"`: a thread for each alias renews them.

It runs while there are such reads, and gives the leases back when there have been none for a while.
"""

from __future__ import annotations

import atexit
import logging
import math
import secrets
import threading
import weakref
from contextlib import suppress
from typing import Final

from redisdict.connections.backend import Backend
from redisdict.exceptions import RedisDictError
from redisdict.forks import on_fork, own, take_over
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.slots.near_leases import LEASE_MS, OWN_MS, NearLeases, Progress
from redisdict.near.clock import clock
from redisdict.near.eviction import Entry
from redisdict.near.reader import Teller, track
from redisdict.near.service import near_service
from redisdict.near.state import NEVER, NearState
from redisdict.wire.requests import Call, Operation

logger = logging.getLogger("redisdict")

#: What a reader serves is behind by no more than this part of the time that writers wait: so much
#: may the rates of two machines' clocks differ, and more.
PART: Final = 0.9

#: Seconds between two renewals.
RENEW_EVERY_S: Final = 0.25

#: Seconds without a read after which a lease is given back.
IDLE_S: Final = 1.0


#: Seconds that the end of the process waits for a lease to be given back.
LONGEST_END_S: Final = 1.0


class LeaseSignal(NearState):
    """Takes the place of a state: a message about its key signals a writer's announcement."""

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.is_told = False
        self.keeper: LeaseKeeper | None = None

    def flush(self) -> None:
        """Let the lease's thread confirm: the server has reported the key, or lost all."""
        self.is_told = True
        if self.keeper is not None:
            self.keeper.wake()


class NearLease:
    """The near lease of this process on one table.

    Attributes:
        until: the process may serve before this time, of `clock()`.
        since: it has held the lease without a gap from before this time. What it serves has to be
            at least as new as that, since earlier writers didn't know of it.
    """

    def __init__(
        self,
        leases: NearLeases,
        state: NearState,
        teller: Teller,
        signal: LeaseSignal,
        bound_ms: int,
    ) -> None:
        self.leases = leases
        self.state = state
        self.teller = teller
        self.signal = signal
        self.bound_ms = bound_ms
        self._begin_anew()
        on_fork(self._begin_anew)

    def _begin_anew(self) -> None:
        self.until = NEVER
        self.since = NEVER
        self.process = secrets.token_hex(8).encode()
        self.confirmed = Progress()
        self.renew_at = NEVER
        self.reads = -1
        self.read_at = NEVER

    def take(self, sent_at: float, *, was_held: bool) -> None:
        """Handle a renewal that was sent at this time, and is answered now.

        Args:
            was_held: the server's word. It may have carried out a renewal twice whose first answer
                was lost, so the process also has to know of the lease itself.
        """
        if not was_held or sent_at >= self.until:
            self.until = NEVER
            self.since = _after_now()
        self.until = sent_at + OWN_MS / 1000

    def renew(self) -> Operation[None]:
        """Renew the lease; confirm new announcements of writers.

        One script; with new announcements two, and a PING.
        """
        yield from track(self.teller, self.signal, ())
        announced = yield from self._ask(LEASE_MS)
        # Its changes were made before; the server has pushed them before it answers this PING.
        if announced != self.confirmed and (yield Call(self.teller.ping_after, (_after_now(),))):
            self.confirmed = announced
            yield from self._ask(LEASE_MS)

    def give_back(self) -> Operation[None]:
        """Give the lease back, after which writers don't wait for this process. One script."""
        self.lose()
        yield from self._ask(0)

    def _ask(self, lease_ms: int) -> Operation[Progress]:
        sent_at = clock()
        announced, was_held = yield from self.leases.renew(
            self.process, lease_ms, self.confirmed, self.bound_ms
        )
        if lease_ms:
            self.take(sent_at, was_held=was_held)
        return announced

    def lose(self) -> None:
        """Serve no more; a lease that is taken later is another one."""
        self.until = NEVER

    def is_idle(self, now: float) -> bool:
        """Return whether there was no read for a while."""
        reads = self.state.hits + self.state.misses
        if reads != self.reads:
            self.reads, self.read_at = reads, now
        return now - self.read_at > IDLE_S


class LeaseKeeper:
    """The thread that renews the near leases of one backend's tables."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._held: set[NearLease] = set()
        self._begin_anew()
        on_fork(self._begin_anew)
        _keepers.add(self)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_woken = threading.Event()
        self._is_closing = False
        self._held.clear()

    def wake(self) -> None:
        """Let the thread check the leases now."""
        self._is_woken.set()

    def hold(self, lease: NearLease) -> None:
        """Hold a lease from now on, while there are reads. Doesn't wait for it."""
        if lease in self._held and self._thread is not None:
            return
        with self._lock:
            if self._is_closing:
                return
            lease.read_at = clock()
            lease.renew_at = NEVER
            self._held.add(lease)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="redisdict-near-leases", daemon=True
                )
                self._thread.start()
        self.wake()

    def close(self, timeout_s: float | None = None) -> None:
        """Give all leases back, and end the thread; the next read starts it again."""
        if not own[0]:
            take_over()
        thread = self._thread
        if thread is None:
            return
        self._is_closing = True
        self.wake()
        thread.join(timeout_s)
        self._is_closing = False

    def _run(self) -> None:
        try:
            while self._keep_all():
                self._is_woken.wait(RENEW_EVERY_S / 2)
                self._is_woken.clear()
        except Exception:
            logger.exception('near="strict" is off for %s', self._backend.config.alias)
            with self._lock:
                self._end()

    def _keep_all(self) -> bool:
        """Renew the leases that are due, give back unused ones; return whether any is left."""
        for lease in list(self._held):
            now = clock()
            if self._is_closing or lease.is_idle(now):
                self._give_back(lease)
            elif lease.signal.is_told or now >= lease.renew_at:
                lease.signal.is_told = False
                lease.renew_at = now + RENEW_EVERY_S
                with suppress(*UNREACHED, RedisDictError):  # it ends by itself
                    self._backend.driver.run(lease.renew())
        with self._lock:
            if not self._held:
                self._end()
                return False
        return True

    def _end(self) -> None:
        for lease in self._held:
            lease.lose()
        self._held.clear()
        self._thread = None

    def _give_back(self, lease: NearLease) -> None:
        self._held.discard(lease)
        with suppress(*UNREACHED, RedisDictError):  # it ends by itself
            self._backend.driver.run(lease.give_back())


#: All of the process, so that no writer waits for one that has ended.
_keepers: weakref.WeakSet[LeaseKeeper] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for keeper in list(_keepers):
        keeper.close(LONGEST_END_S)


def _after_now() -> float:
    """Return a time after all earlier ones, even if the clock hasn't advanced."""
    return math.nextafter(clock(), math.inf)


class StrictReader:
    """Serves no row that was replaced, visibly to others, before the read began."""

    def __init__(self, lease: NearLease, keeper: LeaseKeeper) -> None:
        self.state = lease.state
        self.listener = lease.teller
        self._lease = lease
        self._keeper = lease.signal.keeper = keeper
        self._bound = PART * lease.bound_ms / 1000
        self.listener.keep_within(self._bound)

    def find(self, key: object) -> Entry | None:
        """Find the entry that may be served now, without a request."""
        if not own[0]:
            take_over()
        now = clock()
        lease = self._lease
        if now >= lease.until:
            return None
        # `until` was read before `since`, so the lease that it is of is not the younger one.
        since, not_before = lease.since, now - self._bound
        return self.state.lookup(key, now, max(not_before, since))

    def who_pings(self, key: object) -> None:
        """Take the lease and let a PING be sent for the next reader; this one asks the server."""
        if not self.state.is_connected:
            self.listener.ensure()
        elif self.state.watermark < clock() - self._bound:
            self.listener.nudge()
        self._keeper.hold(self._lease)


def lease_keeper(backend: Backend) -> LeaseKeeper:
    """Get the keeper of a backend, made at the first call; `Backend.close()` closes it."""

    def make() -> LeaseKeeper:
        keeper = LeaseKeeper(backend)
        # In front of the service, whose listener it uses.
        backend.attachments = {"near leases": keeper, **backend.attachments}
        return keeper

    keeper: LeaseKeeper = near_service(backend).space("near leases", make)
    return keeper
