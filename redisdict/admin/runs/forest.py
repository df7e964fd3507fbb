"""Place ratios with their intervals on a common axis, for rows of a table that show them as SVG.

The positions are written into the page, so the picture needs no script; its numbers are beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from redisdict.bench.measure.statistics import Verdict
from redisdict.templatetags.redisdict_figures import ratio as ratio_text

VERDICT_TEXTS: dict[str, Promise] = {
    Verdict.FASTER: gettext_lazy("faster"),
    Verdict.SLOWER: gettext_lazy("slower"),
    Verdict.SAME: gettext_lazy("same"),
    Verdict.UNSURE: gettext_lazy("undecided"),
    Verdict.NOT_COMPARABLE: gettext_lazy("not comparable"),
}

#: Verdicts that decide something.
DECIDED = (Verdict.FASTER, Verdict.SLOWER)

#: The values to label on axes, the most important first: each gets its label if there is room.
_TICKS = (
    1.0, 0.5, 2.0, 0.1, 10.0, 0.2, 5.0, 0.8, 1.25, 0.65, 1.5, 0.9, 1.1, 0.95, 1.05, 0.98, 1.02,
    0.99, 1.01, 0.35, 3.0, 0.01, 100.0,
)  # fmt: skip

#: Share of the axis that lies between two labels.
_ROOM = 0.14

#: Share of the axis that stays empty at each end.
_MARGIN = 0.05

#: The factor by which an interval may stretch the axis; wider ones end at its edge.
_STRETCH = 1.5

#: The least that the axis spans, as a factor to either side of 1.
_LEAST_SPAN = 1.05

#: Height of one mark, in pixels.
_LANE = 8

#: The outlines of marks, around the origin: they differ not only in colour.
_SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    "M-3.5-3.5h7v7h-7z",
    "M0-4.5L4.5 3.5h-9z",
    "M0-5L5 0L0 5L-5 0z",
    "M0 4.5L4.5-3.5h-9z",
    "M-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
)


@dataclass(frozen=True, slots=True)
class Known:
    """A ratio, as far as it is known."""

    value: float
    low: float
    high: float

    @property
    def effect(self) -> float:
        """The distance from 1, to either side."""
        return abs(math.log(self.value)) if self.value > 0 else math.inf


@dataclass(frozen=True, slots=True)
class Tick:
    """A label of the axis."""

    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One ratio on the axis: places are shares of its length, heights are pixels."""

    at: str
    low: str
    high: str
    lane: int
    shape: str
    series: int


class Axis:
    """A logarithmic axis for these ratios, in which 1 always lies."""

    def __init__(self, ratios: Iterable[Known]) -> None:
        known = [one for one in ratios if 0 < one.value < math.inf]
        points = [one.value for one in known]
        least = min([*points, 1.0]) / _STRETCH
        most = max([*points, 1.0]) * _STRETCH
        ends = [max(one.low, least) for one in known] + [min(one.high, most) for one in known]
        self._low = math.log(min([*ends, *points, 1 / _LEAST_SPAN]))
        self._high = math.log(max([*ends, *points, _LEAST_SPAN]))

    def place(self, value: float) -> str:
        """Return the position of a value, as a share of the width, for SVG."""
        return f"{100 * self._share(value):.2f}%"

    @property
    def one(self) -> str:
        """Where there is no difference."""
        return self.place(1.0)

    @property
    def ticks(self) -> list[Tick]:
        chosen: list[float] = []
        for value in _TICKS:
            share = self._share(value)
            is_inside = self._low <= math.log(value) <= self._high
            if is_inside and all(abs(share - self._share(other)) >= _ROOM for other in chosen):
                chosen.append(value)
        return [Tick(self.place(value), f"{ratio_text(value, 2)}") for value in sorted(chosen)]

    def marks(self, ratios: Sequence[tuple[Known, int]]) -> list[Mark]:
        """Place ratios below one another, each with the number of its series."""
        return [
            Mark(
                at=self.place(known.value),
                low=self.place(known.low),
                high=self.place(known.high),
                lane=_LANE * number + _LANE,
                shape=shape_of(series),
                series=series % len(_SHAPES) + 1,
            )
            for number, (known, series) in enumerate(ratios)
        ]

    def _share(self, value: float) -> float:
        log = math.log(value) if value > 0 else -math.inf
        log = min(max(log, self._low), self._high)
        return _MARGIN + (1 - 2 * _MARGIN) * (log - self._low) / (self._high - self._low)


def shape_of(series: int) -> str:
    return _SHAPES[series % len(_SHAPES)]


def height_of(marks: Sequence[Mark]) -> int:
    """Return the height of a picture of these, in pixels."""
    return _LANE * (len(marks) + 1)


def counts(verdicts: Iterable[str]) -> Iterator[tuple[str, Promise, int]]:
    """Count verdicts: each with its name for styles, its text, and how many there are."""
    found = list(verdicts)
    for verdict, text in VERDICT_TEXTS.items():
        yield verdict.replace(" ", "-"), text, found.count(verdict)
