"""Kill the owners of private servers at random moments, and wait until nothing of theirs runs.

    python -m tests.stress.owners valkey --kills 200

Each owner is a forked child that starts servers in one of the ways there are and stops them again.
Half of the owners are killed just before a random line of `redisdict.servers` or of `subprocess`,
which finds the gaps between two steps however short they are; the others after a random part of
the time that such an owner takes, which finds those within a system call.

This process adopts whatever an owner leaves behind (PR_SET_CHILD_SUBREAPER, so Linux only), so it
sees a server end however it was started, and knows that there is none when it has no child left.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import itertools
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import redisdict.servers
from redisdict.servers.embedded import ensure_server, stop_server
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import FAMILIES, Program, find_program
from redisdict.servers.topologies import ClusterTopology, SentinelTopology

_PR_SET_CHILD_SUBREAPER = 36
_DEADLINE_S = 60

_TRACED = (str(Path(redisdict.servers.__file__).parent), subprocess.__file__)

Way = Callable[[Program, Path], None]


def alone(program: Program, _home: Path) -> None:
    with ServerProcess(program):
        pass


def on_a_socket_by_a_thread_that_ends(program: Program, _home: Path) -> None:
    server = ServerProcess(program, listen="unix")
    starter = threading.Thread(target=server.start)
    threading.settrace(sys.gettrace())
    starter.start()
    starter.join()
    server.stop()


def behind_sentinels(program: Program, _home: Path) -> None:
    with SentinelTopology(program, replicas=1, sentinels=1):
        pass


def in_a_cluster(program: Program, _home: Path) -> None:
    with ClusterTopology(program):
        pass


def embedded(program: Program, home: Path) -> None:
    ensure_server(home, program=program.path, linger_s=0.01)
    stop_server(home)


def for_redisbench(program: Program, _home: Path) -> None:
    from redisdict.bench.measure.services import Service, running

    service = Service(
        key=program.family, title="", source="", family=program.family, program=program
    )
    with running(service):
        pass


def ways_of(program: Program) -> list[Way]:
    ways = [alone, on_a_socket_by_a_thread_that_ends, for_redisbench, behind_sentinels]
    return ways if program.family == "dragonfly" else [*ways, in_a_cluster, embedded]


class Moment(NamedTuple):
    """Before a line is carried out for the nth time."""

    file: str
    line: int
    nth: int


class Tracer:
    """Counts the lines of the traced files, and kills this process at its moment."""

    def __init__(self, moment: Moment | None) -> None:
        self.seen: collections.Counter[tuple[str, int]] = collections.Counter()
        self.moment = moment

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(_TRACED):
            return None
        if event == "line":
            self.seen[file, frame.f_lineno] += 1
            if Moment(file, frame.f_lineno, self.seen[file, frame.f_lineno]) == self.moment:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


class Owners:
    """Starts owners of one program, kills them, and sees to what is left.

    `left` are the directories that were found after all processes had ended.
    """

    def __init__(self, program: Program, place: Path) -> None:
        self.program = program
        self.place = place
        self.left: list[str] = []
        self.killed = 0
        (place / "tmp").mkdir()
        self._scouted: dict[Way, tuple[list[Moment], float]] = {}
        self._homes = (place / f"home-{number}" for number in itertools.count())

    def kill_one(self, way: Way) -> None:
        """Start an owner and kill it at a random moment; wait for all of its processes' end."""
        if way not in self._scouted:
            self._scouted[way] = self._scout(way)
        moments, duration_s = self._scouted[way]
        moment = random.choice([None, random.choice(moments)])
        owner = self._start(way, moment)
        if moment is None:
            with _descriptor_of(owner) as ended:
                select.select([ended], [], [], random.uniform(0, duration_s))
                os.kill(owner, signal.SIGKILL)
        _, status = os.waitpid(owner, 0)
        self.killed += os.WIFSIGNALED(status)
        try:
            _wait_for_all()
        except TimeoutError as error:
            what = moment or "some time"
            raise AssertionError(f"{way.__name__}, killed at {what}: {error}") from None
        self._look_around()

    def _scout(self, way: Way) -> tuple[list[Moment], float]:
        """Let an owner come to its end, for the lines that it goes through and the time."""
        reading, writing = os.pipe()
        began = time.monotonic()
        self._start(way, None, tell=writing)
        os.close(writing)
        with open(reading) as report:  # noqa: PTH123 - a descriptor has no Path
            lines: list[tuple[str, int, int]] = json.load(report)
        took = time.monotonic() - began
        _wait_for_all()
        # Loops that wait for something go through their lines often; once or twice is enough.
        return [
            Moment(f, n, nth + 1) for f, n, count in lines for nth in range(min(count, 2))
        ], took

    def _start(self, way: Way, moment: Moment | None, tell: int | None = None) -> int:
        home = next(self._homes)
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            tempfile.tempdir = str(self.place / "tmp")
            tracer = Tracer(moment)
            if moment or tell:
                sys.settrace(tracer)
            way(self.program, home)
            sys.settrace(None)
            if tell:
                lines = [(file, line, count) for (file, line), count in tracer.seen.items()]
                os.write(tell, json.dumps(lines).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(status)

    def _look_around(self) -> None:
        """Note what is there that the next run would find: not even an empty root may be."""
        self.left += [str(entry.relative_to(self.place)) for entry in self.place.glob("tmp/**/*")]
        for entry in self.place.iterdir():
            shutil.rmtree(entry)
        (self.place / "tmp").mkdir()


@contextmanager
def _descriptor_of(pid: int) -> Iterator[int]:
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _wait_for_all() -> None:
    """Wait until this process has no child left. Raises TimeoutError, after it has ended them."""
    old = signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(_DEADLINE_S)
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        return
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def _give_up(*_: object) -> None:
    survivors = _children()
    told = [f"{pid}: {Path(f'/proc/{pid}/cmdline').read_text()}" for pid in survivors]
    with suppress(ChildProcessError):
        while True:  # with each that ends, its own children become ours
            for pid in _children():
                os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)
    raise TimeoutError(f"after {_DEADLINE_S} s there still run {told}")


def _children() -> list[int]:
    return [int(pid) for pid in Path("/proc/thread-self/children").read_text().split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--way", action="append", help="only this way; can be repeated")
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    random.seed(options.seed)
    program = find_program(options.family)
    ways = [way for way in ways_of(program) if not options.way or way.__name__ in options.way]
    with tempfile.TemporaryDirectory(prefix="rd-", dir="/tmp") as place:
        owners = Owners(program, Path(place))
        for number, way in zip(range(options.kills), itertools.cycle(ways), strict=False):
            owners.kill_one(way)
            if sys.stdout.isatty():
                print(f"\r{number + 1} of {options.kills}", end="", flush=True)
    names = ", ".join(way.__name__ for way in ways)
    print(f"{program}: {options.kills} kills ({names}), {owners.killed} before their end; ", end="")
    print(f"no process survived, directories left: {owners.left or 'none'}")
    sys.exit(1 if owners.left else 0)


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    main()
