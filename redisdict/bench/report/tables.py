"""The rows and columns of the report's tables, for whatever prints them.

Headings and order are those that readers of earlier reports know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from redisdict.bench.choices import CellStatus
from redisdict.bench.records import speed_of
from redisdict.bench.spec import DEFAULT_POOL, POOL_OPERATIONS, Table
from redisdict.models import BenchmarkResult, BenchmarkRun

__all__ = [
    "LATENCY_COLUMNS",
    "MISSING",
    "ReportTable",
    "Row",
    "concurrency_table",
    "dict_service",
    "dict_table",
    "latency_figures",
    "latency_label",
    "pool_table",
    "ratio_text",
    "speed_text",
    "with_latencies",
    "workload_table",
]

MISSING = "-"

UNIT = " (ops/s)"

#: Of the dict's operations, those with a column; items with values stand in the footnote.
DICT_COLUMNS = ("Set", "Get", "Del", "Iter")


@dataclass(frozen=True)
class Row:
    """One line: its labels, and its cells in the order of the columns (None: not measured).

    `reason` says why a whole row has no figures.
    """

    labels: tuple[str, ...]
    cells: tuple[BenchmarkResult | None, ...]
    reason: str = ""

    def figures(self, text_of: Callable[[BenchmarkResult], str]) -> list[str]:
        return [text_of(cell) if cell else MISSING for cell in self.cells]


@dataclass(frozen=True)
class ReportTable:
    """Columns of labels, then columns of figures."""

    labels: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def headings(self) -> tuple[str, ...]:
        """As the report has them, with the unit of its figures."""
        return (*self.labels, *(f"{column}{UNIT}" for column in self.columns))

    def without_empty_columns(self) -> ReportTable:
        """Only the operations that somebody wanted to know."""
        kept = [
            place
            for place in range(len(self.columns))
            if any(row.cells[place] for row in self.rows)
        ]
        return ReportTable(
            self.labels,
            tuple(self.columns[place] for place in kept),
            tuple(replace(row, cells=tuple(row.cells[p] for p in kept)) for row in self.rows),
        )


def pool_table(run: BenchmarkRun) -> ReportTable:
    """Services, modes and pools; a service that isn't there keeps its row, with the reason."""
    return _table(
        run.of_table(Table.POOLS),
        ("Service", "Mode", "Pool"),
        lambda one: (one.service, one.mode or MISSING, one.pool or _state(one)),
        POOL_OPERATIONS,
    )


def dict_table(run: BenchmarkRun) -> ReportTable:
    """The dict's four variants."""
    return _table(run.of_table(Table.DICT), ("Variant",), lambda one: (one.variant,), DICT_COLUMNS)


def dict_service(run: BenchmarkRun) -> str:
    """The service that the dicts were measured on."""
    return next((one.service for one in run.of_table(Table.DICT)), "")


def concurrency_table(run: BenchmarkRun) -> ReportTable:
    """Pools with many workers, and with fewer and more connections than workers."""
    return _table(
        run.of_table(Table.CONCURRENCY),
        ("Service", "Mode", "Workers", "Connections", "Pool"),
        lambda one: (
            one.service,
            one.mode,
            str(one.concurrency),
            str(one.connections),
            one.pool,
        ),
        ("SET", "GET", "Dict Set", "Dict Get"),
        lambda one: f"Dict {one.operation}" if one.variant else one.operation,
    )


def workload_table(run: BenchmarkRun) -> ReportTable:
    """Further workloads, one a row."""
    results = run.of_table(Table.WORKLOADS)
    rows = [Row((one.service, one.mode, one.pool, one.operation), (one,)) for one in results]
    return ReportTable(("Service", "Mode", "Pool", "Workload"), ("Speed",), tuple(rows))


def speed_text(result: BenchmarkResult) -> str:
    """Operations a second, in full up to a million."""
    if result.ops_per_second is None:
        return result.status if result.status == CellStatus.FAILED else MISSING
    if result.ops_per_second >= 1e6:
        return f"{result.ops_per_second / 1e6:.2f}M"
    return f"{result.ops_per_second:.0f}"


def ratio_text(result: BenchmarkResult) -> str:
    """The ratio with its interval; without one there is nothing to show."""
    speed = speed_of(result)
    return str(speed) if speed else MISSING


def _state(result: BenchmarkResult) -> str:
    return "not available" if result.status == CellStatus.UNAVAILABLE else "failed"


def _table(
    results: Sequence[BenchmarkResult],
    labels: tuple[str, ...],
    labels_of: Callable[[BenchmarkResult], tuple[str, ...]],
    operations: Sequence[str],
    column_of: Callable[[BenchmarkResult], str] = lambda one: one.operation,
) -> ReportTable:
    rows: dict[tuple[str, ...], dict[str, BenchmarkResult]] = {}
    for result in results:
        rows.setdefault(labels_of(result), {})[column_of(result)] = result
    return ReportTable(
        labels,
        tuple(operations),
        tuple(
            Row(
                row_labels,
                tuple(cells.get(operation) for operation in operations),
                # The row of a whole service has no operation.
                reason=cells[""].reason if "" in cells else "",
            )
            for row_labels, cells in rows.items()
        ),
    )


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


def with_latencies(run: BenchmarkRun) -> list[BenchmarkResult]:
    """The cells that the latency pass has measured, in the report's order."""
    return [one for one in run.cells if one.is_measured and one.p50_us is not None]


def latency_label(result: BenchmarkResult) -> str:
    """The row of a cell: the dict's variant or the pool, and how many share it."""
    name = result.variant or (
        f"{result.mode} {result.pool}" if result.pool == DEFAULT_POOL else result.pool
    )
    if result.concurrency > 1:
        return f"{name}, {result.concurrency} workers, {result.connections} connections"
    return name


def latency_figures(
    result: BenchmarkResult, columns: Sequence[str] = tuple(LATENCY_COLUMNS)
) -> list[str]:
    """Microseconds under these headings; too few calls for a percentile leave it out."""
    return [_us(getattr(result, LATENCY_COLUMNS[column])) for column in columns]


def _us(value: float | None) -> str:
    if value is None:
        return MISSING
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
