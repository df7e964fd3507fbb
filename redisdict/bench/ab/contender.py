"""Start the process of one contender, and let it take its turns in the rounds."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from redisdict.bench.ab.sides import Side
from redisdict.bench.errors import UsageError
from redisdict.bench.measure.placement import SAME, SPLIT, UNCONTROLLED
from redisdict.bench.measure.rounds import Block, Clock
from redisdict.bench.spec import Cell
from redisdict.exceptions import RedisDictError

CHILD = Path(__file__).with_name("child.py")


class ContenderFailed(RedisDictError):
    """The process of a contender has ended, or got a wrong reply."""


class Contender:
    """A program in a process of its own, which is started at once and ends with the `with` block.

    Each line of its input names a call; each line of its output begins with "fine" or "failed".

    Args:
        title: what the report calls it.
        command: the program, and its arguments.
        environment: of its process.

    Raises:
        UsageError: the process can't be started.
    """

    def __init__(self, title: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.title = title
        #: What it can be asked to do, once it is ready.
        self.calls: list[str] = []
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
                env=environment,
                process_group=0,  # Ctrl-C is for the run, which ends its processes in order
            )
        except OSError as error:
            self._said.close()
            raise UsageError(f"{title}: {command[0]} can't be run: {error}.") from error
        self.pid = self._process.pid

    @classmethod
    def of_side(cls, side: Side, url: str, prefix: str) -> Self:
        """Start the process of one side of `redisbench ab`.

        Args:
            url: where its server is.
            prefix: of its keys.
        """
        root = str(side.root) if side.root else None
        task = {"url": url, "prefix": prefix, "alias": dict(side.alias), "root": root}
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return cls(
            side.title,
            [side.python, str(CHILD), json.dumps(task)],
            environment | ({"PYTHONPATH": root} if root else {}),
        )

    def wait(self) -> None:
        """Wait until it is ready.

        Raises:
            UsageError: it ended before; its last word is told.
        """
        try:
            self.calls = self._answer().split(",")
        except ContenderFailed as error:
            self._said.seek(0)
            said = self._said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise UsageError(f"{self.title} can't be measured: {said or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._said.close()

    def ask(self, call: str) -> Block:
        """Let the process make, time and check a block of calls.

        Raises:
            ContenderFailed: a call failed, or the process has ended.
        """
        assert self._process.stdin is not None  # it is a pipe
        try:
            self._process.stdin.write(f"{call}\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ContenderFailed(f"{self.title}: its process has ended") from error
        duration_ns, count = self._answer().split()
        return Block(int(duration_ns), int(count))

    def _answer(self) -> str:
        assert self._process.stdout is not None  # it is a pipe
        verdict, _, rest = self._process.stdout.readline().strip().partition(": ")
        if verdict != "fine":
            raise ContenderFailed(f"{self.title}: {rest or 'its process has ended'}")
        return rest


class Turn:
    """A call of one contender, as the rounds know it; the contender times and checks it."""

    def __init__(self, cell: Cell, contender: Contender, server_pids: tuple[int, ...]) -> None:
        self.cell = cell
        self._contender = contender
        self._pids = (contender.pid, *server_pids)

    def prepare(self) -> None:
        """Nothing: the contender makes calls that aren't timed before each block."""

    def run(self, clock: Clock) -> Block:
        return self._contender.ask(self.cell.operation)

    def check(self) -> None:
        """Nothing: the contender has looked at each reply."""

    def placement(self) -> str:
        """By the CPUs that all are kept on, for none of them is running now."""
        if not hasattr(os, "sched_getaffinity") or len(self._pids) < 2:
            return UNCONTROLLED
        own, *servers = map(os.sched_getaffinity, self._pids)
        if any(len(cpus) > 1 for cpus in (own, *servers)):
            return UNCONTROLLED
        return SAME if all(cpus == own for cpus in servers) else SPLIT
