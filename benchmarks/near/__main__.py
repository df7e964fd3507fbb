"""Measures reads from memory beside reads from the server and other caches in a process.

Starts a Redis. Peers (`benchmarks.near.peers`) take part where they are installed, as in the
environment that `python -m benchmarks.peers` makes. The second dict that asks the server is the A/A
twin of the first: what lies between the two is noise.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.near import peers
from redisdict.bench.measure.placement import SAME, UNCONTROLLED
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program, program_at

#: Whose versions are told.
PACKAGES = ("Django", "redis", "hiredis", "cachetools", "cashews", "valkey-glide")

REFERENCE = "PersistentDict"
TWIN = "PersistentDict, again"
KEYS = [f"product:{number}" for number in range(100)]
VALUES: dict[str, Any] = {
    "a text of 100 characters": "x" * 100,
    "a small dict": {"name": "A product", "price": 12.5, "tags": ["a", "b"], "stock": 7},
}

#: Caches under comparison, with their NEAR.
CACHES: dict[str, Any] = {
    "DictCache": None,
    "DictCache, again": None,
    "DictCache, NEAR=1.0": 1.0,
    'DictCache, NEAR="request"': "request",
}
CACHE_REFERENCE = "DictCache"
LOCMEM = "Django's LocMemCache"

#: Calls in a block, by whether they ask the server.
SERVER_BLOCK = 20
MEMORY_BLOCK = 500

#: `aget()` calls that one run of a task makes.
CALLS_A_TASK = 200

#: How long the near caches are given to hear of the server.
PATIENCE_S = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.near", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--program", type=Path, help="the server; redis-server by default")
    parser.add_argument("--cpu", type=int, help="keep client and server on this CPU")
    arguments = parser.parse_args()
    if arguments.cpu is not None:
        os.sched_setaffinity(0, {arguments.cpu})  # the server inherits it
    program = program_at(arguments.program) if arguments.program else find_program("redis")
    with ServerProcess(program, listen="tcp") as server:
        from django.conf import settings

        settings.configure(
            REDISDICT={"default": {"LOCATION": server.url}},
            CACHES={
                "default": {
                    "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                    "OPTIONS": {"MAX_ENTRIES": 10_000},
                },
                **{
                    name: {
                        "BACKEND": "redisdict.cache.DictCache",
                        # Those without it in a database where none reads near: they drop nothing.
                        "LOCATION": f"{server.url.removesuffix('/0')}/{1 if near is None else 2}",
                        "KEY_PREFIX": f"cache-{number}",
                        "OPTIONS": {"NEAR": near},
                    }
                    for number, (name, near) in enumerate(CACHES.items())
                },
            },
            SECRET_KEY="benchmark",  # noqa: S106  # of nothing
            ALLOWED_HOSTS=["*"],
            INSTALLED_APPS=["django.contrib.sessions", "redisdict"],
            ROOT_URLCONF="benchmarks.caches.site",
        )
        import django

        django.setup()
        placement = UNCONTROLLED if arguments.cpu is None else SAME
        for line in report(server.url, arguments.rounds, placement):
            print(line, flush=True)
    return 0


def report(url: str, rounds: int, placement: str) -> Iterator[str]:
    from benchmarks.modeldict.rounds import Turn
    from benchmarks.tables import circumstances, measure, table
    from redisdict import close_all, near_barrier

    yield circumstances(PACKAGES)
    yield f"Client and server on CPUs: {placement}; load {os.getloadavg()[0]:.1f}."
    yield ""
    with near_barrier(), asyncio.Runner() as runner:
        for kind, value in VALUES.items():

            def is_right(_key: str, found: Any, value: Any = value) -> bool:
                return bool(found in (value, CALLS_A_TASK))

            def turns(title: str, calls: dict[str, Any], in_task: bool) -> list[Turn]:
                return [
                    Turn(title, name, call, KEYS, _block(name, in_task), is_right, placement)
                    for name, call in calls.items()
                ]

            title = f"get, one thread, {kind}"
            yield from table(
                title, measure(turns(title, threads(url, value), False), rounds), REFERENCE
            )
            title = f"aget, one task, {CALLS_A_TASK} calls, {kind}"
            calls = tasks(runner, url, value)
            yield from table(title, measure(turns(title, calls, True), rounds), REFERENCE)
        yield from table(
            "a page from cache_page, 20 kB", measure(pages(placement), rounds), CACHE_REFERENCE
        )
        close_all()


def _block(name: str, in_task: bool) -> int:
    if in_task:
        return 1
    asks = (REFERENCE, TWIN, *(name for name, near in CACHES.items() if near is None))
    return SERVER_BLOCK if name in asks else MEMORY_BLOCK


def dicts(value: Any) -> dict[str, Any]:
    """The dicts under comparison, whose values are known to those that read near."""
    from redisdict import PersistentDict

    made: dict[str, Any] = {
        REFERENCE: PersistentDict("server", hset_enabled=False),
        TWIN: PersistentDict("again", hset_enabled=False),
        "near=1.0": PersistentDict("seconds", hset_enabled=False, near=1.0),
        'near="request"': PersistentDict("request", hset_enabled=False, near="request"),
    }
    for mapping in made.values():
        mapping.update(dict.fromkeys(KEYS, value))
    for name, mapping in made.items():
        if name not in (REFERENCE, TWIN):
            wait_until_known(name, mapping)
    return made


def known_caches(value: Any) -> dict[str, Any]:
    """The caches under comparison, as `dicts()`."""
    from django.core.cache import caches

    made: dict[str, Any] = {name: caches[name] for name in CACHES}
    for name, cache in made.items():
        cache.set_many(dict.fromkeys(KEYS, value), None)
        if CACHES[name] is not None:
            wait_until_known(name, cache)
    return made


def wait_until_known(name: str, near: Any) -> None:
    """Read until all values are in memory."""
    deadline = time.monotonic() + PATIENCE_S
    while not near.near_stats().is_on or near.near_stats().items < len(KEYS):
        near.get_many(KEYS)
        if time.monotonic() > deadline:
            sys.exit(f"{name} isn't on: {near.near_stats()}")


def pages(placement: str) -> list[Any]:
    """Turns of a page that the decorator `cache_page` has cached, as Django's test client gets."""
    from django.test import Client

    from benchmarks.caches.site import PAGE, slug
    from benchmarks.modeldict.rounds import Turn

    client = Client()

    def is_right(_key: str, response: Any) -> bool:
        return bool(response.content.decode() == PAGE)

    def turn(name: str, alias: str) -> Turn:
        where = f"/page/{slug(alias)}"
        return Turn("page", name, lambda _: client.get(where), KEYS, 10, is_right, placement)

    return [*(turn(name, name) for name in CACHES), turn(LOCMEM, "default")]


def threads(url: str, value: Any) -> dict[str, Callable[[str], Any]]:
    from django.core.cache import cache

    calls: dict[str, Callable[[str], Any]] = {
        name: mapping.__getitem__ for name, mapping in dicts(value).items()
    }
    calls.update((name, each.get) for name, each in known_caches(value).items())
    for key in KEYS:
        cache.set(key, value, None)
    calls[LOCMEM] = cache.get
    calls.update(peers.in_threads(url, KEYS, value))
    return calls


def tasks(runner: asyncio.Runner, url: str, value: Any) -> dict[str, Callable[[str], Any]]:
    from contextvars import copy_context

    context = copy_context()  # with the barrier

    def in_task(aget: Callable[[str], Awaitable[Any]]) -> Callable[[str], int]:
        async def read(key: str) -> int:
            for _ in range(CALLS_A_TASK):
                found = await aget(key)
            assert found == value
            return CALLS_A_TASK

        return lambda key: runner.run(read(key), context=context)

    own = {**dicts(value), **known_caches(value)}
    every = {name: each.aget for name, each in own.items()}
    every.update(runner.run(peers.in_tasks(url, KEYS, value)))
    return {name: in_task(each) for name, each in every.items()}


if __name__ == "__main__":
    sys.exit(main())
