"""Make, save and find the record of a run: a `BenchmarkRun` with its `cells`, saved or not.

Everything that reports, saves, exports or compares works on this one object, so that a run looks
the same whether it was just measured, read from the database or imported from a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connections, router, transaction
from django.db.migrations.executor import MigrationExecutor

from redisdict.bench.choices import CELL_FIELDS, CellStatus, RunStatus
from redisdict.bench.errors import UsageError, describe
from redisdict.bench.measure import environment
from redisdict.bench.measure.statistics import Ratio
from redisdict.bench.selection import spec_to_dict
from redisdict.bench.spec import BenchmarkSpec, Cell
from redisdict.models import BenchmarkResult, BenchmarkRun

#: The preset of a run that stands for a calibration of its machine.
CALIBRATION = "calibration"


def new_run(spec: BenchmarkSpec, label: str) -> BenchmarkRun:
    """Make the record of a run, with its time, machine and commit, before anything is measured."""
    return BenchmarkRun(
        preset=spec.preset,
        label=label,
        started_at=datetime.now(UTC),
        commit=environment.commit(Path(getattr(settings, "BASE_DIR", "."))),
        machine=environment.machine(),
        spec=spec_to_dict(spec),
        environment=environment.collect(),
    )


def result_of(cell: Cell, status: CellStatus, reason: str = "", **figures: Any) -> BenchmarkResult:
    """Make the result of a cell: its figures, or the reason why there are none."""
    named = {name: getattr(cell, name) for name in CELL_FIELDS}
    return BenchmarkResult(status=status, reason=reason, **named, **figures)


def speed_of(result: BenchmarkResult) -> Ratio | None:
    """Read the ratio with its interval; None where there is no interval yet."""
    if result.ratio is None or result.ratio_low is None or result.ratio_high is None:
        return None
    return Ratio(result.ratio, result.ratio_low, result.ratio_high, result.rounds)


def alike_speed(result: BenchmarkResult) -> Ratio | None:
    """Read the ratio to a call of the same mode, that other runs are compared through."""
    stored = result.details.get("alike")
    if stored is None:
        return None
    return Ratio(stored["value"], stored["low"], stored["high"], stored["rounds"])


def speeds_across(before: BenchmarkResult, after: BenchmarkResult) -> tuple[Ratio, Ratio] | None:
    """Read the ratios by which a cell is compared in two runs; None if one has no interval.

    An asynchronous call is compared through another asynchronous call, if both runs have the same.
    """
    references = {
        result.details.get("alike", {}).get("reference", "") for result in (before, after)
    }
    read = alike_speed if len(references) == 1 and references != {""} else speed_of
    was, now = read(before), read(after)
    return None if was is None or now is None else (was, now)


@dataclass
class Recorder:
    """Saves the run whenever something is finished, unless nothing is to be kept (`--no-save`).

    A database that can't be written (locked, gone) never ends a measurement: `failure` says what
    happened. Since finding that out may take long, the next try is at the end of the run.
    """

    is_saving: bool = True
    failure: str = ""

    def save(self, run: BenchmarkRun) -> None:
        if not self.is_saving or (self.failure and run.status == RunStatus.RUNNING):
            return
        try:
            save_run(run)
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


def save_run(run: BenchmarkRun) -> BenchmarkRun:
    """Write the run and its cells; one that is there already takes these values."""
    cells = run.cells
    with transaction.atomic(using=router.db_for_write(BenchmarkRun)):
        # What another process has deleted meanwhile, or a rollback, is made anew.
        saved = BenchmarkRun.objects.filter(identifier=run.identifier)
        run.pk = saved.values_list("pk", flat=True).first()
        run.save()
        run.results.all().delete()
        for place, cell in enumerate(cells):
            cell.pk, cell.run, cell.position = None, run, place
        BenchmarkResult.objects.bulk_create(cells)
    return run


def find_run(name: str) -> BenchmarkRun:
    """Find a run by its number or label (the latest); "latest" and "baseline" too.

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


def latest_calibration(machine_hash: str) -> BenchmarkRun | None:
    """Find the last calibration of this machine; None without one, or without the tables."""
    try:
        with transaction.atomic(using=router.db_for_read(BenchmarkRun)):
            runs = BenchmarkRun.objects.filter(preset=CALIBRATION, status=RunStatus.FINISHED)
            return next(
                (run for run in runs if run.environment.get("machine_hash") == machine_hash), None
            )
    except DatabaseError:
        return None


def mark_baseline(run: BenchmarkRun) -> None:
    """Make this saved run the one that others are compared with."""
    with transaction.atomic(using=router.db_for_write(BenchmarkRun)):
        BenchmarkRun.objects.filter(is_baseline=True).update(is_baseline=False)
        BenchmarkRun.objects.filter(identifier=run.identifier).update(is_baseline=True)
    run.is_baseline = True
