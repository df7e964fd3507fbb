"""Runs in the database: saved as they go, loaded equal, found by number or label."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, OperationalError

from redisdict.bench import records
from redisdict.bench.choices import CellStatus, RunStatus, Table
from redisdict.bench.errors import UsageError
from redisdict.bench.records import (
    Recorder,
    check_database,
    find_run,
    mark_baseline,
    save_run,
)
from redisdict.bench.report import FORMATS, render
from redisdict.bench.report.files import from_json, to_json
from redisdict.models import BenchmarkResult, BenchmarkRun
from tests.bench.records import changed, make_record, measured, whole

pytestmark = pytest.mark.django_db


def loaded(run: BenchmarkRun) -> BenchmarkRun:
    """The run as the database has it."""
    return BenchmarkRun.objects.get(pk=run.pk)


def test_a_saved_run_loads_equal() -> None:
    record = make_record(warnings=[{"name": "drift", "text": "…", "advice": "…"}])
    assert whole(loaded(save_run(record))) == whole(record)


def test_export_import_export_is_identical() -> None:
    exported = to_json(loaded(save_run(make_record())))
    BenchmarkRun.objects.all().delete()
    assert to_json(loaded(save_run(from_json(exported)))) == exported


@pytest.mark.parametrize("name", FORMATS)
def test_a_loaded_run_is_reported_as_the_measured_one(name: str) -> None:
    """What was an enumeration's member is a text when it comes from the database."""
    crowded = {"table": Table.CONCURRENCY, "concurrency": 50, "connections": 5}
    reference = {"reference": "Standard Redis SYNC ConnectionPool 50 workers 64 connections GET"}
    failed = {"status": CellStatus.FAILED, "reason": "reset", "ops_per_second": None}
    for run in (
        make_record(),
        make_record(results=[measured(**crowded, details=reference)], comparisons=[]),
        make_record(results=[measured(), changed(measured(operation="SET"), **failed)]),
    ):
        shown = render(run, name)
        assert render(loaded(save_run(run)), name) == shown


def test_saving_again_replaces_what_was_saved() -> None:
    record = make_record()
    first = save_run(record).pk
    record.status = RunStatus.INTERRUPTED
    record.put([changed(record.cells[0], ops_per_second=1.0)])
    record.put([measured(operation="NEW")])
    second = save_run(record)
    assert first == second.pk
    assert BenchmarkRun.objects.count() == 1
    assert BenchmarkResult.objects.count() == len(record.cells)
    assert whole(loaded(second)) == whole(record)


def test_loading_takes_one_query_for_the_results(django_assert_num_queries: Any) -> None:
    run = loaded(save_run(make_record()))
    with django_assert_num_queries(1):
        assert run.cells
        assert run.measured


def test_runs_are_found_by_number_label_and_word() -> None:
    old = save_run(make_record())
    later = make_record().started_at + timedelta(days=1)
    other = make_record(started_at=later, label="after")
    other.identifier = BenchmarkRun().identifier
    new = save_run(other)
    mark_baseline(make_record())
    assert find_run(str(old.pk)) == old
    assert find_run("before") == old
    assert find_run("after") == new
    assert find_run("latest") == new
    assert find_run("baseline") == old


def test_the_latest_of_runs_with_one_label_is_found() -> None:
    save_run(make_record())
    other = make_record(started_at=make_record().started_at + timedelta(days=1))
    other.identifier = BenchmarkRun().identifier
    latest = save_run(other)
    assert find_run("before") == latest


@pytest.mark.parametrize("name", ["99999", "none", "latest", "baseline"])
def test_a_run_that_is_not_there(name: str) -> None:
    with pytest.raises(UsageError, match=f"no benchmark run '{name}'. `redisbench list`"):
        find_run(name)


def test_there_is_one_baseline_at_most() -> None:
    first = make_record()
    second = make_record()
    second.identifier = BenchmarkRun().identifier
    for record in (first, second):
        save_run(record)
        mark_baseline(record)
    assert [run.identifier for run in BenchmarkRun.objects.filter(is_baseline=True)] == [
        second.identifier
    ]


def test_a_locked_database_ends_nothing_and_is_tried_again_at_the_end(monkeypatch: Any) -> None:
    def locked(record: object) -> None:
        raise OperationalError("database is locked")

    recorder = Recorder()
    running = make_record(status=RunStatus.RUNNING)
    with monkeypatch.context() as patch:
        patch.setattr(records, "save_run", locked)
        recorder.save(running)
        assert recorder.failure == "database is locked"
    recorder.save(running)
    assert not BenchmarkRun.objects.exists()
    recorder.save(make_record())
    assert recorder.failure == ""
    assert BenchmarkRun.objects.count() == 1


def test_the_tables_are_there() -> None:
    check_database()


@pytest.mark.django_db(transaction=True)
def test_without_the_migrations_it_says_what_to_run() -> None:
    call_command("migrate", "redisdict", "zero", verbosity=0)
    try:
        with pytest.raises(UsageError, match=r"Run `manage.py migrate` first, or add --no-save"):
            check_database()
    finally:
        call_command("migrate", "redisdict", verbosity=0)


def test_a_database_that_is_away(monkeypatch: Any) -> None:
    def refuse(connection: object) -> None:
        raise DatabaseError("connection refused")

    monkeypatch.setattr(records, "MigrationExecutor", refuse)
    with pytest.raises(UsageError, match=r"'default' can't be used: connection refused.*--no-save"):
        check_database()
