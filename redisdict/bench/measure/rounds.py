"""Run rounds: every cell once, in fresh random order, until the ratios are known well enough.

Reason: on a shared machine three sequential runs of one server differ by up to 2.7 times. Cells
that take turns in short blocks are disturbed alike, and their ratio is right within a fraction of a
percent.
"""

from __future__ import annotations

import gc
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import Protocol, Self

from redisdict.bench.errors import CELL_ERRORS, WrongReply, describe
from redisdict.bench.measure.statistics import LEAST_ROUNDS, Ratio, paired_ratio
from redisdict.bench.spec import Cell, Precision

#: Nanoseconds since any fixed moment, such as `time.perf_counter_ns`.
Clock = Callable[[], int]

#: Rounds that are run and thrown away first, so that caches, sockets and CPU clocks are warm.
WARM_UP_ROUNDS = 5

#: Rounds between two checks of the intervals.
CHECK_EVERY = 50


class OpenCell(Protocol):
    """A cell that is connected and ready; the workloads provide them."""

    @property
    def cell(self) -> Cell: ...

    def prepare(self) -> None:
        """Restore the data that a block uses up, without timing it."""

    def run(self, clock: Clock) -> Block:
        """One block; times nothing but the client's calls."""

    def check(self) -> None:
        """Untimed: compare the last block's replies with the truth, or raise `WrongReply`."""

    def placement(self) -> str:
        """Untimed: where client and server are, such as "same" or "split"."""


@dataclass
class Rounds:
    """The rounds of one group of cells.

    Args:
        cells: all cells of the group, connected.
        references: which cell each cell is compared with; the stopping rule watches these.
        rng: decides the order inside each round.
        clock: injected, so that the arithmetic is tested with exact numbers.
        on_round: called after every round with the fraction of the work that is done.
        should_stop: asked before every block; true ends the measurement at once.
    """

    cells: Sequence[OpenCell]
    references: Mapping[Cell, Cell]
    precision: Precision
    _: KW_ONLY
    rng: random.Random
    clock: Clock
    on_round: Callable[[float], None] = lambda _fraction: None
    should_stop: Callable[[], bool] = lambda: False
    was_stopped: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._open = list(self.cells)
        self._series = {open_cell.cell: Series() for open_cell in self.cells}

    def run(self) -> Mapping[Cell, Series]:
        """All rounds. A cell that fails leaves the rotation and keeps its reason."""
        started_ns = self.clock()
        with quiet_collector():
            for _ in range(WARM_UP_ROUNDS):
                self._round(is_warm_up=True)
            for done in range(1, self.precision.max_rounds + 1):
                self._round()
                elapsed_s = (self.clock() - started_ns) / 1e9
                if self.was_stopped or not self._open or self._is_enough(done, elapsed_s):
                    break
                self.on_round(self._fraction(done, elapsed_s))
                if done % CHECK_EVERY == 0:
                    gc.collect()
        return self._series

    def _round(self, *, is_warm_up: bool = False) -> None:
        self.rng.shuffle(self._open)
        seen: set[Cell] = set()
        for open_cell in list(self._open):
            if self.was_stopped or self.should_stop():
                self.was_stopped = True
                break
            if self._block(open_cell, is_warm_up=is_warm_up):
                seen.add(open_cell.cell)
        if not is_warm_up:
            for cell, series in self._series.items():
                if cell not in seen:
                    series.skip()

    def _block(self, open_cell: OpenCell, *, is_warm_up: bool) -> bool:
        series = self._series[open_cell.cell]
        try:
            open_cell.prepare()
            before = open_cell.placement()
            block = open_cell.run(self.clock)
            after = open_cell.placement()
            open_cell.check()
        except CELL_ERRORS as error:
            series.failure = Failure.of(error)
            self._open.remove(open_cell)
            return False
        if not is_warm_up:
            series.add(block, before if before == after else MOVED)
        return True

    def _is_enough(self, done: int, elapsed_s: float) -> bool:
        wanted = self.precision
        if done < LEAST_ROUNDS:
            return False
        if done < wanted.min_rounds:
            return elapsed_s >= 2 * wanted.seconds
        if elapsed_s >= wanted.seconds:
            return True
        return done % CHECK_EVERY == 0 and self._is_precise()

    def _is_precise(self) -> bool:
        for open_cell in self._open:
            reference = self.references.get(open_cell.cell)
            if reference is None or reference == open_cell.cell:
                continue
            ratio = ratio_between(self._series[open_cell.cell], self._series[reference])
            if ratio is not None and ratio.half_width > self.precision.half_width:
                return False
        return True

    def _fraction(self, done: int, elapsed_s: float) -> float:
        return max(done / self.precision.max_rounds, min(elapsed_s / self.precision.seconds, 1.0))


#: The `frozen_heap()` blocks that are under way, each with whether it has frozen the heap.
_blocks: list[bool] = []


@contextmanager
def frozen_heap() -> Iterator[None]:
    """Collect garbage, and exclude present objects from later collections until the block ends.

    A collection visits every object of Django and the project: 50 ms, or half a second for a
    million objects. Objects that the process has frozen itself stay frozen: since unfreezing
    affects all objects at once, nothing more is frozen here in that case.
    """
    gc.collect()
    # Asked by the outermost block alone, since it lists every object that isn't frozen.
    has_frozen = not _blocks and not _is_heap_frozen()
    if has_frozen:
        gc.freeze()
    _blocks.append(has_frozen)
    try:
        yield
    finally:
        _blocks.pop()
        if has_frozen:
            gc.unfreeze()


def _is_heap_frozen() -> bool:
    """Whether the process has called `gc.freeze()`, told by an object that every process has.

    Not by `gc.get_freeze_count()`: in Python 3.12 it counts immortal objects, too.
    """
    return all(each is not sys.modules for each in gc.get_objects())


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Keep garbage collection out of the timed blocks, and restore its state afterwards."""
    was_enabled = gc.isenabled()
    with frozen_heap():
        gc.disable()
        try:
            yield
        finally:
            if was_enabled:
                gc.enable()


#: The placement of a block in which client or server changed its CPU; it's compared with nothing.
MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Block:
    """One timed block."""

    duration_ns: int
    operations: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a cell has no figure. `is_wrong_reply`: the server answered, but not the truth."""

    reason: str
    is_wrong_reply: bool = False

    @classmethod
    def of(cls, error: BaseException) -> Self:
        return cls(describe(error), isinstance(error, WrongReply))


@dataclass(slots=True)
class Series:
    """One cell over all rounds; the round is the index, and None stands for a round without it."""

    times: list[float | None] = field(default_factory=list)
    placements: list[str] = field(default_factory=list)
    operations: int = 0
    duration_ns: int = 0
    failure: Failure | None = None

    def add(self, block: Block, placement: str) -> None:
        self.times.append(block.duration_ns / block.operations)
        self.placements.append(placement)
        self.operations += block.operations
        self.duration_ns += block.duration_ns

    def skip(self, rounds: int = 1) -> None:
        """Keep the indices in step when the cell isn't there."""
        self.times += [None] * rounds
        self.placements += [""] * rounds

    def extend(self, later: Series) -> None:
        """Add the rounds on the next processes of the same servers."""
        self.times += later.times
        self.placements += later.placements
        self.operations += later.operations
        self.duration_ns += later.duration_ns
        self.failure = self.failure or later.failure

    @property
    def placement(self) -> str:
        """The placement in most rounds that can be compared."""
        seen = Counter(where for where in self.placements if where not in ("", MOVED))
        return seen.most_common(1)[0][0] if seen else ""

    def times_at(self, placement: str) -> list[float]:
        """List nanoseconds an operation, of the rounds with this placement."""
        return [
            time
            for time, where in zip(self.times, self.placements, strict=True)
            if time is not None and where == placement
        ]


def ratio_between(own: Series, reference: Series) -> Ratio | None:
    """Compute the speed of a cell against another, over the rounds that placed both alike.

    None when there is no such round.
    """
    pairs = [
        (time, reference_time)
        for time, reference_time, where, reference_where in zip(
            own.times, reference.times, own.placements, reference.placements, strict=True
        )
        if time is not None and reference_time is not None
        if where == reference_where and where != MOVED
    ]
    if not pairs:
        return None
    return paired_ratio([pair[0] for pair in pairs], [pair[1] for pair in pairs])
