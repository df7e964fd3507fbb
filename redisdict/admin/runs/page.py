"""Gather what the page of one run shows: summary, tables, charts, facts."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.text import slugify
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from redisdict.admin.runs.charts import Axis, Chart, Point, Series
from redisdict.admin.runs.conclusions import conclusions
from redisdict.admin.runs.tables import (
    ShownTable,
    flatten,
    is_measured,
    result_tables,
    side_by_side,
)
from redisdict.bench.measure.warnings import decisive_warnings
from redisdict.bench.operations import is_plain
from redisdict.bench.report import render
from redisdict.bench.report.sentences import method_notes
from redisdict.bench.report.tables import Row
from redisdict.bench.spec import MODES
from redisdict.models import BenchmarkResult, BenchmarkRun
from redisdict.templatetags.redisdict_figures import NOTHING, percent

#: Rows of results that stand open on the page of a run: those of all services with all pools, or
#: of some with the dicts' below them.
MOST_OPEN_ROWS = 24


def run_context(run: BenchmarkRun) -> dict[str, Any]:
    """Gather the template's variables. One query, for the results."""
    environment = dict(run.environment)
    servers: dict[str, dict[str, Any]] = environment.pop("servers", {})
    found = conclusions(run)
    sections = list(_sections(run))
    picture = None
    if found is None and sections and sections[0]["charts"]:
        # Where nothing was compared, the figures themselves are what there is to be seen.
        picture = sections[0]["charts"].pop(0)
    serious = decisive_warnings(run)
    return {
        "summary": list(_summary(run)),
        "conclusions": found,
        "picture": picture,
        "serious_warnings": serious,
        "other_warnings": [one for one in run.warnings if one not in serious],
        "sections": sections,
        "method": method_notes(run) if run.measured else [],
        "servers": list(servers),
        "server_facts": side_by_side(list(servers.values())),
        "environment": list(flatten(environment)),
        "spec": list(flatten(run.spec)),
    }


def _sections(run: BenchmarkRun) -> Iterator[dict[str, Any]]:
    """Return each table with its charts; as many are expanded as a page has room for."""
    rows = 0
    for table in result_tables(run):
        rows += len(table.rows)
        yield {
            "table": table,
            "is_open": rows <= MOST_OPEN_ROWS,
            "charts": [*throughput_charts(table), *latency_charts(table), *spread_charts(table)],
        }


def _summary(run: BenchmarkRun) -> Iterator[tuple[str, str]]:
    yield _("status"), run.get_status_display()
    yield _("started"), date_format(localtime(run.started_at), "DATETIME_FORMAT")
    if run.finished_at is not None:
        seconds = round((run.finished_at - run.started_at).total_seconds())
        yield (
            _("took"),
            _("%(minutes)d min %(seconds)d s")
            % {"minutes": seconds // 60, "seconds": seconds % 60},
        )
    yield _("preset"), run.preset
    yield _("machine"), run.machine or NOTHING
    yield _("commit"), run.commit or NOTHING
    yield _("noise floor"), percent(run.noise)
    if run.is_baseline:
        yield _("baseline"), _("yes")


PERCENTILES = (
    ("p50", "p50_us"),
    ("p90", "p90_us"),
    ("p99", "p99_us"),
    ("p99.9", "p999_us"),
    (gettext_lazy("max"), "max_us"),
)


def throughput_charts(table: ShownTable) -> Iterator[Chart]:
    """Chart operations per second; sync and async rows apart where one table has both."""
    rows = [row for row in table.rows if is_measured(row)]
    if "mode" not in table.keys:
        if rows:
            yield _throughput(table, rows, "all", str(table.title))
        return
    for mode in MODES:
        of_mode = [row for row in rows if mode in row.key]
        if of_mode:
            yield _throughput(table, of_mode, mode.lower(), f"{table.title}, {mode}")


def latency_charts(table: ShownTable) -> Iterator[Chart]:
    """Chart how long single calls took: one chart an operation."""
    for operation in table.columns:
        cells = [
            (row, cell)
            for row in table.rows
            if (cell := row.cells.get(operation)) and cell.p50_us is not None
        ]
        if cells:
            yield Chart(
                id=f"latency-{table.table}-{operation}",
                title=_("Latency of %(operation)s: %(what)s")
                % {"operation": operation, "what": table.title},
                kind="dots",
                label_title=", ".join(table.key_titles),
                labels=[table.label(row) for row, _cell in cells],
                series=[
                    Series(label=label, points=[Point(getattr(cell, name)) for _row, cell in cells])
                    for label, name in PERCENTILES
                    if any(getattr(cell, name) is not None for _row, cell in cells)
                ],
                axis=Axis(label=_("µs a call"), is_logarithmic=True),
            )


def spread_charts(table: ShownTable) -> Iterator[Chart]:
    """Chart how much the blocks of a cell differ from round to round; its ratio is free of it."""
    rows = [row for row in table.rows if is_measured(row)]
    if rows:
        yield Chart(
            id=f"spread-{table.table}",
            title=_("Spread over the rounds: %(what)s") % {"what": table.title},
            kind="dots",
            label_title=", ".join(table.key_titles),
            labels=[table.label(row) for row in rows],
            series=[
                Series(label=column, points=[_spread_point(row.cells.get(column)) for row in rows])
                for column in table.columns
            ],
            axis=Axis(label=_("median deviation from the median block, %")),
        )


def _spread_point(cell: BenchmarkResult | None) -> Point:
    spread = cell.details.get("spread") if cell is not None else None
    return Point(None if spread is None else spread * 100)


def _throughput(table: ShownTable, rows: Sequence[Row], suffix: str, what: str) -> Chart:
    operations = [name for name in table.columns if any(name in row.cells for row in rows)]
    # These move so many items a call that they would flatten every other bar.
    bulk = [name for name in operations if not is_plain(name)]
    return Chart(
        id=f"throughput-{table.table}-{suffix}",
        title=_("Throughput: %(what)s") % {"what": what},
        kind="bars",
        label_title=", ".join(table.key_titles),
        labels=[table.label(row, without="mode") for row in rows],
        series=[
            Series(
                label=operation,
                points=[_throughput_point(row.cells.get(operation)) for row in rows],
                axis="second" if operation in bulk else "main",
            )
            for operation in operations
        ],
        axis=Axis(label=_("operations a second")),
        second_axis=Axis(label=_("%(operations)s a second") % {"operations": ", ".join(bulk)})
        if bulk
        else None,
    )


def _throughput_point(cell: BenchmarkResult | None) -> Point:
    """The interval is that of the ratio: what is known of the cell beside the others of its run,
    and not how far the machine's speed itself would move between two runs."""
    if cell is None or cell.ops_per_second is None:
        return Point(None)
    if not cell.ratio or cell.ratio_low is None or cell.ratio_high is None:
        return Point(cell.ops_per_second)
    scale = cell.ops_per_second / cell.ratio
    return Point(cell.ops_per_second, cell.ratio_low * scale, cell.ratio_high * scale)


@dataclass(frozen=True)
class ExportFormat:
    """A format of `redisbench --format` as a file."""

    name: str
    label: Promise
    suffix: str
    content_type: str


FORMATS = {
    one.name: one
    for one in (
        ExportFormat("csv", gettext_lazy("CSV"), "csv", "text/csv"),
        ExportFormat("json", gettext_lazy("JSON"), "json", "application/json"),
        ExportFormat("markdown", gettext_lazy("Markdown"), "md", "text/markdown"),
    )
}


def export(runs: Sequence[BenchmarkRun], format_name: str) -> HttpResponse:
    """Write one run as a file, several as a ZIP archive with a file each.

    The results of the runs should be prefetched.

    Raises:
        KeyError: there is no such format.
    """
    chosen = FORMATS[format_name]
    files = {_file_name(run, chosen): render(run, chosen.name) for run in runs}
    if len(files) == 1:
        [(name, text)] = files.items()
        return _download(name, text.encode(), f"{chosen.content_type}; charset=utf-8")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for name, text in files.items():
            out.writestr(name, text)
    return _download(f"benchmark-runs-{chosen.name}.zip", archive.getvalue(), "application/zip")


def _file_name(run: BenchmarkRun, chosen: ExportFormat) -> str:
    """Of letters, digits and dashes only, whatever the label has in it."""
    label = slugify(run.label)[:60]
    return f"benchmark-run-{run.pk}{f'-{label}' if label else ''}.{chosen.suffix}"


def _download(name: str, content: bytes, content_type: str) -> HttpResponse:
    return HttpResponse(
        content,
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
