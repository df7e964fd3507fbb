"""The server of a run, and where each client finds its part of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import redis

from redisdict.bench.measure.placement import Cpus, pin_process
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import ProgramMissing, find_embeddable_program, find_program

__all__ = ["DATABASES", "Server", "Target", "started_server"]

#: Each client of each table has a database of its own: nobody's SCAN walks over another's keys, and
#: no client finds the pool of an ended event loop that it keeps by address.
DATABASES = 256


@dataclass(frozen=True, kw_only=True)
class Target:
    """One database of the server, by TCP and by unix socket."""

    port: int
    path: Path
    db: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/{self.db}"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.path}?db={self.db}"


@dataclass(frozen=True, kw_only=True)
class Server:
    """The server, started for this run alone."""

    name: str
    pid: int
    port: int
    path: Path
    _free: Iterator[int] = field(default_factory=partial(iter, range(DATABASES)))

    def new_target(self) -> Target:
        """A database that nobody has used."""
        return Target(port=self.port, path=self.path, db=next(self._free))

    def empty(self) -> None:
        """Remove whatever was stored; it is this run's own server."""
        with redis.Redis(port=self.port) as client:
            client.flushall()


@contextmanager
def started_server(cpus: Cpus | None) -> Iterator[Server]:
    """A Redis, or where there is none the Valkey that this package brings along.

    Args:
        cpus: where to keep it; None leaves it to the system.
    """
    try:
        program = find_program("redis")
    except ProgramMissing:
        program = find_embeddable_program()
    process = ServerProcess(
        program, arguments=("--unixsocket", "sock", "--databases", str(DATABASES))
    )
    with process:
        if cpus is not None:
            pin_process(process.pid, {cpus.server})
        yield Server(
            name=f"{program.path.name} {program.version}",
            pid=process.pid,
            port=process.port,
            path=process.directory / "sock",
        )
