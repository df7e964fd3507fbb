"""What single calls took: it stands beside the medians of blocks, which hide every stall."""

from __future__ import annotations

from collections.abc import Sequence

from redisdict.bench.report.tables import MISSING
from redisdict.bench.results import CellResult, CellStatus, RunRecord
from redisdict.bench.spec import DEFAULT_POOL

__all__ = ["LATENCY_COLUMNS", "latency_figures", "latency_label", "with_latencies"]

#: Heading -> field of the result, all in microseconds.
LATENCY_COLUMNS = {
    "p50": "p50_us",
    "p90": "p90_us",
    "p99": "p99_us",
    "p99.9": "p999_us",
    "max": "max_us",
    "client CPU": "client_cpu_us",
    "server CPU": "server_cpu_us",
}


def with_latencies(record: RunRecord) -> list[CellResult]:
    """The cells that the latency pass has measured, in the report's order."""
    return [
        one
        for one in record.results
        if one.status is CellStatus.MEASURED and one.p50_us is not None
    ]


def latency_label(result: CellResult) -> str:
    """The row of a cell: the dict's variant or the pool, and how many share it."""
    name = result.variant or (
        f"{result.mode} {result.pool}" if result.pool == DEFAULT_POOL else result.pool
    )
    if result.concurrency > 1:
        return f"{name}, {result.concurrency} workers, {result.connections} connections"
    return name


def latency_figures(
    result: CellResult, columns: Sequence[str] = tuple(LATENCY_COLUMNS)
) -> list[str]:
    """Microseconds under these headings; too few calls for a percentile leave it out."""
    return [_us(getattr(result, LATENCY_COLUMNS[column])) for column in columns]


def _us(value: float | None) -> str:
    if value is None:
        return MISSING
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
