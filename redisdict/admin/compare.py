"""Runs beside one another: what became faster or slower, and what can't be said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from redisdict.admin.facts import side_by_side
from redisdict.admin.tables import TITLES, cell_label
from redisdict.bench.compare import Change, compare, obstacles
from redisdict.bench.results import CellStatus, RunRecord
from redisdict.bench.spec import Table
from redisdict.bench.statistics import Verdict
from redisdict.bench.store import load_record
from redisdict.charts import Axis, Chart, Point, Series
from redisdict.models import BenchmarkRun

__all__ = ["MOST_RUNS", "VERDICT_TEXTS", "compare_context"]

#: More don't fit beside one another; the trend of a cell shows any number of runs.
MOST_RUNS = 6

VERDICT_TEXTS = {
    Verdict.FASTER: gettext_lazy("faster"),
    Verdict.SLOWER: gettext_lazy("slower"),
    Verdict.SAME: gettext_lazy("same"),
    Verdict.UNSURE: gettext_lazy("no evidence"),
    Verdict.NOT_COMPARABLE: gettext_lazy("not comparable"),
}


@dataclass(frozen=True)
class ComparedTable:
    """The cells of one table of a run, each against the same cell of the other run."""

    title: str
    changes: list[Change]
    forest: Chart | None

    def lines(self) -> Iterator[tuple[str, Change, str]]:
        """Each cell in words, its change, and the verdict in words."""
        for change in self.changes:
            yield cell_label(change.after), change, str(VERDICT_TEXTS[change.verdict])


@dataclass(frozen=True)
class ComparedRun:
    """A run against the one that all of them are compared with."""

    run: BenchmarkRun
    counts: list[tuple[str, str, int]]
    obstacles: list[str]
    tables: list[ComparedTable]
    only_before: list[str]
    only_after: list[str]


def compare_context(runs: Sequence[BenchmarkRun]) -> dict[str, Any]:
    """The template's variables. All runs are compared with the baseline, or with the oldest.

    The results of the runs should be prefetched.
    """
    in_order = sorted(runs, key=lambda run: (not run.is_baseline, run.started_at, run.pk))
    records = [load_record(run) for run in in_order]
    base = records[0]
    return {
        "base": in_order[0],
        "compared": [
            _compared(number, run, base, record)
            for number, (run, record) in enumerate(zip(in_order, records, strict=True))
            if number > 0
        ],
        "runs": in_order,
        "spec_rows": side_by_side([record.spec for record in records]),
        "environment_rows": side_by_side([record.environment for record in records]),
    }


def _compared(number: int, run: BenchmarkRun, base: RunRecord, record: RunRecord) -> ComparedRun:
    changes = compare(base, record)
    counts = Counter(change.verdict for change in changes)
    before, after = _measured(base), _measured(record)
    return ComparedRun(
        run=run,
        counts=[
            (verdict.value.replace(" ", "-"), str(text), counts[verdict])
            for verdict, text in VERDICT_TEXTS.items()
        ],
        obstacles=obstacles(base, record),
        tables=[
            _table(number, table, [change for change in changes if change.after.table == table])
            for table in Table
            if any(change.after.table == table for change in changes)
        ],
        only_before=[name for key, name in before.items() if key not in after],
        only_after=[name for key, name in after.items() if key not in before],
    )


def _table(number: int, table: Table, changes: list[Change]) -> ComparedTable:
    comparable = [(change, change.ratio) for change in changes if change.ratio is not None]
    forest = Chart(
        id=f"forest-{number}-{table}",
        title=_("Change of speed: %(table)s") % {"table": TITLES[table]},
        kind="dots",
        label_title=_("cell"),
        labels=[cell_label(change.after) for change, _ratio in comparable],
        series=[
            Series(
                label=_("now against before"),
                points=[Point(ratio.value, ratio.low, ratio.high) for _change, ratio in comparable],
            )
        ],
        axis=Axis(label=_("ratio of speeds; right of the line is faster"), is_logarithmic=True),
        reference=1.0,
    )
    return ComparedTable(str(TITLES[table]), changes, forest if comparable else None)


def _measured(record: RunRecord) -> dict[tuple[Any, ...], str]:
    return {
        result.key: cell_label(result)
        for result in record.results
        if result.status is CellStatus.MEASURED
    }
