"""`manage.py redisbench` as its users call it, on real servers, with a very short run."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import DatabaseError

from redisdict.bench.errors import WrongReply
from redisdict.bench.leftovers import LEDGER
from redisdict.bench.results import CellStatus, RunStatus
from redisdict.bench.spec import WORKLOADS
from redisdict.bench.store import find_run, load_record, save_record
from redisdict.bench.workloads import cells
from redisdict.bench.workloads.commands import Get
from redisdict.models import BenchmarkRun
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program

pytestmark = pytest.mark.django_db

SHORT = """
preset = "quick"
key_count = 10
iteration_items = 30
latency_operations = 20
concurrency = [3]
connections = [2, 3]
[precision]
min_rounds = 8
max_rounds = 8
seconds = 5
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "short.toml"
    path.write_text(SHORT)
    return str(path)


class Outcome:
    """What a call printed and how it ended."""

    def __init__(self, *arguments: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.status = 0
        try:
            call_command("redisbench", *arguments, stdout=out, stderr=err)
        except SystemExit as end:
            self.status = int(str(end.code))
        self.out, self.err = out.getvalue(), err.getvalue()


@pytest.fixture
def other_server() -> Iterator[ServerProcess]:
    """A server that belongs to somebody else, with a key of theirs."""
    with ServerProcess(find_program("valkey")) as server:
        with server.client() as client:
            client.set("theirs", "1")
        yield server


# A run.


def test_a_run_measures_prints_and_saves(spec: str) -> None:
    outcome = Outcome("--spec", spec, "--label", "mine", "--format", "markdown")
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("# Benchmark Results (Median of up to 8 interleaved rounds)\n")
    record = load_record(find_run("mine"))
    assert record.status is RunStatus.FINISHED
    assert record.finished_at is not None
    measured = [one for one in record.results if one.status is CellStatus.MEASURED]
    # Two services with five pools, Sentinel and Cluster with two; four operations each. Four dicts,
    # five operations.
    assert len(measured) == (5 + 5 + 2 + 2) * 4 + 4 * 5
    for one in measured:
        assert one.ops_per_second
        assert one.p50_us
        assert one.max_us
        assert one.client_cpu_us
        assert one.ratio
        assert one.details["latency_histogram_ns"]
    assert record.noise_floor is not None
    assert {one["kind"] for one in record.comparisons} == {
        "A/A", "layout", "mode", "pool", "service",
    }  # fmt: skip
    valkey = record.environment["servers"]["Valkey"]
    assert valkey["name"].startswith("Valkey 9")
    assert valkey["resp_version"] == 3
    assert "measuring Valkey: pools" in outcome.err


def test_many_workers_and_further_workloads(spec: str) -> None:
    tables = ["--table", "concurrency", "--table", "workloads"]
    outcome = Outcome("--spec", spec, "--label", "mine", "--service", "valkey", *tables)
    assert outcome.status == 0, outcome.err
    record = load_record(find_run("mine"))
    measured = [one for one in record.results if one.status is CellStatus.MEASURED]
    # Two pools go without the small size.
    assert sum(one.concurrency == 3 for one in measured) == (5 * 2 - 2) * 4
    assert sum(one.concurrency == 1 for one in measured) == 2 * len(WORKLOADS)
    left_out = [one for one in record.results if one.status is CellStatus.UNAVAILABLE]
    assert {(one.pool, one.connections) for one in left_out} == {
        ("AsyncConnectionPool", 2),
        ("ConnectionPool", 2),
    }
    if shutil.which("redis-benchmark"):
        assert "redis-benchmark over 3 connections to Valkey" in " ".join(outcome.out.split())


def test_a_service_that_is_not_there_has_its_row_in_its_place(spec: str) -> None:
    outcome = Outcome(
        "--spec", spec, "--no-save", "--operation", "get", "--table", "pools", "--format", "json"
    )
    services = [one["service"] for one in json.loads(outcome.out)["run"]["results"]]
    assert list(dict.fromkeys(services)) == [
        "Standard Redis", "KeyDB", "Dragonfly", "Valkey", "Redis Sentinel", "Redis Cluster",
    ]  # fmt: skip
    assert not BenchmarkRun.objects.exists()


def test_selection(spec: str) -> None:
    chosen = ["--service", "valkey", "--mode", "async", "--pool", "OptimizedAsyncConnectionPool"]
    outcome = Outcome("--spec", spec, "--no-save", "--format", "csv", *chosen, "--operation", "set")
    rows = [line.split(",") for line in outcome.out.splitlines()]
    assert {tuple(row[5:9]) for row in rows[1:]} == {
        ("Valkey", "", "ASYNC", "OptimizedAsyncConnectionPool")
    }
    assert [row[10] for row in rows[1:]] == ["SET", "Set", "Set"]


@pytest.mark.parametrize("name", ["table", "markdown", "json", "csv"])
def test_the_report_goes_to_the_file(spec: str, tmp_path: Path, name: str) -> None:
    path = tmp_path / "report"
    chosen = ["--service", "valkey", "--operation", "get", "--table", "pools"]
    outcome = Outcome("--spec", spec, "--no-save", *chosen, "--format", name, "--output", str(path))
    assert (outcome.status, outcome.out) == (0, "")
    assert "ConnectionPool" in path.read_text()


def test_keys_on_another_ones_server_are_removed(spec: str, other_server: ServerProcess) -> None:
    url = f"Mine={other_server.url}"
    outcome = Outcome("--spec", spec, "--no-save", "--service", "mine", "--url", url)
    assert outcome.status == 0, outcome.err
    assert "warning placement-uncontrolled" not in outcome.err
    with other_server.client() as client:
        assert client.keys() == [b"theirs"]


# Exit statuses.


ONE = ["--service", "valkey", "--operation", "get", "--mode", "sync", "--table", "pools"]


def test_a_wrong_reply_is_5(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(Get):
        def check(self, replies: object) -> None:
            raise WrongReply("10 GETs found nothing.")

    monkeypatch.setattr(cells, "COMMANDS", {**cells.COMMANDS, "GET": Wrong})
    outcome = Outcome("--spec", spec, *ONE)
    assert outcome.status == 5
    record = load_record(find_run("latest"))
    assert record.status is RunStatus.PARTIAL
    assert {(one.status, one.reason) for one in record.results} == {
        (CellStatus.FAILED, "10 GETs found nothing.")
    }


def test_too_noisy_is_4_when_strict(spec: str) -> None:
    assert Outcome("--spec", spec, "--no-save", *ONE).status == 0
    outcome = Outcome("--spec", spec, "--no-save", "--strict", *ONE)
    assert "warning" in outcome.err
    assert outcome.status == (
        4 if "wide-interval" in outcome.err or "noise-floor" in outcome.err else 0
    )


def test_a_service_asked_for_by_name_that_is_not_there_is_3(spec: str) -> None:
    outcome = Outcome("--spec", spec, "--no-save", *ONE, "--service", "keydb")
    assert outcome.status == 3
    assert "not available: No KeyDB program is here" in " ".join(outcome.out.split())


def test_a_server_that_can_not_be_reached_is_3_and_the_rest_goes_on(spec: str) -> None:
    outcome = Outcome(
        "--spec", spec, *ONE, "--service", "gone", "--url", "Gone=redis://127.0.0.1:1"
    )
    assert outcome.status == 3
    record = load_record(find_run("latest"))
    assert record.status is RunStatus.PARTIAL
    by_service = {one.service: one for one in record.results}
    assert by_service["Valkey"].status is CellStatus.MEASURED
    assert by_service["Gone"].status is CellStatus.FAILED
    assert "127.0.0.1:1" in by_service["Gone"].reason


def test_what_neither_the_database_nor_a_file_takes_is_told(
    spec: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(record: object) -> None:
        # So that the servers have been able to use it.
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "full"))
        raise DatabaseError("database is locked")

    monkeypatch.setattr("redisdict.bench.store.save_record", fail)
    monkeypatch.setattr("redisdict.bench.session.Session._measure", lambda *_: None)
    outcome = Outcome("--spec", spec, *ONE)
    assert outcome.status == 3
    assert "The database could not be written: database is locked" in outcome.err
    assert "The run is lost but for its report" in outcome.err
    assert "Method" in outcome.out


def test_a_full_disk_is_3_and_the_report_is_printed(spec: str) -> None:
    outcome = Outcome("--spec", spec, "--no-save", *ONE, "--output", "/dev/full")
    assert outcome.status == 3
    assert "--output /dev/full could not be written" in outcome.err
    assert "ConnectionPool" in outcome.out


def test_a_regression_against_the_baseline_is_1(spec: str) -> None:
    assert Outcome("--spec", spec, *ONE, "--label", "now").status == 0
    record = load_record(find_run("now"))
    record.label = "before"
    record.identifier = BenchmarkRun().identifier
    record.results = [
        _a_thousand_times_as_fast(one) if one.pool == "BlockingConnectionPool" else one
        for one in record.results
    ]
    save_record(record)
    against = ["--baseline", "before", "--fail-threshold", "20"]
    outcome = Outcome("--spec", spec, *ONE, *against)
    assert outcome.status == 1, outcome.err
    assert "1 slower" in outcome.err
    assert Outcome("compare", "before", "now", "--fail-threshold", "20").status == 1
    assert Outcome("compare", "before", "now", "--fail-threshold", "99.99").status == 0


def _a_thousand_times_as_fast(one: Any) -> Any:
    """So fast that no noise of a very short run can hide it."""
    assert one.ratio
    return replace(
        one, ratio=1000 * one.ratio, ratio_low=990 * one.ratio, ratio_high=1010 * one.ratio
    )


# Mistakes: one line, the next step, nothing measured.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--service", "valky"], "--service 'valky' is unknown. Did you mean 'valkey'?"),
        (["--pool", "Conection"], "--pool 'Conection' is unknown. Did you mean"),
        (["--mode", "asynk"], "--mode 'asynk' is unknown. Did you mean 'ASYNC'?"),
        (["--service", "keydb"], "None of the services can be measured. KeyDB: No KeyDB program"),
        (
            ["--service", "gone", "--url", "Gone=redis://127.0.0.1:1/0"],
            "None of the services can be measured. Gone: Gone at redis://127.0.0.1:1/0",
        ),
        (["--url", "redis://127.0.0.1:1/0"], '"TITLE=redis://HOST:PORT/0" is expected'),
        (["--url", "Far=redis://192.0.2.1/0"], "on another machine"),
        (
            ["--service", "valkey", "--operation", "pipe", "--table", "dict"],
            "Nothing is left to measure: no --table has such an --operation.",
        ),
        (["--output", "/proc/report"], "--output /proc/report can't be written"),
        (["--resume", "none"], "There is no benchmark run 'none'. `redisbench list`"),
        (["--baseline", "none"], "There is no benchmark run 'none'. `redisbench list`"),
        (["--resume", "1", "--no-save"], "can't go with --no-save"),
        (["--spec", "/none.toml"], "--spec /none.toml can't be read: No such file"),
        (["show", "77"], "There is no benchmark run '77'"),
        (["import", "/none.json"], "/none.json can't be read"),
    ],
)
def test_a_mistake_is_one_line_with_the_next_step(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError) as caught:
        Outcome(*arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.returncode == 1
    assert not BenchmarkRun.objects.filter(status=RunStatus.FINISHED).exists()


def test_a_wrong_password_is_told_without_the_password() -> None:
    with ServerProcess(find_program("valkey"), password="right") as server:
        url = f"Mine=redis://:wrong-secret@{server.address}/0"
        with pytest.raises(CommandError) as caught:
            Outcome("--quick", "--service", "mine", "--url", url)
    assert "Check the address and the password" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_two_names_for_one_server_are_5(other_server: ServerProcess) -> None:
    urls = ["--url", f"One={other_server.url}", "--url", f"Two={other_server.url}"]
    with pytest.raises(CommandError, match="'One' and 'Two' are one server") as caught:
        Outcome("--quick", "--no-save", "--service", "one", "--service", "two", *urls)
    assert caught.value.returncode == 5


def test_an_address_under_a_false_name(redis_server: ServerProcess) -> None:
    url = f"KeyDB={redis_server.url}"
    with pytest.raises(CommandError, match=r"KeyDB: the server at .* is Redis 7"):
        Outcome("--quick", "--no-save", "--service", "keydb", "--url", url)


@pytest.mark.parametrize(
    "arguments", [["--format", "xml"], ["--seconds", "0"], ["--fail-threshold", "100"], ["prune"]]
)
def test_wrong_arguments_are_2(arguments: list[str]) -> None:
    from redisdict.management.commands.redisbench import Command

    with redirect_stderr(io.StringIO()) as err, pytest.raises(SystemExit) as caught:
        Command().run_from_argv(["manage.py", "redisbench", *arguments])
    assert caught.value.code == 2
    assert "error:" in err.getvalue()


# Saved runs.


def test_the_life_of_a_saved_run(spec: str, tmp_path: Path) -> None:
    assert "redisbench --quick" in Outcome("list").err
    Outcome("--spec", spec, *ONE, "--label", "first", "--mark-baseline")
    Outcome("--spec", spec, *ONE, "--label", "second")
    listed = [line.split("\t") for line in Outcome("list").out.splitlines()]
    assert [row[-1] for row in listed] == ["second", "first (baseline)"]
    assert "BlockingConnectionPool" in Outcome("show", "first").out
    compared = Outcome("compare", "baseline", "latest", "--fail-threshold", "99")
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
    for label in ("a", "b", "c", "d"):
        Outcome(
            "--spec", spec, *ONE, "--label", label, *(["--mark-baseline"] if label == "a" else [])
        )
    assert Outcome("prune", "--keep", "2").out == "1\n"
    assert list(BenchmarkRun.objects.values_list("label", flat=True)) == ["d", "c", "a"]


def test_resuming_measures_what_is_missing_and_nothing_else(spec: str) -> None:
    chosen = ["--operation", "get", "--table", "pools", "--mode", "sync"]
    Outcome("--spec", spec, *chosen, "--service", "redis", "--service", "valkey", "--label", "mine")
    record = load_record(find_run("mine"))
    record.status = RunStatus.INTERRUPTED
    record.results = [one for one in record.results if one.service == "Standard Redis"]
    save_record(record)
    outcome = Outcome("--resume", "mine", "--format", "json")
    assert outcome.status == 0, outcome.err
    assert "measuring Valkey: pools" in outcome.err
    assert "measuring Standard Redis: pools" not in outcome.err
    completed = load_record(find_run("mine"))
    assert completed.status is RunStatus.FINISHED
    assert completed.identifier == record.identifier
    assert completed.results[:2] == record.results
    assert [one.service for one in completed.results] == ["Standard Redis"] * 2 + ["Valkey"] * 2


# The rest.


def test_services_are_listed_with_where_they_come_from(other_server: ServerProcess) -> None:
    lines = Outcome("services", "--url", f"Mine={other_server.url}").out.splitlines()
    rows = {line.split("\t")[1]: line.split("\t") for line in lines}
    assert list(rows) == [
        "Standard Redis", "KeyDB", "Dragonfly", "Valkey", "Redis Sentinel", "Redis Cluster", "Mine",
    ]  # fmt: skip
    assert "started for this run from" in rows["Valkey"][2]
    assert "compose.yaml" in rows["KeyDB"][3]
    assert rows["Mine"][2:] == ["--url", f"redis://{other_server.address}/0"]


def test_the_doctor_knows_the_machine_and_the_floor() -> None:
    outcome = Outcome("doctor")
    assert "ok machine: " in outcome.out
    assert "other processes: took" in outcome.out
    assert "over a bare socket and" in outcome.out


def test_the_self_test_finds_what_is_there() -> None:
    outcome = Outcome("selftest", "--seconds", "1")
    assert "a delay of 5% found: " in outcome.out
    assert "no false alarm: " in outcome.out
    assert outcome.status == (4 if "WRONG" in outcome.out else 0)


def test_nothing_is_noted_on_servers_of_the_run_itself(spec: str, valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        before = client.hlen(LEDGER)
        Outcome("--spec", spec, "--no-save", *ONE)
        assert client.hlen(LEDGER) == before
