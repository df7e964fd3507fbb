"""Locks: one owner at a time, for a limited time, in both colours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from redisdict import BackendUnavailable, ConcurrentUpdate, PersistentDict
from redisdict.connections.backend import Backend
from redisdict.mapping.keys import escape_glob
from redisdict.mapping.locks import Lock
from redisdict.wire.requests import Sleep
from tests.colours import OneColour
from tests.mapping.feeding import feed
from tests.waiting import LIMIT_S


class LockFace(OneColour):
    """Calls a lock's methods in one colour."""

    @property
    def lock(self) -> Lock:
        found: Lock = self.target
        return found

    def hold(self, action: Callable[[], object]) -> None:
        """Call `action` in a `with` block of the lock."""

        def block() -> None:
            with self.lock:
                action()

        async def ablock() -> None:
            async with self.lock:
                action()

        self.choose(block, ablock)


@pytest.fixture
def lock(mapping: PersistentDict[str, int], runner: asyncio.Runner | None) -> Callable[..., Any]:
    return lambda *arguments, **options: LockFace(mapping.lock(*arguments, **options), runner)


def lock_keys(backend: Backend, name: bytes) -> list[bytes]:
    """The key of a lock, if it is held: in which slot it lies is the dict's affair."""
    pattern = escape_glob(backend.config.key_prefix.encode()) + b"*:" + name
    return list(backend.client().scan_iter(match=pattern))


def test_one_owner_at_a_time(lock: Callable[..., Any]) -> None:
    one, other = lock("a"), lock("a", wait=0)
    assert one.acquire() is True
    assert one.lock.is_owned
    assert other.acquire() is False
    assert not other.lock.is_owned
    assert lock("b", wait=0).acquire() is True
    one.release()
    assert not one.lock.is_owned
    assert other.acquire() is True


def test_a_block_holds_it(mapping: PersistentDict[str, int], lock: Callable[..., Any]) -> None:
    one = lock()
    seen = []
    one.hold(lambda: seen.append((one.lock.is_owned, mapping.lock(wait=0).acquire())))
    assert seen == [(True, False)]
    assert lock(wait=0).acquire() is True


def test_it_is_waited_for(lock: Callable[..., Any]) -> None:
    begin = time.monotonic()
    lock(timeout=0.1).acquire()
    assert lock(wait=2 * LIMIT_S).acquire() is True
    assert 0.1 <= time.monotonic() - begin < LIMIT_S


def test_without_a_limit_it_is_waited_for_as_long_as_it_takes(backend: Backend) -> None:
    backend.capabilities.runs_scripts = True
    locks = PersistentDict("d", backend)._bound.locks
    asked, result = feed(locks.acquire(b"a", b"token", 30, None), *[None, None] * 5, b"OK")
    assert result is True
    assert sum(type(request) is Sleep for request in asked) == 5


def test_who_comes_too_late_is_told(lock: Callable[..., Any]) -> None:
    lock("busy").acquire()
    with pytest.raises(BackendUnavailable, match=r"<Lock 'busy' of .* wasn't free within 0.02 s"):
        lock("busy", wait=0.02).hold(lambda: None)


def test_after_its_time_it_is_lost(lock: Callable[..., Any]) -> None:
    one, other = lock("a", timeout=0.05), lock("a")
    one.acquire()
    time.sleep(0.1)
    other.acquire()
    with pytest.raises(ConcurrentUpdate, match=r"held longer than its 0\.05 s"):
        one.release()
    assert not one.lock.is_owned
    assert lock("a", wait=0).acquire() is False  # the other still has it
    other.release()


def test_its_time_can_be_extended(backend: Backend, lock: Callable[..., Any]) -> None:
    def left_s() -> float:
        [key] = lock_keys(backend, b"a")
        return float(backend.client().pttl(key)) / 1000

    one = lock("a", timeout=30)
    one.acquire()
    assert 0 < left_s() <= 30
    one.extend(60)
    assert 50 < left_s() <= 60
    assert lock("a", wait=0).acquire() is False
    one.extend()  # for its own time again
    assert 0 < left_s() <= 30
    one.extend(0.1)
    time.sleep(0.15)
    with pytest.raises(ConcurrentUpdate, match="held longer"):
        one.extend()
    assert not one.lock.is_owned


def test_the_error_of_a_block_is_the_one_that_is_seen(lock: Callable[..., Any]) -> None:
    def fail() -> None:
        time.sleep(0.1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lock(timeout=0.05).hold(fail)
    with pytest.raises(ConcurrentUpdate):
        lock(timeout=0.05).hold(lambda: time.sleep(0.1))


def test_a_misused_object_says_so(lock: Callable[..., Any]) -> None:
    one = lock("a")
    for call in (one.release, one.extend):
        with pytest.raises(RuntimeError, match="isn't acquired"):
            call()
    one.acquire()
    with pytest.raises(RuntimeError, match="acquired already"):
        one.acquire()
    one.release()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"timeout": 0}, ValueError),
        ({"timeout": None}, ValueError),
        ({"timeout": "5"}, TypeError),
        ({"name": 5}, TypeError),
    ],
)
def test_a_wrong_argument_is_named(
    mapping: PersistentDict[str, int], arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        mapping.lock(**arguments)


@pytest.mark.parametrize("turns", range(1, 6))
async def test_a_cancelled_task_leaves_no_lock_behind(
    backend: Backend, mapping: PersistentDict[str, int], turns: int
) -> None:
    """Wherever it is cancelled: also when the command is under way."""
    await mapping.alen()  # the connection is there
    task = asyncio.create_task(mapping.lock("a").aacquire())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    if task.cancelled():
        assert not lock_keys(backend, b"a")
    await backend.aclose()


@pytest.mark.parametrize("turns", range(1, 20))
async def test_a_cancelled_computation_leaves_no_lease_behind(
    backend: Backend, mapping: PersistentDict[str, int], turns: int
) -> None:
    await mapping.alen()
    task = asyncio.create_task(mapping.aget_or_set("k", lambda: 1))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert await asyncio.wait_for(mapping.aget_or_set("k", lambda: 2), LIMIT_S) in (1, 2)
    await backend.aclose()
