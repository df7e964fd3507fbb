"""A call of this process, as the rounds know it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redisdict.bench.choices import Table
from redisdict.bench.errors import WrongReply
from redisdict.bench.measure.rounds import Block, Clock
from redisdict.bench.spec import SYNC, Cell

__all__ = ["Turn"]

#: Calls right before a block that aren't timed: what ran in between has taken the CPU's caches.
LEAD_IN = 4


class Turn:
    """Makes a block of calls with one argument after the other, and looks at all replies."""

    def __init__(
        self,
        title: str,
        name: str,
        call: Callable[[Any], Any],
        arguments: Sequence[Any],
        block: int,
        is_right: Callable[[Any, Any], bool],
        placement: str,
    ) -> None:
        self.cell = Cell(table=Table.WORKLOADS, service=name, mode=SYNC, operation=title)
        self._call = call
        self._arguments: Iterator[Any] = itertools.cycle(arguments)
        self._block = block
        self._is_right = is_right
        self._placement = placement
        self._last: list[tuple[Any, Any]] = []

    def prepare(self) -> None:
        for _ in range(min(LEAD_IN, self._block)):
            self._call(next(self._arguments))
        self._last = [(next(self._arguments), None) for _ in range(self._block)]

    def run(self, clock: Clock) -> Block:
        call, arguments = self._call, [argument for argument, _ in self._last]
        started = clock()
        results = [call(argument) for argument in arguments]
        duration = clock() - started
        self._last = list(zip(arguments, results, strict=True))
        return Block(duration, self._block)

    def check(self) -> None:
        for argument, result in self._last:
            if not self._is_right(argument, result):
                raise WrongReply(f"asked for {argument!r:.60}, got {result!r:.60}")

    def placement(self) -> str:
        return self._placement
