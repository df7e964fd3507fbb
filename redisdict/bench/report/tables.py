"""Arrange the results of a run in tables, for the terminal, Markdown and the admin.

Headings and order are those of earlier reports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from redisdict.bench.choices import AB, CellStatus, Table, load_parts
from redisdict.bench.operations import POOL_OPERATIONS
from redisdict.bench.records import speed_of
from redisdict.bench.spec import DEFAULT_POOL
from redisdict.models import BenchmarkResult, BenchmarkRun

MISSING = "-"

UNIT = " (ops/s)"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the results of a table are arranged.

    Attributes:
        keys: the fields of `BenchmarkResult` that distinguish the rows.
        columns: the columns, in their order.
        column_of: returns the column of a result.
        optional: keys that aren't shown when they are the same in all rows.
    """

    table: Table
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    column_of: Callable[[BenchmarkResult], str] = lambda one: one.operation
    optional: tuple[str, ...] = ()


@dataclass
class Row:
    """One line: its key and its cells by column. `whole` is the result of a whole service."""

    key: tuple[str | int, ...]
    cells: dict[str, BenchmarkResult] = field(default_factory=dict)
    whole: BenchmarkResult | None = None


@dataclass(frozen=True)
class ResultTable:
    """Columns of keys, then columns of figures; rows in the order in which they were measured."""

    layout: Layout
    keys: tuple[str, ...]
    rows: list[Row]

    @classmethod
    def of(cls, layout: Layout, results: Iterable[BenchmarkResult]) -> Self:
        own = [one for one in results if one.table == layout.table]
        keys = tuple(
            name
            for name in layout.keys
            if name not in layout.optional or len({getattr(one, name) for one in own}) > 1
        )
        rows: dict[tuple[str | int, ...], Row] = {}
        for one in own:
            key = tuple(getattr(one, name) for name in keys)
            row = rows.setdefault(key, Row(key))
            if one.operation:
                row.cells[layout.column_of(one)] = one
            else:
                row.whole = one
        return cls(layout, keys, list(rows.values()))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns with a cell: first the layout's, then others that were measured."""
        present = dict.fromkeys(name for row in self.rows for name in row.cells)
        known = [name for name in self.layout.columns if name in present]
        return (*known, *(name for name in present if name not in known))


#: The tables of the report. Of the dict's operations, items with values stand in the footnote;
#: pools with many workers are shown with fewer and with more connections than workers.
REPORT = {
    one.table: one
    for one in (
        Layout(table=Table.POOLS, keys=("service", "mode", "pool"), columns=POOL_OPERATIONS),
        Layout(table=Table.DICT, keys=("variant",), columns=("Set", "Get", "Del", "Iter")),
        Layout(
            table=Table.CONCURRENCY,
            keys=("service", "mode", "concurrency", "connections", "pool"),
            columns=("SET", "GET", "Dict Set", "Dict Get"),
            column_of=lambda one: f"Dict {one.operation}" if one.variant else one.operation,
        ),
        Layout(
            table=Table.WORKLOADS,
            keys=("service", "mode", "pool", "operation"),
            columns=("Speed",),
            column_of=lambda one: "Speed",
        ),
    )
}

#: The headings of keys.
LABELS = {
    "service": "Service",
    "mode": "Mode",
    "pool": "Pool",
    "variant": "Variant",
    "concurrency": "Workers",
    "connections": "Connections",
    "operation": "Workload",
}


def report_table(run: BenchmarkRun, table: Table) -> ResultTable:
    layout = REPORT[table]
    if run.preset == AB:
        sides = tuple(dict.fromkeys(one.service for one in run.of_table(table)))
        layout = replace(
            layout, keys=("operation",), columns=sides, column_of=lambda one: one.service
        )
    return ResultTable.of(layout, run.cells)


def labels_of(row: Row) -> list[str]:
    """Write the key of a row; a service that isn't there says so in place of its pool."""
    *labels, last = (str(value) or MISSING for value in row.key)
    if row.whole is not None and last == MISSING:
        is_missing = row.whole.status == CellStatus.UNAVAILABLE
        last = "not available" if is_missing else "failed"
    return [*labels, last]


def dict_service(run: BenchmarkRun) -> str:
    """Name the service that the dicts were measured on."""
    return next((one.service for one in run.of_table(Table.DICT)), "")


def speed_text(result: BenchmarkResult, thousands: str = "") -> str:
    """Write operations a second, in full up to a million."""
    if result.ops_per_second is None:
        return result.status if result.status == CellStatus.FAILED else MISSING
    if result.ops_per_second >= 1e6:
        return f"{result.ops_per_second / 1e6:.2f}M"
    return f"{result.ops_per_second:{thousands}.0f}"


def ratio_text(result: BenchmarkResult) -> str:
    """Write the ratio with its interval; without one there is nothing to show."""
    speed = speed_of(result)
    return str(speed) if speed else MISSING


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
    """List the cells that the latency pass has measured, in the report's order."""
    return [one for one in run.cells if one.is_measured and one.p50_us is not None]


def latency_columns(results: Sequence[BenchmarkResult]) -> list[str]:
    """List the headings that any of them has a figure for."""
    return [
        heading
        for heading, name in LATENCY_COLUMNS.items()
        if any(getattr(one, name) is not None for one in results)
    ]


def latency_label(result: BenchmarkResult) -> str:
    """Name the row of a cell: the dict's variant or the pool, and how many share it."""
    row = f"{result.mode} {result.pool}" if result.pool == DEFAULT_POOL else result.pool
    return ", ".join([result.variant or row, *load_parts(result)])


def latency_figures(
    result: BenchmarkResult, columns: Sequence[str] = tuple(LATENCY_COLUMNS)
) -> list[str]:
    """Write microseconds under these headings; too few calls leave a percentile out."""
    return [_us(getattr(result, LATENCY_COLUMNS[column])) for column in columns]


def _us(value: float | None) -> str:
    if value is None:
        return MISSING
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
