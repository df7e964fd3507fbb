"""A MariaDB server of one's own, from the packages of the system."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.modelcache.own_server import make_directory, unprivileged

#: Where Debian and Homebrew have the programs that aren't on a user's PATH.
PLACES = ("/usr/sbin", "/usr/libexec", "/opt/homebrew/opt/mariadb/bin")

#: Seconds in which a server has begun to answer, also on a busy machine.
PATIENCE_S = 60

#: Nothing is written for certain, and little memory is taken: the tests kill clients, not servers.
FAST = (
    "--skip-networking",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=0",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--key-buffer-size=1M",
    "--performance-schema=off",
    "--max-connections=60",
    "--character-set-server=utf8mb4",
    "--log-bin-trust-function-creators=1",
)

#: Without tables of zones Django can't group by days.
UTC = (
    "INSERT INTO mysql.time_zone VALUES (1, 'N')",
    "INSERT INTO mysql.time_zone_name VALUES ('UTC', 1)",
    "INSERT INTO mysql.time_zone_transition_type VALUES (1, 0, 0, 0, 'UTC')",
)


class MariadbMissing(Exception):
    """This machine has no MariaDB, or no driver for it."""


class MariadbServer:
    """Ends with the `with` block. It is reached by a socket in its directory.

    MariaDB refuses to run as root, who runs it as the user `mysql` or else `nobody`.
    """

    def __init__(self) -> None:
        self._server, self._install = _find("mariadbd"), _find("mariadb-install-db")
        if importlib.util.find_spec("MySQLdb") is None:
            raise MariadbMissing("mysqlclient isn't installed: pip install mysqlclient")
        user = unprivileged("mysql")
        if user is None:
            raise MariadbMissing("MariaDB refuses to run as root, and there is no other user")
        self._user = user
        self.directory = Path(tempfile.gettempdir())

    def __enter__(self) -> Self:
        self.directory = make_directory("redisdict-maria-", self._user)
        data = f"--datadir={self.directory / 'data'}"
        log = self.directory / "log"
        try:
            with log.open("w") as told:
                options = ["--auth-root-authentication-method=normal", "--skip-test-db", *FAST]
                self._start(told, self._install, data, *options).wait()
                where = f"--socket={self.socket}"
                self._process = self._start(
                    told, self._server, data, where, f"--pid-file={self.directory / 'pid'}", *FAST
                )
            self._wait_for(log)
            for sql in UTC:
                self.execute(sql)
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def socket(self) -> str:
        """The path of its socket."""
        return str(self.directory / "socket")

    def settings(self, name: str = "shop", **options: Any) -> dict[str, Any]:
        """An entry of DATABASES, whose database is there; `options` are its OPTIONS."""
        self.execute(f"CREATE DATABASE IF NOT EXISTS `{name}`")
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": name,
            "USER": "root",
            "HOST": self.socket,
            "OPTIONS": {"charset": "utf8mb4", **options},
        }

    def execute(self, sql: str) -> None:
        """Execute a statement beneath Django."""
        import MySQLdb

        connection = MySQLdb.connect(unix_socket=self.socket, user="root")
        try:
            connection.cursor().execute(sql)
        finally:
            connection.close()

    def _start(self, told: Any, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [program, "--no-defaults", *arguments]
        # In a directory of several servers they would take the same names for temporary tables.
        own = {**os.environ, "TMPDIR": str(self.directory)}
        return subprocess.Popen(command, cwd="/", stdout=told, stderr=told, env=own, **self._user)

    def _wait_for(self, log: Path) -> None:
        import MySQLdb

        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.execute("SELECT 1")
            except MySQLdb.OperationalError as error:
                if self._process.poll() is None and time.monotonic() < until:
                    time.sleep(0.02)
                    continue
                self._process.kill()
                self._process.wait()
                raise RuntimeError(f"MariaDB doesn't answer: {log.read_text()}") from error


def _find(program: str) -> str:
    places = [os.environ.get("PATH", ""), *PLACES]
    found = shutil.which(program, path=os.pathsep.join(places))
    if found is None:
        raise MariadbMissing("MariaDB isn't installed: apt install mariadb-server")
    return found
