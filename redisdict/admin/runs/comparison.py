"""Compare runs, two or several, and one cell over the runs of a machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Prefetch
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from redisdict.admin.runs import charts
from redisdict.admin.runs.charts import Chart, Point, Series
from redisdict.admin.runs.forest import (
    DECIDED,
    VERDICT_TEXTS,
    Axis,
    Known,
    Mark,
    counts,
    height_of,
)
from redisdict.admin.runs.tables import cell_label, side_by_side
from redisdict.bench.choices import CELL_FIELDS, CellKey, CellStatus
from redisdict.bench.compare import Change, compare, obstacles
from redisdict.bench.measure.statistics import Verdict
from redisdict.models import BenchmarkResult, BenchmarkRun

#: The most runs that fit beside one another; the trend of a cell shows any number of runs.
MOST_RUNS = 6

#: Decided cells of a comparison that stand open; the smaller changes are folded away.
MOST_OPEN = 30


def compare_context(runs: Sequence[BenchmarkRun]) -> dict[str, Any]:
    """Compare all runs with the baseline, or with the oldest: the template's variables.

    The results of the runs should be prefetched.
    """
    in_order = sorted(runs, key=lambda run: (not run.is_baseline, run.started_at, run.pk))
    base = in_order[0]
    return {
        "base": base,
        "compared": [_compared(run, base) for run in in_order[1:]],
        "runs": in_order,
        "spec_facts": side_by_side([run.spec for run in in_order]),
        "environment_facts": side_by_side([run.environment for run in in_order]),
    }


@dataclass(frozen=True)
class Line:
    """One cell of two runs, fit to be shown."""

    label: str
    change: Change
    verdict: Promise
    marks: list[Mark]

    @property
    def height(self) -> int:
        return height_of(self.marks)


def _compared(run: BenchmarkRun, base: BenchmarkRun) -> dict[str, Any]:
    """Set the cells of two runs against one another, the greatest changes first."""
    changes = sorted(compare(base, run), key=_effect, reverse=True)
    before, after = _measured(base), _measured(run)
    axis = Axis(known for change in changes if (known := _known(change)) is not None)
    lines = [_line(change, axis) for change in changes]
    decided = [line for line in lines if line.change.verdict in DECIDED]
    return {
        "run": run,
        "axis": axis,
        "counts": list(counts(change.verdict for change in changes)),
        "obstacles": obstacles(base, run),
        "opened": decided[:MOST_OPEN],
        "folded": [
            (name, part)
            for name, part in (
                ("decided", decided[MOST_OPEN:]),
                ("same", [one for one in lines if one.change.verdict is Verdict.SAME]),
                ("unsure", [one for one in lines if one.change.verdict is Verdict.UNSURE]),
                ("other", [one for one in lines if one.change.verdict is Verdict.NOT_COMPARABLE]),
            )
            if part
        ],
        "only_before": [name for key, name in before.items() if key not in after],
        "only_after": [name for key, name in after.items() if key not in before],
    }


def _line(change: Change, axis: Axis) -> Line:
    known = _known(change)
    marks = axis.marks([(known, 0)]) if known is not None else []
    return Line(cell_label(change.after), change, VERDICT_TEXTS[change.verdict], marks)


def _known(change: Change) -> Known | None:
    ratio = change.ratio
    return None if ratio is None else Known(ratio.value, ratio.low, ratio.high)


def _effect(change: Change) -> float:
    known = _known(change)
    return -1.0 if known is None else known.effect


def _measured(run: BenchmarkRun) -> dict[CellKey, str]:
    return {result.key: cell_label(result) for result in run.measured}


#: The number of latest runs that are shown.
MOST_TREND_RUNS = 100


@dataclass(frozen=True)
class TrendPoint:
    """The cell in one run, and its change against the level that held until then."""

    run: BenchmarkRun
    cell: BenchmarkResult
    change: Change | None

    @property
    def is_step(self) -> bool:
        return self.change is not None and self.change.verdict in DECIDED

    @property
    def verdict_text(self) -> str:
        return (
            str(VERDICT_TEXTS[self.change.verdict])
            if self.change
            else pgettext("benchmark", "first")
        )


def trend_context(query: Mapping[str, str]) -> dict[str, Any]:
    """Follow a cell over the runs of a machine; `query` names both, or nothing yet."""
    machines = list(
        BenchmarkRun.objects.order_by("machine").values_list("machine", flat=True).distinct()
    )
    latest = BenchmarkRun.objects.filter(results__status=CellStatus.MEASURED)
    if query.get("machine") in machines:
        latest = latest.filter(machine=query["machine"])
    run = latest.prefetch_related("results").first()
    measured = run.measured if run is not None else []
    cells = {json.dumps(result.key): cell_label(result) for result in measured}
    chosen = query.get("cell", "")
    if chosen not in cells:
        chosen = next(iter(cells), "")
    points = _points(run.machine, json.loads(chosen)) if run is not None and chosen else []
    return {
        "machines": machines,
        "machine": run.machine if run is not None else "",
        "cells": list(cells.items()),
        "cell": chosen,
        "cell_name": cells.get(chosen, ""),
        "points": list(reversed(points)),
        "steps": [point for point in points if point.is_step],
        "trend": _chart(cells[chosen], points) if points else None,
    }


def _points(machine: str, key: CellKey) -> list[TrendPoint]:
    """Find the cell in all runs of the machine, the oldest first. Two queries."""
    cell = BenchmarkResult.objects.filter(
        status=CellStatus.MEASURED, **dict(zip(CELL_FIELDS, key, strict=True))
    )
    runs = BenchmarkRun.objects.filter(machine=machine, pk__in=cell.values("run")).prefetch_related(
        Prefetch("results", queryset=cell)
    )[:MOST_TREND_RUNS]
    return list(_against_levels(reversed(runs)))


def _against_levels(runs: Iterable[BenchmarkRun]) -> Iterable[TrendPoint]:
    """Compare each run with the level that holds, which a proven change or another method ends.

    Comparing neighbours instead would miss a slow decline.
    """
    level: BenchmarkRun | None = None
    for run in runs:
        change = compare(level, run)[0] if level is not None else None
        point = TrendPoint(run, run.cells[0], change)
        if change is None or point.is_step or change.verdict is Verdict.NOT_COMPARABLE:
            level = run
        yield point


def _chart(name: str, points: list[TrendPoint]) -> Chart:
    values = [Point(p.cell.ratio, p.cell.ratio_low, p.cell.ratio_high) for p in points]
    return Chart(
        id="trend",
        title=_("Speed of %(cell)s, run by run") % {"cell": name},
        kind="lines",
        label_title=pgettext("benchmark", "run"),
        labels=[
            date_format(localtime(point.run.started_at), "SHORT_DATETIME_FORMAT")
            for point in points
        ],
        series=[
            Series(label=_("ratio to the reference"), points=values),
            Series(
                label=_("proven change"),
                points=[Point(point.cell.ratio if point.is_step else None) for point in points],
            ),
        ],
        axis=charts.Axis(label=_("speed relative to the reference")),
    )
