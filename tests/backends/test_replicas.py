"""Reading from the replicas behind sentinels, where an alias says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from redis.exceptions import ResponseError

from redisdict import BackendUnavailable, ConfigurationError, PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.connections.drivers import DriverPair
from redisdict.connections.routing import ReplicaRouter
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import SentinelTopology
from redisdict.wire.requests import Batch, Call, Once, Operation
from tests.mapping.conftest import Face
from tests.mapping.test_mapping_protocol import (
    test_items_are_listed,
    test_many,
    test_none_is_a_value,
)

__all__ = ["test_items_are_listed", "test_many", "test_none_is_a_value"]

PRIMARY: Any = DriverPair("primary", "")  # type: ignore[arg-type]  # a name is enough here
REPLICAS: Any = DriverPair("replicas", "")  # type: ignore[arg-type]  # as above


@pytest.fixture
def backend(
    sentinel: SentinelTopology, alias_for: Callable[..., dict[str, Any]]
) -> Iterator[Backend]:
    values = alias_for(sentinel.location, OPTIONS={"read_from_replicas": True}, DURABLE="replicas")
    made = Backend(parse_alias("test", values))
    yield made
    made.close()


def reads_of(server: ServerProcess) -> int:
    """How many items the server has been asked for."""
    with server.client() as client:
        stats: Any = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("get", "hget"))


def test_items_come_from_replicas(sentinel: SentinelTopology, face: Face) -> None:
    face.set("a", 1)
    servers = [sentinel.primary, *sentinel.replicas]
    before = [reads_of(server) for server in servers]
    assert [face.getitem("a") for _ in range(20)] == [1] * 20
    counts = [reads_of(server) - old for server, old in zip(servers, before, strict=True)]
    assert counts[0] == 0
    assert sum(counts) == 20
    assert face.incr("a") == 2
    assert face.transform("a", lambda value: value + 1) == 3
    assert [face.get("x"), face.len(), face.copy()] == [None, 1, {"a": 3}]


def test_connections_take_turns_with_the_replicas(
    sentinel: SentinelTopology, alias_for: Callable[..., dict[str, Any]]
) -> None:
    of_replicas = Backend(parse_alias("test", alias_for(sentinel.location)), to_replicas=True)
    pool = of_replicas.pool()
    connections = [pool.get_connection() for _ in range(4)]
    ports = [int(connection.port) for connection in connections]
    assert ports[:2] == ports[2:]
    assert set(ports) == {replica.port for replica in sentinel.replicas}
    for connection in connections:
        pool.release(connection)
    of_replicas.close()


def course(operation: Operation[Any], *answers: Any) -> tuple[list[tuple[str, Any]], Any]:
    """Where each request of an operation goes, given these answers, and its result."""
    route: Generator[Any, Any, Any] = ReplicaRouter(PRIMARY, REPLICAS).route(operation)
    asked = []
    step, value = route.send, None
    try:
        for answer in (*answers, None):
            side, part = step(value)
            asked.append((side.driver, next(part)))
            step, value = (
                (route.throw, answer) if isinstance(answer, Exception) else (route.send, answer)
            )
    except StopIteration as stop:
        return asked, stop.value
    raise AssertionError("It asks for more.")


def test_after_a_change_an_operation_stays_with_the_primary() -> None:
    def change() -> Operation[Any]:
        old = yield (b"HGET", b"d", b"a")
        yield Once((b"EVALSHA", b"digest", 1, b"d", old))
        return (yield (b"HGET", b"d", b"a"))

    asked, result = course(change(), b"1", 0, b"2")
    assert [side for side, _ in asked] == ["replicas", "primary", "primary"]
    assert result == b"2"


def test_cursors_belong_to_the_primary_and_other_requests_too() -> None:
    def ask_all() -> Operation[Any]:
        yield Call(len, ((),))
        yield Batch([(b"MGET", b"a"), (b"GET", b"b")])
        yield (b"HSCAN", b"d", b"0")

    asked, _ = course(ask_all(), 0, [None, None], [b"0", []])
    assert [side for side, _ in asked] == ["primary", "replicas", "primary"]

    def write() -> Operation[Any]:
        yield Batch([(b"GET", b"a"), (b"SET", b"a", b"1")])

    assert course(write(), [None, b"OK"])[0][0][0] == "primary"


def test_the_primary_answers_when_no_replica_does() -> None:
    def read() -> Operation[Any]:
        return (yield (b"GET", b"a"))

    asked, result = course(read(), BackendUnavailable("no replica"), b"1")
    assert [side for side, _ in asked] == ["replicas", "primary"]
    assert result == b"1"


def test_a_refusal_is_the_operation_s_to_handle() -> None:
    def read() -> Operation[Any]:
        try:
            yield (b"HGET", b"d", b"a")
        except ResponseError:
            return (yield (b"EVALSHA", b"digest", 1, b"d"))

    asked, _ = course(read(), ResponseError("WRONGTYPE"), b"1")
    assert [side for side, _ in asked] == ["replicas", "primary"]


def test_where_there_are_no_sentinels_it_is_an_error(
    redis_url: str, alias_for: Callable[..., dict[str, Any]]
) -> None:
    values = alias_for(redis_url, OPTIONS={"read_from_replicas": True})
    with pytest.raises(ConfigurationError, match=r'"read_from_replicas"\] is True, but redis://'):
        Backend(parse_alias("test", values))
    values = alias_for(redis_url, OPTIONS={"read_from_replicas": "yes"})
    with pytest.raises(
        ConfigurationError, match=r'"read_from_replicas"\] has no scheme; one of redis://'
    ):
        Backend(parse_alias("test", values))


def test_without_a_replica_up_the_primary_is_read(
    sentinel: SentinelTopology, alias_for: Callable[..., dict[str, Any]]
) -> None:
    with SentinelTopology(sentinel.program, replicas=1, sentinels=1, down_after_ms=500) as own:
        values = alias_for(own.location, OPTIONS={"read_from_replicas": True, "socket_timeout": 1})
        backend = Backend(parse_alias("test", values))
        d: PersistentDict[str, int] = PersistentDict("d", backend)
        d["a"] = 1
        own.replicas[0].kill()
        for _ in range(3):
            assert d["a"] == 1
            assert asyncio.run(d.agetitem("a")) == 1
            time.sleep(0.3)  # the sentinel finds out in between
        backend.close()
