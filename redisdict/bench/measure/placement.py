"""Choose the CPUs that client and server run on, and keep them there.

One GET takes 31 µs with both on one CPU and 114 µs on two, and the scheduler switches between the
two in the middle of a run. So blocks are compared only if both cells were placed alike, and a run
pins whatever it may pin: its own process and the servers that it started.

Some servers are much slower on one CPU; `probe` finds them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redisdict.bench.measure.environment import cpu_ticks

SAME, SPLIT, UNCONTROLLED = "same", "split", "uncontrolled"

#: Nothing is pinned. "auto": `SAME`, and `FREE` for servers that one CPU cripples.
FREE, AUTO = "free", "auto"

#: What `--placement` accepts.
CHOICES = (AUTO, SAME, SPLIT, FREE)

#: The place of "processor" in /proc/PID/stat, counted after the command name (proc(5), field 39).
_PROCESSOR = 36


class PlacementProbe:
    """Says before and after a block whether client and server share a CPU.

    Reading takes two `pread` calls (7 µs) on files that stay open. Without the server's process id,
    or where there is no /proc, every answer is "uncontrolled".

    Args:
        server_pid: the server's process.
        known: the answer, if it is known beforehand: both are pinned, or the server has many
            threads, and any of them may answer.
    """

    def __init__(self, server_pid: int | None, known: str = "") -> None:
        self._files: tuple[int, int] | None = None
        self._known = known
        if known or server_pid is None or not sys.platform.startswith("linux"):
            return
        try:
            server = os.open(f"/proc/{server_pid}/stat", os.O_RDONLY)
        except OSError:
            return
        self._files = (os.open("/proc/thread-self/stat", os.O_RDONLY), server)

    def __call__(self) -> str:
        if self._files is None:
            return self._known or UNCONTROLLED
        client, server = self._files
        try:
            return SAME if _last_cpu(client) == _last_cpu(server) else SPLIT
        except OSError:
            # The server is gone; the block that follows says so better.
            return UNCONTROLLED

    def close(self) -> None:
        for file in self._files or ():
            os.close(file)
        self._files = None


def can_pin() -> bool:
    """Return whether this system lets a process choose its CPU."""
    return hasattr(os, "sched_setaffinity")


@dataclass(frozen=True)
class Cpus:
    """Where a run puts its client, and the servers that it starts."""

    client: int
    server: int

    @property
    def placement(self) -> str:
        return SAME if self.client == self.server else SPLIT


def choose_cpus(placement: str, *, sample_s: float = 0.1) -> Cpus | None:
    """Choose the idlest CPU for the client; for the server the same, or with "split" the next.

    None when nothing is to be pinned: "free", no such system call, or one CPU wanted as two.
    """
    if placement == FREE or not can_pin():
        return None
    allowed = os.sched_getaffinity(0)
    if placement == SPLIT and len(allowed) < 2:
        return None
    before = cpu_ticks()
    time.sleep(sample_s)
    after = cpu_ticks()

    def load(cpu: int) -> int:
        was, now = before.get(f"cpu{cpu}"), after.get(f"cpu{cpu}")
        return now.busy + now.steal - was.busy - was.steal if was and now else 0

    client, *others = sorted(allowed, key=load)
    return Cpus(client, others[0] if placement == SPLIT else client)


@contextmanager
def pinned_client(cpu: int | None) -> Iterator[None]:
    """Keep this thread, and those it starts, on one CPU; None leaves it alone."""
    if cpu is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin_process(pid: int, cpus: Collection[int]) -> None:
    """Keep a server that this run started on these CPUs, with all its threads."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cpus)


def _last_cpu(file: int) -> bytes:
    return os.pread(file, 1024, 0).rpartition(b")")[2].split()[_PROCESSOR]
