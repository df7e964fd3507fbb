"""Comparisons of runs as text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from redisdict.bench.compare import Change
from redisdict.bench.report.layout import Form, laid_out
from redisdict.bench.report.tables import MISSING
from redisdict.bench.results import CellResult, RunRecord
from redisdict.bench.statistics import Verdict

__all__ = ["comparison_text"]

#: What matters most comes last, right above the summary and the prompt.
ORDER = (
    Verdict.NOT_COMPARABLE,
    Verdict.SAME,
    Verdict.UNSURE,
    Verdict.FASTER,
    Verdict.SLOWER,
)


def comparison_text(
    before: RunRecord, after: RunRecord, changes: Sequence[Change], width: int
) -> str:
    """A table of all cells with a verdict, and a line that counts them."""
    if not changes:
        return "The runs have no cell in common.\n"
    ordered = sorted(changes, key=lambda change: ORDER.index(change.verdict))
    form = Form(
        ("Service", "Row", "Operation"),
        ("before", "now", "now / before", "verdict"),
        [(_labels(change.after), _figures(change)) for change in ordered],
    )
    reasons = dict.fromkeys(change.reason for change in ordered if change.reason)
    counts = {verdict: sum(one.verdict is verdict for one in changes) for verdict in Verdict}
    lines = [
        f"{_name(before)} -> {_name(after)}, operations per second;"
        " now / before compares the speeds relative to the reference",
        *(line.plain for line in laid_out([form], width)),
        *(f"not comparable: {reason}" for reason in reasons),
        ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count),
    ]
    return "".join(f"{line}\n" for line in lines)


def _labels(result: CellResult) -> tuple[str, str, str]:
    name = result.variant or f"{result.mode} {result.pool}"
    if result.concurrency > 1:
        name = f"{name}, {result.concurrency} workers, {result.connections} connections"
        if result.variant:
            name = f"{name}, {result.pool}"
    return result.service, name, result.operation


def _figures(change: Change) -> list[Text]:
    return [
        Text(_speed(change.before.ops_per_second)),
        Text(_speed(change.after.ops_per_second)),
        Text(str(change.ratio) if change.ratio else MISSING),
        Text(change.verdict),
    ]


def _name(record: RunRecord) -> str:
    return f"{record.label or record.preset} ({record.started_at:%Y-%m-%d %H:%M})"


def _speed(ops_per_second: float | None) -> str:
    return MISSING if ops_per_second is None else f"{ops_per_second:,.0f}"
