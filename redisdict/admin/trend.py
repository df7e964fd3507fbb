"""One cell over the runs of one machine: its ratio with its interval, and where it changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Prefetch
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from redisdict.admin.compare import VERDICT_TEXTS
from redisdict.admin.tables import cell_label
from redisdict.bench.compare import Change, compare
from redisdict.bench.results import CellKey, CellResult, CellStatus, RunRecord
from redisdict.bench.statistics import Verdict
from redisdict.bench.store import load_record
from redisdict.charts import Axis, Chart, Point, Series
from redisdict.models import BenchmarkResult, BenchmarkRun

__all__ = ["trend_context"]

#: So many of the latest runs are shown.
MOST_RUNS = 100

#: The fields that `CellResult.key` is made of.
KEY_FIELDS = (
    "table", "service", "mode", "pool", "variant", "operation", "concurrency", "connections",
)  # fmt: skip


@dataclass(frozen=True)
class TrendPoint:
    """The cell in one run, and its change against the level that held until then."""

    run: BenchmarkRun
    cell: CellResult
    change: Change | None

    @property
    def is_step(self) -> bool:
        return self.change is not None and self.change.verdict in (Verdict.FASTER, Verdict.SLOWER)

    @property
    def verdict_text(self) -> str:
        return (
            str(VERDICT_TEXTS[self.change.verdict])
            if self.change
            else pgettext("benchmark", "first")
        )


def trend_context(query: Mapping[str, str]) -> dict[str, Any]:
    """The template's variables. `query` names the `machine` and the `cell`, or nothing yet."""
    machines = list(
        BenchmarkRun.objects.order_by("machine").values_list("machine", flat=True).distinct()
    )
    latest = BenchmarkRun.objects.filter(results__status=CellStatus.MEASURED)
    if query.get("machine") in machines:
        latest = latest.filter(machine=query["machine"])
    run = latest.prefetch_related("results").first()
    cells = _cells(load_record(run)) if run is not None else {}
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


def _cells(record: RunRecord) -> dict[str, str]:
    """What can be chosen: the measured cells of the latest run, as (value, name)."""
    return {
        json.dumps(result.key): cell_label(result)
        for result in record.results
        if result.status is CellStatus.MEASURED
    }


def _points(machine: str, key: CellKey) -> list[TrendPoint]:
    """The cell in all runs of the machine, the oldest first. Two queries."""
    cell = BenchmarkResult.objects.filter(
        status=CellStatus.MEASURED, **dict(zip(KEY_FIELDS, key, strict=True))
    )
    runs = BenchmarkRun.objects.filter(machine=machine, pk__in=cell.values("run")).prefetch_related(
        Prefetch("results", queryset=cell)
    )[:MOST_RUNS]
    return list(_against_levels(reversed(runs)))


def _against_levels(runs: Iterable[BenchmarkRun]) -> Iterable[TrendPoint]:
    """Compare each run with the level that holds, which a proven change or another method ends.

    Comparing neighbours instead would miss a slow decline.
    """
    level: RunRecord | None = None
    for run in runs:
        record = load_record(run)
        change = compare(level, record)[0] if level is not None else None
        point = TrendPoint(run, record.results[0], change)
        if change is None or point.is_step or change.verdict is Verdict.NOT_COMPARABLE:
            level = record
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
        axis=Axis(label=_("speed relative to the reference")),
    )
