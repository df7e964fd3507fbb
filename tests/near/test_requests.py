"""`near="request"`: a request sees all that was before it, and computes what is due."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from redisdict.connections.backend import Backend
from redisdict.near.barrier import near_barrier
from tests.near.conftest import is_served, make, settle, wait_until_on
from tests.near.faces import Face, face, mapping, other
from tests.waiting import wait_until

__all__ = ["face", "mapping", "other"]


def test_a_request_sees_all_that_was_before_it(
    backend: Backend, elsewhere: Backend, runner: asyncio.Runner | None
) -> None:
    mapping = make(backend, near="request")
    other = make(elsewhere, near=None)
    wait_until_on(mapping)
    other.update({"k": "v", "l": "v"})
    settle(mapping)
    face = Face(mapping, runner)
    with near_barrier():
        assert face.get_many(["k", "l", "m"]) == {"k": "v", "l": "v"}
    for number in range(200):
        other["k"] = number
        hits = mapping.near_stats().hits
        with near_barrier():
            assert face.get("l") == "v"
            assert face.get("k") == number
            assert face.get("k") == number
            assert face.get_many(["k", "l"]) == {"k": number, "l": "v"}
        assert mapping.near_stats().hits >= hits + 4
    mapping.clear()


def test_a_value_that_is_due_is_computed_anew_in_the_background(face: Face, mapping: Any) -> None:
    face.set("k", 1, timeout=1000)
    settle(mapping)
    assert face.getitem("k") == 1
    assert face.get_or_set("k", lambda: pytest.fail("it is fresh"), 1000, refresh_ahead=1) == 1
    assert face.get_or_set("k", lambda: 2, 2000, refresh_ahead=1500) == 1
    wait_until(lambda: face.get("k") == 2)
    with pytest.raises(ValueError, match="refresh_ahead"):
        face.get_or_set("k", lambda: 3, 10, refresh_ahead=10)
    mapping.clear()


def test_outside_of_a_request_the_server_is_asked(backend: Backend, elsewhere: Backend) -> None:
    mapping = make(backend, near="request")
    other = make(elsewhere, near=None)
    wait_until_on(mapping)
    for number in range(100):
        other["k"] = number
        assert mapping["k"] == number
    settle(mapping)  # else the last change may be told after the next read
    assert not is_served(mapping, "k")
    with near_barrier():
        assert is_served(mapping, "k")
    assert not is_served(mapping, "k")
    mapping.clear()


def test_a_task_that_outlives_its_request_is_served_nothing(backend: Backend) -> None:
    mapping = make(backend, near="request")
    wait_until_on(mapping)
    mapping["k"] = "v"
    settle(mapping)

    async def respond() -> tuple[bool, bool]:
        is_over = asyncio.Event()

        async def look() -> tuple[bool, bool]:
            within = is_served(mapping, "k")
            is_over.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return within, is_served(mapping, "k")

        with near_barrier():
            await mapping.aget("k")
            task = asyncio.create_task(look())
            await is_over.wait()
        return await task

    assert asyncio.run(respond()) == (True, False)
    mapping.clear()


def test_requests_share_a_ping_and_idle_ones_send_none(own_backend: Backend) -> None:
    mapping = make(own_backend, near="request")
    wait_until_on(mapping)
    mapping["k"] = "v"
    settle(mapping)
    assert mapping["k"] == "v"
    client = own_backend.client()

    def pings() -> int:
        return int(client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"])

    before = pings()
    with near_barrier():
        pass
    assert pings() == before
    with near_barrier():
        for _ in range(10):
            assert mapping["k"] == "v"
    assert pings() == before + 1
    ready = threading.Barrier(20)

    def respond() -> None:
        with near_barrier():
            ready.wait()
            assert mapping["k"] == "v"

    threads = [threading.Thread(target=respond) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pings() <= before + 2


def test_two_promises_of_one_dict(backend: Backend, elsewhere: Backend) -> None:
    by_seconds, by_request = make(backend), make(backend, near="request")
    wait_until_on(by_seconds, by_request)
    make(elsewhere, near=None)["k"] = "v"
    settle(by_seconds)
    assert by_seconds["k"] == "v"
    with near_barrier():
        assert is_served(by_request, "k")
    by_request["k"] = "w"
    assert by_seconds["k"] == "w"
    by_seconds.clear()
