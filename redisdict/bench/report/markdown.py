"""The report in the form that it has always had, with a footnote and conclusions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from redisdict.bench.report.conclusions import conclusions
from redisdict.bench.report.method import method_notes, reference_name
from redisdict.bench.report.tables import (
    ReportTable,
    concurrency_table,
    dict_table,
    pool_table,
    ratio_text,
    workload_table,
)
from redisdict.bench.results import CellResult, CellStatus, RunRecord

__all__ = ["markdown"]


def markdown(record: RunRecord) -> str:
    """The whole report, ending with a line break."""
    return "\n".join(_lines(record)) + "\n"


def _lines(record: RunRecord) -> Iterator[str]:
    rounds = max((result.rounds for result in record.results), default=0)
    yield f"# Benchmark Results (Median of up to {rounds} interleaved rounds)"
    yield ""
    yield from _table(pool_table(record))
    dicts = dict_table(record)
    if dicts.rows:
        service = next(one.service for one in record.results if one.variant)
        yield ""
        items = record.spec.get("iteration_items")
        yield f"## PersistentDict Benchmarks ({service}, {items} items)"
        yield ""
        yield from _table(dicts)
    yield from _section("Pools under concurrency", concurrency_table(record))
    yield from _section("Further workloads", workload_table(record))
    reference = reference_name(record)
    if reference:
        ratios = pool_table(record).without_units()
        yield from _section(f"Speed relative to {reference}", ratios, ratio_text)
    yield ""
    yield "**Conclusion:**"
    for sentence in conclusions(record) or ["Nothing was compared."]:
        yield f"- {sentence}"
    yield ""
    yield "**Method:**"
    for note in method_notes(record):
        yield f"- {note}"
    failed = [one for one in record.results if one.status is CellStatus.FAILED]
    for result in failed:
        yield f"- Failed: {' '.join(filter(None, _names(result)))}: {result.reason}"
    for warning in record.warnings:
        yield f"- Warning `{warning['name']}`: {warning['text']} {warning['advice']}"


def _section(
    title: str, table: ReportTable, text_of: Callable[[CellResult], str] | None = None
) -> Iterator[str]:
    if table.rows:
        yield ""
        yield f"## {title}"
        yield ""
        yield from _table(table, text_of)


def _table(table: ReportTable, text_of: Callable[[CellResult], str] | None = None) -> Iterator[str]:
    yield f"| {' | '.join(table.headings)} |"
    yield f"|{'|'.join('-' * (len(heading) + 2) for heading in table.headings)}|"
    for row in table.rows:
        yield f"| {' | '.join(_escaped(text) for text in row.texts(text_of))} |"


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _names(result: CellResult) -> tuple[str, ...]:
    return (result.service, result.mode, result.variant or result.pool, result.operation)
