"""What the rounds of one cell gave, and how two cells are paired."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from redisdict.bench.statistics import Ratio, paired_ratio

__all__ = ["MOVED", "Block", "Failure", "Series", "ratio_between"]

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
        """Where client and server were in most rounds that can be compared."""
        seen = Counter(where for where in self.placements if where not in ("", MOVED))
        return seen.most_common(1)[0][0] if seen else ""

    def times_at(self, placement: str) -> list[float]:
        """Nanoseconds an operation, of the rounds with this placement."""
        return [
            time
            for time, where in zip(self.times, self.placements, strict=True)
            if time is not None and where == placement
        ]


def ratio_between(own: Series, reference: Series) -> Ratio | None:
    """The speed of a cell against another, over the rounds that placed both alike.

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
