"""The report for a terminal: the tables with the ratio beside each figure, and what they prove."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from redisdict.bench.report.conclusions import conclusions
from redisdict.bench.report.latencies import (
    LATENCY_COLUMNS,
    latency_figures,
    latency_label,
    with_latencies,
)
from redisdict.bench.report.layout import Form, laid_out
from redisdict.bench.report.method import method_notes, reference_name
from redisdict.bench.report.tables import (
    MISSING,
    ReportTable,
    concurrency_table,
    dict_service,
    dict_table,
    pool_table,
    workload_table,
)
from redisdict.bench.results import CellResult, CellStatus, RunRecord
from redisdict.bench.spec import Table
from redisdict.bench.statistics import Verdict

__all__ = ["DEFAULT_WIDTH", "terminal"]

#: Where nobody says how wide the terminal is.
DEFAULT_WIDTH = 120

#: Before a ratio.
TIMES = "\N{MULTIPLICATION SIGN}"

#: Cells of these tables have one caller, so their latencies can be put below one another.
SINGLE_CALLS = (Table.POOLS, Table.DICT)

#: Percentiles that a narrow terminal goes without.
WIDE_ONLY = ("p90", "p99.9")

#: How the words of a verdict are shown.
STYLES = {Verdict.FASTER: "green", Verdict.SLOWER: "red", Verdict.UNSURE: "yellow"}


def terminal(record: RunRecord, *, width: int = DEFAULT_WIDTH, is_colored: bool = False) -> str:
    """Tables, conclusions and method as text, with colours only when asked for."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=is_colored,
        no_color=not is_colored,
        highlight=False,
    )
    reference = reference_name(record)
    beside = f" ({TIMES}: relative to {reference})" if reference else ""
    _print_table(console, f"Benchmark results: operations per second{beside}", pool_table(record))
    dicts = dict_table(record)
    if dicts.rows:
        items = record.spec.get("iteration_items", 0)
        _print_table(console, f"PersistentDict on {dict_service(record)}, {items:,} items", dicts)
    _print_latencies(console, record)
    plain = f" ({TIMES}: relative to the first pool with a connection for each worker)"
    _print_table(console, f"Pools under concurrency{plain}", concurrency_table(record))
    _print_table(console, f"Further workloads{beside}", workload_table(record))
    _print_list(console, "Conclusions", conclusions(record))
    _print_list(console, "Method", method_notes(record))
    # Items are padded to the terminal's width, which only shows when something is copied.
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _print_table(console: Console, title: str, table: ReportTable) -> None:
    if not table.rows:
        return
    table = table.without_empty_columns()

    def form(columns: Sequence[str], figure: Callable[[CellResult | None], Text]) -> Form:
        rows = [(row.labels, [figure(cell) for cell in row.cells]) for row in table.rows]
        return Form(table.labels, columns, rows)

    in_full = form(table.headings[len(table.labels) :], _full)
    lines = laid_out([in_full, form(table.columns, _short)], console.width)
    _print_lines(console, title, lines)
    for row in table.rows:
        if row.reason:
            console.print(_item(Text(f"{row.labels[0]}: {row.labels[-1]}: {row.reason}")))
    console.print()


def _print_latencies(console: Console, record: RunRecord) -> None:
    """Of one operation only, or there would be no end; the other formats have all."""
    results = [one for one in with_latencies(record) if one.table in SINGLE_CALLS]
    operations = [one.operation.upper() for one in results]
    operation = "GET" if "GET" in operations else next(iter(operations), "")
    shown = [one for one in results if one.operation.upper() == operation]
    if not shown:
        return

    def form(columns: Sequence[str]) -> Form:
        rows = [
            ((one.service, latency_label(one)), [*map(Text, latency_figures(one, columns))])
            for one in shown
        ]
        return Form(("Service", "Pool or variant"), columns, rows)

    narrow = [column for column in LATENCY_COLUMNS if column not in WIDE_ONLY]
    lines = laid_out([form(tuple(LATENCY_COLUMNS)), form(narrow)], console.width)
    _print_lines(console, f"A single {operation}, in microseconds", lines)
    console.print()


def _print_lines(console: Console, title: str, lines: Iterable[Text]) -> None:
    console.print(Text(title, style="bold italic"))
    for line in lines:
        console.print(line, no_wrap=True, overflow="ignore", crop=False)


def _print_list(console: Console, title: str, sentences: Iterable[str]) -> None:
    items = [_item(_with_verdicts(sentence)) for sentence in sentences]
    if items:
        console.print(Text(title, style="bold italic"))
        for item in items:
            console.print(item)
        console.print()


def _item(text: Text) -> Grid:
    """A list item, the lines of which begin below one another."""
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_row("-", text)
    return grid


def _with_verdicts(sentence: str) -> Text:
    text = Text(sentence)
    for verdict, style in STYLES.items():
        text.highlight_regex(rf"(?<=\] ){verdict}|(?<=: ){verdict}(?=\.$)", style)
    return text


def _full(result: CellResult | None) -> Text:
    speed = result.ops_per_second if result else None
    if result is None or speed is None:
        return _without_figure(result)
    return _with_ratio(f"{speed / 1e6:.2f}M" if speed >= 1e6 else f"{speed:,.0f}", result)


def _short(result: CellResult | None) -> Text:
    speed = result.ops_per_second if result else None
    if result is None or speed is None:
        return _without_figure(result)
    if speed >= 1e6:
        return _with_ratio(f"{speed / 1e6:.2f}M", result)
    if speed >= 1e3:
        return _with_ratio(f"{speed / 1e3:.{1 if speed < 1e5 else 0}f}k", result)
    return _with_ratio(f"{speed:.0f}", result)


def _with_ratio(speed: str, result: CellResult) -> Text:
    if result.ratio is None:
        return Text(speed)
    return Text.assemble(speed, (f" {TIMES}{result.ratio:.2f}", "dim"))


def _without_figure(result: CellResult | None) -> Text:
    if result is not None and result.status is CellStatus.FAILED:
        return Text(result.status.value, style="red")
    return Text(MISSING, style="dim")
