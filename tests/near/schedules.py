"""Every order in which readers, writers, pushes, PINGs and losses can take their steps.

The state under test is the real one. The world is small: one key, whose value is the number of
times it was changed; a server; the listener's connection with what is on its way; readers and
writers of this process, and a writer of another one. A step is one thing that happens at one place:
a command arrives at the server, a reply comes back, a push or a PONG is read, time goes on.

A server takes turns. What it is asked in a turn must have been there when the turn began, and what
it broadcasts leaves at the end of the turn, behind the replies to the connection that listens; so
do the replies to writers.

Checked when a read ends: it gives nothing that was replaced more than BOUND before it began (or
before its request began), nothing whose time was over, nothing older than what this process has
written before the read began, and nothing older than any of its reads has given before that.

`tests.schedules` has the search.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from redisdict.near.eviction import FOREVER
from redisdict.near.state import FillToken, NearState
from tests import schedules
from tests.schedules import Breach, Move

#: The bound of the promise, in ticks of the clock.
BOUND = 1

KEY = b"k"

__all__ = ["BOUND", "Breach", "Plan", "World", "explore"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who takes part.

    Attributes:
        readers: reads of this process.
        own_writes, other_writes: changes by this process and by another one.
        lost_replies: how many replies to own writes may be lost.
        ticks: how far the clock goes.
        pings: how many PINGs there are.
        losses: how often the listener's connection may be lost.
        flushes: how often the server may forget everything, and say so by a push of nil.
        is_kept: whether the value is in memory at the beginning.
        has_end: whether the first value ends after a tick. The server says nothing of it.
        is_per_request: whether the readers are of `near="request"`.
        pings_at_once: how many PINGs may be under way.
        drops: when a writer drops what is kept.
        pongs_tell: "sent": a PONG tells of the time at which its PING was sent; "read": of now.
        counts_from: when a time to live begins: when its command was "sent", or with its "reply".
    """

    readers: int = 2
    own_writes: int = 0
    other_writes: int = 0
    lost_replies: int = 0
    ticks: int = 0
    pings: int = 0
    losses: int = 0
    flushes: int = 0
    is_kept: bool = True
    has_end: bool = False
    is_per_request: bool = False
    pings_at_once: int = 1
    drops: tuple[str, ...] = ("before", "after")
    pongs_tell: str = "sent"
    counts_from: str = "sent"
    state_class: type[NearState] = NearState


@dataclass
class Read:
    """A read of this process.

    Attributes:
        stage: "new", "waiting" (its request has begun), "asking" (its command is on its way),
            "answered" (its reply is), "over".
        start: when its request began; `began`: when it began itself.
        seen, written: what the process had read and written before it began.
    """

    stage: str = "new"
    start: int = 0
    began: int = 0
    seen: int = 0
    written: int = 0
    token: FillToken | None = None
    reply: tuple[int, int | None] | None = None

    @property
    def is_over(self) -> bool:
        return self.stage == "over"


@dataclass
class Write:
    """An own write: "new", "sent", "done" (at the server), "over"."""

    stage: str = "new"
    version: int = 0

    @property
    def is_over(self) -> bool:
        return self.stage == "over"


BUDGETS = ("other_writes", "lost_replies", "ticks", "pings", "losses", "flushes")


@dataclass
class World:
    """One schedule under way.

    Attributes:
        born: of each version, when it came to be; the last is the one on the server.
        ends_at: when that one ends by itself; `ended`: which ones have, and when.
        to_server: when the PINGs were sent that it hasn't heard yet.
        to_listener: what it hasn't heard yet.
        unsent: pushes of the server's turn; None between turns that matter.
        is_readable: whether something was there from the listener when the turn began.
        is_tracking: whether the server tells the connection that the listener has.
        is_connected: whether the listener believes so.
    """

    plan: Plan
    now: int = 10
    born: list[int] = field(default_factory=lambda: [10])
    ends_at: int | None = None
    ended: dict[int, int] = field(default_factory=dict)
    to_server: list[Any] = field(default_factory=list)
    to_listener: list[tuple[str, Any]] = field(default_factory=list)
    unsent: list[tuple[str, Any]] | None = None
    is_readable: bool = False
    is_tracking: bool = True
    is_connected: bool = True
    seen: int = 0
    written: int = 0

    def __post_init__(self) -> None:
        plan = self.plan
        self.state = plan.state_class(10**6, 10)
        self.left = {name: getattr(plan, name) for name in BUDGETS}
        self.reads = [Read() for _ in range(plan.readers)]
        self.writes = [Write() for _ in range(plan.own_writes)]
        self.state.connect()
        self.state.pong(self.now)
        self.ends_at = self.now + 1 if plan.has_end else None
        if plan.is_kept:
            self._complete(self.state.begin_fill(KEY), 0, 1 if plan.has_end else None, self.now)

    @property
    def version(self) -> int:
        return len(self.born) - 1

    @property
    def pings_under_way(self) -> int:
        return len(self.to_server) + sum(kind == "pong" for kind, _ in self.to_listener)

    # The steps

    def moves(self) -> Iterator[Move]:
        is_one_new = False
        for at, read in enumerate(self.reads):
            # Of several that haven't begun the first begins: the others are the same.
            if read.stage == "over" or (read.stage == "new" and is_one_new):
                continue
            is_one_new = is_one_new or read.stage == "new"
            yield ("read", at)
        for at, write in enumerate(self.writes):
            if write.stage in ("new", "sent") or (write.stage == "done" and self.unsent is None):
                yield ("write", at)
            if write.stage in ("sent", "done") and self.left["lost_replies"]:
                yield ("lose reply", at)
        for name, move in (
            ("other_writes", "other write"),
            ("flushes", "flush"),
            ("ticks", "tick"),
        ):
            if self.left[name]:
                yield (move,)
        if self.unsent is not None:
            yield ("end turn",)
        if self.to_server and (self.unsent is None or self.is_readable):
            yield ("answer",)
        if self.to_listener:
            yield ("listen",)
        is_free = self.pings_under_way < self.plan.pings_at_once
        if self.left["pings"] and self.is_connected and is_free:
            yield ("ping",)
        if self.is_tracking and self.left["losses"]:
            yield ("lose",)
        if not self.is_tracking:
            yield ("notice",) if self.is_connected else ("connect",)

    def make(self, move: Move) -> None:
        getattr(self, f"_{move[0].replace(' ', '_')}")(*move[1:])

    def check(self) -> None:
        """Do nothing: each read is judged by the move that ends it."""

    def _read(self, at: int) -> None:
        read = self.reads[at]
        if read.stage == "new" and self.plan.is_per_request:
            read.start, read.stage = self.now, "waiting"
        elif read.stage in ("new", "waiting"):
            read.began, read.seen, read.written = self.now, self.seen, self.written
            not_before = read.start if self.plan.is_per_request else self.now - BOUND
            entry = self.state.lookup(KEY, self.now, not_before)
            if entry is not None:
                self._finish(read, entry.value, not_before)
            else:
                read.token, read.stage = self.state.begin_fill(KEY), "asking"
        elif read.stage == "asking":
            left = None if self.ends_at is None else self.ends_at - self.now
            read.reply, read.stage = (self.version, left), "answered"
        else:
            assert read.token is not None
            assert read.reply is not None
            version, left = read.reply
            counted_from = read.began if self.plan.counts_from == "sent" else self.now
            self._complete(read.token, version, left, counted_from)
            not_before = read.start if self.plan.is_per_request else read.began - BOUND
            self._finish(read, version, not_before)

    def _complete(self, token: FillToken, version: int, left: int | None, since: int) -> None:
        expires_at = FOREVER if left is None else since + left
        self.state.complete_fill(token, version, version, expires_at=expires_at)

    def _finish(self, read: Read, version: int, not_before: int) -> None:
        read.stage = "over"
        if version < self.version and self.born[version + 1] < not_before:
            raise Breach(f"{version} was replaced at {self.born[version + 1]}, before {not_before}")
        if self.ended.get(version, read.began + 1) <= read.began:
            raise Breach(f"the time of {version} was over at {self.ended[version]}")
        if version < read.seen:
            raise Breach(f"{version} was read after {read.seen} was")
        if version < read.written:
            raise Breach(f"{version} was read after {read.written} was written")
        self.seen = max(self.seen, version)

    def _write(self, at: int) -> None:
        write = self.writes[at]
        if write.stage == "new":
            self._drop("before")
            write.stage = "sent"
        elif write.stage == "sent":
            self._change(KEY)
            write.version, write.stage = self.version, "done"
        else:
            self._drop("after")
            self.written = max(self.written, write.version)
            write.stage = "over"

    def _lose_reply(self, at: int) -> None:
        self.left["lost_replies"] -= 1
        self._drop("after")
        self.writes[at].stage = "over"

    def _drop(self, when: str) -> None:
        if when in self.plan.drops:
            self.state.drop((KEY,))

    def _other_write(self) -> None:
        self.left["other_writes"] -= 1
        self._change(KEY)

    def _flush(self) -> None:
        self.left["flushes"] -= 1
        self._change(None)

    def _change(self, pushed: bytes | None) -> None:
        self.born.append(self.now)
        self.ends_at = None
        if self.unsent is None:
            self.unsent, self.is_readable = [], bool(self.to_server)
        if self.is_tracking:
            self.unsent.append(("push", pushed))

    def _tick(self) -> None:
        self.left["ticks"] -= 1
        self.now += 1
        if self.ends_at == self.now:
            self.ended[self.version] = self.now
            self.ends_at = None
            self.born.append(self.now)

    def _end_turn(self) -> None:
        self.to_listener += self.unsent or []
        self.unsent = None

    def _ping(self) -> None:
        self.left["pings"] -= 1
        self.to_server.append(self.now)

    def _answer(self) -> None:
        # One read gets all that is there by then.
        self.to_listener += [("pong", sent_at) for sent_at in self.to_server]
        self.to_server.clear()
        self.is_readable = False

    def _listen(self) -> None:
        kind, content = self.to_listener.pop(0)
        if kind == "pong":
            self.state.pong(content if self.plan.pongs_tell == "sent" else self.now)
        elif content is None:
            self.state.flush()
        else:
            self.state.invalidate((content,))

    def _lose(self) -> None:
        self.left["losses"] -= 1
        self.is_tracking = False
        self.to_server.clear()
        if self.unsent is not None:
            self.unsent.clear()

    def _notice(self) -> None:
        self.is_connected = False
        self.to_listener.clear()
        self.state.disconnect()

    def _connect(self) -> None:
        self.is_tracking = self.is_connected = True
        self.state.connect()
        self.to_server.append(self.now)  # a connection begins with a PING

    # States

    def snapshot(self) -> Any:
        """Whatever decides how things can go on."""
        entry = self.state._entries.get(KEY)
        fills = self.state._fills.get(KEY)
        seen = None if fills is None else (fills.count, str(fills.seen)[:3])
        return (
            self.now,
            tuple(self.born),
            self.ends_at,
            tuple(self.ended.items()),
            tuple(self.to_server),
            tuple(self.to_listener),
            None if self.unsent is None else (tuple(self.unsent), self.is_readable),
            self.is_tracking,
            self.is_connected,
            self.seen,
            self.written,
            tuple(self.left.values()),
            self.state.watermark,
            self.state.is_connected,
            entry and (entry.value, entry.expires_at),
            seen,
            # Which of the readers and writers it is doesn't matter, nor how one ended.
            tuple(
                sorted((write.stage, write.version) for write in self.writes if not write.is_over)
            ),
            tuple(sorted(repr(self._snapshot_of(read)) for read in self.reads if not read.is_over)),
        )

    def _snapshot_of(self, read: Read) -> Any:
        fills = None if read.token is None else read.token.fills
        stands = fills is not None and self.state._fills.get(KEY) is fills
        return (
            (read.stage, read.start, read.began, read.seen, read.written, read.reply),
            (fills is not None, stands),
        )


def explore(plan: Plan, world_class: type[World] = World) -> int:
    """Try every schedule; how many states there are.

    Raises:
        Breach: with the moves that lead to it.
    """
    return schedules.explore(lambda: world_class(plan))
