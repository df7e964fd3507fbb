"""Gather what a run proves: its comparisons, the strongest first, on one axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from redisdict.admin.runs.forest import (
    DECIDED,
    VERDICT_TEXTS,
    Axis,
    Known,
    Mark,
    counts,
    height_of,
    shape_of,
)
from redisdict.bench.choices import Comparison
from redisdict.models import BenchmarkRun

#: What is compared, in the order of the page, and how many pairs of it stand open.
GROUPS: Mapping[str, tuple[Promise, int]] = {
    Comparison.SERVICE: (gettext_lazy("Services"), 5),
    Comparison.LAYOUT: (gettext_lazy("One hash or single keys"), 1),
    Comparison.MODE: (gettext_lazy("Async or sync"), 1),
    Comparison.POOL: (gettext_lazy("Pools"), 2),
}
OTHERS = (gettext_lazy("Further comparisons"), 5)


@dataclass(frozen=True)
class Finding:
    """One operation of a pair."""

    operation: str
    known: Known
    verdict: str
    series: int

    @property
    def is_decided(self) -> bool:
        return self.verdict in DECIDED

    @property
    def text(self) -> Promise:
        return VERDICT_TEXTS[self.verdict]

    @property
    def style(self) -> str:
        return self.verdict.replace(" ", "-")

    @property
    def shape(self) -> str:
        return shape_of(self.series)

    @property
    def color(self) -> int:
        return self.series + 1


@dataclass(frozen=True)
class Pair:
    """Two compared rows, with a finding for each operation."""

    left: str
    right: str
    where: str
    findings: Sequence[Finding]
    axis: Axis

    @property
    def is_decided(self) -> bool:
        return any(one.is_decided for one in self.findings)

    @property
    def effect(self) -> float:
        """The greatest difference that is proven."""
        return max((one.known.effect for one in self.findings if one.is_decided), default=0.0)

    @property
    def marks(self) -> list[Mark]:
        return self.axis.marks([(one.known, one.series) for one in self.findings])

    @property
    def height(self) -> int:
        return height_of(self.marks)


def conclusions(run: BenchmarkRun) -> dict[str, Any] | None:
    """Gather the template's variables; None for a run in which nothing was compared.

    The pairs of a kind are sorted by the greatest difference that is proven. Those that have none,
    and those beyond the first few, are for the folded part; where nothing is proven at all, the
    first few stand open all the same.
    """
    compared = [one for one in run.comparisons if one["kind"] != Comparison.TWIN]
    if not compared:
        return None
    axis = Axis(_known(one) for one in compared)
    # SET of redis-py and Set of a dict look the same.
    operations = list(dict.fromkeys(one["operation"].upper() for one in compared))
    is_any_decided = any(one["verdict"] in DECIDED for one in compared)
    opened, folded = [], []
    for kind, (title, most) in _groups(compared).items():
        pairs = _pairs([one for one in compared if one["kind"] == kind], operations, axis)
        shown = [pair for pair in pairs if pair.is_decided or not is_any_decided][:most]
        opened.append((title, shown))
        folded.append((title, [pair for pair in pairs if pair not in shown]))
    return {
        "axis": axis,
        "is_any_decided": is_any_decided,
        "counts": list(counts(one["verdict"] for one in compared)),
        "opened": [(title, pairs) for title, pairs in opened if pairs],
        "folded": [(title, pairs) for title, pairs in folded if pairs],
        "folded_count": sum(len(pairs) for _title, pairs in folded),
        "all": [(pair, finding) for _title, pairs in (*opened, *folded) for pair in pairs
                for finding in pair.findings],
    }  # fmt: skip


def _groups(compared: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Promise, int]]:
    kinds = {one["kind"] for one in compared}
    known = {kind: group for kind, group in GROUPS.items() if kind in kinds}
    return known | dict.fromkeys(sorted(kinds - set(GROUPS)), OTHERS)


def _pairs(
    compared: Iterable[Mapping[str, Any]], operations: Sequence[str], axis: Axis
) -> list[Pair]:
    found: dict[tuple[Any, ...], list[Finding]] = {}
    for one in compared:
        load = (one["concurrency"], one["connections"])
        # A comparison of services has the one service on its left, the other on its right.
        service = "" if one["kind"] == Comparison.SERVICE else one["service"]
        found.setdefault((one["left"], one["right"], service, load), []).append(
            Finding(
                one["operation"],
                _known(one),
                one["verdict"],
                operations.index(one["operation"].upper()),
            )
        )
    pairs = [
        Pair(left, right, _where(service, *load), findings, axis)
        for (left, right, service, load), findings in found.items()
    ]
    return sorted(pairs, key=lambda pair: -pair.effect)


def _known(one: Mapping[str, Any]) -> Known:
    return Known(one["ratio"], one["low"], one["high"])


def _where(service: str, workers: int, connections: int) -> str:
    load = (
        _("%(workers)d workers, %(connections)d connections")
        % {"workers": workers, "connections": connections}
        if workers > 1
        else ""
    )
    return ", ".join(part for part in (service, load) if part)
