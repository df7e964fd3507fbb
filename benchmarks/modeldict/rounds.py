"""One table: every call takes its turn in short blocks, in fresh random order."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from redisdict.bench.errors import WrongReply
from redisdict.bench.measure.rounds import Block, Clock, Rounds, ratio_between
from redisdict.bench.measure.statistics import percentile
from redisdict.bench.spec import SYNC, Cell, Precision, Table

__all__ = ["measure", "table"]

SEED = 1

#: Calls right before a block that aren't timed: what ran in between has taken the CPU's caches.
LEAD_IN = 4


class Turn:
    """One call of the table, as the rounds know it."""

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


def measure(turns: Sequence[Turn], rounds: int) -> list[tuple[str, Any]]:
    """The series of each call, by its name."""
    precision = Precision(min_rounds=rounds, max_rounds=rounds, seconds=3600)
    measured = Rounds(
        turns,
        {},
        precision,
        rng=random.Random(SEED),  # noqa: S311  # an order
        clock=time.perf_counter_ns,
    ).run()
    return [(turn.cell.service, measured[turn.cell]) for turn in turns]


def table(title: str, measured: Iterable[tuple[str, Any]], reference: str) -> Iterator[str]:
    """Markdown, with each call's speed in that of the reference."""
    series = dict(measured)
    yield f"### {title}"
    yield ""
    yield f"| call | median µs | p99 µs | speed, {reference} = 1 |"
    yield "|---|---:|---:|---:|"
    for name, own in series.items():
        if own.failure is not None:
            yield f"| {name} | | | failed: {own.failure.reason} |"
            continue
        times = sorted(value / 1000 for value in own.times if value is not None)
        ratio = ratio_between(own, series[reference])
        assert ratio is not None  # everything is placed alike
        yield (
            f"| {name} | {_shown(percentile(times, 50))} | {_shown(percentile(times, 99))}"
            f" | {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f}) |"
        )
    yield ""


def _shown(time_us: float) -> str:
    return f"{time_us:.2f}" if time_us < 10 else f"{time_us:.1f}"
