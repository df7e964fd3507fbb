"""Mixed work by several processes with random kills of server and clients, checked afterwards.

    python -m tests.stress.soak 1800
    python -m tests.stress.soak 600 keydb

The server is Valkey, or of the family that is named, and ends in the hardest way that it promises
to survive without a loss. Each process appends what the server acknowledged to a log of its own,
which survives its kill. At the end every acknowledged item must be there with the value that was
written last.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import django

PROCESSES = 4
ITEMS = 500

APPEND_ONLY = ("--appendonly", "yes", "--appendfsync", "always")
SNAPSHOT_AT_THE_END = ("--dbfilename=dump",)

#: What a server is started with, what the dicts ask of it, and whether it is killed. KeyDB answers
#: after its file is synced, too, but can't be asked; Dragonfly has nothing but snapshots, and takes
#: one when it is told to end.
WAYS: dict[str, tuple[tuple[str, ...], str | None, bool]] = {
    "redis": (APPEND_ONLY, None, True),
    "valkey": (APPEND_ONLY, "aof", True),
    "keydb": (APPEND_ONLY, None, True),
    "dragonfly": (SNAPSHOT_AT_THE_END, None, False),
}


@dataclass
class Outcome:
    """What a soak has seen."""

    acknowledged: int = 0
    server_kills: int = 0
    client_kills: int = 0
    mistakes: list[str] = field(default_factory=list)


def soak(
    url: str,
    kill_server: Any,
    duration_s: float,
    directory: Path,
    durable: str | None = "aof",
    least_kills: int = 0,
) -> Outcome:
    """Run it against the server at `url`, which `kill_server()` ends and starts again.

    It goes on until there were so many kills of the server and of clients, too.
    """
    outcome = Outcome()
    generations = Counter[int]()
    workers: dict[int, subprocess.Popen[bytes]] = {}
    deadline = time.monotonic() + duration_s
    try:
        while (
            time.monotonic() < deadline
            or min(outcome.server_kills, outcome.client_kills) < least_kills
        ):
            for number in range(PROCESSES):
                if number not in workers or workers[number].poll() is not None:
                    generations[number] += 1
                    workers[number] = _start_worker(
                        url, number, generations[number], directory, durable
                    )
            time.sleep(random.uniform(0.5, 2))
            if random.random() < 0.5:
                kill_server()
                outcome.server_kills += 1
            elif begun := [
                worker
                for number, worker in workers.items()
                if (directory / f"begun-{number}-{generations[number]}").exists()
            ]:
                random.choice(begun).kill()
                outcome.client_kills += 1
            for worker in workers.values():
                if worker.poll() not in (None, -signal.SIGKILL):
                    said = (directory / "errors").read_text()[-2000:]
                    outcome.mistakes.append(f"a worker ended by itself: {said}")
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
    for number in range(PROCESSES):
        _check(url, number, directory, outcome)
    return outcome


def _start_worker(
    url: str, number: int, generation: int, directory: Path, durable: str | None
) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "tests.stress.soak", "--worker", url, durable or "", str(number)]
    with (directory / "errors").open("ab") as errors:
        return subprocess.Popen([*words, str(directory), str(generation)], stderr=errors)


def _work(url: str, durable: str | None, number: int, directory: Path, generation: int) -> None:
    """Set, delete and count items of this worker's own dict until killed."""
    from redisdict import BackendUnavailable

    mapping = _mapping(url, number, durable)
    randomness = random.Random(f"{number}/{generation}")
    (directory / f"begun-{number}-{generation}").touch()
    with (directory / f"log-{number}").open("a", buffering=1) as log:
        for count in range(10**9):
            key = f"k{randomness.randrange(ITEMS)}"
            is_deletion = count % 10 == 9
            value = [] if is_deletion else [generation, count]
            # Written down before: whatever is under way at a kill may have been done, or not.
            log.write(json.dumps(["try", key, value]) + "\n")
            try:
                if is_deletion:
                    mapping.delete_many([key])
                else:
                    mapping[key] = value
            except BackendUnavailable:
                continue
            log.write(json.dumps(["done", key, value]) + "\n")
            found = mapping.get(key, [])
            if found != value:
                log.write(json.dumps(["wrong", key, found]) + "\n")


def _check(url: str, number: int, directory: Path, outcome: Outcome) -> None:
    possible: dict[str, list[Any]] = {}
    for kind, key, value in _log(directory / f"log-{number}"):
        if kind == "try":
            possible.setdefault(key, [[]]).append(value)
        elif kind == "done":
            possible[key] = [value]
            outcome.acknowledged += 1
        else:
            outcome.mistakes.append(f"worker {number} read {value} from {key}")
    mapping = _mapping(url, number)
    stored = mapping.get_many(list(possible))
    for key, values in possible.items():
        if stored.get(key, []) not in values:
            outcome.mistakes.append(f"worker {number}: {key} is {stored.get(key)}, not {values}")
    mapping.clear()


def _log(path: Path) -> Iterator[Any]:
    if not path.exists():  # each of its processes was killed before it had begun
        return
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):  # the last line of a killed process may be a part of one
            yield json.loads(line)


def _mapping(url: str, number: int, durable: str | None = None) -> Any:
    from redisdict import PersistentDict
    from redisdict.conf import parse_alias
    from redisdict.connections.backend import Backend

    values = {"LOCATION": url, "RETRY_FOR": 20, "DURABLE": durable, "KEY_PREFIX": "soak"}
    return PersistentDict(
        f"worker-{number}",
        Backend(parse_alias("soak", values)),
        hset_enabled=number % 2 == 0,
        shards=3 if number >= 2 else None,
    )


def main(arguments: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    if arguments[0] == "--worker":
        _, url, durable, number, directory, generation = arguments
        _work(url, durable or None, int(number), Path(directory), int(generation))
        return
    from redisdict.servers.process import ServerProcess
    from redisdict.servers.programs import find_program

    duration_s, family = float(arguments[0]), arguments[1] if arguments[1:] else "valkey"
    flags, asks_for, is_killed = WAYS[family]
    with ServerProcess(find_program(family), arguments=flags) as server:  # type: ignore[arg-type]
        with TemporaryDirectory() as directory:

            def end_server() -> None:
                if not is_killed:
                    server.terminate()
                    while server.is_running:
                        time.sleep(0.01)
                server.kill()
                server.start()

            outcome = soak(server.url, end_server, duration_s, Path(directory), asks_for)
    print(outcome)
    sys.exit(bool(outcome.mistakes))


if __name__ == "__main__":
    main(sys.argv[1:])
