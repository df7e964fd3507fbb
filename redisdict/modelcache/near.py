"""Keep rows in this process's memory, for readers of a `ModelDict` with `near`.

A row is kept under its cell's key, and the server sends a message about each change of the cell, or
of the table's (`redisdict.near`). Only values that the server gave are kept: a cell is never old,
so the value was the newest committed row when it was asked for. A row that the process has stored
on the server itself is kept when it is read again, because the server also reports that change.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple

from redisdict.connections.backend import Backend
from redisdict.exceptions import ConfigurationError
from redisdict.mapping.keys import Names
from redisdict.mapping.layouts.base import FOREVER
from redisdict.mapping.layouts.base import MISSING as NO_ITEM
from redisdict.modelcache.slots.near_leases import NearLeases
from redisdict.modelcache.strict import LeaseSignal, NearLease, StrictReader, lease_keeper
from redisdict.near.clock import clock
from redisdict.near.eviction import ENTRY_BYTES
from redisdict.near.eviction import FOREVER as NO_END
from redisdict.near.reader import STRICT, Teller, track
from redisdict.near.service import near_service, teller_of
from redisdict.near.space import NearSpace, NearStats, Part, Reader
from redisdict.near.state import FillToken, NearState
from redisdict.near.values import immutable_size
from redisdict.near.watches import Watch
from redisdict.wire.combinators import intercept
from redisdict.wire.requests import (
    Batch,
    Call,
    Command,
    Operation,
    Request,
    Sleep,
    commands_of,
)

#: Says that the server has to be asked.
NOT_NEAR: Final = object()


class Kept(NamedTuple):
    """The values of a new entry; see `Entry`."""

    value: Any
    size: int
    make: Callable[[Any], Any] | None = None


class KeptBody(bytes):
    """A body that was read to be kept: `make()` returns its value, which was decoded for that."""

    kept: Kept

    def make(self) -> Any:
        """Return the value in it, another one each time."""
        assert self.kept.make is not None  # it was made of one that has it
        return self.kept.make(self.kept.value)


#: Gives what to keep of a body; None when it says nothing of a row.
Keep = Callable[[bytes], Kept | None]


class NearRows:
    """This process's memory for the cells of one table, for all of its handles.

    It keeps nothing and connects nothing before `begin()`.

    Args:
        names: make the cells' keys.
        share: the number of equal parts of the alias's memory, of which it may take one.

    Attributes:
        space: the memory, once a handle reads near.
        shards: the memory of each shard, if the table is in shards.
        is_on: whether any handle reads near. Then all reads and changes of cells go through here.
    """

    def __init__(self, backend: Backend, names: Names, share: int = 1) -> None:
        self._backend = backend
        self._share = share
        self._names = names
        self._table_key = names.cached_table
        self._cut = len(names.cached_row_prefix)
        self.space: NearSpace | None = None
        self._state: NearState
        self._teller: Teller
        self._lease: NearLease | None = None
        self.is_on = False
        self.shards: Sequence[NearRows] = ()
        #: What the process keeps of results of the table.
        self.results: list[NearState] = []

    def begin(self, near: float | str) -> Reader:
        """Start the memory, and make the reader of a handle with this promise.

        Raises:
            ConfigurationError: the alias reads from replicas.
        """
        if self._backend.factory.reads_replicas:
            raise ConfigurationError(
                f"A ModelDict with near={near!r} is on {self._backend.config.where}, which has"
                ' "read_from_replicas": a replica may not yet have what the primary has announced.'
                " Use near with an alias that reads from the primary."
            )
        service = near_service(self._backend)
        self.space, self._lease = service.space(("modelcache", self._names), self._make_space)
        part = self.space.parts[0]
        self._state, self._teller = part.state, part.listener
        self.is_on = True
        if near == STRICT:
            return StrictReader(self._lease, lease_keeper(self._backend))
        return part.reader(near)

    def _make_space(self) -> tuple[NearSpace, NearLease]:
        config, names = self._backend.config, self._names
        share = self._share
        state = NearState(
            max(config.near_max_bytes // share, 1), max(config.near_max_items // share, 1)
        )
        signal = LeaseSignal()
        watches = [
            Watch(names.cached_row_prefix, state),
            Watch(names.cached_table, state, is_exact=True),
            Watch(names.near_signal, signal, is_exact=True),
        ]
        teller = teller_of(self._backend, watches, names.probe_prefix)
        lease = NearLease(
            NearLeases.of(names), state, teller, signal, round(config.near_lease * 1000)
        )
        return NearSpace([Part(state, watches[:2], teller)]), lease

    @property
    def writers_lease(self) -> tuple[NearLeases, bytes]:
        """The leases that writers ask about, and the name of this process there."""
        lease = self._lease
        return NearLeases.of(self._names), b"" if lease is None else lease.process

    def stats(self) -> NearStats:
        """Get the counts of the memory. Sends nothing to the server."""
        if self.space is None:
            return NearStats(is_on=False, reason="no ModelDict of this table has near")
        return self.space.stats()

    def drop(self, cells: Collection[bytes]) -> None:
        """Drop rows, or all of them by the table's key, and keep no reply that is under way.

        A writer calls this right before others can see its change, and again after it. A reader
        that has seen a row elsewhere, such as in the database, calls it too: that row may be newer
        than the one in memory, and no later read may give an older one.
        """
        for state in self.results:
            state.drop_all()
        if not self.is_on:
            return
        if self._table_key in cells:
            self._state.drop_all()
        else:
            self._state.drop([cell[self._cut :] for cell in cells])

    def read(
        self,
        cells: Sequence[bytes],
        operation: Operation[list[Any]],
        keep: Keep | None,
        owner: object,
    ) -> Operation[list[Any]]:
        """Run the operation that reads cells, and keep the values that it gives.

        The times to live come in the same round trips: a PTTL for each row.

        Args:
            keep: None keeps nothing, and asks for no times.
            owner: the only one that the kept values are given to.
        """
        state = self._state
        rows = [cell[self._cut :] for cell in cells]
        tokens = [state.begin_fill(row) for row in rows]
        open_tokens = dict.fromkeys(tokens)
        try:
            if keep is None:
                return (yield from operation)
            yield from track(self._teller, state, rows)
            left = _TimesLeft(cells)
            answers: list[Any] = yield from intercept(operation, left.answer)
            for at, (cell, token) in enumerate(zip(cells, tokens, strict=True)):
                body, expires_at = answers[at], left.ends_at.get(cell)
                if not isinstance(body, bytes) or expires_at is None:
                    continue
                kept = self._keep(token, body, expires_at, keep, owner)
                if kept is not None:
                    del open_tokens[token]
                    if kept.make is not None:
                        answers[at] = KeptBody(body)
                        answers[at].kept = kept
        finally:
            for token in open_tokens:
                state.abandon_fill(token)
        return answers

    def _keep(
        self, token: FillToken, body: bytes, expires_at: float, keep: Keep, owner: object
    ) -> Kept | None:
        """Keep a body; None if it isn't, and the fill isn't over."""
        try:
            kept = keep(body)
        except Exception:  # noqa: BLE001  # a field may raise anything; the reader tells of it
            return None
        if kept is None:
            return None
        self._state.complete_fill(
            token,
            kept.value,
            hash(body),
            expires_at=expires_at,
            size=ENTRY_BYTES + sys.getsizeof(token.key) + kept.size,
            make=kept.make,
            owner=owner,
        )
        return kept


class _TimesLeft:
    """When cells end, asked for in the round trips that read them.

    Attributes:
        ends_at: by cell, in seconds of `clock()`; a cell that has ended meanwhile is left out.
    """

    def __init__(self, cells: Sequence[bytes]) -> None:
        self._cells = frozenset(cells)
        self.ends_at: dict[bytes, float] = {}

    def answer(self, request: Request) -> Operation[Any]:
        """Put a PTTL for each cell behind the commands of a request, and give their replies."""
        if isinstance(request, (Sleep, Call)):
            return (yield request)
        commands = commands_of(request)
        asked = [each for command in commands for each in command if each in self._cells]
        ttls: list[Command] = [(b"PTTL", cell) for cell in asked]
        is_atomic = isinstance(request, Batch) and request.is_atomic
        sent_at = clock()
        replies = yield Batch([*commands, *ttls], is_atomic=is_atomic, is_identified=True)
        count = len(commands)
        for cell, left_ms in zip(asked, replies[count:], strict=True):
            if left_ms == FOREVER:
                self.ends_at[cell] = NO_END
            elif isinstance(left_ms, int) and left_ms != NO_ITEM:
                self.ends_at[cell] = sent_at + left_ms / 1000
        if isinstance(request, Batch):
            return replies[:count]
        if isinstance(replies[0], Exception):
            raise replies[0]
        return replies[0]


def kept_values(values: dict[str, Any], make: Callable[[Any], Any]) -> Kept:
    """Keep immutable values."""
    sizes = map(immutable_size, values.values())
    return Kept(values, sys.getsizeof(values) + sum(size or 0 for size in sizes), make)
