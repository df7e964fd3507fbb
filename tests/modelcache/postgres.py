"""A PostgreSQL cluster of one's own, from the packages of the system, on a unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

#: Where Debian and Homebrew have the programs that aren't on the PATH.
PROGRAMS = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin")


class PostgresMissing(Exception):
    """There is no initdb on this machine."""


class PostgresCluster:
    """Ends with the `with` block. Durability is off: the tests kill clients, not this server.

    PostgreSQL refuses to run as root, who runs it as the user `postgres` or else `nobody`.
    """

    def __init__(self) -> None:
        self._bin = _find_programs()
        self._user = _other_user() if os.geteuid() == 0 else None
        self.directory = Path(tempfile.gettempdir())

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="redisdict-pg-"))
        if self._user is not None:
            os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
        data = str(self.directory / "data")
        self._run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8")
        options = (
            f"-k {self.directory} -c listen_addresses='' -c fsync=off -c synchronous_commit=off"
            " -c full_page_writes=off -c max_connections=50"
        )
        log = str(self.directory / "log")
        self._run("pg_ctl", "-D", data, "-o", options, "-l", log, "-w", "start")
        return self

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
            "HOST": str(self.directory),
            "OPTIONS": options,
        }

    def _run(self, program: str, *arguments: str) -> None:
        user: dict[str, Any] = {}
        if self._user is not None:
            user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        subprocess.run(
            [str(self._bin / program), *arguments],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            **user,
        )


def cluster_for_tests() -> PostgresCluster:
    """A cluster, or the end of the test: a skip on a developer's machine, a failure in CI."""
    try:
        return PostgresCluster()
    except PostgresMissing as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI is set, and no database may be missing there. {error}")
        pytest.skip(str(error))


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


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresMissing("PostgreSQL refuses to run as root, and there is no other user")
