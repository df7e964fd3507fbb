"""The world of `schedules` with a server that tells only of keys that were asked for.

It tells of a change when that is made, once, and of no further one until the key is asked for
again. Readers have it asked for over the connection that listens, and read the value afterwards
over another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.near.schedules import KEY, Move, Plan, World


@dataclass(frozen=True, kw_only=True)
class PlainPlan(Plan):
    """Who takes part.

    Attributes:
        asks: when readers have the key asked for: "before" they read it, "after" that, or "never".
    """

    asks: str = "before"


@dataclass
class PlainWorld(World):
    """One schedule under way; a read is also "tracking" while the key is being asked for.

    Attributes:
        is_tracked: whether the server will tell of the next change of the key.
    """

    is_tracked: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.is_tracked = self.plan.is_kept

    @property
    def pings_under_way(self) -> int:
        pings = sum(not isinstance(each, tuple) for each in self.to_server)
        return pings + sum(kind == "pong" for kind, _ in self.to_listener)

    def moves(self) -> Iterator[Move]:
        for move in super().moves():
            if move[0] != "read" or self.reads[move[1]].stage != "tracking":
                yield move

    def _read(self, at: int) -> None:
        read = self.reads[at]
        stage = read.stage
        super()._read(at)
        asks = getattr(self.plan, "asks", "before")
        is_now = (stage, read.stage) == {
            "before": (stage, "asking"),
            "after": ("asking", "answered"),
            "never": ("", ""),
        }[asks]
        if is_now and self.is_connected:
            read.stage = "tracking"
            if self.is_tracking:
                self.to_server.append(("exists", at))

    def _answer(self) -> None:
        first = self.to_server.pop(0)
        if isinstance(first, tuple):
            self.is_tracked = True
            self.to_listener.append(("tracked", first[1]))
        else:
            self.to_listener.append(("pong", first))

    def _listen(self) -> None:
        if self.to_listener[0][0] == "tracked":
            self._go_on(self.to_listener.pop(0)[1])
        else:
            super()._listen()

    def _go_on(self, at: int) -> None:
        read = self.reads[at]
        read.stage = "asking" if read.reply is None else "answered"

    def _change(self, pushed: bytes | None) -> None:
        self.born.append(self.now)
        self.ends_at = None
        if self.is_tracking and (self.is_tracked or pushed is None):
            self.to_listener.append(("push", pushed))
        self.is_tracked = False

    def _notice(self) -> None:
        super()._notice()
        for at, read in enumerate(self.reads):
            if read.stage == "tracking":
                self.state.drop((KEY,))
                self._go_on(at)

    def _connect(self) -> None:
        super()._connect()
        self.is_tracked = False

    def snapshot(self) -> Any:
        return (
            super().snapshot(),
            self.is_tracked,
            # Which of them it is matters to what is on its way.
            tuple(repr(self._snapshot_of(read)) for read in self.reads),
        )
