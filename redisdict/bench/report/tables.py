"""The rows and columns of the report's tables, for whatever prints them.

Headings and order are those that readers of earlier reports know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from redisdict.bench.results import CellResult, CellStatus, RunRecord
from redisdict.bench.spec import POOL_OPERATIONS, Table

__all__ = [
    "MISSING",
    "ReportTable",
    "Row",
    "concurrency_table",
    "dict_service",
    "dict_table",
    "pool_table",
    "ratio_text",
    "speed_text",
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
