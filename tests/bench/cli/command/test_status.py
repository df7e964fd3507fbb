"""How `manage.py redisbench` ends when something is wrong."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import DatabaseError

from redisdict.bench.choices import CellStatus, RunStatus
from redisdict.bench.errors import WrongReply
from redisdict.bench.operations import OPERATIONS
from redisdict.bench.records import find_run, save_run
from redisdict.bench.workloads.commands import Get
from redisdict.models import BenchmarkRun
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program
from tests.bench.cli.command.calling import ONE, Outcome
from tests.bench.records import changed

pytestmark = pytest.mark.django_db


def test_a_wrong_reply_is_5(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(Get):
        def check(self, replies: object) -> None:
            raise WrongReply("10 GETs found nothing.")

    monkeypatch.setitem(OPERATIONS, "GET", replace(OPERATIONS["GET"], workload=Wrong))
    outcome = Outcome("--spec", spec, *ONE)
    assert outcome.status == 5
    record = find_run("latest")
    assert record.status == RunStatus.PARTIAL
    assert {(one.status, one.reason) for one in record.cells} == {
        (CellStatus.FAILED, "10 GETs found nothing.")
    }


def test_too_noisy_is_4_when_strict(spec: str) -> None:
    assert Outcome("--spec", spec, "--no-save", *ONE).status == 0
    outcome = Outcome("--spec", spec, "--no-save", "--strict", *ONE)
    assert "warning" in outcome.err
    assert outcome.status == (
        4 if "wide-interval" in outcome.err or "noise-floor" in outcome.err else 0
    )


@pytest.mark.usefixtures("packaged_servers_only")
def test_a_service_asked_for_by_name_that_is_not_there_is_3(spec: str) -> None:
    outcome = Outcome("--spec", spec, "--no-save", *ONE, "--service", "keydb", "--verbose")
    assert outcome.status == 3
    assert "not available: No KeyDB program is here" in " ".join(outcome.out.split())


def test_a_server_that_can_not_be_reached_is_3_and_the_rest_goes_on(spec: str) -> None:
    outcome = Outcome(
        "--spec", spec, *ONE, "--service", "gone", "--url", "Gone=redis://127.0.0.1:1"
    )
    assert outcome.status == 3
    record = find_run("latest")
    assert record.status == RunStatus.PARTIAL
    by_service = {one.service: one for one in record.cells}
    assert by_service["Valkey"].status == CellStatus.MEASURED
    assert by_service["Gone"].status == CellStatus.FAILED
    assert "127.0.0.1:1" in by_service["Gone"].reason


def test_what_neither_the_database_nor_a_file_takes_is_told(
    spec: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(record: object) -> None:
        # So that the servers have been able to use it.
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "full"))
        raise DatabaseError("database is locked")

    monkeypatch.setattr("redisdict.bench.records.save_run", fail)
    monkeypatch.setattr("redisdict.bench.measure.session.Session._measure", lambda *_: None)
    outcome = Outcome("--spec", spec, *ONE, "--verbose")
    assert outcome.status == 3
    assert "The database could not be written: database is locked" in outcome.err
    assert "only its report is left" in outcome.err
    assert "Method" in outcome.out


def test_a_full_disk_is_3_and_the_report_is_printed(spec: str) -> None:
    outcome = Outcome("--spec", spec, "--no-save", *ONE, "--output", "/dev/full")
    assert outcome.status == 3
    assert "--output /dev/full could not be written" in outcome.err
    assert "ConnectionPool" in outcome.out


def test_a_regression_against_the_baseline_is_1(spec: str) -> None:
    assert Outcome("--spec", spec, *ONE, "--label", "now").status == 0
    record = find_run("now")
    record.label = "before"
    record.identifier = BenchmarkRun().identifier
    record.cells = [
        _a_billion_times_as_fast(one) if one.pool == "BlockingConnectionPool" else one
        for one in record.cells
    ]
    save_run(record)
    against = ["--baseline", "before", "--fail-threshold", "20"]
    outcome = Outcome("--spec", spec, *ONE, *against)
    assert outcome.status == 1, outcome.err
    assert "1 slower" in outcome.err
    assert outcome.err.endswith("Slower by more than 20 %: exit status 1.\n")
    assert Outcome("compare", "before", "now", "--fail-threshold", "20").status == 1
    assert Outcome("compare", "before", "now", "--fail-threshold", "99.9999999999").status == 0


def _a_billion_times_as_fast(one: Any) -> Any:
    """So fast that no noise of a very short run can hide it."""
    assert one.ratio
    return changed(
        one, ratio=1e9 * one.ratio, ratio_low=0.99e9 * one.ratio, ratio_high=1.01e9 * one.ratio
    )


@pytest.mark.usefixtures("packaged_servers_only")
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
            "none of the chosen tables (--table) has a chosen operation (--operation).",
        ),
        (["--output", "/proc/report"], "--output /proc/report can't be written"),
        (["--resume", "none"], "There is no benchmark run 'none'. `redisbench list`"),
        (["--baseline", "none"], "There is no benchmark run 'none'. `redisbench list`"),
        (["--resume", "1", "--no-save"], "can't be combined with --no-save"),
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
    with pytest.raises(CommandError, match=r"KeyDB: the server at .* is Redis [78]"):
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
