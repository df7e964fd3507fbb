"""A value that is expensive is computed by one; the others wait, or have the old one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.connections.backend import Backend
from redisdict.mapping.keys import Names
from tests.mapping.conftest import Face
from tests.waiting import LIMIT_S

SHORT_S = 0.1


def test_threads_wait_for_the_one_that_computes(mapping: PersistentDict[str, int]) -> None:
    calls = []

    def compute() -> int:
        calls.append(1)
        time.sleep(0.1)
        return 7

    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(mapping.get_or_set("k", compute)))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [7] * 10
    assert len(calls) == 1


async def test_tasks_wait_for_the_one_that_computes(
    backend: Backend, mapping: PersistentDict[str, int]
) -> None:
    calls = []

    async def compute() -> int:
        calls.append(1)
        await asyncio.sleep(0.1)
        return 7

    results = await asyncio.gather(*(mapping.aget_or_set("k", compute) for _ in range(50)))
    assert results == [7] * 50
    assert len(calls) == 1
    await backend.aclose()


def test_another_takes_over_from_one_that_died(mapping: PersistentDict[str, int]) -> None:
    locks = mapping._bound.locks
    begin = time.monotonic()
    assert mapping._bound.driver.run(locks.try_acquire(b"k", b"of one that died", 0.1))
    assert mapping.get_or_set("k", lambda: 1, lock_timeout=2 * LIMIT_S) == 1
    assert 0.1 <= time.monotonic() - begin < LIMIT_S


def test_a_lease_is_given_back(backend: Backend, face: Face) -> None:
    key = Names(backend.config.key_prefix, ("d",)).lock_prefix + b"k"
    face.get_or_set("k", lambda: 1)
    assert backend.client().exists(key) == 0
    face.delete("k")
    with pytest.raises(ZeroDivisionError):
        face.get_or_set("k", lambda: 1 // 0)
    assert backend.client().exists(key) == 0


def test_what_was_stored_meanwhile_counts(face: Face) -> None:
    def compute() -> int:
        face.mapping["k"] = 5
        return 1

    assert face.get_or_set("k", compute) == 5
    assert face.getitem("k") == 5


def test_a_stale_value_is_given_until_the_new_one_is_there(face: Face) -> None:
    first = face.get_or_set("k", lambda: "old", timeout=30, stale=60)
    assert first == "old"
    assert 80 < face.ttl("k") <= 90
    assert face.get_or_set("k", lambda: "not yet", timeout=30, stale=60) == "old"
    face.delete("k")
    assert face.get_or_set("k", lambda: "old", timeout=SHORT_S, stale=60) == "old"
    assert face.ttl("k") <= 60 + SHORT_S
    time.sleep(SHORT_S + 0.05)

    def compute() -> str:
        # Others have the old one while this one works.
        given.append(face.mapping.get_or_set("k", lambda: "never", timeout=SHORT_S, stale=60))
        return "new"

    given: list[str] = []
    assert face.get_or_set("k", compute, timeout=60, stale=60) == "new"
    assert given == ["old"]
    assert face.getitem("k") == "new"
    assert 110 < face.ttl("k") <= 120


def test_a_stale_value_survives_an_error(face: Face) -> None:
    face.get_or_set("k", lambda: "old", timeout=SHORT_S, stale=60)
    time.sleep(SHORT_S + 0.05)
    with pytest.raises(ZeroDivisionError):
        face.get_or_set("k", lambda: 1 // 0, timeout=SHORT_S, stale=60)
    assert face.getitem("k") == "old"
    assert face.get_or_set("k", lambda: "new", timeout=SHORT_S, stale=60) == "new"


def test_a_stale_value_that_was_replaced_or_removed_meanwhile(face: Face) -> None:
    for meanwhile, expected, stored in (
        (lambda: face.mapping.set("k", "set"), "set", {"k": "set"}),
        (lambda: face.mapping.delete("k"), "computed", {}),
    ):
        face.get_or_set("k", lambda: "old", timeout=SHORT_S, stale=60)
        time.sleep(SHORT_S + 0.05)

        def compute(meanwhile: Callable[[], Any] = meanwhile) -> str:
            meanwhile()
            return "computed"

        assert face.get_or_set("k", compute, timeout=60, stale=60) == expected
        assert face.copy() == stored
        face.clear()


def test_an_item_without_a_timeout_is_never_stale(face: Face) -> None:
    face.set("k", "for ever")
    assert face.get_or_set("k", lambda: "new", timeout=1, stale=1) == "for ever"
    assert face.get_or_set("v", "a value", timeout=60, stale=60) == "a value"
    assert 110 < face.ttl("v") <= 120


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stale": 5}, "stale is 5 s, but the item has no timeout"),
        ({"stale": 5, "timeout": 0}, "stale is 5 s, but the item has no timeout"),
        ({"lock_timeout": 0}, "timeout of a lock is 0"),
    ],
)
def test_a_wrong_argument_is_named(face: Face, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        face.get_or_set("k", lambda: 1, **arguments)


def test_a_timeout_of_nothing_keeps_nothing(face: Face) -> None:
    assert face.get_or_set("k", lambda: 1, timeout=0) == 1
    assert face.copy() == {}


async def test_many_waiting_tasks_ask_the_server_once_each(
    backend: Backend, mapping: PersistentDict[str, int]
) -> None:
    with backend.client() as client:

        def commands() -> int:
            return int(client.info("stats")["total_commands_processed"])

        async def compute() -> int:
            await asyncio.sleep(0.3)
            return 7

        await mapping.alen()
        before = commands()
        results = await asyncio.gather(*(mapping.aget_or_set("k", compute) for _ in range(200)))
        assert results == [7] * 200
        assert commands() - before < 220
    await backend.aclose()


async def test_who_waits_may_give_up_alone(
    backend: Backend, mapping: PersistentDict[str, int]
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def compute() -> int:
        begun.set()
        await may_end.wait()
        return 7

    first = asyncio.create_task(mapping.aget_or_set("k", compute))
    await begun.wait()
    tasks = [first, *(asyncio.create_task(mapping.aget_or_set("k", compute)) for _ in range(2))]
    await asyncio.sleep(0.05)  # the others wait for it
    tasks[1].cancel()
    may_end.set()
    await asyncio.wait(tasks)
    assert tasks[1].cancelled()
    assert tasks[0].result() == tasks[2].result() == 7
    await backend.aclose()


async def test_another_computes_when_the_first_fails(
    backend: Backend, mapping: PersistentDict[str, int]
) -> None:
    calls = []

    async def compute() -> int:
        calls.append(1)
        await asyncio.sleep(0.05)
        if len(calls) == 1:
            raise ZeroDivisionError
        return 7

    tasks = [mapping.aget_or_set("k", compute) for _ in range(20)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in results].count(ZeroDivisionError) == 1
    assert results.count(7) == 19
    assert len(calls) == 2
    await backend.aclose()


def test_a_computation_that_wants_its_own_value_is_not_stuck(
    mapping: PersistentDict[str, str],
) -> None:
    def compute() -> str:
        return "outer " + mapping.get_or_set("k", lambda: "inner", lock_timeout=0.1)

    assert mapping.get_or_set("k", compute, lock_timeout=0.3) == "inner"
    assert mapping.get_or_set("k", compute) == "inner"


def test_each_waiter_has_a_value_of_its_own(mapping: PersistentDict[str, list[int]]) -> None:
    def compute() -> list[int]:
        time.sleep(0.1)
        return [1]

    results: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: results.append(mapping.get_or_set("k", compute)))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[1]] * 5
    assert len({id(one) for one in results}) == 5
