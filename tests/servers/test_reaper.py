import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from redisdict.servers import reaper
from tests.servers.conftest import eventually, is_alive, processes_naming


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    # For a moment after the program was replaced it has no command line at all.
    assert eventually(lambda: process.pid in processes_naming("sleep 60"))
    yield process
    process.kill()
    process.wait()


def test_a_recorded_process_is_ended(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    reaper.write_record(tmp_path, sleeper.pid, "sleep")
    assert reaper.recorded_process(tmp_path) == sleeper.pid

    reaper.end_recorded_process(tmp_path)

    assert reaper.recorded_process(tmp_path) is None
    assert sleeper.wait() == -9


@pytest.mark.parametrize("changed", [{"started": "another boot 1"}, {"program": "redis-server"}])
def test_a_process_that_only_has_the_number_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], changed: dict[str, str]
) -> None:
    reaper.write_record(tmp_path, sleeper.pid, "sleep")
    record = tmp_path / "process.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | changed))

    reaper.end_recorded_process(tmp_path)

    assert sleeper.poll() is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x", "started": 1, "program": 2}'])
def test_a_record_that_cannot_be_read_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "process.json").write_text(text)
    assert reaper.recorded_process(tmp_path) is None


def test_a_process_that_waits_for_its_parent_has_ended(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    reaper.write_record(tmp_path, sleeper.pid, "sleep")
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)

    assert reaper.recorded_process(tmp_path) is None


def test_the_root_goes_with_the_last_and_stays_while_in_use(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with reaper.locked_root(root):
        (root / "owner").mkdir()
    assert root.stat().st_mode & 0o777 == 0o700
    with reaper.locked_root(root):
        (root / "owner").rmdir()
    assert not root.exists()


def test_only_directories_of_owners_are_cleared(tmp_path: Path) -> None:
    (tmp_path / "ended").mkdir()
    (tmp_path / "ended" / reaper.OWNER_LOCK).touch()
    (tmp_path / "somebody else's").mkdir()

    reaper.clear_ended_owners(tmp_path)

    assert [entry.name for entry in tmp_path.iterdir()] == ["somebody else's"]


def test_an_owner_killed_in_making_or_clearing_its_directory_is_cleared(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    server = tmp_path / "123-abc" / "server"
    server.mkdir(parents=True)
    (tmp_path / "124-abc").mkdir()
    reaper.write_record(server, sleeper.pid, "sleep")

    reaper.clear_ended_owners(tmp_path)

    assert sleeper.wait() == -9
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_becomes_another_program_has_no_words_for_a_moment(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    reaper.write_record(tmp_path, sleeper.pid, "sleep")
    seen = reaper._describe(sleeper.pid)
    assert seen is not None
    monkeypatch.setattr(reaper, "_describe", lambda _pid: (seen[0], ""))
    assert reaper.recorded_process(tmp_path) == sleeper.pid


def test_nothing_becomes_a_server_once_its_owner_is_being_cleared_away(tmp_path: Path) -> None:
    """Neither where the directory is there yet, nor where it has gone."""
    directory, touched = tmp_path / "root" / "123-abc" / "server", tmp_path / "touched"
    directory.mkdir(parents=True)
    (tmp_path / "root").chmod(0o700)
    for _ in range(2):
        reaper.serve(directory, 0, ["/usr/bin/touch", str(touched)])
        assert not directory.parent.exists()
    assert not touched.exists()


def test_children_of_a_recorded_process_end_with_it(tmp_path: Path) -> None:
    """Such as the one that a server forks to save its data."""
    code = "import os; reading, _ = os.pipe(); print(os.fork(), flush=True); os.read(reading, 1)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        children = [int(parent.stdout.readline()), int(parent.stdout.readline())]
        reaper.write_record(tmp_path, parent.pid, "python")
        reaper.end_recorded_process(tmp_path)
        assert eventually(lambda: not is_alive(max(children)))
