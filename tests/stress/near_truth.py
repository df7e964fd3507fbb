"""Eight processes read near and write, while everything is disturbed; no promise may be broken.

    python -m tests.stress.near_truth valkey --seconds 20
    python -m tests.stress.near_truth var/servers/redis-8.2 --reads 1000000
    python -m tests.stress.near_truth valkey --behind sentinels --seconds 60
    python -m tests.stress.near_truth valkey --behind cluster --seconds 60
    python -m tests.stress.near_truth valkey --tracking plain --seconds 20
    python -m tests.stress.near_truth valkey --without 3

Each item is changed by one process alone, to ever greater versions, and all processes know when
each change was answered (`tests.stress.near.board`). A read is judged by that: it may give nothing
that was replaced more than the bound before it began, or before its request began; nothing of this
process's own that was replaced before it began; nothing older than what the same process has read
before, nothing flushed or deleted, and nothing after its end (`tests.stress.near.judge`).

With `--without` a rule of docs/near.md is taken out of the processes, and the run ends with the
first breach that it finds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import django

from redisdict.servers.programs import Program
from tests.stress.near.board import PROCESSES, Board
from tests.stress.near.without import PLAIN_RULES, RULES

#: Seconds that processes have to end by themselves.
LONGEST_S = 200


@dataclass
class Outcome:
    """What a run has seen.

    `oldest_ms` has the greatest age by promise, `after_end_ms` how long after its end a value was
    given at most, and `said` what processes have said that ended by themselves. `doubtful` are
    breaches at a time in which a primary was lost that nobody had taken away, with what it had
    answered.
    """

    reads: int = 0
    judged: int = 0
    hits: int = 0
    missing: int = 0
    errors: int = 0
    seconds: float = 0.0
    oldest_ms: dict[str, float] = field(default_factory=dict)
    after_end_ms: float = 0.0
    disturbed: dict[str, int] = field(default_factory=dict)
    log: list[tuple[str, float, float]] = field(default_factory=list)
    breaches: list[dict[str, Any]] = field(default_factory=list)
    doubtful: list[dict[str, Any]] = field(default_factory=list)
    said: str = ""

    @property
    def share_of_hits(self) -> float:
        return self.hits / max(1, self.reads)

    @property
    def disturbances(self) -> int:
        return sum(self.disturbed.values())


class Crowd:
    """The processes, which are started again when they are killed.

    They are forked by a server that has imported everything, for else half of what a machine does
    in a short run is to import.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.stress.near.prepared"])
        self._processes: dict[int, multiprocessing.process.BaseProcess] = {}

    def start(self, process: int) -> None:
        started = self._context.Process(target=_work, args=(self._directory, process))
        started.start()
        self._processes[process] = started

    def kill(self, process: int) -> None:
        self._processes[process].kill()
        self._processes[process].join()
        self.start(process)

    def pid(self, process: int) -> int:
        pid = self._processes[process].pid
        assert pid is not None
        return pid

    def has_lost_one(self) -> bool:
        return not all(each.is_alive() for each in self._processes.values())

    def end(self) -> bool:
        """Wait for all of them, and tell whether all ended well."""
        deadline = time.monotonic() + LONGEST_S
        for process, each in self._processes.items():
            with suppress(ProcessLookupError):
                os.kill(self.pid(process), signal.SIGCONT)
            each.join(max(0.0, deadline - time.monotonic()))
            if each.is_alive():
                each.kill()
                each.join()
        return all(each.exitcode == 0 for each in self._processes.values())


def _work(directory: Path, process: int) -> None:
    """Be one of the processes."""
    from tests.stress.near.worker import work

    with (directory / "said").open("ab") as said:
        os.dup2(said.fileno(), sys.stderr.fileno())
    work(directory, process)


def run(
    program: Program,
    is_enough: Callable[[Outcome], bool],
    *,
    behind: str = "nothing",
    tracking: str = "auto",
    without: str = "",
    rest_ms: float = 1,
    pause_ms: float = 80,
    disturb_s: float = 0.7,
    only: Collection[str] = (),
    arguments: tuple[str, ...] = (),
) -> Outcome:
    """Run it until it is enough, of reads, seconds or breaches.

    Args:
        behind: "nothing", "sentinels" or "cluster".
        tracking: the setting NEAR_TRACKING.
        without: the rule that is taken out.
        rest_ms: how long each thread and task rests after some 40 reads.
        pause_ms: how long each process pauses between two bursts of writes, on average.
        disturb_s: seconds between two disturbances, on average.
        only: the names of the disturbances, of all there are.
        arguments: for the server.
    """
    from tests.stress.near.disturbing import BehindSentinels, Disturber, InACluster, Servers

    kinds = {"sentinels": BehindSentinels, "cluster": InACluster}
    servers = kinds[behind](program) if behind in kinds else Servers(program, arguments)
    prefix = f"truth-{secrets.token_hex(4)}"
    with TemporaryDirectory() as name, servers.topology:
        directory = Path(name)
        given = {
            "location": servers.location,
            "prefix": prefix,
            "tracking": tracking,
            "without": without,
            "rest_ms": rest_ms,
            "pause_ms": pause_ms,
        }
        (directory / "given").write_text(json.dumps(given))
        board = Board.make(directory / "board")
        crowd = Crowd(directory)
        disturber = Disturber(servers, board, crowd, prefix, disturb_s, only)

        def look() -> bool:
            outcome = _outcome(directory, board, began)
            outcome.disturbed = disturber.done
            return crowd.has_lost_one() or is_enough(outcome)

        began = time.monotonic()
        try:
            for process in range(PROCESSES):
                crowd.start(process)
            while not (crowd.has_lost_one() or _have_all_begun(board)):
                time.sleep(0.05)
            began = time.monotonic()
            disturber.run(look)
        finally:
            board.stop()
            is_well = crowd.end()
        outcome = _outcome(directory, board, began)
        outcome.disturbed, outcome.log = disturber.done, disturber.log
        for began, ended in disturber.doubtful:
            breaches, outcome.breaches = outcome.breaches, []
            for each in breaches:
                in_doubt = began <= each["at"] <= ended
                (outcome.doubtful if in_doubt else outcome.breaches).append(each)
        if not is_well:
            outcome.said = (directory / "said").read_text()[-5000:] or "a process ended"
        return outcome


def _have_all_begun(board: Board) -> bool:
    return all(
        any(lane.reads for lane in board.lanes(process)) and board.hits(process)
        for process in range(PROCESSES)
    )


def _outcome(directory: Path, board: Board, began: float) -> Outcome:
    from tests.stress.near.items import promises_of
    from tests.stress.near.reading import Breaches

    outcome = Outcome(seconds=time.monotonic() - began)
    outcome.breaches = Breaches(directory / "breaches").all()
    for process in range(PROCESSES):
        outcome.hits += board.hits(process)
        promises = promises_of(process)
        for number, lane in enumerate(board.lanes(process)):
            near = str(promises[number % len(promises)])
            outcome.reads += lane.reads
            outcome.judged += lane.judged
            outcome.missing += lane.missing
            outcome.errors += lane.errors
            outcome.oldest_ms[near] = max(outcome.oldest_ms.get(near, 0.0), lane.oldest / 1e6)
            outcome.after_end_ms = max(outcome.after_end_ms, lane.ended / 1e6)
    return outcome


def program_of(given: str) -> Program:
    """Find the program of a family, or take the one at a path."""
    from redisdict.servers.programs import FAMILIES, find_program

    if given in FAMILIES:
        return find_program(given)
    path = Path(given).resolve()
    family = next(family for family in FAMILIES if path.name.startswith(family))
    return Program(family=family, path=path, origin="given")


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", nargs="?", default="valkey", help="a family, or a path")
    parser.add_argument("--behind", choices=("nothing", "sentinels", "cluster"), default="nothing")
    parser.add_argument("--tracking", choices=("auto", "plain"), default="auto")
    parser.add_argument("--without", choices=(*RULES, *PLAIN_RULES), default="")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--reads", type=float, default=float("inf"))
    parser.add_argument("--rest-ms", type=float, default=1)
    parser.add_argument("--pause-ms", type=float, default=80)
    parser.add_argument("--disturb-s", type=float, default=0.7)
    parser.add_argument("--only", action="append", default=[], help="a disturbance")
    parser.add_argument("--argument", action="append", default=[], help="for the server")
    given = parser.parse_args()

    def is_enough(outcome: Outcome) -> bool:
        has_found = bool(given.without and outcome.breaches)
        return has_found or outcome.seconds > given.seconds or outcome.judged > given.reads

    outcome = run(
        program_of(given.server),
        is_enough,
        behind=given.behind,
        tracking=given.tracking,
        without=given.without,
        rest_ms=given.rest_ms,
        pause_ms=given.pause_ms,
        disturb_s=given.disturb_s,
        only=given.only,
        arguments=tuple(given.argument),
    )
    shown = {
        **vars(outcome),
        "breaches": outcome.breaches[:10],
        "doubtful": len(outcome.doubtful),
        "count": len(outcome.breaches),
    }
    for name, value in shown.items():
        print(f"{name}: {value}")
    print(f"share of hits: {outcome.share_of_hits:.2f}")
    return int(bool(outcome.said) or bool(outcome.breaches) != bool(given.without))


if __name__ == "__main__":
    sys.exit(main())
