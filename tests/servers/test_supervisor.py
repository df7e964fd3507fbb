import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from redisdict.servers import supervisor
from tests.servers.conftest import PythonProcess, eventually, is_alive, processes_naming

#: Serves from a directory as a server without a supervisor does: it holds the lock.
ORPHAN = """
import fcntl, os, sys
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
os.write(lock, b"%d " % os.getpid())
print("serves", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_an_orphan_is_ended_with_its_directory(
    root: Path, python: Callable[..., PythonProcess]
) -> None:
    (root / "123.0123abcd").mkdir()
    orphan = python(ORPHAN, root / "123.0123abcd" / supervisor.SERVER_LOCK)
    assert orphan.line() == "serves"

    supervisor.clear_left_behind(root)

    assert not is_alive(orphan.pid)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("text", ["{} ", "", "nonsense"])
def test_a_process_that_only_has_the_number_is_left_alone(
    root: Path, sleeper: subprocess.Popen[bytes], text: str
) -> None:
    """As the server's number was given to another when it had ended, and let go of the lock."""
    directory = root / "123.0123abcd"
    directory.mkdir()
    (directory / supervisor.SERVER_LOCK).write_text(text.format(sleeper.pid))

    supervisor.clear_left_behind(root)

    assert sleeper.poll() is None
    assert list(root.iterdir()) == []


def test_what_has_a_supervisor_and_what_is_somebody_elses_is_left_alone(root: Path) -> None:
    names = ["123.0123abcd", "124-0123abcd", "somebody else's"]
    for name in names:
        (root / name).mkdir()
    lock = os.open(root / names[0], os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)

    supervisor.clear_left_behind(root)

    assert sorted(entry.name for entry in root.iterdir()) == names
    os.close(lock)
    supervisor.clear_left_behind(root)
    assert sorted(entry.name for entry in root.iterdir()) == names[1:]


def test_the_root_goes_with_the_last_and_stays_while_in_use(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with supervisor._locked_root(root):
        (root / "owner").mkdir()
    assert root.stat().st_mode & 0o777 == 0o700
    with supervisor._locked_root(root):
        (root / "owner").rmdir()
    assert not root.exists()


def test_an_owner_that_is_gone_before_it_was_told_anything(tmp_path: Path) -> None:
    directory = tmp_path / "root" / "123.0123abcd"
    command = [sys.executable, "-I", "-S", supervisor.__file__, "own", str(directory)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert list(tmp_path.iterdir()) == []
    assert processes_naming(str(tmp_path)) == []


def test_children_of_a_server_end_with_it(python: Callable[..., PythonProcess]) -> None:
    """Such as the one that it forks to save its data."""
    code = "import os; reading, _ = os.pipe(); print(os.fork(), flush=True); os.read(reading, 1)"
    owner = python(
        f"""
import sys, time
from redisdict.servers.process import _Supervisor
one = _Supervisor()
one.start([sys.executable, "-c", {code!r}])
print(one.directory / "server.log", flush=True)
sys.stdin.read()
"""
    )
    log = Path(owner.line())
    assert eventually(lambda: len(log.read_text().split()) == 2)
    children = [int(word) for word in log.read_text().split()]
    assert is_alive(max(children))
    owner.finish()
    assert eventually(lambda: not is_alive(max(children)))
