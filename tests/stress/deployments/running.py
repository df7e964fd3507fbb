"""Start an application server, ask it from many threads, and see what it has answered."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from redisdict.servers.process import free_port

__all__ = ["DEPLOYMENTS", "Outcome", "path_of", "program_of", "run"]

ROOT: Final = Path(__file__).resolve().parents[3]
APPLICATION: Final = "tests.stress.deployments.wsgi:application"

#: Seconds until a server has to answer.
LONGEST_S: Final = 60

#: By their names: the command, of which `{port}` and `{processes}` are filled in.
DEPLOYMENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "uwsgi": f"uwsgi --master --need-app --die-on-term --home {sys.prefix} --processes"
        " {processes} --http-socket 127.0.0.1:{port} --disable-logging --listen 64 --module "
        + APPLICATION,
        "uwsgi with threads": f"uwsgi --master --need-app --die-on-term --home {sys.prefix}"
        " --processes {processes} --threads 4 --http-socket 127.0.0.1:{port} --disable-logging"
        f" --listen 64 --module {APPLICATION}",
        "gunicorn": "gunicorn --workers {processes} --bind 127.0.0.1:{port} " + APPLICATION,
        "gunicorn, preload": "gunicorn --preload --workers {processes} --bind 127.0.0.1:{port} "
        + APPLICATION,
        "gunicorn, preload, threads": "gunicorn --preload --workers {processes} --threads 4"
        " --bind 127.0.0.1:{port} " + APPLICATION,
        "gunicorn, gevent": "gunicorn --worker-class gevent --workers {processes}"
        " --bind 127.0.0.1:{port} " + APPLICATION,
        "gunicorn, gevent, preload": "gunicorn --worker-class gevent --preload"
        " --workers {processes} --bind 127.0.0.1:{port} " + APPLICATION,
        "celery": "celery --app tests.stress.deployments.tasks worker --pool prefork"
        " --concurrency {processes} --loglevel WARNING",
    }
)


@dataclass
class Outcome:
    """What all answers together say."""

    reads: int = 0
    wrong: int = 0
    pids: set[int] = field(default_factory=set)
    tokens: list[str] = field(default_factory=list)
    #: The process that uses it, by the id of each connection seen.
    connections: dict[int, set[int]] = field(default_factory=dict)

    def add(self, answer: Mapping[str, Any]) -> None:
        self.reads += answer["reads"]
        self.wrong += answer["wrong"]
        self.pids.add(answer["pid"])
        self.tokens.append(answer["token"])
        self.connections.setdefault(answer["connection"], set()).add(answer["pid"])

    @property
    def shared(self) -> int:
        """How many connections more than one process has used."""
        return sum(len(pids) > 1 for pids in self.connections.values())

    @property
    def repeated(self) -> int:
        """How many tokens were made more than once."""
        return len(self.tokens) - len(set(self.tokens))

    def __str__(self) -> str:
        return (
            f"{len(self.pids)} processes, {self.reads} reads, {self.wrong} wrong,"
            f" {self.shared} shared connections, {self.repeated} repeated tokens"
        )


def program_of(name: str) -> str | None:
    """The path of the server program, beside this Python or on PATH; None if it isn't there."""
    return path_of(DEPLOYMENTS[name].split()[0])


def path_of(program: str) -> str | None:
    """Find a program beside this Python or on PATH; None if it isn't there."""
    return shutil.which(program, path=str(Path(sys.executable).parent)) or shutil.which(program)


def run(
    name: str,
    server_url: str,
    directory: Path,
    *,
    processes: int = 8,
    requests: int = 200,
    count: int = 100,
) -> Outcome:
    """Ask one deployment `requests` times for `count` values in each way.

    Raises:
        RuntimeError: it doesn't answer, or with an error; what it said is quoted.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "tests.stress.deployments.settings",
        "REDISDICT_SERVER": server_url,
        "REDISDICT_DATABASE": str(directory / "database.sqlite3"),
        "REDISDICT_PREFIX": f"deployments-{secrets.token_hex(6)}",
    }
    subprocess.run(
        [sys.executable, "-c", FILL], env=environment, cwd=ROOT, check=True, timeout=LONGEST_S
    )
    environment["REDISDICT_IS_FULL"] = "yes"
    if name == "gunicorn, gevent, preload":
        environment["REDISDICT_PATCH"] = "yes"
    port = free_port()
    command = DEPLOYMENTS[name].format(port=port, processes=processes).split()
    command[0] = str(program_of(name))
    outcome = Outcome()
    with _running(command, environment, directory / "log") as is_alive:
        ask = _ask_celery if name == "celery" else _ask_over_http
        with ThreadPoolExecutor(2 * processes) as threads:
            deadline = time.monotonic() + LONGEST_S

            def answer(_: int) -> Mapping[str, Any]:
                while is_alive() and time.monotonic() < deadline:
                    with suppress(OSError):
                        return ask(port, count, environment)
                    time.sleep(0.05)
                raise RuntimeError("it doesn't answer")

            try:
                answer(0)
                deadline += 10 * LONGEST_S
                for each in threads.map(answer, range(requests)):
                    outcome.add(each)
            except RuntimeError as error:
                said = (directory / "log").read_text(errors="replace")
                raise RuntimeError(f"{name}: {error}. It said:\n{said}") from error
    return outcome


#: Run in a process of its own, for the test's may have other settings.
FILL: Final = """
from django.core.management import call_command
from tests.stress.deployments.reading import write
call_command("migrate", run_syncdb=True, verbosity=0)
write()
"""


@contextmanager
def _running(
    command: list[str], environment: Mapping[str, str], log: Path
) -> Iterator[Callable[[], bool]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield lambda: process.poll() is None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _ask_over_http(port: int, count: int, _environment: Mapping[str, str]) -> Mapping[str, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=LONGEST_S)
    try:
        connection.request("GET", f"/?count={count}")
        response = connection.getresponse()
        body = response.read()
        if response.status != HTTPStatus.OK:
            raise RuntimeError(f"{response.status}: {body.decode(errors='replace')}")
        answer: Mapping[str, Any] = json.loads(body)
        return answer
    finally:
        connection.close()


def _ask_celery(_port: int, count: int, environment: Mapping[str, str]) -> Mapping[str, Any]:
    from celery import Celery

    url = environment["REDISDICT_SERVER"]
    with Celery("deployments", broker=url, backend=url, set_as_current=False) as app:
        sent = app.send_task("tests.stress.deployments.tasks.read_in_task", [count])
        answer: Mapping[str, Any] = sent.get(timeout=LONGEST_S)
        return answer
