"""Starts a Redis, measures cache backends beside one another, and prints the tables as Markdown.

Every contender has a database of its own and the serializer pickle. django-valkey takes part where
it is installed, and django-redis twice, which shows the noise.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from redisdict.bench.measure.placement import SAME, UNCONTROLLED
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program

OURS = "DictCache"
REFERENCE = "django-redis"
VALUE = {"name": "A product of some kind", "price": 12.5, "tags": ["a", "b", "c"], "stock": 7}
BLOCK = 10
TASKS = 50
CALLS_A_TASK = 4
KEYS = [f"product:{number}" for number in range(100)]
PACKAGES = ("Django", "redis", "hiredis", "django-redis", "django-valkey", "valkey")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.caches", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--cpu", type=int, help="keep client and server on this CPU")
    parser.add_argument("--listen", choices=("tcp", "unix"), default="tcp")
    arguments = parser.parse_args()
    if arguments.cpu is not None:
        os.sched_setaffinity(0, {arguments.cpu})  # the server inherits it
    with ServerProcess(find_program("redis"), listen=arguments.listen) as server:
        os.environ["REDISDICT_BENCHMARK"] = server.url.partition("?")[0].removesuffix("/0")
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.caches.settings"
        import django

        django.setup()
        placement = UNCONTROLLED if arguments.cpu is None else SAME
        for line in report(arguments.rounds, placement):
            print(line, flush=True)
    return 0


def report(rounds: int, placement: str) -> Iterator[str]:
    from django.conf import settings

    from benchmarks.modeldict.rounds import Turn
    from benchmarks.tables import circumstances, measure, table

    names = [name for name in settings.CACHES if name != "default" and "async" not in name]
    names_of_tasks = [name for name in settings.CACHES if name not in ("default", "django-valkey")]

    def compare(
        title: str, calls: dict[str, Callable[[Any], Any]], block: int, is_right: Any, rounds: int
    ) -> Iterator[str]:
        turns = [
            Turn(title, name, call, KEYS, block, is_right, placement)
            for name, call in calls.items()
        ]
        yield from table(title, measure(turns, rounds), REFERENCE)

    yield circumstances(PACKAGES)
    yield f"Client and server on CPUs: {placement}."
    yield ""
    yield from compare(
        "get, one thread", {name: getter(name) for name in names}, BLOCK, same, rounds
    )
    yield from compare(
        "set, one thread", {name: setter(name) for name in names}, BLOCK, any_, rounds
    )
    with asyncio.Runner() as runner:
        for method in ("aget", "aset"):
            calls = {name: in_tasks(runner, name, method) for name in names_of_tasks}
            title = f"{method}, {TASKS} tasks, {TASKS * CALLS_A_TASK} calls"
            yield from compare(title, calls, 1, any_, rounds)
    calls = {name: cached_page(name) for name in names}
    yield from compare("cache_page, a hit of 20 kB", calls, BLOCK, any_, rounds)
    calls = {name: session(name) for name in names}
    yield from compare("a page that reads the session", calls, BLOCK, any_, rounds)


def cache_of(name: str) -> Any:
    from django.core.cache import caches

    cache = caches[name]
    for key in KEYS:
        cache.set(key, VALUE, 600)
    return cache


def getter(name: str) -> Callable[[Any], Any]:
    call: Callable[[Any], Any] = cache_of(name).get
    return call


def setter(name: str) -> Callable[[Any], Any]:
    cache = cache_of(name)
    return lambda key: cache.set(key, VALUE, 600)


def in_tasks(runner: asyncio.Runner, name: str, method: str) -> Callable[[Any], Any]:
    """One call is a run of all tasks; django-redis and RedisCache have Django's `sync_to_async`."""
    from django.core.cache import caches

    cache = caches[name]
    call = getattr(cache, method)
    arguments: tuple[Any, ...] = () if method == "aget" else (VALUE, 600)

    async def fill() -> None:
        for key in KEYS:
            await cache.aset(key, VALUE, 600)

    async def task(number: int) -> None:
        for offset in range(CALLS_A_TASK):
            await call(KEYS[(number + offset) % len(KEYS)], *arguments)

    async def together() -> None:
        await asyncio.gather(*map(task, range(TASKS)))

    runner.run(fill())
    return lambda key: runner.run(together())


def cached_page(name: str) -> Callable[[Any], Any]:
    from django.test import Client

    from benchmarks.caches.site import PAGE, slug

    client, where = Client(), f"/page/{slug(name)}"
    for _ in range(2):
        assert client.get(where).content.decode() == PAGE
    return lambda key: client.get(where)


def session(name: str) -> Callable[[Any], Any]:
    from importlib import import_module

    from django.conf import settings
    from django.test import Client, override_settings

    from benchmarks.caches.site import CART, session_engine

    engine = session_engine(name)
    store = import_module(engine).SessionStore()
    store["cart"] = CART
    store.save()
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = store.session_key
    with override_settings(SESSION_ENGINE=engine):
        assert client.get("/cart").content == b"10"  # the middleware is loaded now
    return lambda key: client.get("/cart")


def same(key: str, value: Any) -> bool:
    return bool(value == VALUE)


def any_(key: str, value: Any) -> bool:
    return True


if __name__ == "__main__":
    sys.exit(main())
