"""The private directories of the servers this process owns.

`new_directory` and `discard_directory` are all that a server needs: as long as there is one
directory, this process holds the lock that says it lives, and a reaper watches over it
(`redisdict.servers.reaper` tells why). A forked child owns nothing of its parent's.
"""

import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from redisdict import forks
from redisdict.exceptions import RedisDictError
from redisdict.servers import reaper

__all__ = [
    "ServerStartError",
    "discard_directory",
    "interpreter",
    "new_directory",
    "noted_command",
]

_REAPER_END_TIMEOUT_S = 5.0

# A unix socket's path has at most 103 bytes on macOS, and there are two names and "sock" below.
_ROOT_LENGTH_LIMIT = 70


class ServerStartError(RedisDictError):
    """A server could not be started here; the message quotes what it said."""


@dataclass
class _Session:
    directory: Path
    lock: int
    watcher: subprocess.Popen[bytes]
    directories: set[Path] = field(default_factory=set)


_session: _Session | None = None
_guard = forks.Lock()


def new_directory() -> Path:
    """A new directory that nobody else can read, and that does not outlive this process."""
    global _session
    if not forks.own[0]:
        forks.take_over()
    with _guard:
        if _session is None:
            _session = _open_session()
        elif _session.watcher.poll() is not None:  # killed, and this process wasn't
            _session.watcher = _start_reaper(_session.directory)
        directory = Path(tempfile.mkdtemp(dir=_session.directory, prefix=""))
        _session.directories.add(directory)
        return directory


def discard_directory(directory: Path) -> None:
    """Remove a directory that `new_directory` gave; with the last one the reaper goes, too."""
    global _session
    if not forks.own[0]:
        forks.take_over()
    with _guard:
        if _session is None or directory not in _session.directories:
            return
        _session.directories.remove(directory)
        shutil.rmtree(directory, ignore_errors=True)
        if not _session.directories:
            session, _session = _session, None
            _close_session(session)


def noted_command(directory: Path, command: list[str]) -> list[str]:
    """The command that runs another one, once the reaper knows the process that runs it.

    The process turns into the other program, so it keeps its number. It has to be started by the
    thread that asks, with a session of its own.
    """
    # A parent's death is told when the starting thread ends; the main one lives as long as we do.
    is_main_thread = threading.get_native_id() == os.getpid()
    owner = os.getpid() if is_main_thread else 0
    return [*_reaper_command("serve"), str(directory), str(owner), *command]


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
        f"No Python interpreter to watch over a server with: sys.executable is "
        f"{sys.executable!r} and there is no {version} in {sys.exec_prefix}/bin or on PATH."
    )


def _open_session() -> _Session:
    try:
        with reaper.locked_root(root := _root()):
            reaper.clear_ended_owners(root)
            directory = root / f"{os.getpid()}-{secrets.token_hex(4)}"
            # It waits for the root's lock; so there is no moment at which nobody would clear up.
            watcher = _start_reaper(directory)
            directory.mkdir(mode=0o700)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            lock = os.open(directory / reaper.OWNER_LOCK, flags, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise ServerStartError(f"No private directory for a server: {error}") from error
    return _Session(directory, lock, watcher)


def _start_reaper(directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own file and a directory of ours
        [*_reaper_command("watch"), str(directory)],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _reaper_command(part: str) -> list[str]:
    return [interpreter(), "-I", "-S", reaper.__file__, part]


def _root() -> Path:
    """Where all processes of this user have their directories."""
    name = f"redisdict-{os.getuid()}"
    root = Path(tempfile.gettempdir(), name)
    if len(os.fsencode(root)) > _ROOT_LENGTH_LIMIT:
        root = Path("/tmp", name)  # noqa: S108 - only used when it is this user's alone
    return root


def _close_session(session: _Session) -> None:
    with reaper.locked_root(session.directory.parent):
        shutil.rmtree(session.directory, ignore_errors=True)
    os.close(session.lock)
    try:
        session.watcher.wait(_REAPER_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        session.watcher.kill()
        session.watcher.wait()


def _forget_in_child() -> None:
    """Closing the inherited descriptor leaves the parent's lock in place."""
    global _session
    session, _session = _session, None
    if session is None:
        return
    session.watcher.returncode = 0  # the parent's child: not ours to wait for
    with suppress(OSError):
        # A daemon has closed all numbers, and this one may be in use for something else.
        if os.path.samestat(os.fstat(session.lock), (session.directory / reaper.OWNER_LOCK).stat()):
            os.close(session.lock)


forks.on_fork(_forget_in_child)
