"""The rows and columns of the report's tables, for whatever prints them.

Headings and order are those that readers of earlier reports know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from redisdict.bench.records import CellResult, CellStatus, RunRecord
from redisdict.bench.spec import DEFAULT_POOL, POOL_OPERATIONS, Table

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
    cells: tuple[CellResult | None, ...]
    reason: str = ""

    def figures(self, text_of: Callable[[CellResult], str]) -> list[str]:
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


def pool_table(record: RunRecord) -> ReportTable:
    """Services, modes and pools; a service that isn't there keeps its row, with the reason."""
    return _table(
        record.of_table(Table.POOLS),
        ("Service", "Mode", "Pool"),
        lambda one: (one.service, one.mode or MISSING, one.pool or _state(one)),
        POOL_OPERATIONS,
    )


def dict_table(record: RunRecord) -> ReportTable:
    """The dict's four variants."""
    return _table(
        record.of_table(Table.DICT), ("Variant",), lambda one: (one.variant,), DICT_COLUMNS
    )


def dict_service(record: RunRecord) -> str:
    """The service that the dicts were measured on."""
    return next((one.service for one in record.of_table(Table.DICT)), "")


def concurrency_table(record: RunRecord) -> ReportTable:
    """Pools with many workers, and with fewer and more connections than workers."""
    results = [
        replace(one, operation=f"Dict {one.operation}") if one.variant else one
        for one in record.of_table(Table.CONCURRENCY)
    ]
    return _table(
        results,
        ("Service", "Mode", "Workers", "Connections", "Pool"),
        lambda one: (
            one.service,
            one.mode,
            str(one.concurrency),
            str(one.connections),
            one.pool,
        ),
        ("SET", "GET", "Dict Set", "Dict Get"),
    )


def workload_table(record: RunRecord) -> ReportTable:
    """Further workloads, one a row."""
    results = record.of_table(Table.WORKLOADS)
    rows = [Row((one.service, one.mode, one.pool, one.operation), (one,)) for one in results]
    return ReportTable(("Service", "Mode", "Pool", "Workload"), ("Speed",), tuple(rows))


def speed_text(result: CellResult) -> str:
    """Operations a second, in full up to a million."""
    if result.ops_per_second is None:
        return result.status.value if result.status is CellStatus.FAILED else MISSING
    if result.ops_per_second >= 1e6:
        return f"{result.ops_per_second / 1e6:.2f}M"
    return f"{result.ops_per_second:.0f}"


def ratio_text(result: CellResult) -> str:
    """The ratio with its interval; without one there is nothing to show."""
    speed = result.speed
    return str(speed) if speed else MISSING


def _state(result: CellResult) -> str:
    return "not available" if result.status is CellStatus.UNAVAILABLE else "failed"


def _table(
    results: Sequence[CellResult],
    labels: tuple[str, ...],
    labels_of: Callable[[CellResult], tuple[str, ...]],
    operations: Sequence[str],
) -> ReportTable:
    rows: dict[tuple[str, ...], dict[str, CellResult]] = {}
    for result in results:
        rows.setdefault(labels_of(result), {})[result.operation] = result
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
