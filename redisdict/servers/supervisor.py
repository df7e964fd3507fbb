"""The process that an embedded server runs under: it ends the server after the last user.

Every user process holds a shared lock on `users.lock` for as long as it lives, and the kernel
lets go of it however the process ends. The supervisor waits for the exclusive lock, which it gets
when nobody is left, gives newcomers `linger_s` to appear, and then stops the server while it
holds the lock, so that a process that comes just then waits and starts a new one.

`server.lock` is held as long as anybody could write the data: the server inherits it, so even a
server that has lost its supervisor keeps a second one out. On Linux such a server is ended by the
kernel (`PR_SET_PDEATHSIG`; the thread that starts it is the supervisor's main thread, which lives
as long as the supervisor). Elsewhere it stays until `stop_server`.

Started by path with `python -I -S`, so it imports nothing but the standard library and is there
within 20 ms. What goes wrong before the server is ready is printed for the starter to read.
"""

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

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


def ping(socket_path: Path, timeout_s: float = 1.0) -> str:
    """What is at that socket: "ready", "busy" (loading its data, most likely) or "nobody"."""
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


def supervise(home: Path, socket_path: Path, linger_s: float, program: str) -> None:
    """Run the server from start to end; tells the starter "ready", or what went wrong."""
    try:
        # Before there is a server: the directory may go with a starter that is killed now.
        users = os.open(home / USERS_LOCK, os.O_RDWR | os.O_CLOEXEC)
        lock = os.open(home / SERVER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        _tell(f"the directory was removed meanwhile: {error}")
        return
    problem = _wait_for_lock(lock, socket_path)
    if problem is not None:
        _tell(problem)
        return
    server = _start_server(home, socket_path, lock, program)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    # It may wait for days, and nobody waits for it.
    threading.Thread(
        target=_stop_after_last_user, args=(users, server, linger_s), daemon=True
    ).start()
    if _becomes_ready(server, socket_path):
        _tell(READY)
    else:
        lines = (home / LOG).read_text(errors="replace").splitlines()[-_QUOTED_LOG_LINES:]
        _tell("\n".join([f"{program} ended at once and said:", *lines]))
    server.wait()
    with suppress(OSError):
        socket_path.unlink()
    if socket_path.parent != home:
        with suppress(OSError):
            socket_path.parent.rmdir()


def _becomes_ready(server: "subprocess.Popen[bytes]", socket_path: Path) -> bool:
    while ping(socket_path) != READY:
        if server.poll() is not None:
            return False
        time.sleep(0.005)
    return True


def _tell(message: str) -> None:
    """Say one thing to the starter, if it still listens, and nothing more."""
    with suppress(OSError):
        os.write(1, f"{message}\n".encode())
    with open(os.devnull, "r+b") as nowhere:  # noqa: PTH123 - os.devnull is no path of ours
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)


def _start_server(
    home: Path, socket_path: Path, lock: int, program: str
) -> "subprocess.Popen[bytes]":
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    supervisor = os.getpid()

    def end_with_supervisor() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != supervisor:
                os._exit(1)  # it was gone before the kernel was told

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
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - the program that the starter chose
            [program, *(word for flag in flags.items() for word in flag)],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
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


def _wait_for_lock(lock: int, socket_path: Path) -> str | None:
    """Wait until no other server has the data; else what to tell the starter.

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
    # The starter waits for the process that it started, which ends here; so the supervisor is
    # nobody's child and leaves no zombie behind in a user process.
    if os.fork():
        os._exit(0)
    os.umask(0o077)
    supervise(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
