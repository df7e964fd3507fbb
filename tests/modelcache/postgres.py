"""A PostgreSQL cluster of one's own, from the packages of the system."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from redisdict.servers.process import free_port
from tests.modelcache.own_server import make_directory, unprivileged

#: Where Debian and Homebrew have the programs that aren't on the PATH.
PROGRAMS = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin")


class PostgresMissing(Exception):
    """There is no initdb on this machine."""


def has_postgres() -> bool:
    """Whether there is one."""
    try:
        _find_programs()
    except PostgresMissing:
        return False
    return True


class PostgresCluster:
    """Ends with the `with` block. Durability is off: the tests kill clients, not this server.

    PostgreSQL refuses to run as root, who runs it as the user `postgres` or else `nobody`.
    """

    def __init__(self, listen: Literal["unix", "tcp"] = "unix") -> None:
        self._port = free_port() if listen == "tcp" else None
        self._bin = _find_programs()
        user = unprivileged("postgres")
        if user is None:
            raise PostgresMissing("PostgreSQL refuses to run as root, and there is no other user")
        self._user = user
        self.directory = Path(tempfile.gettempdir())

    def __enter__(self) -> Self:
        self.directory = make_directory("redisdict-pg-", self._user)
        data = str(self.directory / "data")
        self._run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8")
        where = f"-k {self.directory} -c listen_addresses=''"
        if self._port is not None:
            where = f"-k {self.directory} -c listen_addresses=127.0.0.1 -p {self._port}"
        options = (
            f"{where} -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
            " -c max_connections=50"
        )
        self._options = options
        self._start()
        return self

    def copy_database(self, name: str, copy: str) -> None:
        """Make a database of another, to which nobody may be connected."""
        port = [] if self._port is None else ["-p", str(self._port)]
        where = ["-h", str(self.directory), *port, "-U", "postgres"]
        self._run("createdb", *where, "--maintenance-db=template1", "-T", name, copy)

    def restart_as_standby(self) -> None:
        """Have it follow a primary that nobody has ever heard of: it can only be read."""
        data = self.directory / "data"
        self._run("pg_ctl", "-D", str(data), "-m", "fast", "-w", "stop")
        (data / "standby.signal").touch()
        self._start()

    def _start(self) -> None:
        data, log = str(self.directory / "data"), str(self.directory / "log")
        self._run("pg_ctl", "-D", data, "-o", self._options, "-l", log, "-w", "start")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        data = str(self.directory / "data")
        self._run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.directory, ignore_errors=True)

    def settings(self, **options: Any) -> dict[str, Any]:
        """An entry of DATABASES; `options` are its OPTIONS."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": str(self.directory) if self._port is None else "127.0.0.1",
            "PORT": "" if self._port is None else str(self._port),
            "OPTIONS": options,
        }

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._bin / program), *arguments],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            **self._user,
        )


def _find_programs() -> Path:
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    found = [
        folder
        for pattern in PROGRAMS
        for folder in sorted(Path("/").glob(pattern[1:]), reverse=True)
        if (folder / "initdb").exists()
    ]
    if not found:
        raise PostgresMissing("PostgreSQL isn't installed: apt install postgresql")
    return found[0]
