"""What a process has of the near cache: memory within its limits, and nothing left at the end."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from redisdict.connections.backend import Backend
from redisdict.servers.process import ServerProcess
from tests.missing import need_package
from tests.near.conftest import AGES, make, opened
from tests.near.workers import MB, MOST_BYTES, MOST_ITEMS, VALUES
from tests.servers.conftest import ON_LINUX
from tests.waiting import LIMIT_S, wait_until


@pytest.mark.skipif(not ON_LINUX, reason="only Linux tells what is resident in this way")
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.deep
def test_memory_of_forked_workers_is_bounded(own_server: ServerProcess, kind: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.near.workers", own_server.url, kind],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=LIMIT_S,
    )
    assert told.returncode == 0, told.stderr
    workers = json.loads(told.stdout)
    assert len(workers) == 4
    for worker in workers:
        assert 0 < worker["items"] <= MOST_ITEMS
        assert MOST_BYTES / 4 < worker["bytes"] <= worker["most"] <= MOST_BYTES
        assert worker["evictions"] > 1000
        # Without a limit it were 24 MB and more of texts. A process keeps freed memory, too.
        assert worker["grown"] < 16 * MB


# Nothing is left

PROGRAM = """
{before}
import asyncio, os, sys, threading
import django
from django.conf import settings
settings.configure(REDISDICT={{"default": {{
    "LOCATION": {url!r}, "KEY_PREFIX": {prefix!r}, "OPTIONS": {{"client_name": {name!r}}}}}}})
django.setup()
from redisdict import PersistentDict, aclose_all, close_all, near_barrier

seconds = PersistentDict("d", hset_enabled=False, near=1000.0)
request = PersistentDict("d", hset_enabled=False, near="request")

def read():
    seconds["k"] = 1
    while not (seconds.near_stats().is_on and seconds.near_stats().hits):
        assert seconds["k"] == 1
    with near_barrier():
        assert request["k"] == request["k"] == 1

async def aread():
    asyncio.get_running_loop().slow_callback_duration = 1000  # a busy machine is no mistake
    await seconds.aset("k", 2)
    hits = seconds.near_stats().hits
    while not (seconds.near_stats().is_on and seconds.near_stats().hits > hits):
        assert await seconds.aget("k") == 2
    with near_barrier():
        assert await request.aget("k") == await request.aget("k") == 2
    await aclose_all()

def work():
    read()
    {run_aread}

def tell(what):
    names = [each.name for each in threading.enumerate()]
    print(what, names.count("redisdict-near"), flush=True)
    sys.stdin.readline()

{run}
"""

RUN = "work(); tell('open'); close_all(); tell('closed'); work(); tell('open'); close_all()"

#: What a program begins with, how it runs its coroutine, and what it does.
WAYS = {
    "threads": ("", "pass", RUN),
    "asyncio": ("", "asyncio.run(aread())", RUN),
    "uvloop": ("import uvloop", "uvloop.run(aread())", RUN),
    "gevent": ("from gevent import monkey; monkey.patch_all()", "pass", RUN),
    "fork": (
        "",
        "pass",
        "work()\nif os.fork():\n    close_all()\n    sys.exit(os.wait()[1])\n" + RUN,
    ),
    "reload": (
        "",
        "pass",
        "from django.test import override_settings\n"
        "one = settings.REDISDICT['default']\n"
        "for timeout in range(1, 4):\n"
        "    with override_settings(REDISDICT={'default': {**one, 'TIMEOUT': timeout * 100}}):\n"
        "        work()\n"
        "work(); tell('open'); close_all(); tell('closed'); work(); tell('open'); close_all()",
    ),
    "at exit": ("", "pass", "work(); tell('open')"),
    "by an error": ("", "pass", "work(); tell('open'); raise SystemExit(0)"),
}


@pytest.mark.each_value_once("way")
@pytest.mark.parametrize("way", WAYS)
def test_neither_thread_nor_connection_is_left(own_backend: Backend, url_of: str, way: str) -> None:
    if way == "uvloop":
        need_package("uvloop")
    if way == "gevent" and importlib.util.find_spec("gevent") is None:
        pytest.skip("gevent isn't installed; it is in requirements-dev.txt.")
    before, run_aread, run = WAYS[way]
    name = f"near-{secrets.token_hex(6)}"
    program = PROGRAM.format(
        before=before,
        run_aread=run_aread,
        run=run,
        url=url_of,
        prefix=own_backend.config.key_prefix,
        name=name,
    )
    # What gevent itself does at a fork and to threading is no matter of ours.
    strictly = [] if way == "gevent" else ["-X", "dev", "-W", "error"]
    with subprocess.Popen(
        [sys.executable, *strictly, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        client = own_backend.client()

        def connections() -> int:
            return sum(each["name"] == name for each in client.client_list())

        said = []
        for line in process.stdout:
            what, threads = line.split()
            said.append(what)
            if what == "open":
                assert threads == "1"
                assert connections() >= 1
            else:
                assert threads == "0"
                wait_until(lambda: connections() == 0)
            process.stdin.write("\n")
            process.stdin.flush()
        errors = process.stderr.read()
        assert process.wait() == 0, errors
        assert errors == ""
        assert said[0] == "open"
        wait_until(lambda: connections() == 0)


@pytest.fixture
def tracking() -> str:
    return "auto"


@pytest.fixture
def url_of(own_server: ServerProcess) -> str:
    return own_server.url


def test_a_limit_of_items(own_backend: Backend, alias_for: Callable[..., dict[str, Any]]) -> None:
    values = alias_for(own_backend.config.location, NEAR_MAX_ITEMS=100)
    with opened(values) as backend:
        for shards in (None, 4):
            mapping = make(backend, AGES, name=f"of {shards}", shards=shards)
            keys = [f"key {number}" for number in range(1000)]
            mapping.update(dict.fromkeys(keys, 1))
            wait_until(lambda: mapping.get_many(keys) and mapping.near_stats().is_on)  # noqa: B023
            mapping.get_many(keys)
            assert 50 < mapping.near_stats().items <= 100
            assert mapping.near_stats().evictions > 500
