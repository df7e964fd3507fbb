"""What is computed in the background when its process forks or ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redisdict import PersistentDict, finish_background
from redisdict.connections.backend import Backend
from redisdict.mapping import background
from redisdict.mapping.background import BACKGROUND
from redisdict.mapping.keys import Names
from tests.forks.forking import FORKS, Child, Fork
from tests.mapping.test_background import SOFT, finished, stale, threads_end_soon
from tests.mapping.test_old_values import STALE_S, TIMES, lease_of
from tests.waiting import LIMIT_S, wait_until

__all__ = ["finished", "stale", "threads_end_soon"]


def test_a_fork_is_noticed_at_the_next_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next test forks; here is what the child does then."""
    made = background.Background()
    condition = made._changed
    monkeypatch.setattr(background, "own", [0])
    monkeypatch.setattr(background, "take_over", made._renew)
    assert made.finish(0)
    assert made._changed is not condition


@pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)
def test_a_forked_child_has_nothing_of_it(stale: PersistentDict[str, Any], fork: Fork) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def compute() -> str:
        begun.set()
        assert may_end.wait(LIMIT_S)
        return "parent's"

    def use() -> Any:
        is_free = finish_background(0)
        before = stale.get_or_set("k", lambda: "child's", **SOFT)
        stale.set("l", "old", timeout=STALE_S)
        stale.get_or_set("l", lambda: "child's", **SOFT)
        return is_free, before, finish_background(30), stale["l"]

    assert stale.get_or_set("k", compute, **SOFT) == "old"
    assert begun.wait(LIMIT_S)
    try:
        assert Child(use, fork).result() == (True, "old", True, "child's")
    finally:
        may_end.set()
    assert finish_background(LIMIT_S)
    assert stale["k"] == "parent's"


one_layout = pytest.mark.parametrize("hset_enabled", [True])

Run = Callable[[str], subprocess.CompletedProcess[str]]

#: Python 3.12.0 to 3.12.2 start no thread once the interpreter ends (CPython issue 113964): a
#: computation that needs one then has failed, or is given up.
STARTS_NO_THREADS = (3, 12) <= sys.version_info < (3, 12, 3)


@pytest.fixture
def run_program(alias_for: Callable[..., dict[str, Any]], server_url: str) -> Run:
    """Runs a program with a dict `d` until its end."""
    return lambda program: run_with({"default": alias_for(server_url)}, program)


def run_with(aliases: dict[str, Any], program: str) -> subprocess.CompletedProcess[str]:
    head = f"""
        import asyncio, os, threading, time
        import django
        from django.conf import settings
        settings.configure(REDISDICT={aliases!r})
        django.setup()
        from redisdict import PersistentDict
        from redisdict.mapping import background
        d = PersistentDict("d")
        SOFT = {SOFT!r}
    """
    text = textwrap.dedent(head) + textwrap.dedent(program)
    return subprocess.run(
        [sys.executable, "-c", text],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )


@pytest.fixture
def hash_d(make: Any) -> PersistentDict[str, Any]:
    made: PersistentDict[str, Any] = make()
    made.set("k", "old", timeout=STALE_S)
    return made


@one_layout
def test_the_end_of_the_interpreter_waits(
    hash_d: PersistentDict[str, Any], backend: Backend, run_program: Run
) -> None:
    """Also for what then needs another thread."""
    program = """
        from concurrent.futures import ThreadPoolExecutor
        is_ending = threading.Event()

        def compute():
            is_ending.wait()
            with ThreadPoolExecutor(1) as executor:
                return executor.submit(lambda: "new").result()

        assert d.get_or_set("k", compute, **SOFT) == "old"
        threading._register_atexit(is_ending.set)
    """
    run_program(program)
    found = hash_d["k"], lease_of(backend)
    assert found == (("old", b"paused") if STARTS_NO_THREADS else ("new", None))


@one_layout
def test_the_end_of_a_program_of_tasks_waits(
    hash_d: PersistentDict[str, Any], backend: Backend, run_program: Run
) -> None:
    program = """
        begun = []

        async def compute():
            begun.append(1)
            await asyncio.sleep(0.01)
            return "new"

        async def main():
            assert await d.aget_or_set("k", compute, **SOFT) == "old"

        asyncio.run(main())
    """
    run_program(program)
    assert hash_d["k"] == "new" or STARTS_NO_THREADS


@one_layout
def test_the_end_of_the_interpreter_gives_up_in_the_end(
    hash_d: PersistentDict[str, Any], backend: Backend, run_program: Run
) -> None:
    hash_d.set("l", "old", timeout=STALE_S)
    program = """
        background.EXIT_S = 0.05
        background.MOST_THREADS = 1
        for key in "kl":
            assert d.get_or_set(key, lambda: time.sleep(3600), **SOFT) == "old"
    """
    ended = run_program(program)
    assert "2 background computations hadn't finished at the end of this process" in ended.stderr
    assert lease_of(backend) is None
    names = Names(backend.config.key_prefix, ("d",))
    assert backend.client().get(names.lock_prefix + b"l") is None
    assert hash_d.get_or_set("k", lambda: "next", **TIMES) == "next"


@one_layout
def test_a_killed_process_keeps_its_lease_for_its_time(
    hash_d: PersistentDict[str, Any], backend: Backend, run_program: Run
) -> None:
    program = """
        def compute():
            os._exit(0)

        d.get_or_set("k", compute, **SOFT, lock_timeout=1)
        time.sleep(3600)
    """
    run_program(program)
    wait_until(lambda: hash_d.get_or_set("k", lambda: "next", **TIMES) == "next")
    assert lease_of(backend) is None


def test_nothing_begins_after_the_end(
    stale: PersistentDict[str, Any], backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old value is served, and another process computes."""

    def refuse(function: Any) -> None:
        raise RuntimeError("can't register atexit after shutdown")

    monkeypatch.setattr(threading, "_register_atexit", refuse)
    monkeypatch.setattr(BACKGROUND, "_is_registered", False)
    assert stale.get_or_set("k", lambda: "new", **SOFT) == "old"
    assert lease_of(backend) is None
    monkeypatch.setattr(BACKGROUND, "_is_over", True)
    assert stale.get_or_set("k", lambda: "new", **SOFT) == "old"

    async def use() -> None:
        assert await stale.aget_or_set("k", lambda: "new", **SOFT) == "old"
        await backend.aclose()

    asyncio.run(use())
    assert lease_of(backend) is None
    assert stale["k"] == "old"


def test_the_end_waits_for_what_is_done_in_time(
    stale: PersistentDict[str, Any], backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the programs above show it, in a process whose lines are counted."""
    monkeypatch.setattr(BACKGROUND, "_is_over", False)
    monkeypatch.setattr(background, "EXIT_S", LIMIT_S)
    assert stale.get_or_set("k", lambda: "new", **SOFT) in ("old", "new")
    BACKGROUND._finish_at_exit()
    assert stale["k"] == "new"


def test_the_end_gives_up_what_takes_longer(
    mapping: PersistentDict[str, Any], backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a thread has begun, and what waits for one."""
    monkeypatch.setattr(BACKGROUND, "_is_over", False)
    monkeypatch.setattr(background, "EXIT_S", 0)
    monkeypatch.setattr(background, "MOST_THREADS", 1)
    wait_until(lambda: not BACKGROUND._threads)
    begun, may_end = threading.Event(), threading.Event()

    def compute() -> str:
        begun.set()
        assert may_end.wait(LIMIT_S)
        return "new"

    try:
        for key in "lk":
            mapping.set(key, "old", timeout=STALE_S)
            assert mapping.get_or_set(key, compute, **SOFT) == "old"
        assert begun.wait(LIMIT_S)
        BACKGROUND._finish_at_exit()
        assert lease_of(backend) is None
        assert mapping._bound.driver.run(mapping._bound.locks.try_acquire(b"l", b"next", 60))
    finally:
        may_end.set()
    assert finish_background(LIMIT_S)
    assert mapping["k"] == "old"
