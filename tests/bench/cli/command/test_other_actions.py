"""What `manage.py redisbench` does besides measuring."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError

from redisdict.bench.choices import RunStatus
from redisdict.bench.cli import inspect
from redisdict.bench.measure.statistics import Ratio, Verdict
from redisdict.bench.noise import CALLS
from redisdict.bench.records import find_run, save_run
from redisdict.bench.selftest import Finding, SelfTest
from redisdict.bench.spec import PRESETS
from redisdict.models import BenchmarkRun
from redisdict.servers.process import ServerProcess
from tests.bench.cli.command.calling import ONE, Outcome
from tests.bench.records import values_of, whole
from tests.conftest import program_for_tests

pytestmark = pytest.mark.django_db

UNSAVED = ("--no-save", "--format", "json")


def test_the_life_of_a_saved_run(spec: str, tmp_path: Path) -> None:
    assert "redisbench --quick" in Outcome("list").err
    Outcome("--spec", spec, *ONE, "--label", "first", "--mark-baseline")
    Outcome("--spec", spec, *ONE, "--label", "second")
    listed = [line.split("\t") for line in Outcome("list").out.splitlines()]
    assert [row[-1] for row in listed] == ["second", "first (baseline)"]
    assert [row[-2] for row in listed] == [f"{run.noise:.1%}" for run in BenchmarkRun.objects.all()]
    assert Outcome("baseline", "second").status == 0
    assert find_run("baseline").label == "second"
    Outcome("baseline", "first")
    assert "BlockingConnectionPool" in Outcome("show", "first").out
    compared = Outcome("compare", "baseline", "latest", "--fail-threshold", "99", "--verbose")
    assert re.search(
        r"SYNC BlockingConnectionPool +GET .* (same|unsure|faster|slower)", compared.out
    )
    assert "not comparable: it is the reference" in compared.out
    exported = Outcome("export", "first").out
    path = tmp_path / "run.json"
    assert Outcome("export", "first", "--output", str(path)).out == ""
    assert path.read_text() == exported
    BenchmarkRun.objects.all().delete()
    number = Outcome("import", str(path)).out.strip()
    assert Outcome("export", number).out == exported
    assert Outcome("prune", "--keep", "5").out == "0\n"


def test_pruning_keeps_the_latest_and_baselines(spec: str) -> None:
    Outcome("--spec", spec, *ONE, "--label", "a", "--mark-baseline")
    for number, label in enumerate("bcd"):
        run = find_run("a")
        run.label, run.identifier, run.is_baseline = label, BenchmarkRun().identifier, False
        run.started_at += timedelta(minutes=number + 1)
        save_run(run)
    assert Outcome("prune", "--keep", "2").out == "1\n"
    assert list(BenchmarkRun.objects.values_list("label", flat=True)) == ["d", "c", "a"]


def test_resuming_a_finished_run_leaves_it_as_it_is(spec: str) -> None:
    Outcome("--spec", spec, *ONE, "--label", "mine")
    before = whole(find_run("mine"))
    outcome = Outcome("--resume", "mine", "--verbose")
    assert outcome.status == 0
    assert outcome.err.startswith("mine (")
    assert "is finished; there is nothing left to measure" in outcome.err
    assert "BlockingConnectionPool" in outcome.out
    assert whole(find_run("mine")) == before


def test_resuming_measures_what_is_missing_and_nothing_else(spec: str) -> None:
    program_for_tests("redis")
    chosen = ["--operation", "get", "--table", "pools", "--mode", "sync"]
    Outcome("--spec", spec, *chosen, "--service", "redis", "--service", "valkey", "--label", "mine")
    record = find_run("mine")
    record.status = RunStatus.INTERRUPTED
    record.cells = [one for one in record.cells if one.service == "Standard Redis"]
    save_run(record)
    outcome = Outcome("--resume", "mine", "--format", "json")
    assert outcome.status == 0, outcome.err
    assert "measuring Valkey: pools" in outcome.err
    assert "measuring Standard Redis: pools" not in outcome.err
    completed = find_run("mine")
    assert completed.status == RunStatus.FINISHED
    assert completed.identifier == record.identifier
    assert [*map(values_of, completed.cells[:2])] == [*map(values_of, record.cells)]
    assert [one.service for one in completed.cells] == ["Standard Redis"] * 2 + ["Valkey"] * 2


@pytest.mark.usefixtures("packaged_servers_only")
def test_services_are_listed_with_where_they_come_from(other_server: ServerProcess) -> None:
    lines = Outcome("services", "--url", f"Mine={other_server.url}").out.splitlines()
    rows = {line.split("\t")[1]: line.split("\t") for line in lines}
    assert list(rows) == [
        "Standard Redis", "KeyDB", "Dragonfly", "Valkey", "Redis Sentinel", "Redis Cluster", "Mine",
    ]  # fmt: skip
    assert "started for this run from" in rows["Valkey"][2]
    assert "docker run" in rows["KeyDB"][3]
    assert rows["Mine"][2:] == ["--url", f"redis://{other_server.address}/0"]


def test_the_doctor_knows_the_machine_and_the_floor() -> None:
    outcome = Outcome("doctor")
    assert "ok machine: " in outcome.out
    assert "other processes: took" in outcome.out
    assert "over a bare socket and" in outcome.out


def test_a_calibration_is_a_run_that_later_runs_take_over(
    spec: str, spec_of_two_starts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ("--spec", spec, *UNSAVED, *ONE)
    monkeypatch.setattr("redisdict.bench.calibration.ARGUMENTS", short)
    outcome = Outcome("doctor", "--calibrate", "3")
    assert re.fullmatch(r"calls: equal runs deviate by \d+\.\d%\n", outcome.out), outcome.err
    assert "run 3 of 3" in outcome.err
    run = find_run("calibration over 3 runs")
    assert (run.preset, run.status) == ("calibration", RunStatus.FINISHED)
    Outcome("--spec", spec_of_two_starts, *ONE, "--label", "later")
    later = find_run("later")
    between = later.environment["between_runs"]
    assert between["source"] == f"the calibration of {run.started_at:%Y-%m-%d %H:%M}"
    of_one_start = run.environment["between_runs"]["deviations"]["calls"]
    averaged = max(of_one_start / math.sqrt(2), CALLS.process)
    assert between["deviations"]["calls"] == pytest.approx(averaged)
    assert Outcome("prune", "--keep", "1").out == "0\n"


def test_a_calibration_whose_run_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "redisdict.bench.calibration.ARGUMENTS", ("--quick", *UNSAVED, "--service", "none")
    )
    with pytest.raises(CommandError, match=r"ended with 1: .*--service 'none' is unknown"):
        Outcome("doctor", "--calibrate", "3")


def test_the_self_test_says_what_it_found_and_ends_accordingly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    standard = PRESETS["standard"]
    precision = replace(standard.precision, server_starts=2)
    presets = {"standard": replace(standard, precision=precision)}
    monkeypatch.setattr("redisdict.bench.selftest.PRESETS", presets)
    outcome = Outcome("selftest", "--seconds", "1")
    broken = [line for line in outcome.out.splitlines() if line.startswith("broken promise: ")]
    assert outcome.status == (4 if broken else 0)
    # What a busy machine may keep it from finding, it says.
    for summary, missing in (
        ("no false alarm: ", "equal servers: there is no ratio"),
        ("a delay of 2% found: ", "a delay of 2%: there is no ratio"),
        ("a delay of 5% found: ", "a delay of 5%: there is no ratio"),
    ):
        assert summary in outcome.out or f"broken promise: {missing}" in outcome.out


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (0.005, 0, ""),
        (0.02, 4, "0 of 1 ratios may be off by more than 1%, and 1 are: GET +2.000%"),
    ],
)
def test_the_self_test_fails_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, error: float, status: int, reason: str
) -> None:
    found = [
        Finding("GET", delay, Ratio(value, value, value, 1000), verdict)
        for delay, value, verdict in (
            (0.0, 1 + error, Verdict.SAME),
            (0.02, 1 / 1.02, Verdict.SLOWER),
            (0.05, 1 / 1.05, Verdict.SLOWER),
        )
    ]
    monkeypatch.setattr(inspect, "selftest", lambda _seconds, seed: SelfTest(found, {}))
    outcome = Outcome("selftest")
    assert outcome.status == status
    assert "WRONG" not in outcome.out
    assert outcome.out.endswith(f"broken promise: equal servers: {reason}\n") is bool(reason)
