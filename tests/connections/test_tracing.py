"""The hook for tracing tools: what it is told, when, and that nothing is in the way without it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis.exceptions import ResponseError

from redisdict import PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.async_driver import AsyncPoolDriver
from redisdict.connections.backend import Backend
from redisdict.connections.sync_driver import PoolDriver
from redisdict.exceptions import BackendUnavailable, ConfigurationError
from redisdict.wire.requests import Batch, Call, Once, Operation, Sleep

spans: list[tuple[str, str, int, type[BaseException] | None]] = []
current: contextvars.ContextVar[str] = contextvars.ContextVar("current", default="")

NOT_CALLABLE = "a text"


@contextmanager
def tracer(alias: str, command: str, count: int) -> Iterator[None]:
    """Does what OpenTelemetry's does: a span is current while it is open."""
    token = current.set(command)
    error: type[BaseException] | None = None
    try:
        yield
    except BaseException as caught:
        error = type(caught)
        raise
    finally:
        current.reset(token)
        spans.append((alias, command, count, error))


@pytest.fixture(params=["sync", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "async")


def traced(url: str, **options: Any) -> Backend:
    spans.clear()
    values = {"LOCATION": url, "TRACER": f"{__name__}.tracer", **options}
    return Backend(parse_alias("shop", values))


def run(backend: Backend, operation: Operation[Any], *, is_async: bool) -> Any:
    try:
        if is_async:
            return asyncio.run(backend.async_driver.run(operation))
        return backend.driver.run(operation)
    finally:
        backend.close()


def requests(key: bytes) -> Operation[list[str]]:
    outside = []
    yield (b"SET", key, b"1", b"PX", 10_000)
    outside.append((yield Call(current.get)))
    yield Sleep(0)
    yield Batch([(b"GET", key), (b"GET", key), (b"PTTL", key)])
    with pytest.raises(ResponseError):
        yield (b"HGET", key, b"f")
    yield Once((b"INCR", key))
    outside.append(current.get())
    return outside


def test_each_request_is_a_span(redis_url: str, key_prefix: str, is_async: bool) -> None:
    outside = run(traced(redis_url), requests(key_prefix.encode()), is_async=is_async)
    assert spans == [
        ("shop", "SET", 1, None),
        ("shop", "GET PTTL", 3, None),
        ("shop", "HGET", 1, ResponseError),
        ("shop", "INCR", 1, None),
    ]
    assert outside == ["", ""]


def test_a_lost_server_ends_the_span_with_the_error(is_async: bool) -> None:
    def operation() -> Operation[Any]:
        return (yield (b"GET", b"k"))

    with pytest.raises(BackendUnavailable):
        run(traced("redis://127.0.0.1:1/0"), operation(), is_async=is_async)
    assert spans == [("shop", "GET", 1, BackendUnavailable)]


def test_an_operation_that_fails_by_itself_leaves_no_span(redis_url: str, is_async: bool) -> None:
    def operation() -> Operation[Any]:
        yield (b"PING",)
        raise LookupError

    with pytest.raises(LookupError):
        run(traced(redis_url), operation(), is_async=is_async)
    assert spans == [("shop", "PING", 1, None)]


async def test_a_dict(redis_url: str, key_prefix: str) -> None:
    backend = traced(redis_url, KEY_PREFIX=key_prefix)
    mapping: PersistentDict[str, int] = PersistentDict("d", using=backend)
    mapping["a"] = 1
    assert await mapping.aget("a") == 1
    assert await mapping.apop("a") == 1
    assert mapping.get("a") is None
    assert [command for _, command, _, _ in spans[:2]] == ["HSET", "HGET"]
    assert spans[-1] == ("shop", "HGET", 1, None)
    await mapping.aclear()
    await backend.aclose()
    backend.close()


def test_without_a_tracer_the_drivers_are_bare(redis_url: str) -> None:
    backend = Backend(parse_alias("shop", {"LOCATION": redis_url}))
    assert type(backend.driver) is PoolDriver
    assert type(backend.async_driver) is AsyncPoolDriver


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.tracer", r'REDISDICT\["shop"\]\["TRACER"\] is \'nowhere.tracer\', which can'),
        (f"{__name__}.NOT_CALLABLE", "a str; a function"),
    ],
)
def test_a_wrong_tracer(path: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Backend(parse_alias("shop", {"LOCATION": "redis://127.0.0.1:1/0", "TRACER": path}))
