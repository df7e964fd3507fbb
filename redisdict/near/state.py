"""Keep values of a dict, a table or a cache in memory, by rules that keep them right.

`NearState` does no input or output and has no clock, so a test can run its steps in every order.
Its users:

- A **reader** calls `lookup()`. If that gives nothing, it has to ask the server, and then

      token = state.begin_fill(key)               # before the command is sent
      yield from track(teller, state, [key])      # `reader.track()`, where servers don't broadcast
      reply = (yield command)                     # over any connection
      state.complete_fill(token, value, …)        # or abandon_fill(token), whatever happened

  Every read that asks the server does so, even if it keeps nothing: otherwise it could see a new
  value, and the next reader an older one from memory.
- A **writer** of this process, and a reader that doesn't do so, calls `drop()` before the command
  is sent and again after the reply, also when the outcome is unknown.
- The **listener** calls `connect()` when the server tracks for it, `invalidate()` for the keys of a
  push, `flush()` for a push of nil, `pong()` for an answered PING, and `disconnect()` when the
  connection is lost. It applies these in the order in which it reads them, and has one PING under
  way at a time: a server may send a PONG before the pushes of changes that came after the PING.

Rules, as docs/near.md numbers them: 1 is `begin_fill()` and `complete_fill()`, 2 is `lookup()` with
`pong()`, 3 is `drop()`, 4 is `expires_at`, 5 is `connect()`, `disconnect()` and `flush()`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final

from redisdict.forks import on_fork, own, take_over
from redisdict.near.eviction import ENTRY_BYTES, FOREVER, Entry, Sieve

#: The watermark while nothing may be served.
NEVER: Final = float("-inf")

#: The value of an entry that says: the server has no such item.
MISSING: Final = object()

_UNSEEN: Final = object()


class _Fills:
    """The reads of one key that are under way; they all stand, or none.

    `seen` is the version that one of them has brought. As long as all bring the same version, none
    is older than another, and the kept value may stay.
    """

    __slots__ = ("count", "seen")

    def __init__(self) -> None:
        self.count = 0
        self.seen: Hashable = _UNSEEN


class FillToken:
    """Permission to keep a reply, put before the command is sent."""

    __slots__ = ("fills", "key")

    def __init__(self, key: Hashable, fills: _Fills | None) -> None:
        self.key = key
        self.fills = fills


class NearState:
    """Entries by key, the tokens of fills under way, and the watermark.

    Keys are anything hashable; times are seconds of one clock, whose readings the callers pass.
    Threads and event loops share it. `lookup()` takes no lock.

    Args:
        max_bytes, max_items: the most that is kept; the oldest entry that isn't read goes first.

    Attributes:
        watermark: all changes that were made before this time have been applied; `NEVER` while
            nothing may be served.
        generation: counts how often everything was forgotten.
        is_connected: whether the server reports changes; otherwise nothing is kept.
        hits, misses, pushes, evictions: counts since the start. Hits are counted without a lock, so
            that threads at the same instant may count one for two.
    """

    def __init__(self, max_bytes: int, max_items: int) -> None:
        self.watermark = NEVER
        self.generation = 0
        self.is_connected = False
        self.hits = self.misses = self.pushes = self.evictions = 0
        self._entries: dict[Hashable, Entry] = {}
        self._fills: dict[Hashable, _Fills] = {}
        self._missing: set[Hashable] = set()
        self._sieve = Sieve(max_bytes, max_items)
        self._lock = threading.Lock()
        on_fork(self._renew)

    @property
    def bytes(self) -> int:
        """Bytes of all entries, as they are counted against the limit."""
        return self._sieve.bytes

    @property
    def items(self) -> int:
        """Number of entries."""
        return self._sieve.items

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to drop: no entry, and no fill under way. Takes no lock."""
        return not self._entries and not self._fills

    # Readers

    def lookup(self, key: Hashable, now: float, not_before: float) -> Entry | None:
        """Find the entry of a key, if it may be served.

        Args:
            now: read from the clock after the read has begun, and before this call.
            not_before: how far the watermark must have come: `now` less the bound, or the start of
                the request.
        """
        # The watermark comes first: what is found after it was looked at can't be older than it
        # says, for changes are applied before the watermark moves.
        if self.watermark < not_before:
            return None
        entry = self._entries.get(key)
        if entry is None or entry.expires_at <= now:
            return None
        entry.visited = True
        self.hits += 1
        return entry

    def has(self, key: Hashable) -> bool:
        """Return whether a key has an entry, whether or not it may be served."""
        return key in self._entries

    def begin_fill(self, key: Hashable) -> FillToken:
        """Announce that the server is about to be asked for a key, and drop its entry."""
        if not own[0]:
            take_over()  # a thread of the parent may have the lock
        with self._lock:
            self.misses += 1
            self._remove(key)
            if not self.is_connected:
                return FillToken(key, None)
            fills = self._fills.get(key)
            if fills is None:
                fills = self._fills[key] = _Fills()
            fills.count += 1
            return FillToken(key, fills)

    def complete_fill(
        self,
        token: FillToken,
        value: Any,
        version: Hashable,
        *,
        expires_at: float = FOREVER,
        size: int = ENTRY_BYTES,
        make: Callable[[Any], Any] | None = None,
        owner: object = None,
    ) -> bool:
        """Keep the server's answer, if the token is still there; return whether it is kept.

        Args:
            value: the value to keep, `MISSING` if the server has none.
            version: distinguishes it from other values of this key, such as the hash of its bytes.
                Of two concurrent readers either may have the older value, so their values are kept
                only if they are the same.
            expires_at, size, make, owner: as `Entry` has them.
        """
        with self._lock:
            try:
                return self._complete(
                    token, Entry(token.key, value, version, expires_at, size, make, owner)
                )
            finally:
                # Only now: at no moment may `is_empty` see neither the fill nor the entry.
                self._end(token)

    def abandon_fill(self, token: FillToken) -> None:
        """End a fill that keeps nothing: it is unknown what its reader has seen."""
        with self._lock:
            self._end(token)
            self._drop(token.key)

    # Writers of this process, and readers that keep nothing

    def drop(self, keys: Iterable[Hashable]) -> None:
        """Drop the entries of keys, and keep none of the fills that are under way."""
        if not own[0]:
            take_over()
        with self._lock:
            for key in keys:
                self._drop(key)

    def drop_all(self) -> None:
        """Do the same for all keys, which the server tracks as before."""
        if not own[0]:
            take_over()
        with self._lock:
            self._clear()

    def drop_missing(self) -> None:
        """Drop the entries of missing items: they are about to be looked for."""
        if not own[0]:
            take_over()
        with self._lock:
            for key in self._missing.copy():
                self._remove(key)
            self._fills.clear()

    # The listener

    def connect(self) -> None:
        """Begin to keep entries: from now on the server reports every change."""
        with self._lock:
            self._clear()
            self.generation += 1
            self.is_connected = True

    def disconnect(self) -> None:
        """Forget everything and keep nothing: the connection is lost."""
        self.watermark = NEVER
        with self._lock:
            self.is_connected = False
            self.watermark = NEVER
            self.generation += 1
            self._clear()

    def invalidate(self, keys: Iterable[Hashable]) -> None:
        """Apply a push: these keys were changed."""
        with self._lock:
            for key in keys:
                self.pushes += 1
                self._drop(key)

    def flush(self) -> None:
        """Apply a push of nil, or one that names all keys: everything may have changed."""
        with self._lock:
            self.pushes += 1
            self.generation += 1
            self._clear()

    def pong(self, sent_at: float) -> None:
        """Handle an answered PING, after all pushes that were read before its answer.

        Args:
            sent_at: read from the clock before the PING was sent.
        """
        with self._lock:
            if self.is_connected and sent_at > self.watermark:
                self.watermark = sent_at

    # With the lock held

    def _complete(self, token: FillToken, entry: Entry) -> bool:
        key, version = entry.key, entry.version
        fills = self._fills.get(key)
        stands = fills is not None and fills is token.fills
        kept = self._entries.get(key)
        if (kept is not None and kept.version != version) or (
            fills is not None and fills.seen is not _UNSEEN and fills.seen != version
        ):
            self._drop(key)
            return False
        if fills is not None:
            fills.seen = version
        if not stands or kept is not None:
            return stands
        if not self._sieve.fits(entry):
            return False
        for evicted in self._sieve.room_for(entry):
            self.evictions += 1
            del self._entries[evicted.key]
            self._missing.discard(evicted.key)
        self._sieve.add(entry)
        self._entries[key] = entry
        if entry.value is MISSING:
            self._missing.add(key)
        return True

    def _end(self, token: FillToken) -> None:
        """Take a fill out of those under way."""
        fills, token.fills = token.fills, None
        if fills is None:
            return
        fills.count -= 1
        if not fills.count and self._fills.get(token.key) is fills:
            del self._fills[token.key]

    def _drop(self, key: Hashable) -> None:
        self._fills.pop(key, None)
        self._remove(key)

    def _remove(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._sieve.remove(entry)
            self._missing.discard(key)

    def _clear(self) -> None:
        self._entries.clear()
        self._fills.clear()
        self._missing.clear()
        self._sieve.clear()

    def _renew(self) -> None:
        """Begin empty in a forked child, whose listener has to be its own."""
        self._lock = threading.Lock()
        self.disconnect()
