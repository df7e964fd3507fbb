"""How each program is told the same things on its command line.

Redis, Valkey and KeyDB share one dialect; Dragonfly has its own flags for the same ideas.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from redisdict.servers.programs import Program

__all__ = ["LOOPBACK", "command_line", "replica_of"]

LOOPBACK = "127.0.0.1"


def command_line(
    program: Program,
    *,
    directory: Path,
    port: int = 0,
    unix_socket: Path | None = None,
    password: str | None = None,
    config: Path | None = None,
    arguments: Sequence[str] = (),
) -> list[str]:
    """The command that serves on a loopback port or (port 0) on a unix socket, from `directory`.

    Persistence is off, since such a server lives as long as its directory; `arguments` come last
    and win (`--appendonly yes`).
    """
    flags = _dragonfly(directory) if program.family == "dragonfly" else _redis(directory)
    if port:
        flags |= {"--bind": LOOPBACK}
    if unix_socket is not None:
        flags |= {"--unixsocket": str(unix_socket), "--unixsocketperm": "700"}
    if password is not None:
        flags |= {"--requirepass": password}
    flags |= {"--port": str(port)}
    words = [str(program.path), *([str(config)] if config else [])]
    if program.family == "dragonfly":
        return [*words, *(f"{flag}={value}" for flag, value in flags.items()), *arguments]
    return [*words, *(word for item in flags.items() for word in item), *arguments]


def replica_of(program: Program, host: str, port: int) -> list[str]:
    """The arguments that make a server the replica of another from its start."""
    if program.family == "dragonfly":
        return [f"--replicaof={host}:{port}"]
    return ["--replicaof", host, str(port)]


def _redis(directory: Path) -> dict[str, str]:
    return {
        "--dir": str(directory),
        "--daemonize": "no",
        "--save": "",
        "--appendonly": "no",
        # A replica gets its copy at once, not after waiting 5 s for others to join.
        "--repl-diskless-sync-delay": "0",
    }


def _dragonfly(directory: Path) -> dict[str, str]:
    return {
        "--dir": str(directory),
        "--dbfilename": "",
        "--proactor_threads": str(os.cpu_count() or 1),
        # The keys of a dict lie on one thread: a script asks no other, which takes several times
        # as long.
        "--lock_on_hashtags": "true",
        # It would ask its makers for newer versions once a day.
        "--version_check": "false",
        "--logtostderr": "true",
    }
