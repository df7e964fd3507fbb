"""Runs in the project's database: saved as they go, found again by number or label."""

from __future__ import annotations

from dataclasses import fields

from django.db import DatabaseError, connections, router, transaction
from django.db.migrations.executor import MigrationExecutor

from redisdict.bench.errors import UsageError, describe
from redisdict.bench.results import CellResult, CellStatus, RunRecord, RunStatus
from redisdict.bench.spec import Table
from redisdict.models import BenchmarkResult, BenchmarkRun

__all__ = [
    "DatabaseRecorder",
    "MemoryRecorder",
    "check_database",
    "find_run",
    "load_record",
    "mark_baseline",
    "save_record",
]

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
