"""What a run leaves behind, apart from any database: the figures of its cells and its own facts.

Everything that reports, saves, exports or compares works on these two classes, so that a run looks
the same whether it was just measured, read from the database or imported from a file.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from redisdict.bench.spec import Cell, Table
from redisdict.bench.statistics import Ratio

__all__ = ["CellKey", "CellResult", "CellStatus", "RunRecord", "RunStatus"]

#: What tells one result of a run from all others.
CellKey = tuple[str, str, str, str, str, str, int, int]


class CellStatus(StrEnum):
    MEASURED = "measured"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"


class RunStatus(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"
    PARTIAL = "partial"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """The figures of one cell. What could not be measured is None, never 0.

    `ops_per_second` is that of the median block; `details["total_ops_per_second"]` is all
    operations over all the time, stalls included. `ratio` is the speed against the cell named in
    `details["reference"]`, over the rounds that both were in.
    """

    table: Table
    status: CellStatus
    service: str
    reason: str = ""
    mode: str = ""
    pool: str = ""
    variant: str = ""
    operation: str = ""
    concurrency: int = 1
    connections: int = 0
    placement: str = ""
    rounds: int = 0
    operations: int = 0
    ops_per_second: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    p50_us: float | None = None
    p90_us: float | None = None
    p99_us: float | None = None
    p999_us: float | None = None
    max_us: float | None = None
    client_cpu_us: float | None = None
    server_cpu_us: float | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def without_figures(cls, cell: Cell, status: CellStatus, reason: str) -> CellResult:
        """A cell that was wanted, with the reason why there is no figure."""
        return cls(
            table=cell.table,
            status=status,
            reason=reason,
            service=cell.service,
            mode=cell.mode,
            pool=cell.pool,
            variant=cell.variant,
            operation=cell.operation,
            concurrency=cell.concurrency,
            connections=cell.connections,
        )

    @property
    def key(self) -> CellKey:
        return (
            self.table.value,
            self.service,
            self.mode,
            self.pool,
            self.variant,
            self.operation,
            self.concurrency,
            self.connections,
        )

    @property
    def speed(self) -> Ratio | None:
        """The ratio with its interval; None where there is no interval yet."""
        if self.ratio is None or self.ratio_low is None or self.ratio_high is None:
            return None
        return Ratio(self.ratio, self.ratio_low, self.ratio_high, self.rounds)


@dataclass(kw_only=True)
class RunRecord:
    """One run: what was asked for, where, how it went, and its results in the report's order."""

    preset: str
    started_at: datetime
    identifier: uuid.UUID = field(default_factory=uuid.uuid4)
    label: str = ""
    status: RunStatus = RunStatus.RUNNING
    error: str = ""
    finished_at: datetime | None = None
    is_baseline: bool = False
    commit: str = ""
    machine: str = ""
    services: list[dict[str, Any]] = field(default_factory=list)
    noise_floor: float | None = None
    spec: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    results: list[CellResult] = field(default_factory=list)

    def put(self, results: Iterable[CellResult]) -> None:
        """Add results; one for a cell that is there already takes its place."""
        places = {result.key: place for place, result in enumerate(self.results)}
        for result in results:
            if result.key in places:
                self.results[places[result.key]] = result
            else:
                places[result.key] = len(self.results)
                self.results.append(result)

    def put_comparisons(self, comparisons: Iterable[dict[str, Any]]) -> None:
        """Add comparisons; one of the same pair that is there already is replaced."""
        known = {_pair(comparison): comparison for comparison in self.comparisons}
        known |= {_pair(comparison): comparison for comparison in comparisons}
        self.comparisons = list(known.values())

    def of_table(self, table: Table) -> list[CellResult]:
        return [result for result in self.results if result.table == table]


def _pair(comparison: dict[str, Any]) -> tuple[Any, ...]:
    names = ("kind", "group", "operation", "left", "right", "concurrency", "connections")
    return tuple(comparison[name] for name in names)
