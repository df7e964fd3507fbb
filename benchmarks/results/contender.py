"""One contender's process, and its turns in the rounds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Self

from redisdict.bench.choices import Table
from redisdict.bench.measure.placement import SAME, SPLIT, UNCONTROLLED
from redisdict.bench.measure.rounds import Block, Clock
from redisdict.bench.spec import SYNC, Cell
from redisdict.exceptions import RedisDictError


class ChildError(RedisDictError):
    """The process of a contender has ended, or got a wrong reply."""


class Contender:
    """A program in a process of its own, for as long as the `with` block lasts.

    Args:
        name: what it is called in the table.
        program: a file of Python, and its arguments.
    """

    def __init__(self, name: str, program: Sequence[str], environ: Mapping[str, str]) -> None:
        self.name = name
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        self.pid = self._process.pid
        #: What it can be asked to do.
        self.calls = self._answer().split(",")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def ask(self, call: str) -> Block:
        """Have a block of calls made and timed."""
        assert self._process.stdin is not None  # it is a pipe
        self._process.stdin.write(f"{call}\n")
        self._process.stdin.flush()
        duration_ns, count = self._answer().split()
        return Block(int(duration_ns), int(count))

    def _answer(self) -> str:
        assert self._process.stdout is not None  # it is a pipe
        verdict, _, rest = self._process.stdout.readline().strip().partition(": ")
        if verdict != "fine":
            raise ChildError(f"{self.name}: {rest or 'its process has ended'}")
        return rest


class Turn:
    """A call of one contender, as the rounds know it; the contender times and checks it."""

    def __init__(self, contender: Contender, call: str, server_pid: int) -> None:
        self.cell = Cell(table=Table.WORKLOADS, service=contender.name, mode=SYNC, operation=call)
        self._contender = contender
        self._call = call
        self._pids = contender.pid, server_pid

    def prepare(self) -> None:
        """Nothing: the contender makes calls that aren't timed before each block."""

    def run(self, clock: Clock) -> Block:
        return self._contender.ask(self._call)

    def check(self) -> None:
        """Nothing: the contender has looked at each reply."""

    def placement(self) -> str:
        """By the CPUs that both are kept on, for neither is running now."""
        if not hasattr(os, "sched_getaffinity"):
            return UNCONTROLLED
        own, servers = map(os.sched_getaffinity, self._pids)
        if len(own) > 1 or len(servers) > 1:
            return UNCONTROLLED
        return SAME if own == servers else SPLIT
