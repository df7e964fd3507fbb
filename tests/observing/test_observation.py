"""The hook that metrics, spans and the panel have: what it is told, and what it costs without."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from redis.exceptions import ResponseError

from redisdict import PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections import observation, starters
from redisdict.connections.async_driver import AsyncPoolDriver
from redisdict.connections.backend import Backend
from redisdict.connections.observation import AsyncObservedDriver, Exchange, ObservedDriver
from redisdict.connections.sync_driver import PoolDriver
from redisdict.exceptions import BackendUnavailable
from redisdict.wire.requests import Batch, Call, Once, Operation, Sleep
from tests.logs import logged_by


@pytest.fixture
def backend(redis_url: str, key_prefix: str) -> Iterator[Backend]:
    made = Backend(parse_alias("shop", {"LOCATION": redis_url, "KEY_PREFIX": key_prefix}))
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "async")


def run(backend: Backend, operation: Operation[Any], *, is_async: bool) -> Any:
    if is_async:
        return asyncio.run(backend.async_driver.run(operation))
    return backend.driver.run(operation)


def told(exchange: Exchange) -> tuple[str, Any, str | None]:
    request: Any = exchange.request
    commands = request.commands if isinstance(request, Batch) else [request]
    error = exchange.error
    return (
        " ".join(str(command[0], "ascii") for command in commands),
        exchange.reply,
        None if error is None else type(error).__name__,
    )


def requests(key: bytes) -> Operation[None]:
    yield (b"SET", key, b"1")
    yield Call(str)
    yield Sleep(0)
    yield Batch([(b"GET", key), (b"EXISTS", key)])
    with pytest.raises(ResponseError):
        yield (b"HGET", key, b"f")
    yield Once((b"INCR", key))


def test_each_request_is_told(
    backend: Backend, key_prefix: str, exchanges: list[Exchange], is_async: bool
) -> None:
    run(backend, requests(key_prefix.encode()), is_async=is_async)
    assert [told(each) for each in exchanges] == [
        ("SET", b"OK", None),
        ("GET EXISTS", [b"1", 1], None),
        ("HGET", None, "ResponseError"),
        ("INCR", 2, None),
    ]
    assert all(each.duration_ns > 0 for each in exchanges)
    assert {each.is_async for each in exchanges} == {is_async}
    assert {each.server for each in exchanges} == {backend}


def test_a_lost_server_is_told(exchanges: list[Exchange], is_async: bool) -> None:
    backend = Backend(parse_alias("shop", {"LOCATION": "redis://127.0.0.1:1/0"}))

    def operation() -> Operation[Any]:
        return (yield (b"GET", b"k"))

    with pytest.raises(BackendUnavailable):
        run(backend, operation(), is_async=is_async)
    assert [told(each) for each in exchanges] == [("GET", None, "BackendUnavailable")]


def test_steps_are_told_once(backend: Backend, exchanges: list[Exchange]) -> None:
    """On the fast path, and where the operation has to do it."""
    mapping: PersistentDict[str, int] = PersistentDict("d", using=backend)
    mapping["a"] = 1
    assert mapping["a"] == 1
    assert mapping.get("b") is None
    assert [told(each)[0] for each in exchanges] == ["HSET", "HGET", "HGET"]
    mapping.set("a", 1, timeout=60)  # from here on a script reads
    exchanges.clear()
    assert mapping["a"] == 1
    names = [told(each)[0] for each in exchanges]
    assert names[-1] == "EVALSHA"
    assert len(names) <= 2


async def test_steps_of_tasks_are_told_once(backend: Backend, exchanges: list[Exchange]) -> None:
    mapping: PersistentDict[str, int] = PersistentDict("d", using=backend)
    await mapping.aset("a", 1)
    assert await mapping.aget("a") == 1
    values = await asyncio.gather(*[mapping.aget("a") for _ in range(20)])
    assert values == [1] * 20
    assert [told(each)[0] for each in exchanges] == ["HSET"] + ["HGET"] * 21
    await backend.aclose()


def test_the_drivers_are_bare_while_nobody_observes(backend: Backend) -> None:
    driver, async_driver = backend.driver, backend.async_driver
    assert (type(driver), type(async_driver)) == (PoolDriver, AsyncPoolDriver)
    observation.add_observer(print)
    assert (type(driver), type(async_driver)) == (ObservedDriver, AsyncObservedDriver)
    other = Backend(backend.config)
    assert type(other.driver) is ObservedDriver
    observation.remove_observer(print)
    assert (type(driver), type(other.driver)) == (PoolDriver, PoolDriver)
    assert type(async_driver) is AsyncPoolDriver


def test_a_cluster_tells_of_each_node(cluster: Any, key_prefix: str, exchanges: Any) -> None:
    values = {"LOCATION": cluster.location, "KEY_PREFIX": key_prefix}
    backend = Backend(parse_alias("shop", values))
    mapping: PersistentDict[str, int] = PersistentDict("d", using=backend, shards=16)
    mapping.update({str(number): number for number in range(50)})
    exchanges.clear()
    assert len(mapping.get_many(str(number) for number in range(50))) == 50
    assert len({each.server.address for each in exchanges}) == 3
    assert {told(each)[2] for each in exchanges} == {None}
    assert sum(len(each.reply) for each in exchanges) >= 3
    mapping.clear()
    backend.close()


def test_an_observer_that_fails_is_no_error(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(exchange: Exchange) -> None:
        raise LookupError

    observation.add_observer(fail)
    mapping: PersistentDict[str, int] = PersistentDict("d", using=backend)
    with caplog.at_level(logging.ERROR, logger="redisdict.observation"):
        mapping["a"] = 1
        assert mapping["a"] == 1
    assert len(logged_by(caplog, "observation")) == 1


def test_starters_are_called_before_a_server_is_used(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[None] = []
    monkeypatch.setattr(starters, "_starters", [])
    starters.on_new_server(lambda: called.append(None))
    Backend(backend.config)
    assert called == [None]


def test_a_cancelled_task_is_told(
    backend: Backend, exchanges: list[Exchange], key_prefix: str
) -> None:
    def operation() -> Operation[Any]:
        return (yield Batch([(b"BLPOP", f"{key_prefix}:list".encode(), 60)]))

    async def main() -> None:
        task = asyncio.create_task(backend.async_driver.run(operation()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await backend.aclose()

    asyncio.run(main())
    assert [told(each)[2] for each in exchanges] == ["CancelledError"]
