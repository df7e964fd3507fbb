"""Python processes that use servers, for tests of how such processes end."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from tests.waiting import LIMIT_S

REPOSITORY = Path(__file__).parents[2]

ON_LINUX = sys.platform == "linux"


class PythonProcess:
    """Runs code that prints lines; its input stays open until `finish`."""

    def __init__(self, code: str, *arguments: object, temporary: Path | None = None) -> None:
        environment = dict(os.environ)
        if temporary is not None:
            environment["TMPDIR"] = str(temporary)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.__exit__(None, None, None)

    def line(self) -> str:
        """The next line it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the process ended with status {self._process.wait()}"
        return line.rstrip("\n")

    def close_input(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def finish(self) -> int:
        """Close its input, which lets it end by itself; its exit status."""
        self.close_input()
        return self._process.wait(LIMIT_S)

    def end_by(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        self._process.wait(LIMIT_S)


@pytest.fixture
def python() -> Iterator[Callable[..., PythonProcess]]:
    """Starts Python processes that are killed with the test."""
    started: list[PythonProcess] = []

    def start(code: str, *arguments: object, temporary: Path | None = None) -> PythonProcess:
        process = PythonProcess(code, *arguments, temporary=temporary)
        started.append(process)
        return process

    yield start
    for process in started:
        process.__exit__()


@pytest.fixture
def temporary() -> Iterator[Path]:
    """An empty directory with a short name, since sockets go into it."""
    directory = Path(tempfile.mkdtemp(prefix="rd-", dir="/tmp")).resolve()
    yield directory
    shutil.rmtree(directory)


def eventually(is_so: Callable[[], bool], *, within_s: float = LIMIT_S) -> bool:
    """Wait until it is so; false when it never is."""
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_alive(pid: int) -> bool:
    """Whether any thread of that process runs; one that only waits for its parent doesn't.

    The main thread may be through before the others, which keep the files and sockets open.
    """
    if not ON_LINUX:
        return pid in _listed_processes()
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                status = (thread / "stat").read_text()
                if status.rpartition(")")[2].split()[0] not in "ZX":
                    return True
    return False


def processes_naming(text: str) -> list[int]:
    """The processes with that text on their command line, its words separated by blanks."""
    return [pid for pid, command in _listed_processes().items() if text in command]


def _processes_of_linux() -> Iterator[tuple[int, str]]:
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (path / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if (path / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                yield int(path.name), b" ".join(words).decode(errors="replace")


def _listed_processes() -> dict[int, str]:
    """All processes that haven't ended, with their command lines."""
    if ON_LINUX:  # where a small installation has no ps
        return dict(_processes_of_linux())
    listing = subprocess.check_output(
        ["/bin/ps", "-axww", "-o", "pid=", "-o", "stat=", "-o", "command="], text=True
    )
    found = {}
    for line in listing.splitlines():
        pid, state, command = line.split(maxsplit=2)
        if not state.startswith("Z"):
            found[int(pid)] = command
    return found
