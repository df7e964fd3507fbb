"""One server, started by this process and for it alone."""

import atexit
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, cast
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redisdict.servers.dialects import LOOPBACK, command_line
from redisdict.servers.ledger import (
    ServerStartError,
    discard_directory,
    new_directory,
    noted_command,
)
from redisdict.servers.listeners import free_port, is_free, listens_on
from redisdict.servers.programs import Program

__all__ = ["ServerProcess", "ServerStartError"]

_PORT_ATTEMPTS = 5
_QUOTED_LOG_LINES = 15

_owned_here: set["ServerProcess"] = set()


class ServerProcess:
    """A server on a free port of 127.0.0.1, or on a unix socket, in a private directory.

    Ready means that the answer came from this very process: a neighbour that took the port
    meanwhile is noticed, and another port tried. It ends with `stop()`, with the `with` block, at
    the interpreter's exit, and, however the interpreter ends, through the reaper; a forked child
    can't stop it. It leads a session of its own, so that Ctrl-C in a terminal reaches the program
    that uses it and not the server.

    `arguments` are given to the program as they are, after ours. `config` is the text of a
    configuration file, for what has to be in one. The password, if any, can be seen by other
    users of this machine in the list of processes.
    """

    def __init__(
        self,
        program: Program,
        *,
        listen: Literal["tcp", "unix"] = "tcp",
        arguments: Sequence[str] = (),
        config: str | None = None,
        password: str | None = None,
    ) -> None:
        self.program = program
        self.directory = new_directory()
        self.port = 0
        self.socket_path = self.directory / "sock" if listen == "unix" else None
        self._arguments = tuple(arguments)
        self._password = password
        self._config: Path | None = None
        if config is not None:
            self._config = self.directory / "server.conf"
            self._config.write_text(config)
        self._owner_pid = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        _owned_here.add(self)

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.is_running else "not running"
        return f"<{type(self).__name__} {self.program.path.name} on {self.address}, {state}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """Where it listens, without the password: "127.0.0.1:15123" or the socket's path."""
        return str(self.socket_path) if self.socket_path else f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """The address as redis-py and the `LOCATION` setting take it, with the password."""
        login = f":{quote(self._password, safe='')}@" if self._password is not None else ""
        if self.socket_path:
            return f"unix://{login}{quote(str(self.socket_path))}?db=0"
        return f"redis://{login}{self.address}/0"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerStartError(f"{self.program.path.name} on {self.address} was not started.")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """All that the server has written so far."""
        return (self.directory / "server.log").read_text(errors="replace")

    def client(self, *, timeout_s: float = 5.0) -> redis.Redis:
        """A new client that doesn't retry; the caller closes it."""
        return redis.Redis.from_url(
            self.url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )

    def start(self, timeout_s: float = 10.0) -> Self:
        """Start it and wait until it answers; also again after `kill`, on the same address.

        Raises `ServerStartError`, which quotes the server's log.
        """
        self.launch()
        self.wait_until_ready(timeout_s)
        return self

    def launch(self) -> None:
        """Start it and don't wait, so that several can start side by side."""
        if os.getpid() != self._owner_pid:
            raise ServerStartError(
                f"The server on {self.address} belongs to process {self._owner_pid}, and this is "
                f"process {os.getpid()}, a forked child. Start a ServerProcess of its own here."
            )
        if self.socket_path is None and not self.port:
            self.port = free_port()
        command = command_line(
            self.program,
            directory=self.directory,
            port=self.port,
            unix_socket=self.socket_path,
            password=self._password,
            config=self._config,
            arguments=self._arguments,
        )
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a known server program
                noted_command(self.directory, command),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
            )

    def wait_until_ready(self, timeout_s: float = 10.0) -> None:
        """Wait until the launched server answers; on another port if this one was taken."""
        deadline = time.monotonic() + timeout_s
        attempts_left = _PORT_ATTEMPTS if self.socket_path is None else 1
        try:
            while not self._answers():
                if not self.is_running:
                    attempts_left -= 1
                    if is_free(self.port) or not attempts_left:
                        raise ServerStartError(self._complaint("ended at once"))
                    self.port = 0
                    self.launch()
                if time.monotonic() > deadline:
                    raise ServerStartError(self._complaint(f"was not ready within {timeout_s} s"))
                time.sleep(0.005)
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """SIGKILL, as a crash would; directory and address stay, for a `start()` after it."""
        if self._process is not None and os.getpid() == self._owner_pid:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> None:
        """SIGTERM, without waiting: so several can end side by side before each `stop()`."""
        if self._process is not None and os.getpid() == self._owner_pid:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)  # it may be held with SIGSTOP

    def stop(self, timeout_s: float = 5.0) -> None:
        """SIGTERM, SIGKILL if that takes longer than `timeout_s`; its directory goes, too."""
        if os.getpid() != self._owner_pid:
            return
        self.terminate()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
            self.kill()
        _owned_here.discard(self)
        discard_directory(self.directory)

    def _answers(self) -> bool:
        try:
            with self.client(timeout_s=1.0) as client:
                info = cast("dict[str, object]", client.info("server"))
        except redis.RedisError:
            return False
        if "process_id" in info:
            return info["process_id"] == self.pid
        # Dragonfly doesn't tell, but it runs on Linux only, where the system does.
        return self.socket_path is not None or listens_on(self.pid, self.port)

    def _complaint(self, what: str) -> str:
        said = "\n".join(self.log.splitlines()[-_QUOTED_LOG_LINES:])
        return f"{self.program} on {self.address} {what}. It said:\n{said or '(nothing)'}"


@atexit.register
def _stop_all() -> None:
    for server in tuple(_owned_here):
        server.stop()
