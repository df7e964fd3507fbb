"""Hold the items of one dict in memory, shared by all its handles in the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from redisdict.forks import own, take_over
from redisdict.near.access import Access
from redisdict.near.clock import clock
from redisdict.near.eviction import Entry
from redisdict.near.reader import REQUEST, RequestReader, SecondsReader, Teller
from redisdict.near.state import NEVER, NearState
from redisdict.near.watches import Watch


@dataclass(frozen=True, kw_only=True, slots=True)
class NearStats:
    """The counts of one dict in this process's memory, as `near_stats()` returns them.

    Attributes:
        is_on: whether reads can be answered from memory now.
        reason: why not; empty if they can.
        hits, misses: reads that were answered from memory, and by the server.
        pushes: changed keys that the server reported.
        evictions: entries that were removed to make room.
        items, bytes: the present contents.
        age: seconds since the PING up to which all changes are known; None if `is_on` is false.
    """

    is_on: bool
    reason: str
    hits: int = 0
    misses: int = 0
    pushes: int = 0
    evictions: int = 0
    items: int = 0
    bytes: int = 0
    age: float | None = None


class Reader(Protocol):
    """Finds the values that a handle may serve under its promise; see `reader`."""

    @property
    def state(self) -> NearState: ...

    @property
    def listener(self) -> Teller: ...

    def find(self, key: object) -> Entry | None: ...

    def who_pings(self, key: object) -> RequestReader | None: ...


@dataclass(frozen=True, slots=True)
class Part:
    """Keys that lie on one server together: all of a dict's, or those of one shard."""

    state: NearState
    watches: Sequence[Watch]
    listener: Teller

    def reader(self, near: float | str) -> Reader:
        """Make the reader of a handle with this promise, and have the listener keep it."""
        if near == REQUEST:
            return RequestReader(self.state, self.listener)
        bound = float(near)
        self.listener.keep_within(bound)
        return SecondsReader(self.state, self.listener, bound)


class NearSpace:
    """The items of one dict in memory, in parts; each part has a listener for changes.

    Args:
        parts: one, or one for each shard.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.access = Access([watch for part in parts for watch in part.watches])

    def stats(self) -> NearStats:
        """Get the counts of items and reads. Sends nothing to the server."""
        if not own[0]:
            take_over()
        states = [part.state for part in self.parts]
        reasons = [part.listener.reason for part in self.parts if not part.listener.is_up]
        oldest = min(state.watermark for state in states)
        is_on = not reasons and oldest != NEVER

        def total(number: Callable[[NearState], int]) -> int:
            return sum(map(number, states))

        return NearStats(
            is_on=is_on,
            reason="" if is_on else (reasons or ["the server hasn't answered yet"])[0],
            hits=total(lambda state: state.hits),
            misses=total(lambda state: state.misses),
            pushes=total(lambda state: state.pushes),
            evictions=total(lambda state: state.evictions),
            items=total(lambda state: state.items),
            bytes=total(lambda state: state.bytes),
            age=clock() - oldest if is_on else None,
        )
