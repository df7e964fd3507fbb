"""The report for a terminal: the two tables with ratios beside the figures."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from redisdict.bench.report.conclusions import conclusions
from redisdict.bench.report.method import method_notes, reference_name
from redisdict.bench.report.tables import (
    ReportTable,
    concurrency_table,
    dict_table,
    pool_table,
    speed_text,
    workload_table,
)
from redisdict.bench.results import CellResult, RunRecord

__all__ = ["terminal"]

#: Where nobody says how wide the terminal is.
DEFAULT_WIDTH = 120


def terminal(record: RunRecord, *, width: int | None = None, is_colored: bool = False) -> str:
    """Tables, conclusions and method as text, with colours only when asked for."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width or DEFAULT_WIDTH,
        force_terminal=is_colored,
        no_color=not is_colored,
        highlight=False,
    )
    reference = reference_name(record)
    beside = f" (in brackets: speed relative to {reference})" if reference else ""
    _print(console, f"Benchmark results{beside}", pool_table(record))
    _print(console, "PersistentDict", dict_table(record))
    _print(console, "Pools under concurrency", concurrency_table(record))
    _print(console, "Further workloads", workload_table(record))
    for title, lines in (
        ("Conclusions", conclusions(record)),
        ("Method", method_notes(record)),
    ):
        if lines:
            console.print(Text(title, style="bold"))
            for line in lines:
                console.print(Text(f"- {line}"))
            console.print()
    return stream.getvalue()


def _print(console: Console, title: str, table: ReportTable) -> None:
    if not table.rows:
        return
    printed = RichTable(title=title, title_justify="left")
    numbers = len(table.rows[0].cells)
    for place, heading in enumerate(table.headings):
        is_number = place >= len(table.headings) - numbers
        printed.add_column(
            heading, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold"
        )
    for row in table.rows:
        printed.add_row(*(Text(text) for text in row.texts(_figure)))
    console.print(printed)
    console.print()


def _figure(result: CellResult) -> str:
    if result.ratio is None:
        return speed_text(result)
    return f"{speed_text(result)} ({result.ratio:.2f})"
