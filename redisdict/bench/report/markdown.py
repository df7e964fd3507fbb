"""The report in the form that it has always had, with a footnote and conclusions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from redisdict.bench.choices import CellStatus
from redisdict.bench.report.sentences import conclusions, method_notes, reference_name
from redisdict.bench.report.tables import (
    LATENCY_COLUMNS,
    ReportTable,
    concurrency_table,
    dict_service,
    dict_table,
    latency_figures,
    latency_label,
    pool_table,
    ratio_text,
    speed_text,
    with_latencies,
    workload_table,
)
from redisdict.models import BenchmarkResult, BenchmarkRun

__all__ = ["markdown"]


def markdown(run: BenchmarkRun) -> str:
    """The whole report, ending with a line break."""
    return "\n".join(_lines(run)) + "\n"


def _lines(run: BenchmarkRun) -> Iterator[str]:
    rounds = max((result.rounds for result in run.cells), default=0)
    yield f"# Benchmark Results (Median of up to {rounds} interleaved rounds)"
    yield ""
    yield from _table(pool_table(run))
    dicts = dict_table(run)
    if dicts.rows:
        yield ""
        items = run.spec.get("iteration_items")
        yield f"## PersistentDict Benchmarks ({dict_service(run)}, {items} items)"
        yield ""
        yield from _table(dicts)
    yield from _section("Pools under concurrency", concurrency_table(run))
    yield from _section("Further workloads", workload_table(run))
    reference = reference_name(run)
    if reference:
        yield from _section(f"Speed relative to {reference}", pool_table(run), ratio_text)
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
        yield f"- Failed: {' '.join(filter(None, _names(result)))}: {result.reason}"
    for warning in run.warnings:
        yield f"- Warning `{warning['name']}`: {warning['text']} {warning['advice']}"


def _section(
    title: str, table: ReportTable, text_of: Callable[[BenchmarkResult], str] = speed_text
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
        yield from _lines_of(
            ("Service", "Operation", "Pool or variant", *LATENCY_COLUMNS),
            [
                [one.service, one.operation, latency_label(one), *latency_figures(one)]
                for one in results
            ],
        )


def _table(
    table: ReportTable, text_of: Callable[[BenchmarkResult], str] = speed_text
) -> Iterator[str]:
    is_speed = text_of is speed_text
    headings = table.headings if is_speed else (*table.labels, *table.columns)
    rows = []
    for row in table.rows:
        *labels, last = row.labels
        rows.append(
            [*labels, f"{last}: {row.reason}" if row.reason else last, *row.figures(text_of)]
        )
    yield from _lines_of(headings, rows)


def _lines_of(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'|'.join('-' * (len(heading) + 2) for heading in headings)}|"
    for row in rows:
        yield f"| {' | '.join(_escaped(text) for text in row)} |"


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _names(result: BenchmarkResult) -> tuple[str, ...]:
    return (result.service, result.mode, result.variant or result.pool, result.operation)
