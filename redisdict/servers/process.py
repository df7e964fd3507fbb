"""Start one server for this process alone."""

import atexit
import json
import os
import random
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self, cast
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redisdict import forks
from redisdict.exceptions import RedisDictError
from redisdict.servers import supervisor
from redisdict.servers.programs import LOOPBACK, Program, command_line

# Below the range from which systems give ports to outgoing connections; the port of the cluster
# bus, 10000 above, is below it as well.
_PORTS = range(15000, 22000)
_BUS_OFFSET = 10000
_ATTEMPTS = 200

_LISTEN_STATE = "0A"

# Not the module's own, whose state is the same in forked processes.
_random = random.SystemRandom()

# Those that were given last. They stay free until a server listens there.
_given: deque[int] = deque(maxlen=50)


def free_port() -> int:
    """Find a port of 127.0.0.1 that is free now, together with its cluster bus port.

    None of the last 50 is given again, so two can be asked for before the first is used. Another
    process may take it a moment later, so check who answers where that matters.
    """
    for port in _random.sample(_PORTS, min(_ATTEMPTS, len(_PORTS))):
        if port not in _given and is_free(port) and is_free(port + _BUS_OFFSET):
            _given.append(port)
            return port
    raise OSError(f"None of {_ATTEMPTS} ports between {_PORTS.start} and {_PORTS.stop} is free.")


def is_free(port: int) -> bool:
    """Whether a server could listen on that port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def listens_on(pid: int, port: int) -> bool:
    """Whether the process listens on that TCP port (Linux; needs the right to see its files)."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()) in inodes:
                    return True
    return False


_PORT_ATTEMPTS = 5
_SUPERVISOR_END_TIMEOUT_S = 10.0

# A unix socket's path has at most 103 bytes on macOS, and there are two names and "sock" below.
_ROOT_LENGTH_LIMIT = 70

_owned_here: set["ServerProcess"] = set()


class ServerStartError(RedisDictError):
    """A server couldn't be started here; the message quotes its output."""


def interpreter() -> str:
    """A Python to run a helper program with.

    `sys.executable` is the application server's own program under uWSGI and the like.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (
        sys.executable if Path(sys.executable).name.startswith(("python", "pypy")) else None,
        str(Path(sys.exec_prefix) / "bin" / version),
        str(Path(sys.base_exec_prefix) / "bin" / version),
        shutil.which(version),
        shutil.which("python3"),
    ):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    raise ServerStartError(
        "There is no Python interpreter to supervise a server: sys.executable is"
        f" {sys.executable!r} and there is no {version} in {sys.exec_prefix}/bin or on PATH."
    )


def _root() -> Path:
    """Return the directory with the directories of all processes of this user."""
    name = f"redisdict-{os.getuid()}"
    root = Path(tempfile.gettempdir(), name)
    if len(os.fsencode(root)) > _ROOT_LENGTH_LIMIT:
        root = Path("/tmp", name)  # noqa: S108 - only used when it is this user's alone
    return root


class _Supervisor:
    """Asks a supervisor for a private directory and a server in it, which end with this process.

    The supervisor recognizes this process by the socket between them, so a forked child closes its
    copy (`forks.on_fork`), and has no server.
    """

    def __init__(self) -> None:
        if not forks.own[0]:
            forks.take_over()
        self.directory = _root() / f"{os.getpid()}.{secrets.token_hex(4)}"
        self.pid: int | None = None
        self.is_running = False
        self._lock = forks.Lock()
        self._said = b""
        ours, theirs = socket.socketpair()
        self._connection = ours.detach()
        self._identity = os.fstat(self._connection)
        forks.on_fork(self._forget)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own file and a directory of ours
                [interpreter(), "-I", "-S", supervisor.__file__, "own", str(self.directory)],
                cwd="/",
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            self._hear_of("made")
        except ServerStartError as error:
            self.close()
            raise ServerStartError(f"No private directory for a server: {error}") from None

    def start(self, command: list[str]) -> None:
        """Start a server. Raises `ServerStartError`."""
        with self._lock:
            self._tell(start=command)
            self._hear_of("started")

    def signal(self, number: int) -> None:
        """Send the server a signal, if it runs."""
        with self._lock:
            self._tell(signal=number)

    def look(self, timeout_s: float = 0.0) -> bool:
        """Whether the server runs, or still does after this time."""
        if not forks.own[0]:
            forks.take_over()
        deadline = time.monotonic() + timeout_s
        with self._lock:
            while self.is_running and self._hear(max(0.0, deadline - time.monotonic())):
                pass
            return self.is_running

    def close(self) -> None:
        """End the server and remove the directory, as when this process ends."""
        self._hang_up()
        try:
            self._process.wait(_SUPERVISOR_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self.directory.exists():  # the supervisor was killed
            supervisor.remove_private_directory(self.directory)

    def _tell(self, **order: object) -> None:
        if not self._is_connected():
            return
        data = json.dumps(order).encode() + b"\n"
        with suppress(BrokenPipeError):  # `_hear()` will notice that it was killed
            while data:
                data = data[os.write(self._connection, data) :]

    def _hear_of(self, what: str) -> None:
        while (news := self._hear(None)) is not None:
            if what in news:
                return
            if "refused" in news:
                raise ServerStartError(news["refused"])
        raise ServerStartError("its supervisor was killed")

    def _hear(self, timeout_s: float | None) -> dict[str, Any] | None:
        """Read the supervisor's next message; None if that takes longer, or it was killed."""
        while b"\n" not in self._said:
            if not select.select([self._connection], [], [], timeout_s)[0]:
                return None
            data = b""
            with suppress(ConnectionResetError):
                data = os.read(self._connection, 65536)
            if not data:
                self.is_running = False
                return None
            self._said += data
        line, _, self._said = self._said.partition(b"\n")
        news: dict[str, Any] = json.loads(line)
        if "started" in news:
            self.pid, self.is_running = news["started"], True
        elif "ended" in news:
            self.is_running = False
        return news

    def _forget(self) -> None:
        """In a forked child, forget the server; what the child closes stays open in the parent."""
        self.is_running = False
        self._hang_up()
        if hasattr(self, "_process"):  # another thread has forked while it was being started
            self._process.returncode = 0  # the parent's child: not ours to wait for

    def _hang_up(self) -> None:
        if self._is_connected():
            os.close(self._connection)
        self.is_running = False

    def _is_connected(self) -> bool:
        return supervisor.is_same_file(self._connection, self._identity)


class ServerProcess:
    """A server on a free port of 127.0.0.1, or on a unix socket, in a private directory.

    It is ready when this very process has answered: if another server took the port meanwhile, that
    is noticed and another port tried. It ends with `stop()`, with the `with` block, at the
    interpreter's exit, and, however the interpreter ends, through its supervisor
    (`redisdict.servers.supervisor`); a forked child can't stop it. It leads a session of its own,
    so that Ctrl-C in a terminal reaches the program that uses it and not the server.

    `arguments` are passed to the program unchanged, after ours. `config` is the text of a
    configuration file, for settings that have to be in one. Other users of this machine can see
    the password, if any, in the list of processes.
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
        self._supervisor = _Supervisor()
        self.directory = self._supervisor.directory
        self.port = 0
        self.socket_path = self.directory / "sock" if listen == "unix" else None
        self._arguments = tuple(arguments)
        self._password = password
        self._config: Path | None = None
        if config is not None:
            self._config = self.directory / "server.conf"
            self._config.write_text(config)
        self._owner_pid = os.getpid()
        _owned_here.add(self)

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.is_running else "not running"
        return f"<{type(self).__name__} {self.program.path.name} on {self.address}, {state}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """Its address, without the password: "127.0.0.1:15123" or the socket's path."""
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
        if self._supervisor.pid is None:
            raise ServerStartError(f"{self.program.path.name} on {self.address} was not started.")
        return self._supervisor.pid

    @property
    def is_running(self) -> bool:
        return self._supervisor.look()

    @property
    def log(self) -> str:
        """The server's output so far."""
        return (self.directory / supervisor.LOG).read_text(errors="replace")

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
        self._supervisor.start(command)

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
        if os.getpid() == self._owner_pid:
            self._supervisor.signal(signal.SIGKILL)
            self._supervisor.look(timeout_s=60.0)

    def terminate(self) -> None:
        """SIGTERM, without waiting: so several can end side by side before each `stop()`."""
        if os.getpid() == self._owner_pid:
            self._supervisor.signal(signal.SIGTERM)
            self._supervisor.signal(signal.SIGCONT)  # it may be held with SIGSTOP

    def stop(self, timeout_s: float = 5.0) -> None:
        """SIGTERM, SIGKILL if that takes longer than `timeout_s`; its directory goes, too."""
        if os.getpid() != self._owner_pid:
            return
        self.terminate()
        self._supervisor.look(timeout_s)
        _owned_here.discard(self)
        self._supervisor.close()

    def _answers(self) -> bool:
        try:
            with self.client(timeout_s=1.0) as client:
                info = cast("dict[str, object]", client.info("server"))
        except redis.RedisError:
            return False
        if "process_id" in info:
            return info["process_id"] == self.pid
        # Dragonfly doesn't report it, but it runs on Linux only, where the system does.
        return self.socket_path is not None or listens_on(self.pid, self.port)

    def _complaint(self, what: str) -> str:
        said = supervisor.end_of_log(self.directory) or "(nothing)"
        return f"{self.program} on {self.address} {what}. It said:\n{said}"


@atexit.register
def _stop_all() -> None:
    for server in tuple(_owned_here):
        server.stop()
