"""What a run leaves behind, apart from any database: the figures of its cells and its own facts.

Everything that reports, saves, exports or compares works on these two classes, so that a run looks
the same whether it was just measured, read from the database or imported from a file.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connections, router, transaction
from django.db.migrations.executor import MigrationExecutor

from redisdict.bench.errors import UsageError, describe
from redisdict.bench.measure import environment
from redisdict.bench.measure.statistics import Ratio
from redisdict.bench.selection import spec_to_dict
from redisdict.bench.spec import BenchmarkSpec, Cell, Table
from redisdict.models import BenchmarkResult, BenchmarkRun

__all__ = [
    "CellKey",
    "CellResult",
    "CellStatus",
    "DatabaseRecorder",
    "MemoryRecorder",
    "RunRecord",
    "RunStatus",
    "check_database",
    "find_run",
    "load_record",
    "mark_baseline",
    "new_record",
    "save_record",
]

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


_RUN_FIELDS = [field.name for field in fields(RunRecord) if field.name != "results"]
_RESULT_FIELDS = [field.name for field in fields(CellResult)]


class MemoryRecorder:
    """Keeps nothing: `--no-save`."""

    failure = ""

    def save(self, record: RunRecord) -> None:
        """The record itself is all there is."""


class DatabaseRecorder:
    """Saves the run whenever something is finished.

    A database that can't be written (locked, gone) never ends a measurement: `failure` says what
    happened. Since finding that out may take long, the next try is at the end of the run.
    """

    def __init__(self) -> None:
        self.failure = ""

    def save(self, record: RunRecord) -> None:
        if self.failure and record.status is RunStatus.RUNNING:
            return
        try:
            save_record(record)
        except DatabaseError as error:
            self.failure = describe(error)
        else:
            self.failure = ""


def check_database() -> None:
    """Make sure, before anything is measured, that the results can be saved.

    Raises:
        UsageError: the database can't be reached, or its tables aren't there.
    """
    alias = router.db_for_write(BenchmarkRun)
    try:
        executor = MigrationExecutor(connections[alias])
        targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] == "redisdict"]
        is_behind = bool(executor.migration_plan(targets))
    except DatabaseError as error:
        raise UsageError(
            f"The database {alias!r} can't be used: {describe(error)}. Make it available, or add"
            " --no-save to print the results only."
        ) from error
    if is_behind:
        raise UsageError(
            f"The tables for benchmark results aren't in the database {alias!r} yet. Run"
            " `manage.py migrate` first, or add --no-save to print the results only."
        )


def save_record(record: RunRecord) -> BenchmarkRun:
    """Write the run and its results; one that is there already takes these values."""
    with transaction.atomic(using=router.db_for_write(BenchmarkRun)):
        values = {name: getattr(record, name) for name in _RUN_FIELDS if name != "identifier"}
        run, _ = BenchmarkRun.objects.update_or_create(
            identifier=record.identifier, defaults=values
        )
        run.results.all().delete()
        BenchmarkResult.objects.bulk_create(
            BenchmarkResult(
                run=run, position=place, **{name: getattr(result, name) for name in _RESULT_FIELDS}
            )
            for place, result in enumerate(record.results)
        )
    return run


def load_record(run: BenchmarkRun) -> RunRecord:
    """A saved run as everything but the database knows it. Two queries at most."""
    record = RunRecord(**{name: getattr(run, name) for name in _RUN_FIELDS})
    record.status = RunStatus(run.status)
    record.results = [
        CellResult(
            **{
                **{name: getattr(result, name) for name in _RESULT_FIELDS},
                "table": Table(result.table),
                "status": CellStatus(result.status),
            }
        )
        for result in run.results.all()
    ]
    return record


def find_run(name: str) -> BenchmarkRun:
    """The run with this number, or the latest with this label; "latest" and "baseline" too.

    Raises:
        UsageError: there is none.
    """
    runs = BenchmarkRun.objects.all()
    if name.isdecimal():
        found = runs.filter(pk=int(name)).first()
    else:
        found = runs.filter(label=name).first()
    if found is None and name == "latest":
        found = runs.first()
    if found is None and name == "baseline":
        found = runs.filter(is_baseline=True).first()
    if found is None:
        raise UsageError(
            f"There is no benchmark run {name!r}. `redisbench list` shows the numbers and labels."
        )
    return found


def mark_baseline(record: RunRecord) -> None:
    """Make this saved run the one that others are compared with."""
    with transaction.atomic(using=router.db_for_write(BenchmarkRun)):
        BenchmarkRun.objects.filter(is_baseline=True).update(is_baseline=False)
        BenchmarkRun.objects.filter(identifier=record.identifier).update(is_baseline=True)
    record.is_baseline = True


def new_record(spec: BenchmarkSpec, label: str) -> RunRecord:
    """What is known before anything is measured: when, where, and of which commit."""
    return RunRecord(
        preset=spec.preset,
        label=label,
        started_at=datetime.now(UTC),
        commit=environment.commit(Path(getattr(settings, "BASE_DIR", "."))),
        machine=environment.machine(),
        spec=spec_to_dict(spec),
        environment=environment.collect(),
    )
