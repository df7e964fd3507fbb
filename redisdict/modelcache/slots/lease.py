"""Read rows from the server; read missing ones from the database, and store them.

Lease: a reader that misses puts a token under the key before it asks the database, and stores the
row only if the token is still there. A change of the row removes the token. So a slow reader can't
store a row that it saw before the change.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from redisdict.modelcache.slots.store import BUSY, LEASED, Answer
from redisdict.modelcache.stats import Counters
from redisdict.wire.requests import Call, Operation, Sleep

T = TypeVar("T")

#: The body that stands for a row the database doesn't have.
ABSENT = b""

#: Bodies that don't describe a row: a reader that finds one asks the database at once, instead of
#: waiting for the lease of another that couldn't store the row either. The row can't be kept; or
#: only the database knows which row has this key. No row is written so.
UNKEPT = b"\xc0"
UNSURE = b"\xc1"

#: The other contents of a cell, all shorter than any row.
NOT_ROWS = (ABSENT, UNKEPT, UNSURE)
SHORTEST = 2

#: How long a row counts as one that can't be kept; then a reader tries again.
UNKEPT_MS = 60_000

#: How long other readers find that a row is absent, or that the database has to be asked, and ask
#: it in parallel; otherwise each would wait for the lease of the one before.
ABSENT_MS = 500

#: The first pause of a reader that waits for another's lease, and the longest.
SHORTEST_PAUSE_MS = 4
LONGEST_PAUSE_MS = 200

#: Not the module's own, whose state is the same in forked processes.
_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """The rows that the database gave.

    Attributes:
        found: the rows by row key; those that the database doesn't have are left out.
        may_be_kept: false when the reader's own transaction may have seen another state than the
            committed one.
        unsure: keys under which nothing may be kept: neither a row, which is kept under another
            key, nor its absence.
    """

    found: Mapping[bytes, T]
    may_be_kept: bool
    unsure: Collection[bytes] = ()


#: Asks the database for rows, by their keys on the server. Under the async driver an awaitable.
Load = Callable[[Sequence[bytes]], Any]


class Cells(Protocol):
    """Keeps rows, or results, under leases."""

    def read(
        self, keys: Sequence[bytes], token: bytes, lease_ms: int, /
    ) -> Operation[list[Answer]]: ...

    def lift(self, keys: Sequence[bytes], token: bytes, /) -> Operation[None]: ...

    @property
    def fill(
        self,
    ) -> Callable[[Sequence[bytes], bytes, Sequence[bytes | None], int | None], Operation[int]]: ...


@dataclass(frozen=True, slots=True)
class Reader(Generic[T]):
    """Reads rows of one table.

    Args:
        encode: makes a body from what the database gave; None when it has no body.
        decode: converts it back; None for a body that can't be read.
        lease_ms: the longest time for which one reader keeps the others waiting.
        timeout_ms: how long a row is kept; None for ever.
        absent_ms: how long a row's absence is remembered; None when it isn't.
    """

    store: Cells
    counters: Counters
    encode: Callable[[T], bytes | None]
    decode: Callable[[bytes], T | None]
    lease_ms: int
    timeout_ms: int | None
    absent_ms: int | None

    def read(
        self,
        keys: Sequence[bytes],
        load: Load,
        token: bytes,
        answers: Sequence[Answer] | None = None,
        is_peek: bool = False,
    ) -> Operation[dict[bytes, T]]:
        """Get the rows of these keys that exist.

        Args:
            token: this reader's token.
            answers: the server's answers to a first read with this token, if there has been one.
            is_peek: whether the caller couldn't store a row, so takes no lease and waits for none.
        """
        found: dict[bytes, T] = {}
        lease_ms = 0 if is_peek else self.lease_ms
        waited_ms = 0.0
        attempt = 0
        while True:
            if answers is None:
                answers = yield from self.store.read(keys, token, lease_ms)
            sorted_ = self._sort(keys, answers, found)
            answers = None
            if sorted_.unreadable:
                yield from self.store.lift(sorted_.unreadable, token)
            is_impatient = is_peek or waited_ms >= self.lease_ms
            unleased = sorted_.blocked + sorted_.unreadable + (sorted_.busy if is_impatient else [])
            if sorted_.leased or unleased:
                found.update((yield from self._load(sorted_.leased, unleased, load, token)))
            if not sorted_.busy or is_impatient:
                yield from self.counters.push_if_due()
                return found
            self.counters.lease_waits += not attempt
            keys = sorted_.busy
            longest_ms = min(LONGEST_PAUSE_MS, SHORTEST_PAUSE_MS * 2 ** min(attempt, 10))
            # Random, so that the waiting spread out.
            pause_ms = _random.uniform(longest_ms / 2, longest_ms)
            yield Sleep(pause_ms / 1000)
            waited_ms += pause_ms
            attempt += 1

    def _sort(
        self, keys: Sequence[bytes], answers: Sequence[Answer], found: dict[bytes, T]
    ) -> _Sorted:
        """Put the hits into `found`, and sort the keys of the others."""
        others = _Sorted()
        absent = 0
        decode, before = self.decode, len(found)
        for key, answer in zip(keys, answers, strict=True):
            if not isinstance(answer, bytes):
                if answer == LEASED:
                    others.leased.append(key)
                elif answer == BUSY:
                    others.busy.append(key)
                else:
                    others.blocked.append(key)
            elif len(answer) < SHORTEST and answer in NOT_ROWS:
                self.counters.unkept += answer == UNKEPT
                if answer == ABSENT and self.absent_ms is not None:
                    absent += 1
                else:
                    others.blocked.append(key)
            elif (value := decode(answer)) is None:
                others.unreadable.append(key)
            else:
                found[key] = value
        self.counters.hits += len(found) - before + absent
        return others

    def _load(
        self, leased: list[bytes], unleased: list[bytes], load: Load, token: bytes
    ) -> Operation[Mapping[bytes, T]]:
        """Ask the database, and store the leased rows."""
        self.counters.misses += len(leased) + len(unleased)
        try:
            loaded: Loaded[T] = yield Call(load, (leased + unleased,))
        except GeneratorExit:
            raise  # nobody runs this any more; the leases end by themselves
        except BaseException:
            yield from self._give_back(leased, token)
            raise
        if loaded.may_be_kept:
            unsure = {*loaded.unsure}
            sure = [key for key in leased if key not in unsure]
            yield from self._keep(sure, loaded.found, token)
            told = [key for key in leased if key in unsure]
            yield from self.store.fill(told, token, [UNSURE] * len(told), ABSENT_MS)
        else:
            yield from self._give_back(leased, token)
        return loaded.found

    def _keep(self, leased: list[bytes], found: Mapping[bytes, T], token: bytes) -> Operation[None]:
        bodies = {key: self.encode(found[key]) for key in leased if key in found}
        present = [key for key, body in bodies.items() if body is not None]
        kept = yield from self.store.fill(
            present, token, [bodies[key] for key in present], self.timeout_ms
        )
        self.counters.fills += kept
        self.counters.refused += len(present) - kept
        unkept = [key for key, body in bodies.items() if body is None]
        self.counters.unkept += len(unkept)
        unkept_ms = min(UNKEPT_MS, self.timeout_ms or UNKEPT_MS)
        yield from self.store.fill(unkept, token, [UNKEPT] * len(unkept), unkept_ms)
        absent = [key for key in leased if key not in found]
        absent_ms = ABSENT_MS if self.absent_ms is None else self.absent_ms
        yield from self.store.fill(absent, token, [ABSENT] * len(absent), absent_ms)

    def _give_back(self, leased: list[bytes], token: bytes) -> Operation[None]:
        yield from self.store.fill(leased, token, [None] * len(leased), None)


@dataclass(slots=True)
class _Sorted:
    """The keys of rows that were no hits."""

    leased: list[bytes] = field(default_factory=list)
    busy: list[bytes] = field(default_factory=list)
    blocked: list[bytes] = field(default_factory=list)
    unreadable: list[bytes] = field(default_factory=list)
