"""Four workers that a master forks, each of which reads a dict from memory: how much each keeps.

Called with the server's address and the kind of values. It is a program of its own, since the limit
of a worker's memory counts what its master had.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.conf import settings

MB = 1 << 20
MOST_BYTES, MOST_ITEMS, COUNT = 4 * MB, 10_000, 24_000

#: What each of the workers may have in all, as a container's limit is.
ADDRESSES = 1024 * MB

VALUES: dict[str, Callable[[int], Any]] = {
    "texts": lambda number: str(number).zfill(1000),
    "decoded anew": lambda number: {"number": number, "text": "x" * 900},
    "integers": lambda number: number,
}


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main(url: str, kind: str) -> None:
    alias = {
        "LOCATION": url,
        "NEAR_MAX_BYTES": MOST_BYTES,
        "NEAR_MAX_ITEMS": MOST_ITEMS,
    }
    settings.configure(REDISDICT={"default": alias})
    django.setup()
    from redisdict import PersistentDict, close_all
    from tests.forks.forking import Child, fork_in_python

    mapping: Any = PersistentDict("d", hset_enabled=False, near=1000.0)
    keys = [f"key {number}" for number in range(COUNT)]
    for start in range(0, COUNT, 4000):
        mapping.update({key: VALUES[kind](int(key[4:])) for key in keys[start : start + 4000]})

    def wait_until_on() -> None:
        while not mapping.near_stats().is_on:
            mapping.get("to start it")

    wait_until_on()  # as a master that has read before it forks
    mapping.get_many(keys[:4000])

    def work() -> dict[str, int]:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
        wait_until_on()
        before = resident_bytes()
        most = 0
        for start in range(0, COUNT, 1000):
            mapping.get_many(keys[start : start + 1000])
            most = max(most, mapping.near_stats().bytes)
        stats = mapping.near_stats()
        return {
            "items": stats.items,
            "bytes": stats.bytes,
            "most": most,
            "evictions": stats.evictions,
            "grown": resident_bytes() - before,
        }

    children = [Child(work, fork_in_python) for _ in range(4)]
    print(json.dumps([child.result() for child in children]))
    close_all()


if __name__ == "__main__":
    main(*sys.argv[1:])
