"""Comparisons of runs as text."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from redisdict.bench.compare import Change
from redisdict.bench.results import RunRecord
from redisdict.bench.statistics import Verdict

__all__ = ["comparison_text"]

#: Wide enough for the longest names with every column beside them.
WIDTH = 160


def comparison_text(before: RunRecord, after: RunRecord, changes: list[Change]) -> str:
    """A table of all cells with a verdict, and a line that counts them."""
    stream = io.StringIO()
    console = Console(file=stream, width=WIDTH, no_color=True, highlight=False)
    table = RichTable(title=f"{_name(before)} -> {_name(after)}", title_justify="left")
    table.add_column("Cell")
    for heading in ("before (ops/s)", "now (ops/s)", "now / before"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Verdict")
    for change in changes:
        verdict = f"{change.verdict}: {change.reason}" if change.reason else str(change.verdict)
        table.add_row(
            Text(change.name),
            _speed(change.before.ops_per_second),
            _speed(change.after.ops_per_second),
            str(change.ratio) if change.ratio else "-",
            verdict,
        )
    console.print(table)
    counts = {verdict: sum(one.verdict is verdict for one in changes) for verdict in Verdict}
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    console.print(summary or "The runs have no cell in common.")
    return stream.getvalue()


def _name(record: RunRecord) -> str:
    return f"{record.label or record.preset} ({record.started_at:%Y-%m-%d %H:%M})"


def _speed(ops_per_second: float | None) -> str:
    return "-" if ops_per_second is None else f"{ops_per_second:.0f}"
