"""Make the process that reads near: its memory, its lease, and what its listener does.

All of them are the real ones, but for the connections.
"""

from __future__ import annotations

from copy import copy
from typing import Any

from redisdict.modelcache.near import Kept, NearRows
from redisdict.modelcache.slots.lease import Loaded, Reader
from redisdict.modelcache.strict import NearLease, StrictReader
from redisdict.near.reader import SecondsReader
from redisdict.near.state import NearState
from redisdict.wire.requests import Operation
from tests.modelcache.near.plans import BOUND, OWN, WAIT, Plan
from tests.modelcache.near.processes import Process
from tests.modelcache.near.telling_server import LEASES, NOW, TellingServer
from tests.modelcache.schedules import NAMES, ROW, STORE, Database, NeverDue

__all__ = ["ReadingProcess"]

REST = ROW[len(STORE.prefix) :]

#: Whose copies are of a world each.
NEAR = NearRows(None, NAMES)  # type: ignore[arg-type]  # nothing is begun
NEAR.is_on = True


def _keep(body: bytes) -> Kept:
    return Kept(int(body), len(body))


class Silent:
    """In place of the listener and the keeper: the schedule says when there is a PING."""

    is_plain = False

    def keep_within(self, bound: float) -> None:
        pass


class ReadingProcess:
    """What one process has in memory, and how it reads."""

    def __init__(self, plan: Plan, server: TellingServer, database: Database) -> None:
        self.plan = plan
        self.server = server
        self.database = database
        self.state = NearState(10**6, 10)
        self.state.connect()
        self.state.pong(0.0)
        near = self.near = copy(NEAR)
        near._state = self.state
        self.store = copy(STORE)
        self.store.near, self.store._keep = near, _keep
        if plan.is_warm:
            token = self.state.begin_fill(REST)
            assert self.state.complete_fill(token, 0, hash(b"0"), owner=self.store)
        silent: Any = Silent()
        silent.ping_after = server.ping_after
        near._teller = silent
        self.lease = NearLease(LEASES, self.state, silent, silent, 1000 * BOUND)
        self.lease.process = b"reading process"
        if not plan.remembers_gaps:
            self.lease.take = self._take  # type: ignore[method-assign]
        self.reader: Any
        if plan.near == "strict":
            if not plan.lapses:
                self.lease.since, self.lease.until = -1.0, float(plan.own_ticks)
                server.leases.held[self.lease.process] = (1000 * plan.leases_last, 0, 1000 * WAIT)
            self.reader = StrictReader(self.lease, silent)
            self.reader._bound = BOUND
        else:
            self.reader = SecondsReader(self.state, silent, BOUND)

    def _take(self, sent_at: float, *, was_held: bool) -> None:
        self.lease.until = sent_at + OWN

    def snapshot(self, readers: list[Process]) -> Any:
        """Whatever decides how things can go on."""
        entry = self.state._entries.get(REST)
        fills = self.state._fills.get(REST)
        return (
            None if entry is None else entry.value,
            None if fills is None else (fills.count, fills.seen),
            tuple(None if one.operation is None else self._token_stands(one) for one in readers),
            self.state.watermark,
            self.state.is_connected,
            (self.lease.until, self.lease.since, self.lease.confirmed),
        )

    def _token_stands(self, reader: Process) -> bool:
        """Whether what a reader has asked for could still be kept: see `NearState`."""
        operation: Any = reader.operation
        while operation is not None and operation.gi_frame is not None:
            tokens = operation.gi_frame.f_locals.get("open_tokens")
            if tokens is not None:
                fills = self.state._fills.get(REST)
                return any(token.fills is fills is not None for token in tokens)
            operation = operation.gi_yieldfrom
        return False

    # Reads

    def find(self, began_at: float) -> Any:
        """As of the time that the reader has read from its clock, whenever it goes on."""
        now, NOW[0] = NOW[0], began_at
        try:
            return self.reader.find(REST)
        finally:
            NOW[0] = now

    def read(self, name: str) -> Operation[Any]:
        reader: Reader[int] = Reader(
            copy(self.store),
            NeverDue(NAMES.counts),
            encode=lambda version: b"%d" % version,
            decode=int,
            lease_ms=10**9,
            timeout_ms=None,
            absent_ms=None,
        )
        return reader.read([ROW], self.load, name.encode())

    def load(self, keys: Any) -> Loaded[int]:
        loaded = self.database.select(keys)
        if "seen" in self.plan.drops:
            self.near.drop(keys)
        return loaded

    # The listener

    def receive(self) -> None:
        what = self.server.receive()
        if what[0] == "pong":
            self.state.pong(what[1])
        elif what[0] == "lost":
            self.state.disconnect()
        elif what[0] == "flush":
            self.state.flush()
        elif what[0] == "push" and self.plan.applies:
            if what[1] == ROW:
                self.state.invalidate([REST])
            else:
                self.state.flush()
