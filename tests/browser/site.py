"""The demo site as its users run it: a process of its own, with a database and an administrator."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redisdict.servers.process import free_port
from tests.waiting import LIMIT_S

__all__ = ["PASSWORD", "USER", "Site", "running_site"]

PROJECT = Path(__file__).parents[2]
USER = PASSWORD = "admin"

SET_UP = """
import sys
import django
from django.core.management import call_command
django.setup()
"""

ADMINISTERED = f"""
call_command("migrate", verbosity=0)
call_command("createsuperuser", interactive=False, username="{USER}", email="a@example.com")
"""


@dataclass(frozen=True)
class Site:
    """A running site."""

    url: str
    environment: dict[str, str]

    def run(self, code: str, *arguments: str) -> None:
        """Run code with the site's settings, in one process for all that it does."""
        subprocess.run(
            [sys.executable, "-c", SET_UP + code, *arguments],
            cwd=PROJECT,
            env=self.environment,
            check=True,
            timeout=2 * LIMIT_S,
        )

    def manage(self, *arguments: str, timeout_s: float = 100) -> str:
        """Run a command of the site's project, and give back what it printed."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        ).stdout


@contextmanager
def running_site(directory: Path, location: str, code: str = "", *arguments: str) -> Iterator[Site]:
    """A site with its database in `directory` and its dicts at `location`.

    The code runs with the site's settings before the site does.
    """
    port = free_port()
    site = Site(
        url=f"http://127.0.0.1:{port}",
        environment={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "benchsite.settings",
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            "BENCHSITE_DATABASE": str(directory / "site.sqlite3"),
            "REDISDICT_LOCATION": location,
        },
    )
    site.run(ADMINISTERED + code, *arguments)
    with (directory / "site.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"],
            cwd=PROJECT,
            env=site.environment,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(port, process, directory / "site.log")
            yield site
        finally:
            process.terminate()
            process.wait(timeout=LIMIT_S)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the site doesn't answer:\n{log.read_text()}")
