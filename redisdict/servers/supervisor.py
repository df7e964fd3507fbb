"""Supervise a server in a process of its own, and end it when it has no owner any more.

The server is its child. The kernel closes an owner's pipe or lock however the owner ends, and the
supervisor waits for that:

- A private server (`own`) has one owner, the process at the other end of the standard input. It
  starts and signals servers through the supervisor, which reports when they end. When the owner is
  gone, the server is killed and its directory removed. The supervisor starts before there is a
  directory or a server, and it makes both: so an owner that is killed leaves nothing behind,
  whenever that happens.
- An embedded server (`share`) has any number of users, each of which holds a shared lock on
  `users.lock`. The supervisor waits for the exclusive lock, which it gets when no user is left,
  waits `linger_s` for new users, and then stops the server while it holds the lock, so that a
  process that comes just then waits and starts a new one.

A supervisor can be killed, too. On Linux the kernel ends the server with it (`PR_SET_PDEATHSIG`:
the thread that starts the server is the main thread, which lives as long as the process). On other
systems the server stays: an embedded one until `stop_server`, a private one until the next private
server is started, which also removes the rest of its directory. `server.lock`, which the server
inherits, shows that it still runs; the lock also keeps a second server from the same data.

Started by path with `python -I -S`, so it imports nothing but the standard library and is ready
within 20 ms. Errors before a server is ready are reported to the starter.
"""

import ctypes
import fcntl
import json
import os
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

USERS_LOCK = "users.lock"
SERVER_LOCK = "server.lock"
LOG = "server.log"
READY = "ready"
BUSY = "busy"
NOBODY = "nobody"

_LOCK_TIMEOUT_S = 15.0
_STOP_TIMEOUT_S = 10.0
_LOG_KEPT_BYTES = 1 << 20
_QUOTED_LOG_LINES = 15
_PR_SET_PDEATHSIG = 1
_OWNER = 0  # the descriptor of the socket that leads there

#: How a private directory is named: the number of its owner's process, and something random.
_PRIVATE_NAME = re.compile(r"\d+\.[0-9a-f]{8}")


def ping(socket_path: Path, timeout_s: float = 1.0) -> str:
    """Return the state of that socket: "ready", "busy" (probably loading its data) or "nobody"."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            reply = connection.recv(64)
        except (TimeoutError, BlockingIOError):
            return BUSY
        except OSError:
            return NOBODY
    if reply.startswith(b"+PONG"):
        return READY
    return BUSY if reply else NOBODY


def is_same_file(file: int | Path, status: os.stat_result) -> bool:
    """Whether that descriptor or path still leads there.

    Who becomes a daemon closes all descriptors, and their numbers come again for something else.
    """
    with suppress(OSError):
        return os.path.samestat(os.stat(file), status)  # noqa: PTH116 - a descriptor has no Path
    return False


def refuse_foreign(directory: Path) -> None:
    """Raise `PermissionError` unless only this user can open that directory."""
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(
            f"{directory} must be a directory that only this user (uid {os.getuid()}) can open, "
            f"but it belongs to uid {status.st_uid} with mode {stat.S_IMODE(status.st_mode):o}. "
            "Remove it, or set TMPDIR to another directory."
        )


def own(directory: Path) -> None:
    """Make the directory, run in it what the owner asks for, and remove it when the owner is gone.

    Its parent, the root, is shared by all private directories of this user.
    """
    try:
        lock = _make_private_directory(directory)
    except OSError as error:
        _tell_owner(refused=str(error))
        return
    signal.signal(signal.SIGTERM, _leave)
    try:
        _tell_owner(made=str(directory))
        _PrivateServer(directory).obey()
    finally:
        remove_private_directory(directory)
        os.close(lock)


def remove_private_directory(directory: Path) -> None:
    """Remove it, and with the last one also their root."""
    shutil.rmtree(directory, ignore_errors=True)
    with suppress(OSError), _locked_root(directory.parent):
        pass


def _leave(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit()


class _PrivateServer:
    """The server in a private directory, started and signalled as the owner says."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = open_lock(directory / SERVER_LOCK)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._process: subprocess.Popen[bytes] | None = None
        # The end of a child makes this one readable.
        self._ends, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writing)

    def obey(self) -> None:
        """Carry out what the owner says until it is gone; then end the server."""
        said = b""
        try:
            while True:
                readable, _, _ = select.select([_OWNER, self._ends], [], [])
                if self._ends in readable:
                    os.read(self._ends, 512)
                if _OWNER in readable:
                    data = _hear(_OWNER)
                    if not data:
                        return
                    *orders, said = (said + data).split(b"\n")
                    for order in orders:
                        self._carry_out(json.loads(order))
                self._look_after()
        finally:
            if self._process is not None:
                self._reap()

    def _carry_out(self, order: dict[str, Any]) -> None:
        if "start" in order:
            try:
                self._start(order["start"])
            except OSError as error:
                _tell_owner(refused=str(error))
        elif self._process is not None:
            os.kill(self._process.pid, order["signal"])

    def _start(self, command: list[str]) -> None:
        with (self._directory / LOG).open("ab") as log:
            self._process = _start_server(
                command, self._directory, log, self._lock, signal.SIGKILL, start_new_session=True
            )
        os.pwrite(self._lock, f"{self._process.pid:<10}".encode(), 0)
        _tell_owner(started=self._process.pid)

    def _look_after(self) -> None:
        if self._process is None:
            return
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if os.waitid(os.P_PID, self._process.pid, look) is not None:
            self._reap()
            _tell_owner(ended=True)

    def _reap(self) -> None:
        """End the session that the server leads, as it may have a child that saves its data."""
        assert self._process is not None
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None


def _tell_owner(**news: object) -> None:
    with suppress(OSError):
        os.write(_OWNER, json.dumps(news).encode() + b"\n")


def _hear(connection: int) -> bytes:
    """Read the next message of a socket; nothing at its end."""
    try:
        return os.read(connection, 65536)
    except ConnectionResetError:  # the other one had not heard everything
        return b""


@contextmanager
def _locked_root(root: Path) -> Iterator[None]:
    """Hold the directory that all private ones are in; it is made if missing, removed if empty.

    Raises `PermissionError` when it is somebody else's: the temporary directory is open to
    everybody.
    """
    while True:
        root.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):
            refuse_foreign(root)
            lock = os.open(root, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                # It may have been removed by who held it, and another may be at its path.
                if os.path.samestat(os.fstat(lock), root.lstat()):
                    break
            os.close(lock)
    try:
        yield
    finally:
        with suppress(OSError):
            root.rmdir()
        os.close(lock)


def _make_private_directory(directory: Path) -> int:
    """Make it, and hold the lock that says that it isn't left behind."""
    with _locked_root(directory.parent):
        clear_left_behind(directory.parent)
        directory.mkdir(mode=0o700)
        lock = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def clear_left_behind(root: Path) -> None:
    """Remove private directories whose supervisors were killed. The caller holds the root."""
    for directory in root.iterdir():
        if not _PRIVATE_NAME.fullmatch(directory.name):
            continue
        with suppress(OSError):
            lock = os.open(directory, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _end_orphan(directory / SERVER_LOCK)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(lock)


def _end_orphan(path: Path) -> None:
    """End the server that holds that lock, and whose number is in it; there may be none."""
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    with suppress(FileNotFoundError, ValueError), path.open() as lock:
        pid = int(lock.read() or 0)
        while pid and time.monotonic() < deadline:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            for kill in (os.killpg, os.kill):
                with suppress(ProcessLookupError):
                    kill(pid, signal.SIGKILL)
            time.sleep(0.005)


def share(home: Path, socket_path: Path, linger_s: float, program: str) -> None:
    """Run an embedded server from start to end; tells the starter "ready", or what went wrong."""
    try:
        # Before there is a server: the directory may go with a starter that is killed now.
        users = os.open(home / USERS_LOCK, os.O_RDWR | os.O_CLOEXEC)
        lock = open_lock(home / SERVER_LOCK)
    except FileNotFoundError as error:
        _tell_starter(f"the directory was removed meanwhile: {error}")
        return
    problem = _wait_for_lock(lock, socket_path)
    if problem is not None:
        _tell_starter(problem)
        return
    server = _start_shared_server(home, socket_path, lock, program)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    # It may wait for days, and nobody waits for it.
    threading.Thread(
        target=_stop_after_last_user, args=(users, server, linger_s), daemon=True
    ).start()
    if _becomes_ready(server, socket_path):
        _tell_starter(READY)
    else:
        _tell_starter(f"{program} ended at once and said:\n{end_of_log(home)}")
    server.wait()
    with suppress(OSError):
        socket_path.unlink()
    if socket_path.parent != home:
        with suppress(OSError):
            socket_path.parent.rmdir()


def end_of_log(directory: Path) -> str:
    """The last lines that the server in that directory has written."""
    lines = (directory / LOG).read_text(errors="replace").splitlines()
    return "\n".join(lines[-_QUOTED_LOG_LINES:])


def _becomes_ready(server: "subprocess.Popen[bytes]", socket_path: Path) -> bool:
    while ping(socket_path) != READY:
        if server.poll() is not None:
            return False
        time.sleep(0.005)
    return True


def _tell_starter(message: str) -> None:
    """Send one message to the starter, if it still listens, and no further ones."""
    with suppress(OSError):
        os.write(1, f"{message}\n".encode())
    with open(os.devnull, "r+b") as nowhere:  # noqa: PTH123 - os.devnull is no path of ours
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)


def _start_shared_server(
    home: Path, socket_path: Path, lock: int, program: str
) -> "subprocess.Popen[bytes]":
    log = home / LOG
    if log.exists() and log.stat().st_size > _LOG_KEPT_BYTES:
        log.unlink()
    flags = {
        "--port": "0",
        "--bind": "127.0.0.1",  # were somebody to set a port while it runs
        "--unixsocket": str(socket_path),
        "--unixsocketperm": "700",
        "--dir": str(home),
        "--appendonly": "yes",
        "--save": "",
        "--daemonize": "no",
    }
    command = [program, *(word for flag in flags.items() for word in flag)]
    with log.open("ab") as output:
        return _start_server(command, home, output, lock, signal.SIGTERM)


def _start_server(
    command: list[str],
    directory: Path,
    log: Any,
    lock: int,
    at_our_end: signal.Signals,
    *,
    start_new_session: bool = False,
) -> "subprocess.Popen[bytes]":
    """Start it from the main thread, as a child that gets a signal when this process ends."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    supervisor = os.getpid()

    def end_with_supervisor() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, at_our_end)
            if os.getppid() != supervisor:
                os._exit(1)  # it was gone before the kernel was told

    return subprocess.Popen(  # noqa: S603 - the program that the starter chose
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=start_new_session,
        pass_fds=(lock,),
        preexec_fn=end_with_supervisor,  # no other thread runs yet
    )


def _stop_after_last_user(users: int, server: "subprocess.Popen[bytes]", linger_s: float) -> None:
    while True:
        fcntl.flock(users, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_UN)
        time.sleep(linger_s)
        with suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
    server.terminate()
    time.sleep(_STOP_TIMEOUT_S)
    server.kill()


def open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _wait_for_lock(lock: int, socket_path: Path) -> str | None:
    """Wait until no other server has the data; return a message for the starter otherwise.

    The other server may be one that is about to end, or one that was slow to start and is there
    now, which is as good as one of our own.
    """
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        if ping(socket_path) == READY:
            return READY
        time.sleep(0.01)
    return (
        f"another server, perhaps in another container, holds {SERVER_LOCK} in that directory "
        f"for more than {_LOCK_TIMEOUT_S:.0f} s and doesn't answer here"
    )


if __name__ == "__main__":
    os.umask(0o077)
    if sys.argv[1] == "own":
        own(Path(sys.argv[2]))
    elif not os.fork():
        # The starter waits for the process that it started, which ends here; so the supervisor is
        # nobody's child and leaves no zombie behind in a user process.
        share(Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]), sys.argv[5])
