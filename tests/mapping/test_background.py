"""What goes on in the background: in its caller's context, bounded, and beyond a loop's end."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.utils import timezone, translation

from redisdict import PersistentDict, afinish_background, finish_background
from redisdict.connections.backend import Backend
from redisdict.mapping import background
from redisdict.mapping.background import BACKGROUND
from redisdict.mapping.keys import Names
from redisdict.testing import computing_in_foreground
from tests.logs import logged_by
from tests.mapping.test_old_values import AHEAD, NEAR_ITS_END_S, STALE_S, TIMES, lease_of
from tests.waiting import LIMIT_S, await_until, wait_until

SOFT: dict[str, Any] = {**TIMES, "soft_timeout": 0}
HERE = contextvars.ContextVar("HERE", default="")


@pytest.fixture(scope="module", autouse=True)
def threads_end_soon() -> Iterator[None]:
    """So that a test that begins without any hasn't to wait for those of the one before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background, "IDLE_S", 0.05)
        yield


@pytest.fixture(autouse=True)
def finished() -> Iterator[None]:
    yield
    assert finish_background(LIMIT_S)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads whose database connections were closed."""
    threads: list[threading.Thread] = []

    class Connections:
        def close_all(self) -> None:
            threads.append(threading.current_thread())

    monkeypatch.setattr(background, "connections", Connections())
    return threads


@pytest.fixture
def stale(mapping: PersistentDict[str, Any]) -> PersistentDict[str, Any]:
    mapping.set("k", "old", timeout=STALE_S)
    return mapping


# Its context


def test_a_thread_has_the_callers_context_and_its_own_database_connections(
    stale: PersistentDict[str, Any], closed: list[threading.Thread]
) -> None:
    seen: list[Any] = []

    def compute() -> str:
        seen.append((HERE.get(), translation.get_language(), timezone.get_current_timezone_name()))
        seen.append(threading.current_thread())
        return "new"

    HERE.set("here")
    with translation.override("de"), timezone.override("Asia/Tokyo"):
        stale.get_or_set("k", compute, **SOFT)
        assert finish_background(LIMIT_S)
    assert seen[0] == ("here", "de", "Asia/Tokyo")
    assert seen[1] is not threading.current_thread()
    assert closed == [seen[1]]


def test_a_task_has_a_thread_of_its_own_for_the_database(
    stale: PersistentDict[str, Any], closed: list[threading.Thread], backend: Backend
) -> None:
    threads: list[threading.Thread] = []

    async def compute() -> str:
        threads.append(await sync_to_async(threading.current_thread)())
        return HERE.get()

    async def use() -> None:
        HERE.set("here")
        threads.append(await sync_to_async(threading.current_thread)())
        await stale.aget_or_set("k", compute, **SOFT)
        assert await afinish_background(LIMIT_S)
        await await_until(lambda: closed)
        assert await stale.agetitem("k") == "here"
        await backend.aclose()

    asyncio.run(use())
    assert threads[0] is not threads[1]
    assert closed == [threads[1]]


# Its bounds


def test_few_threads_work_at_once_and_end_when_idle(
    mapping: PersistentDict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "MOST_THREADS", 2)
    monkeypatch.setattr(background, "MOST_WAITING", 3)
    wait_until(lambda: not BACKGROUND._threads)
    may_end = threading.Event()
    begun: list[int] = []

    def compute() -> str:
        begun.append(1)
        assert may_end.wait(LIMIT_S)
        return "new"

    for number in range(2):
        mapping.set(f"{number}", "old", timeout=STALE_S)
        assert mapping.get_or_set(f"{number}", compute, **SOFT) == "old"
        wait_until(lambda: len(begun) == number + 1)  # noqa: B023  # at once
    for number in range(2, 9):
        mapping.set(f"{number}", "old", timeout=STALE_S)
        assert mapping.get_or_set(f"{number}", compute, **SOFT) == "old"
    assert len(begun) == BACKGROUND._threads == 2
    assert not finish_background(0)
    may_end.set()
    assert finish_background(LIMIT_S)
    assert sorted(dict(mapping).values()) == ["new"] * 5 + ["old"] * 4
    wait_until(lambda: not BACKGROUND._threads)


def test_an_idle_thread_takes_the_next(
    mapping: PersistentDict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "IDLE_S", 1.0)
    threads = []
    for _ in range(3):
        mapping.set("k", "old", timeout=NEAR_ITS_END_S)
        mapping.get_or_set("k", lambda: threads.append(threading.get_ident()), **AHEAD)
        assert finish_background(LIMIT_S)
        wait_until(lambda: BACKGROUND._idle == BACKGROUND._threads)
    assert len(threads) == 3
    assert BACKGROUND._threads <= background.MOST_THREADS


def test_a_system_without_threads_serves_the_old_value(
    stale: PersistentDict[str, Any], backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until(lambda: BACKGROUND._idle == BACKGROUND._threads)
    monkeypatch.setattr(BACKGROUND, "_threads", 0)
    monkeypatch.setattr(BACKGROUND, "_idle", 0)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert stale.get_or_set("k", lambda: "new", **SOFT) == "old"
    assert lease_of(backend) is None
    assert not BACKGROUND._threads
    assert not BACKGROUND._waiting
    monkeypatch.undo()
    assert stale.get_or_set("k", lambda: "new", **TIMES) == "new"


def test_a_thread_that_is_refused_is_not_missed_where_others_are(
    mapping: PersistentDict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, begun = threading.Event(), threading.Event()

    def compute() -> str:
        begun.set()
        assert may_end.wait(LIMIT_S)
        return "new"

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    for key in "kl":
        mapping.set(key, "old", timeout=STALE_S)
    try:
        assert mapping.get_or_set("k", compute, **SOFT) == "old"
        assert begun.wait(LIMIT_S)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert mapping.get_or_set("l", compute, **SOFT) == "old"
    finally:
        monkeypatch.undo()
        may_end.set()
    assert finish_background(LIMIT_S)
    assert dict(mapping) == {"k": "new", "l": "new"}


def test_what_has_waited_for_too_long_is_anothers(
    mapping: PersistentDict[str, Any], backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "MOST_THREADS", 1)
    wait_until(lambda: not BACKGROUND._threads)
    may_end = threading.Event()
    calls: list[str] = []

    def compute(key: str) -> str:
        calls.append(key)
        assert may_end.wait(LIMIT_S)
        return "new"

    for key in "lk":
        mapping.set(key, "old", timeout=STALE_S)
        assert mapping.get_or_set(key, lambda key=key: compute(key), **SOFT) == "old"  # type: ignore[misc]
    wait_until(lambda: calls)
    name = Names(backend.config.key_prefix, ("d",)).lock_prefix + b"k"
    backend.client().set(name, b"another's", px=60_000)
    may_end.set()
    assert finish_background(LIMIT_S)
    assert calls == ["l"]
    assert dict(mapping) == {"k": "old", "l": "new"}
    assert lease_of(backend) == b"another's"


# Its end: that of a loop


async def compute_slowly(calls: list[threading.Thread], begun: asyncio.Event) -> str:
    calls.append(threading.current_thread())
    begun.set()
    if len(calls) == 1:
        await asyncio.Event().wait()
    return "new"


def test_a_loop_that_ends_hands_over_to_a_thread(
    stale: PersistentDict[str, Any], backend: Backend
) -> None:
    calls: list[threading.Thread] = []

    async def use() -> None:
        begun = asyncio.Event()
        value = await stale.aget_or_set("k", lambda: compute_slowly(calls, begun), **SOFT)
        assert value == "old"
        await begun.wait()

    asyncio.run(use())
    assert finish_background(LIMIT_S)
    assert stale["k"] == "new"
    assert calls[0] is threading.current_thread()
    assert calls[1] is not calls[0]
    assert lease_of(backend) is None


def test_a_loop_that_ends_gives_up_what_no_thread_takes(
    stale: PersistentDict[str, Any], backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "MOST_WAITING", 0)
    calls: list[threading.Thread] = []

    async def use() -> None:
        begun = asyncio.Event()
        await stale.aget_or_set("k", lambda: compute_slowly(calls, begun), **SOFT)
        await begun.wait()

    asyncio.run(use())
    assert finish_background(0)
    assert len(calls) == 1
    assert lease_of(backend) is None
    assert stale.get_or_set("k", lambda: "next", **TIMES) == "next"


def test_a_view_for_threads_leaves_it_to_a_thread_at_once(
    stale: PersistentDict[str, Any], backend: Backend
) -> None:
    """The loop of `async_to_sync()` ends with the call."""
    may_end = threading.Event()
    calls: list[int] = []

    async def compute() -> str:
        calls.append(1)
        await await_until(may_end.is_set)
        return "new"

    @async_to_sync
    async def view() -> Any:
        return await stale.aget_or_set("k", compute, **SOFT)

    assert view() == "old"
    assert view() == "old"
    may_end.set()
    assert finish_background(LIMIT_S)
    assert stale["k"] == "new"
    assert len(calls) == 1


def test_a_loop_that_is_closed_without_ceremony_is_forgotten(
    stale: PersistentDict[str, Any], backend: Backend
) -> None:
    """What it was computing can be computed by others when the lease ends."""
    loop = asyncio.new_event_loop()
    begun = asyncio.Event()

    async def compute() -> str:
        begun.set()
        await asyncio.Event().wait()
        return "never"

    asking = stale.aget_or_set("k", compute, **SOFT, lock_timeout=0.2)
    assert loop.run_until_complete(asking) == "old"
    loop.run_until_complete(begun.wait())
    [task] = asyncio.all_tasks(loop)
    loop.run_until_complete(backend.aclose())
    loop.close()
    wait_until(lambda: lease_of(backend) is None)
    wait_until(lambda: stale.get_or_set("k", lambda: "new", **TIMES) == "new")

    async def use() -> None:
        await stale.aset("k", "old", timeout=STALE_S)
        await stale.aget_or_set("k", lambda: "newer", **SOFT)
        assert await afinish_background(LIMIT_S)
        assert await stale.agetitem("k") == "newer"
        await backend.aclose()

    asyncio.run(use())
    assert finish_background(0)
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is known here
    task.get_coro().close()


def test_a_cancelled_computation_frees_its_lease(
    stale: PersistentDict[str, Any], backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """As when a task that it waits for is cancelled, which says nothing of the loop."""

    has_left = threading.Event()

    async def compute() -> str:
        await await_until(has_left.is_set)
        raise asyncio.CancelledError

    @async_to_sync
    async def view() -> Any:
        return await stale.aget_or_set("k", compute, **SOFT)

    assert view() == "old"
    has_left.set()
    assert finish_background(LIMIT_S)
    assert lease_of(backend) is None
    [record] = logged_by(caplog, "background", "computation")
    assert record.exc_info
    assert record.exc_info[0] is asyncio.CancelledError


# In tests of projects


def test_a_test_has_all_computed_in_the_foreground(
    mapping: PersistentDict[str, Any], backend: Backend
) -> None:
    threads: list[threading.Thread] = []

    def compute() -> str:
        threads.append(threading.current_thread())
        return "new"

    async def acompute() -> str:
        return compute()

    async def use(options: dict[str, Any]) -> Any:
        value = await mapping.aget_or_set("k", acompute, **options)
        await backend.aclose()
        return value

    with computing_in_foreground():
        for left_s, options, expected in (
            (STALE_S, SOFT, "new"),
            (NEAR_ITS_END_S, AHEAD, "old"),
        ):
            mapping.set("k", "old", timeout=left_s)
            assert mapping.get_or_set("k", compute, **options) == expected
            assert mapping["k"] == "new"
            mapping.set("k", "old", timeout=left_s)
            assert asyncio.run(use(options)) == expected
            assert mapping["k"] == "new"
    assert threads == [threading.current_thread()] * 4
    assert lease_of(backend) is None
    assert not BACKGROUND.is_inline


def test_in_a_running_loop_only_the_twin_can_wait(
    stale: PersistentDict[str, Any], backend: Backend
) -> None:
    async def use() -> None:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def compute() -> str:
            begun.set()
            await may_end.wait()
            return "new"

        await stale.aget_or_set("k", compute, **SOFT)
        await begun.wait()
        assert not finish_background(LIMIT_S)  # and it doesn't block
        assert not await afinish_background(0.01)
        may_end.set()
        assert await afinish_background(LIMIT_S)
        await backend.aclose()

    asyncio.run(use())
