"""Lay the report out for the terminal's width, with its conclusions.

If there is no room for all columns, the leading labels become headings above their rows, one after
the other, and then the table's next, narrower form is tried.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from redisdict.bench.choices import AB, CellStatus, Table
from redisdict.bench.measure.statistics import Verdict
from redisdict.bench.report.sentences import conclusions, method_notes, reference_name
from redisdict.bench.report.summary import hidden_tables, summary
from redisdict.bench.report.tables import (
    LABELS,
    MISSING,
    UNIT,
    ResultTable,
    Row,
    dict_service,
    labels_of,
    latency_columns,
    latency_figures,
    latency_label,
    report_table,
    speed_text,
    with_latencies,
)
from redisdict.models import BenchmarkResult, BenchmarkRun

#: Between two columns.
GAP = "  "


@dataclass(frozen=True)
class Form:
    """A table as text: columns of labels on the left, and of figures, set flush right.

    `is_dense`: without a line between two sections.
    """

    labels: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[tuple[Sequence[str], Sequence[Text]]]
    is_dense: bool = False


def laid_out(forms: Iterable[Form], width: int) -> list[Text]:
    """Lay out the first form that is no wider than that; the narrowest, if none is."""
    lines: list[Text] = []
    for form in forms:
        for sections in range(len(form.labels)):
            lines = list(_lines(form, sections))
            if max(line.cell_len for line in lines) <= width:
                return lines
    for line in lines:
        line.no_wrap, line.overflow = True, "ignore"
    return lines


def _lines(form: Form, sections: int) -> Iterator[Text]:
    """Lay out the table with so many labels as headings above their rows."""
    beside = len(form.labels) - sections
    headings = [Text(text) for text in (*form.labels[sections:], *form.columns)]
    rows = [[*map(Text, labels[sections:]), *figures] for labels, figures in form.rows]
    widths = [max(text.cell_len for text in column) for column in zip(headings, *rows, strict=True)]
    heading = _line(headings, widths, beside)
    heading.stylize("bold")
    yield heading
    yield Text("─" * heading.cell_len, style="dim")
    numbered = list(zip((labels[:sections] for labels, _ in form.rows), rows, strict=True))
    for place, (section, members) in enumerate(groupby(numbered, key=lambda one: one[0])):
        if section:
            if place and not form.is_dense:
                yield Text()
            yield Text(_section_name(form.labels, section), style="bold")
        named = ""
        for _, row in members:
            # A service is named in the first of its rows.
            is_named = beside > 1 and row[0].plain == named
            named = row[0].plain
            yield _line([Text() if is_named else row[0], *row[1:]], widths, beside)


def _line(texts: Sequence[Text], widths: Sequence[int], left: int) -> Text:
    """Align one line, of whose columns the first ones are set flush left."""
    padded = []
    for place, (text, width) in enumerate(zip(texts, widths, strict=True)):
        space = " " * (width - text.cell_len)
        padded.append(text + space if place < left else Text(space) + text)
    line = Text(GAP).join(padded)
    line.rstrip()
    return line


def _section_name(labels: Sequence[str], values: Sequence[str]) -> str:
    return ", ".join(
        f"{value} {label.lower()}" if value.isdecimal() else value
        for label, value in zip(labels, values, strict=False)
        if value != MISSING
    )


#: Where nobody says how wide the terminal is.
DEFAULT_WIDTH = 120

#: Before a ratio.
TIMES = "\N{MULTIPLICATION SIGN}"

#: Cells of these tables have one caller, so their latencies can be put below one another.
SINGLE_CALLS = (Table.POOLS, Table.DICT)

#: Percentiles that a narrow terminal goes without.
WIDE_ONLY = ("p90", "p99.9")

HEADING = "bold italic"

#: How the words of a verdict are shown.
STYLES = {Verdict.FASTER: "green", Verdict.SLOWER: "red", Verdict.UNSURE: "yellow"}


def terminal(
    run: BenchmarkRun,
    *,
    width: int = DEFAULT_WIDTH,
    is_colored: bool = False,
    is_verbose: bool = True,
) -> str:
    """Write tables, conclusions and method as text, with colours only when asked for.

    Not verbose, it is the first tables and a summary of a few lines.
    """
    reference = reference_name(run)
    beside = f" ({TIMES}: relative to {reference})" if reference else ""
    plain = f" ({TIMES}: relative to the first pool with a connection for each worker)"
    hidden = () if is_verbose else hidden_tables(run)
    items = run.spec.get("iteration_items", 0)
    titles = {
        Table.POOLS: f"Operations per second{beside}",
        Table.DICT: f"PersistentDict on {dict_service(run)}, {items:,} items",
        Table.CONCURRENCY: f"Pools under concurrency{plain}",
        Table.WORKLOADS: f"Further workloads{beside}",
    }
    if run.preset == AB:
        titles = {Table.WORKLOADS: f"Calls in turn: operations per second{beside}"}
    parts: list[RenderableType] = []
    for table, title in titles.items():
        if table not in hidden:
            parts += _table(title, report_table(run, table), width, is_verbose=is_verbose)
        if table is Table.DICT and is_verbose:
            parts += _latencies(run, width)
    if is_verbose:
        parts += _list("Conclusions", conclusions(run))
        parts += _list("Method", method_notes(run))
    else:
        parts += map(_with_verdicts, summary(run, width))
    return printed(parts, width, is_colored=is_colored)


def printed(parts: Iterable[RenderableType], width: int, *, is_colored: bool = False) -> str:
    """Write what rich renders, one below the other."""
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=is_colored,
        no_color=not is_colored,
        highlight=False,
    )
    with console.capture() as capture:
        for part in parts:
            console.print(part, crop=False)
    # Items are padded to the terminal's width, which only shows when something is copied.
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def item(mark: str, text: Text) -> Grid:
    """A list item, the lines of which begin below one another."""
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_row(mark, text)
    return grid


def _table(
    title: str, table: ResultTable, width: int, *, is_verbose: bool
) -> Iterator[RenderableType]:
    if not table.rows:
        return
    # Only the operations that somebody wanted to know.
    columns = [name for name in table.layout.columns if name in table.columns]

    def figures(row: Row, figure: Callable[[BenchmarkResult | None], Text]) -> list[Text]:
        return [figure(row.cells.get(name)) for name in columns]

    def form(unit: str, figure: Callable[[BenchmarkResult | None], Text]) -> Form:
        rows = [(labels_of(row), figures(row, figure)) for row in table.rows]
        headings = [f"{name}{unit}" for name in columns]
        return Form([LABELS[name] for name in table.keys], headings, rows)

    yield Text(title, style=HEADING)
    is_of_pools = table.layout.table is Table.POOLS
    if is_of_pools and not is_verbose:
        # The name of a pool tells its mode.
        rows = [
            ((one.service, latency_label(one)), figures(row, _short))
            for row in table.rows
            if (one := next(iter(row.cells.values()), None)) is not None
        ]
        dense = Form((LABELS["service"], LABELS["pool"]), columns, rows, is_dense=True)
        yield Group(*laid_out([form(UNIT, _full), dense], width))
    else:
        yield Group(*laid_out([form(UNIT, _full), form("", _short)], width))
    yield from _missing(table, is_verbose=is_verbose)
    yield ""


def _missing(table: ResultTable, *, is_verbose: bool) -> Iterator[RenderableType]:
    """Say why services have no figures; in short, where that is said."""
    absent = []
    for row in table.rows:
        if row.whole is None or not row.whole.reason:
            continue
        service, *_, state = labels_of(row)
        if is_verbose or row.whole.status == CellStatus.FAILED:
            yield item("-", Text(f"{service}: {state}: {row.whole.reason}"))
        else:
            absent.append(service)
    if absent:
        yield item("-", Text(f"not available: {', '.join(absent)}; see `redisbench services`"))


def _latencies(run: BenchmarkRun, width: int) -> Iterator[RenderableType]:
    """Show one operation only, or there would be no end; the other formats have all."""
    results = [one for one in with_latencies(run) if one.table in SINGLE_CALLS]
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

    columns = latency_columns(shown)
    narrow = [column for column in columns if column not in WIDE_ONLY]
    yield Text(f"A single {operation}, in microseconds", style=HEADING)
    yield Group(*laid_out([form(columns), form(narrow)], width))
    yield ""


def _list(title: str, sentences: Sequence[str]) -> Iterator[RenderableType]:
    if sentences:
        yield Text(title, style=HEADING)
        yield from (item("-", _with_verdicts(sentence)) for sentence in sentences)
        yield ""


def _with_verdicts(sentence: str) -> Text:
    text = Text(sentence)
    for verdict, style in STYLES.items():
        text.highlight_regex(rf"(?<=\] ){verdict}|(?<=[:;] ){verdict}(?=\.$| )", style)
    return text


def _full(result: BenchmarkResult | None) -> Text:
    if result is None or result.ops_per_second is None:
        return _without_figure(result)
    return _with_ratio(speed_text(result, ","), result)


def _short(result: BenchmarkResult | None) -> Text:
    speed = result.ops_per_second if result else None
    if result is None or speed is None or not 1e3 <= speed < 1e6:
        return _full(result)
    return _with_ratio(f"{speed / 1e3:.{1 if speed < 1e5 else 0}f}k", result)


def _with_ratio(speed: str, result: BenchmarkResult) -> Text:
    if result.ratio is None:
        return Text(speed)
    return Text.assemble(speed, (f" {TIMES}{result.ratio:.2f}", "dim"))


def _without_figure(result: BenchmarkResult | None) -> Text:
    if result is not None and result.status == CellStatus.FAILED:
        return Text(result.status, style="red")
    return Text(MISSING, style="dim")
