"""However the command ends: finished results are kept, and nothing else is left."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
import redis
from django.db import connection

from redisdict.bench.measure.cleanup import LEDGER
from redisdict.bench.measure.placement import can_pin, pin_process
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program
from tests.backends.proxy import proxy_to
from tests.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[2]

#: After so many seconds a command doesn't end at all.
LONGEST_S = 100

#: GETs on the second server after which rounds have begun, and all of its cells have a figure: five
#: pools call fourteen times a round, and there are five rounds to get warm and six for a figure.
BEGUN, MEASURED = 30, 1000

#: Two groups that are never as precise as they are told to be.
LONG = """
preset = "quick"
tables = ["pools"]
operations = ["get", "set"]
key_count = 10
latency_operations = 20
[precision]
min_rounds = 20
max_rounds = 100000
seconds = 10
half_width = 0.0000001
"""


#: Ends by its rounds, of which a gate in the middle lets fewer pass.
BRIEF = LONG.replace("100000", "40").replace("seconds = 10", "seconds = 600")


started: list[subprocess.Popen[str]] = []


@pytest.fixture(scope="module", autouse=True)
def ended() -> Iterator[None]:
    """What a test that failed has left running."""
    yield
    for process in started:
        process.kill()
        process.communicate()
    started.clear()


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Path:
    """A copy of the tests' own database, which another process would take a second to make."""
    path = tmp_path_factory.mktemp("database") / "db.sqlite3"
    with django_db_blocker.unblock(), closing(sqlite3.connect(path)) as copy:
        connection.ensure_connection()
        connection.connection.backup(copy)
    return path


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(migrated, tmp_path / "db.sqlite3"))


@contextmanager
def pinned_server() -> Iterator[ServerProcess]:
    """Of somebody else; on one CPU, for a figure is made of rounds with the same placement."""
    with ServerProcess(find_program("valkey")) as server:
        if can_pin():
            pin_process(server.pid, {min(os.sched_getaffinity(0))})
        yield server


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with pinned_server() as server:
        yield server


class Gate:
    """The way to a server, closed once so many GETs have passed, until the test opens it.

    So a run is in its middle for as long as a test needs, however fast or slow the machine is.
    """

    def __init__(self, gets: int) -> None:
        self._gets = gets
        self._passed = 0
        self._is_reached = threading.Event()
        self._is_open = threading.Event()
        self.url = ""

    def __call__(self, commands: bytes) -> None:
        self._passed += commands.count(b"\r\nGET\r\n")
        if self._passed > self._gets:
            self._is_reached.set()
            self._is_open.wait()

    def wait(self) -> None:
        """Block until it is closed."""
        assert self._is_reached.wait(LONGEST_S), "the run never came so far"

    def open(self) -> None:
        self._is_open.set()


@contextmanager
def gate_to(server: ServerProcess, gets: int = BEGUN) -> Iterator[Gate]:
    assert server.port is not None
    gate = Gate(gets)
    with proxy_to(server.port, gate) as proxy:
        gate.url = f"redis://127.0.0.1:{proxy.port}"
        try:
            yield gate
        finally:
            gate.open()


def manage(
    database: Path, *arguments: str, stdout: IO[str] | int = subprocess.PIPE
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.bench.endings_settings",
            "BENCHSITE_DATABASE": str(database),
        },
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    return process


def benchmark(
    database: Path, tmp_path: Path, url: str, text: str, *arguments: str
) -> subprocess.Popen[str]:
    """A run on a server of somebody else's, then on one that it starts itself."""
    spec = tmp_path / "spec.toml"
    spec.write_text(text)
    return manage(
        database,
        "redisbench",
        *("--spec", str(spec), "--label", "mine", "--format", "csv"),
        *("--service", "valkey", "--service", "mine", "--url", f"Mine={url}"),
        *arguments,
    )


def children(pid: int) -> list[int]:
    """The processes that this one started, and theirs: servers and their supervisors."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = path.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == pid:
            child = int(path.parent.name)
            found += [child, *children(child)]
    return found


def own_keys(client: redis.Redis) -> int:
    return sum(1 for _ in client.scan_iter(match="redisbench:*", count=1000))


def exported(database: Path) -> dict[str, Any]:
    process = manage(database, "redisbench", "export", "mine")
    out, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0, err
    run: dict[str, Any] = json.loads(out)["run"]
    return run


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.deep)],
)
def test_a_signal_keeps_what_was_finished_and_leaves_nothing(
    database: Path, tmp_path: Path, server: ServerProcess, number: int, status: int
) -> None:
    with server.client() as client, gate_to(server, MEASURED) as gate:
        process = benchmark(database, tmp_path, gate.url, BRIEF)
        gate.wait()
        started = children(process.pid)
        assert started
        process.send_signal(number)
        gate.open()
        out, err = process.communicate(timeout=LONGEST_S)
        assert process.returncode == status, err
        assert f"interrupted by {signal.Signals(number).name}: finished results are kept" in err
        assert "Traceback" not in err
        assert own_keys(client) == 0
        assert client.hlen(LEDGER) == 0
    for pid in started:
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists())
    assert "Mine,measured" not in out
    run = exported(database)
    assert run["status"] == "interrupted"
    assert str(run["error"]).startswith("interrupted by")
    assert len(run["results"]) == 20
    assert statuses(run) == {("Valkey", "measured"), ("Mine", "measured")}


@pytest.mark.deep
def test_a_second_signal_is_obeyed_at_once_and_cleans_up_too(
    database: Path, tmp_path: Path, server: ServerProcess
) -> None:
    with server.client() as client, gate_to(server) as gate:
        process = benchmark(database, tmp_path, gate.url, LONG)
        gate.wait()
        for _ in range(2):
            process.send_signal(signal.SIGINT)
        gate.open()
        _, err = process.communicate(timeout=LONGEST_S)
        assert process.returncode == 130, err
        assert own_keys(client) == 0


@pytest.mark.deep
def test_a_server_that_dies_in_the_middle_is_3_and_the_rest_is_kept_and_completed(
    database: Path, tmp_path: Path, server: ServerProcess
) -> None:
    with gate_to(server) as gate:
        process = benchmark(database, tmp_path, gate.url, BRIEF)
        gate.wait()
        server.kill()
        gate.open()
        _, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 3, err
    assert "Traceback" not in err
    # Of the cell, or where the server is to be met once more, of the group.
    assert re.search(r"Mine: pools(, GET)?: ", err)
    assert "keys of this run may be left on Mine" in err
    before = exported(database)
    assert before["status"] == "partial"
    assert statuses(before) == {("Valkey", "measured"), ("Mine", "failed")}
    with pinned_server() as another:
        err = resume(database, another)
    assert "measuring Valkey" not in err
    after = exported(database)
    assert (after["status"], after["identifier"]) == ("finished", before["identifier"])
    assert statuses(after) == {("Valkey", "measured"), ("Mine", "measured")}


def statuses(run: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["service"], one["status"]) for one in run["results"]}


def resume(database: Path, server: ServerProcess) -> str:
    process = manage(database, "redisbench", "--resume", "mine", "--url", f"Mine={server.url}")
    _, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0, err
    return err


@pytest.mark.deep
def test_what_a_killed_run_left_is_cleared_when_it_is_completed(
    database: Path, tmp_path: Path, server: ServerProcess
) -> None:
    with server.client() as client:
        with gate_to(server) as gate:
            process = benchmark(database, tmp_path, gate.url, BRIEF)
            gate.wait()
            started = children(process.pid)
            process.kill()
            process.communicate(timeout=LONGEST_S)
        assert own_keys(client) > 20
        for pid in started:
            wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists())
        before = exported(database)
        assert before["status"] == "running"
        assert statuses(before) == {("Valkey", "measured")}
        resume(database, server)
        assert own_keys(client) == 0
        assert client.hlen(LEDGER) == 0
    after = exported(database)
    assert after["status"] == "finished"
    assert statuses(after) == {("Valkey", "measured"), ("Mine", "measured")}
    assert first_results(after) == first_results(before)


def first_results(run: dict[str, Any]) -> list[Any]:
    return [one for one in run["results"] if one["service"] == "Valkey"]


@pytest.mark.deep
def test_an_interrupted_run_is_completed(
    database: Path, tmp_path: Path, server: ServerProcess
) -> None:
    with gate_to(server) as gate:
        process = benchmark(database, tmp_path, gate.url, BRIEF)
        gate.wait()
        process.send_signal(signal.SIGINT)
        gate.open()
        process.communicate(timeout=LONGEST_S)
        assert process.returncode == 130
    before = exported(database)
    resume(database, server)
    after = exported(database)
    assert after["status"] == "finished"
    assert after["identifier"] == before["identifier"]
    assert statuses(after) == {("Valkey", "measured"), ("Mine", "measured")}


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.deep)],
)
def test_a_signal_outside_of_a_run_leaves_nothing_either(
    database: Path, number: int, status: int
) -> None:
    process = manage(database, "redisbench", "selftest", "--seconds", "60", "--busy-neighbour")
    # The neighbour, three servers, and their supervisors.
    wait_until(lambda: len(children(process.pid)) > 6)
    started = children(process.pid)
    process.send_signal(number)
    _, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == status, err
    assert err == f"interrupted by {signal.Signals(number).name}\n"
    for pid in started:
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists())


def test_a_full_disk_under_standard_output_keeps_the_run(database: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(LONG.replace("100000", "20"))
    arguments = ["--spec", str(spec), "--label", "mine", "--service", "valkey", "--mode", "sync"]
    with Path("/dev/full").open("w") as full:
        process = manage(database, "redisbench", *arguments, stdout=full)
        _, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 3, err
    assert "Standard output could not be written: [Errno 28] No space left on device" in err
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert statuses(exported(database)) == {("Valkey", "measured")}


@pytest.mark.deep
def test_a_locked_database_keeps_the_run_in_a_file(
    database: Path, tmp_path: Path, server: ServerProcess
) -> None:
    with gate_to(server) as gate:
        process = benchmark(database, tmp_path, gate.url, BRIEF)
        gate.wait()
        blocker = sqlite3.connect(database, isolation_level=None)
        blocker.execute("BEGIN EXCLUSIVE")
        gate.open()
        try:
            _, err = process.communicate(timeout=LONGEST_S)
        finally:
            blocker.rollback()
            blocker.close()
    assert process.returncode == 3, err
    assert "The database could not be written: database is locked" in err
    path = Path(err.split("The run is in ")[1].split(";")[0])
    imported = manage(database, "redisbench", "import", str(path))
    imported.communicate(timeout=LONGEST_S)
    assert imported.returncode == 0
    path.unlink()
    assert exported(database)["status"] == "finished"
