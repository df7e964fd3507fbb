"""The unix socket of an embedded server: where it is, and who listens there."""

import hashlib
import os
import socket
import struct
import sys
import tempfile
from pathlib import Path

from redisdict.exceptions import ConfigurationError
from redisdict.servers.reaper import refuse_foreign

__all__ = ["accepts", "choose_socket_path", "peer_pid", "socket_path"]

_NAME = "valkey.sock"

# sun_path holds 108 bytes on Linux and 104 on macOS, a NUL included.
_PATH_LIMIT = 103


def socket_path(home: Path) -> Path:
    """Where the server of that directory listens, or would."""
    path = home / _NAME
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
    path = home / _NAME
    if _fits(path):
        return path
    short = _short_socket_path(home)
    try:
        short.parent.mkdir(mode=0o700, exist_ok=True)
        refuse_foreign(short.parent)
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
    path = Path(tempfile.gettempdir(), directory, _NAME)
    return path if _fits(path) else Path("/tmp", directory, _NAME)  # noqa: S108 - checked private


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= _PATH_LIMIT


def accepts(path: Path) -> bool:
    """Whether somebody listens there (15 µs)."""
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
