"""What goes wrong with the listener and its process: nothing old is served."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from redisdict import PersistentDict, close_all
from redisdict.connections.backend import Backend
from redisdict.exceptions import BackendUnavailable
from redisdict.near import session as session_module
from redisdict.near.barrier import near_barrier
from redisdict.near.clock import clock
from redisdict.servers.process import ServerProcess
from tests.forks.forking import FORKS, Child, Fork
from tests.near.conftest import (
    AGES,
    is_served,
    kept,
    make,
    settle,
    wait_until_on,
)
from tests.waiting import wait_until


@pytest.fixture
def mapping(own_backend: Backend) -> Any:
    mapping = make(own_backend)
    wait_until_on(mapping)
    return mapping


@pytest.fixture
def other(own_elsewhere: Backend) -> Any:
    return make(own_elsewhere, near=None)


def kill_listeners(client: Any) -> int:
    """Cut the connections that track, as an operator may."""
    tracking = [each for each in client.client_list() if "t" in each["flags"]]
    for each in tracking:
        client.client_kill_filter(_id=each["id"])
    return len(tracking)


def test_a_lost_connection_is_made_again(
    mapping: Any, other: Any, own_server: ServerProcess
) -> None:
    with own_server.client() as client:
        for number in range(3):
            kept(mapping, number)
            assert kill_listeners(client) == 1
            other["k"] = "new"
            wait_until(lambda: mapping["k"] == "new")
            wait_until_on(mapping)


def test_everything_goes_with_the_server(
    mapping: Any, other: Any, own_server: ServerProcess
) -> None:
    with own_server.client() as client:
        kept(mapping)
        client.flushall()
        wait_until(lambda: mapping.get("k") is None)
        kept(mapping)
        client.script_flush()
        assert mapping["k"] == "old"
        client.flushdb()
        wait_until(lambda: mapping.get("k") is None)
    kept(mapping)
    own_server.kill()
    wait_until(lambda: not mapping.near_stats().is_on)
    with pytest.raises(BackendUnavailable):
        mapping["k"]
    own_server.start()
    wait_until(lambda: _get(mapping, "k") == (True, None))
    other["k"] = "new"
    wait_until(lambda: mapping.get("k") == "new")
    wait_until_on(mapping)


def _get(mapping: Any, key: str) -> tuple[bool, Any]:
    try:
        return True, mapping.get(key)
    except BackendUnavailable:
        return False, None


@pytest.mark.each_value_once
def test_a_stopped_server_answers_no_ping(own_backend: Backend, own_server: ServerProcess) -> None:
    bound = 0.3
    mapping = make(own_backend, near=bound)
    wait_until_on(mapping)
    mapping["k"] = "old"
    wait_until(lambda: is_served(mapping, "k"))
    os.kill(own_server.pid, signal.SIGSTOP)
    stopped_at = clock()
    try:
        while True:
            began = clock()
            try:
                mapping["k"]
            except BackendUnavailable:
                break
            assert began - stopped_at <= bound
    finally:
        os.kill(own_server.pid, signal.SIGCONT)
    wait_until(lambda: is_served_or_lost(mapping))


def is_served_or_lost(mapping: Any) -> bool:
    try:
        return is_served(mapping, "k")
    except BackendUnavailable:
        return False


@pytest.mark.each_value_once
def test_a_ping_that_isnt_answered_ends_the_connection(
    own_backend: Backend, own_server: ServerProcess
) -> None:
    mapping = make(own_backend, near="request")
    wait_until_on(mapping)
    kept_by_request(mapping)
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        with near_barrier(), pytest.raises(BackendUnavailable):
            mapping["k"]
        wait_until(lambda: not mapping.near_stats().is_on)
        assert "wasn't answered" in mapping.near_stats().reason
    finally:
        os.kill(own_server.pid, signal.SIGCONT)
    wait_until(lambda: _get(mapping, "k") == (True, "old"))


def kept_by_request(mapping: Any) -> None:
    mapping["k"] = "old"
    settle(mapping)
    assert mapping["k"] == "old"
    with near_barrier():
        assert is_served(mapping, "k")


@pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)
def test_a_forked_child_has_a_listener_of_its_own(mapping: Any, other: Any, fork: Fork) -> None:
    kept(mapping)

    def in_child() -> tuple[Any, Any, bool]:
        first = mapping["k"]
        wait_until_on(mapping)
        kept(mapping, "by the child")
        mapping["k"] = "last"
        is_on: bool = mapping.near_stats().is_on
        return first, mapping["k"], is_on

    child = Child(in_child, fork)
    assert child.result() == ("old", "last", True)
    wait_until(lambda: mapping["k"] == "last")
    assert mapping.near_stats().is_on
    kept(mapping, "by the parent")
    other["k"] = "new"
    wait_until(lambda: mapping["k"] == "new")


def test_two_processes(mapping: Any, own_server: ServerProcess, key_prefix: str) -> None:
    kept(mapping, 0)
    program = f"""
import django
from django.conf import settings
settings.configure(REDISDICT={{"default": {{"LOCATION": {own_server.url!r},
                                           "KEY_PREFIX": {key_prefix!r}}}}})
django.setup()
from redisdict import PersistentDict
d = PersistentDict("d", hset_enabled=False, near=1.0)
for number in range(1, 301):
    d["k"] = number
    assert d["k"] == number
"""
    process = subprocess.Popen([sys.executable, "-W", "error", "-c", program])
    seen = [0]
    while seen[-1] < 300:
        assert process.poll() in (None, 0)
        value = mapping["k"]
        if value != seen[-1]:
            assert value > seen[-1]
            seen.append(value)
    assert process.wait(60) == 0


def test_two_event_loops_and_a_thread(mapping: Any, other: Any) -> None:
    mapping["k"] = 0
    wrong: list[Any] = []
    is_over = threading.Event()

    def watch(read: Callable[[], Any]) -> None:
        last = 0
        while not is_over.is_set():
            value = read()
            if value < last:
                wrong.append((last, value))
            last = value

    async def watch_in_task() -> None:
        last = 0
        while not is_over.is_set():
            value = await mapping.aget("k")
            if value < last:
                wrong.append((last, value))
            last = value
            await asyncio.sleep(0)

    threads = [
        threading.Thread(target=lambda: asyncio.run(watch_in_task())),
        threading.Thread(target=lambda: asyncio.run(watch_in_task())),
        threading.Thread(target=lambda: watch(lambda: mapping["k"])),
    ]
    for thread in threads:
        thread.start()
    for number in range(1, 300):
        (other if number % 2 else mapping)["k"] = number
    wait_until(lambda: mapping["k"] == 299)
    is_over.set()
    for thread in threads:
        thread.join()
    assert wrong == []


# The end, and beginning again


def listeners() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name == "redisdict-near"}


def test_closing_ends_thread_and_connection(
    url: str, alias_for: Callable[..., dict[str, Any]]
) -> None:
    before = listeners()  # of earlier tests; they may end meanwhile
    with override_settings(REDISDICT={"default": alias_for(url)}):
        mapping: Any = PersistentDict("d", hset_enabled=False, near=AGES)
        assert not listeners() - before  # not before its first use
        wait_until_on(mapping)
        kept(mapping)
        assert len(listeners() - before) == 1
        close_all()
        assert not listeners() - before
        stats = mapping.near_stats()
        assert (stats.is_on, stats.reason) == (False, "the connection was closed")
        assert mapping["k"] == "old"
        wait_until_on(mapping)
        kept(mapping)
        mapping.clear()
    assert not listeners() - before


def test_closing_what_isnt_open(backend: Backend) -> None:
    mapping = make(backend)
    assert mapping.near_stats().reason == "nothing was read yet"
    backend.close()
    wait_until_on(mapping)


def test_the_end_of_a_process_is_silent(own_server: ServerProcess, key_prefix: str) -> None:
    program = f"""
import django
from django.conf import settings
settings.configure(REDISDICT={{"default": {{"LOCATION": {own_server.url!r},
                                           "KEY_PREFIX": {key_prefix!r}}}}})
django.setup()
from redisdict import PersistentDict
d = PersistentDict("d", hset_enabled=False, near=1.0)
while not d.near_stats().is_on:
    d.get("k")
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program], capture_output=True, timeout=100, check=True
    )
    assert "near" not in done.stderr.decode()


# PINGs


def test_pings_are_sent_only_while_somebody_reads(
    own_backend: Backend, own_server: ServerProcess
) -> None:
    mapping = make(own_backend, near=0.1)
    wait_until_on(mapping)
    client = own_backend.client()

    def pings() -> int:
        return int(client.info("commandstats")["cmdstat_ping"]["calls"])

    # How many reads there had been when the thread wanted never to be woken again.
    idle_after: list[int] = []
    turn = session_module.Session._turn

    def look(session: Any) -> float | None:
        left_s = turn(session)
        if left_s is None:
            idle_after.append(session._activity)
        return left_s

    before = pings()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_module.Session, "_turn", look)
        wait_until(lambda: mapping.get("k") is None and pings() > before + 5)
        stats = mapping.near_stats()
        wait_until(lambda: stats.hits + stats.misses in idle_after)
    wait_until(lambda: is_served(mapping, "k"))


@pytest.mark.each_value_once
def test_more_prefixes_than_a_connection_has(
    own_backend: Backend, own_elsewhere: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    mappings = [make(own_backend, name=f"d{number}") for number in range(100)]
    others = [make(own_elsewhere, near=None, name=f"d{number}") for number in range(100)]
    wait_until_on(*mappings)
    for mapping, other in zip(mappings, others, strict=True):
        other["k"] = "old"
        wait_until(lambda: mapping.get("k") == "old")  # noqa: B023
    for mapping, other in zip(mappings, others, strict=True):
        other["k"] = "new"
        wait_until(lambda: mapping.get("k") == "new")  # noqa: B023
