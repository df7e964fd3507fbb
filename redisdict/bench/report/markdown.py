"""Write the report as Markdown, in its traditional form, with a footnote and conclusions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from redisdict.bench.choices import AB, CellStatus, Table
from redisdict.bench.report.sentences import conclusions, method_notes, reference_name
from redisdict.bench.report.tables import (
    LABELS,
    MISSING,
    UNIT,
    ResultTable,
    dict_service,
    labels_of,
    latency_columns,
    latency_figures,
    latency_label,
    ratio_text,
    report_table,
    speed_text,
    with_latencies,
)
from redisdict.models import BenchmarkResult, BenchmarkRun


def markdown(run: BenchmarkRun) -> str:
    """Write the whole report, ending with a line break."""
    return "\n".join(_lines(run)) + "\n"


def _lines(run: BenchmarkRun) -> Iterator[str]:
    rounds = max((result.rounds for result in run.cells), default=0)
    yield f"# Benchmark Results (Median of up to {rounds} interleaved rounds)"
    yield ""
    if run.preset == AB:
        yield from _table(report_table(run, Table.WORKLOADS))
    else:
        yield from _tables(run)
    yield from _latencies(run)
    yield ""
    yield "**Conclusion:**"
    for sentence in conclusions(run) or ["Nothing was compared."]:
        yield f"- {sentence}"
    yield ""
    yield "**Method:**"
    for note in method_notes(run):
        yield f"- {note}"
    failed = [one for one in run.cells if one.status == CellStatus.FAILED]
    for result in failed:
        yield f"- Failed: {result}: {result.reason}"
    for warning in run.warnings:
        yield f"- Warning `{warning['name']}`: {warning['text']} {warning['advice']}"


def _tables(run: BenchmarkRun) -> Iterator[str]:
    yield from _table(report_table(run, Table.POOLS))
    items = f"{dict_service(run)}, {run.spec.get('iteration_items')} items"
    yield from _section(f"PersistentDict Benchmarks ({items})", report_table(run, Table.DICT))
    yield from _section("Pools under concurrency", report_table(run, Table.CONCURRENCY))
    yield from _section("Further workloads", report_table(run, Table.WORKLOADS))
    reference = reference_name(run)
    if reference:
        yield from _section(
            f"Speed relative to {reference}", report_table(run, Table.POOLS), ratio_text
        )


def _section(
    title: str, table: ResultTable, text_of: Callable[[BenchmarkResult], str] = speed_text
) -> Iterator[str]:
    if table.rows:
        yield ""
        yield f"## {title}"
        yield ""
        yield from _table(table, text_of)


def _latencies(run: BenchmarkRun) -> Iterator[str]:
    results = with_latencies(run)
    if results:
        yield ""
        yield "## Single calls, in microseconds"
        yield ""
        columns = latency_columns(results)
        yield from _lines_of(
            ("Service", "Operation", "Pool or variant", *columns),
            [
                [one.service, one.operation, latency_label(one), *latency_figures(one, columns)]
                for one in results
            ],
        )


def _table(
    table: ResultTable, text_of: Callable[[BenchmarkResult], str] = speed_text
) -> Iterator[str]:
    unit = UNIT if text_of is speed_text else ""
    columns = table.layout.columns
    rows = []
    for row in table.rows:
        *labels, last = labels_of(row)
        if row.whole is not None and row.whole.reason:
            last = f"{last}: {row.whole.reason}"
        cells = [row.cells.get(name) for name in columns]
        rows.append([*labels, last, *(text_of(cell) if cell else MISSING for cell in cells)])
    headings = [*(LABELS[name] for name in table.keys), *(f"{name}{unit}" for name in columns)]
    yield from _lines_of(headings, rows)


def _lines_of(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'|'.join('-' * (len(heading) + 2) for heading in headings)}|"
    for row in rows:
        yield f"| {' | '.join(_escaped(text) for text in row)} |"


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
