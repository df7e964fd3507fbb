"""The private directories of the servers this process owns.

`new_directory` and `discard_directory` are all that a server needs: as long as there is one
directory, this process holds the lock that says it lives, and a reaper watches over it
(`redisdict.servers.reaper` tells why). A forked child owns nothing of its parent's.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from redisdict import forks
from redisdict.exceptions import RedisDictError
from redisdict.servers import reaper

__all__ = ["ServerStartError", "discard_directory", "interpreter", "new_directory"]

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
    python = interpreter()
    try:
        with reaper.locked_root(root := _root()):
            reaper.clear_ended_owners(root)
            directory = Path(tempfile.mkdtemp(dir=root, prefix=f"{os.getpid()}-"))
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            lock = os.open(directory / reaper.OWNER_LOCK, flags, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise ServerStartError(f"No private directory for a server: {error}") from error
    watcher = subprocess.Popen(  # noqa: S603 - our own file and a directory made above
        [python, "-I", "-S", reaper.__file__, str(directory)],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return _Session(directory, lock, watcher)


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
