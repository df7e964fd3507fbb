"""Races among 8 processes, and among 64 tasks: what one does is lost to no other."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from tests.stress import races
from tests.stress.races import Place
from tests.waiting import LIMIT_S

pytestmark = pytest.mark.deep

PROCESSES = 8
TASKS = 64

#: Turns of the loop that a computation needs while thousands of tasks wait for it.
TURNS = 200

Race = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, context, initializer=races.prepare) as executor:
        yield executor


@pytest.fixture(params=["hash", "relocated", "keys"])
def place(request: pytest.FixtureRequest, server_url: str) -> Iterator[Place]:
    """Where the dict of a race is; a hash also with a timeout in it, so that scripts are used."""
    place = (server_url, f"race-{secrets.token_hex(6)}", request.param != "keys")
    mapping = races.open_dict(*place)
    if request.param == "relocated":
        mapping.set("timed", None, timeout=600)
    yield place
    mapping.clear()


@pytest.fixture
def race(processes: ProcessPoolExecutor, place: Place) -> Race:
    """Has all processes run a function of `races` at the same time."""

    def start(action: str, *arguments: Any) -> list[Any]:
        name = f"ready for {action}"
        futures = [
            processes.submit(races.run, action, place, number, PROCESSES, name, *arguments)
            for number in range(PROCESSES)
        ]
        results = [future.result(timeout=100) for future in futures]
        races.open_dict(*place, name=name).clear()
        return results

    return start


def test_no_increment_is_lost(race: Race, place: Place) -> None:
    totals = [total for part in race("incr", 1250) for total in part]
    assert sorted(totals) == list(range(1, 10_001))
    assert races.open_dict(*place)["n"] == 10_000


def test_add_has_one_winner(race: Race, place: Place) -> None:
    added = race("add", 200)
    assert Counter(key for part in added for key in part) == Counter(map(str, range(200)))
    mapping = races.open_dict(*place)
    assert all(mapping[key] == number for number, part in enumerate(added) for key in part)


def test_setdefault_has_one_winner(race: Race, place: Place) -> None:
    results = race("setdefault", 200)
    assert all(result == results[0] for result in results)
    assert races.open_dict(*place).get_many(map(str, range(200))) == results[0]


def test_pop_hands_each_item_to_one(race: Race, place: Place) -> None:
    races.open_dict(*place).set_many({str(key): key for key in range(500)})
    popped = race("pop", 500)
    assert sorted(value for part in popped for value in part) == list(range(500))


def test_popitem_hands_each_item_to_one(race: Race, place: Place) -> None:
    mapping = races.open_dict(*place)
    mapping.pop("timed", None)
    mapping.set_many({str(key): key for key in range(1000)})
    mapping.set_many({str(key): key for key in range(1000, 2000)}, timeout=600)
    popped = race("popitem")
    assert sorted(value for part in popped for value in part) == list(range(2000))


def test_transform_loses_no_change(race: Race, place: Place) -> None:
    race("transform", 25)
    assert Counter(races.open_dict(*place)["list"]) == dict.fromkeys(range(PROCESSES), 25)


def test_editing_stores_a_change_or_refuses_it(race: Race, place: Place) -> None:
    mapping = races.open_dict(*place)
    mapping["list"] = []
    stored = race("edit", 50)
    assert Counter(mapping["list"]) == {n: count for n, count in enumerate(stored) if count}
    assert sum(stored) > 0


def test_a_value_is_computed_once(race: Race) -> None:
    computed = race("get_or_set", 50)
    assert sorted(key for part in computed for key in part) == list(range(50))


def test_a_lock_has_one_owner_also_when_owners_die(race: Race, place: Place) -> None:
    """Who dies has counted, and nobody else meanwhile; the others go on when its time is over."""
    context = multiprocessing.get_context("spawn")
    dying = [context.Process(target=races.die_with_lock, args=(place, 1.5)) for _ in range(2)]
    for process in dying:
        process.start()
    race("lock", 20)
    for process in dying:
        process.join()
        assert process.exitcode == 0
    assert races.open_dict(*place)["n"] == 20 * PROCESSES + len(dying)


def test_a_dead_owner_holds_a_lock_as_long_as_its_time(place: Place) -> None:
    mapping = races.open_dict(*place)
    begun = time.monotonic()
    mapping.lock("counter", timeout=0.5).acquire()  # and nobody will release it
    with mapping.lock("counter", wait=LIMIT_S):
        assert time.monotonic() - begun >= 0.5


@pytest.fixture(params=["AsyncBlockingConnectionPool", "OptimizedAsyncConnectionPool"])
async def shared(request: pytest.FixtureRequest, place: Place) -> Any:
    """The dict of a race, over at most 10 connections."""
    url, prefix, is_hash = place
    config = {
        "LOCATION": url,
        "KEY_PREFIX": prefix,
        "ASYNC_POOL_CLASS": f"redisdict.pools.{request.param}",
        "OPTIONS": {"max_connections": 10},
    }
    backend = Backend(parse_alias("race", config))
    mapping: PersistentDict[str, Any] = PersistentDict("d", backend, hset_enabled=is_hash)
    yield mapping
    await backend.aclose()


async def test_tasks_lose_nothing_to_each_other(shared: PersistentDict[str, Any]) -> None:
    """All at the same time, over the same connections."""

    async def work(number: int) -> tuple[list[str], list[int], dict[str, int]]:
        added, popped, defaults = [], [], {}
        for step in range(50):
            await shared.aincr("n", 3)
            if await shared.aadd(f"add {step}", number):
                added.append(f"add {step}")
            defaults[f"default {step}"] = await shared.asetdefault(f"default {step}", number)
            value = await shared.apop(f"pop {random.randrange(100)}", None)
            if value is not None:
                popped.append(value)
        await shared.atransform("list", lambda old: [*old, number], [])
        return added, popped, defaults

    await shared.aset_many({f"pop {key}": key for key in range(100)})
    done = await asyncio.gather(*(work(number) for number in range(TASKS)))
    assert await shared.agetitem("n") == TASKS * 50 * 3
    assert Counter(key for added, _, _ in done for key in added) == Counter(
        f"add {step}" for step in range(50)
    )
    taken = Counter(value for _, popped, _ in done for value in popped)
    assert set(taken.values()) <= {1}
    left = {key async for key in shared.akeys_matching("pop *")}
    assert left == {f"pop {key}" for key in range(100) if key not in taken}
    assert all(defaults == done[0][2] for _, _, defaults in done)
    assert sorted(await shared.agetitem("list")) == list(range(TASKS))


async def test_ten_thousand_increments_of_tasks(shared: PersistentDict[str, int]) -> None:
    totals: list[int] = []
    steps = iter(range(10_000))

    async def work() -> None:
        totals.extend([await shared.aincr("n") for _ in steps])

    await asyncio.gather(*(work() for _ in range(TASKS)))
    assert sorted(totals) == list(range(1, 10_001))


async def test_any_item_goes_to_one_task(shared: PersistentDict[str, int]) -> None:
    taken: list[int] = []

    async def work() -> None:
        while True:
            try:
                taken.append((await shared.apopitem())[1])
            except KeyError:
                return

    await shared.apop("timed", None)
    await shared.aset_many({str(key): key for key in range(500)})
    await shared.aset_many({str(key): key for key in range(500, 1000)}, timeout=600)
    await asyncio.gather(*(work() for _ in range(TASKS)))
    assert sorted(taken) == list(range(1000))


async def test_a_lock_has_one_owner_among_tasks(shared: PersistentDict[str, int]) -> None:
    inside = 0

    async def work() -> None:
        nonlocal inside
        async with shared.lock():
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.001)
            assert inside == 1
            inside -= 1

    await asyncio.gather(*(work() for _ in range(TASKS)))


async def test_five_thousand_tasks_do_not_starve_the_one_that_computes(
    shared: PersistentDict[str, int],
) -> None:
    calls = 0

    async def compute() -> int:
        nonlocal calls
        calls += 1
        async with asyncio.timeout(LIMIT_S):
            for _ in range(TURNS):
                await asyncio.sleep(0.01)
        # It needs the same pool for itself.
        await shared.aset("needed", calls)
        return 7

    results = await asyncio.gather(*(shared.aget_or_set("k", compute) for _ in range(5000)))
    assert results == [7] * 5000
    assert calls == 1
