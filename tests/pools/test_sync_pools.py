"""The pools for threads: limits, waiting, idle connections, fork, and redis-py and django-redis."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from django.test import override_settings
from redis.credentials import StreamingCredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError

from redisdict.pools import BlockingConnectionPool, ConnectionPool
from redisdict.pools import sync as sync_pools
from redisdict.servers.process import ServerProcess
from tests.waiting import LIMIT_S, wait_until_readable


@pytest.fixture(params=[ConnectionPool, BlockingConnectionPool])
def pool_class(request: pytest.FixtureRequest) -> type[ConnectionPool]:
    chosen: type[ConnectionPool] = request.param
    return chosen


def test_they_are_redis_pys(pool_class: type[ConnectionPool]) -> None:
    assert issubclass(pool_class, redis.ConnectionPool)
    assert issubclass(BlockingConnectionPool, redis.BlockingConnectionPool)


def test_nothing_is_connected_before_use(pool_class: type[ConnectionPool]) -> None:
    pool = pool_class.from_url("redis://127.0.0.1:1/0")
    assert pool._get_free_connections() == []


def test_the_last_one_returned_comes_first(
    pool_class: type[ConnectionPool], server_url: str
) -> None:
    pool = pool_class.from_url(server_url)
    one, two = pool.get_connection(), pool.get_connection()
    assert one is not two
    pool.release(one)
    pool.release(two)
    assert pool.get_connection() is two
    pool.release(two)
    pool.release(two)  # a second time changes nothing
    assert pool.get_connection() is two
    assert pool.get_connection() is one
    pool.disconnect()


def test_a_full_pool_refuses_or_waits(plain_url: str) -> None:
    refusing = ConnectionPool.from_url(plain_url, max_connections=1)
    taken = refusing.get_connection()
    with pytest.raises(MaxConnectionsError, match=r"All 1 connections are in use"):
        refusing.get_connection()
    refusing.release(taken)
    assert refusing.get_connection() is taken

    waiting = BlockingConnectionPool.from_url(plain_url, max_connections=1, timeout=0.1)
    taken = waiting.get_connection()
    begun = time.monotonic()
    with pytest.raises(RedisConnectionError, match=r"within 0.1 s \(timeout\); all 1 are in use"):
        waiting.get_connection()
    assert time.monotonic() - begun >= 0.1
    waiting.timeout = LIMIT_S
    threading.Timer(0.05, waiting.release, [taken]).start()
    assert waiting.get_connection() is taken
    refusing.disconnect()
    waiting.disconnect()


def test_200_threads_share_10_connections(plain_url: str, key_prefix: str) -> None:
    pool = BlockingConnectionPool.from_url(plain_url, max_connections=10, timeout=60)
    client = redis.Redis(connection_pool=pool)

    def work(number: int) -> int:
        key = f"{key_prefix}:{number}"
        for turn in range(20):
            client.set(key, f"{number}-{turn}", px=10_000)
            assert client.get(key) == f"{number}-{turn}".encode()
        return number

    with ThreadPoolExecutor(200) as threads:
        assert sorted(threads.map(work, range(200))) == list(range(200))
    assert len(pool._get_free_connections()) <= 10
    assert pool._get_in_use_connections() == set()
    pool.disconnect()


def test_a_connection_that_cannot_be_made_is_not_lost(pool_class: type[ConnectionPool]) -> None:
    pool = pool_class.from_url("redis://127.0.0.1:1/0", max_connections=1)
    for _ in range(3):
        with pytest.raises(RedisConnectionError, match="Connection refused"):
            pool.get_connection()
    assert pool._get_in_use_connections() == set()


def test_one_that_the_server_closed_while_idle_is_replaced(
    pool_class: type[ConnectionPool], plain_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_pools, "IDLE_POLL_AFTER_S", 0.0)
    pool = pool_class.from_url(plain_url, client_name=f"idle{time.monotonic_ns()}")
    connection = pool.get_connection()
    old = connection._sock
    pool.release(connection)
    killer = redis.Redis.from_url(plain_url)
    name = pool.connection_kwargs["client_name"]
    victim = next(c["id"] for c in killer.client_list() if c["name"] == name)
    killer.client_kill_filter(_id=victim)
    wait_until_readable(old)  # it has hung up
    again = pool.get_connection()
    assert again is connection
    assert again._sock is not old
    again.send_command("PING")
    assert again.read_response() == b"PONG"
    pool.disconnect()
    killer.close()


def test_a_reply_left_behind_is_never_given_to_another(
    pool_class: type[ConnectionPool], plain_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_pools, "IDLE_POLL_AFTER_S", 0.0)
    pool = pool_class.from_url(plain_url)
    careless = pool.get_connection()
    careless.send_command("ECHO", "left behind")
    wait_until_readable(careless._sock)
    pool.release(careless)
    connection = pool.get_connection()
    connection.send_command("ECHO", "mine")
    assert connection.read_response() == b"mine"
    pool.disconnect()


def test_a_forked_child_has_connections_of_its_own(
    pool_class: type[ConnectionPool], redis_server: ServerProcess
) -> None:
    pool = pool_class.from_url(redis_server.url)
    client = redis.Redis(connection_pool=pool)
    held = pool.get_connection()
    client.ping()
    parents_id = client.client_id()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  # runs in the child, where coverage doesn't look
        try:
            is_fresh = pool._get_free_connections() == [] and client.client_id() != parents_id
            os.write(writer, b"y" if is_fresh else b"n")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b"y"
    os.close(reader)
    os.close(writer)
    assert client.client_id() == parents_id  # the child's end hasn't closed the parent's
    held.send_command("PING")
    assert held.read_response() == b"PONG"
    pool.release(held)
    pool.disconnect()


def test_health_checks_of_idle_connections(plain_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_pools, "IDLE_POLL_AFTER_S", 0.0)
    pool = ConnectionPool.from_url(plain_url, health_check_interval=0.01)
    client = redis.Redis(connection_pool=pool)
    client.ping()
    time.sleep(0.05)
    pings = client.info("commandstats")["cmdstat_ping"]["calls"]
    time.sleep(0.05)
    client.echo("x")
    assert client.info("commandstats")["cmdstat_ping"]["calls"] > pings
    pool.disconnect()


def test_django_redis_can_use_them(
    pool_class: type[ConnectionPool], plain_url: str, key_prefix: str
) -> None:
    caches = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"{plain_url}?client_name={key_prefix}",
            "KEY_PREFIX": key_prefix,
            "OPTIONS": {
                "CONNECTION_POOL_CLASS": f"redisdict.pools.{pool_class.__name__}",
                "CONNECTION_POOL_KWARGS": {"max_connections": 3},
            },
        }
    }
    with override_settings(CACHES=caches):
        from django.core.cache import cache
        from django_redis import get_redis_connection

        cache.set("k", {"a": 1}, 10)
        assert cache.get("k") == {"a": 1}
        pool: Any = get_redis_connection("default").connection_pool
        assert type(pool) is pool_class
        assert pool.max_connections == 3
        pool.disconnect()


class Streaming(StreamingCredentialProvider):
    """Gives what the server takes without a user, and no token."""

    def get_credentials(self) -> tuple[str]:
        return ("",)

    def on_next(self, callback: Callable[[Any], Any]) -> None: ...

    def on_error(self, callback: Callable[[Exception], Any]) -> None: ...

    def is_streaming(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("provider", "count"),
    [(redis.UsernamePasswordCredentialProvider(), 0), (Streaming(), 1)],
    ids=["plain", "streaming"],
)
def test_only_a_streaming_credential_provider_hears_of_releases(
    plain_url: str, provider: Any, count: int
) -> None:
    released: list[Callable[..., Any]] = []

    class Dispatcher:
        def dispatch(self, event: Any) -> None:
            released.append(event)

        def register_listeners(self, listeners: Any) -> None: ...

    pool = ConnectionPool.from_url(
        plain_url, credential_provider=provider, event_dispatcher=Dispatcher()
    )
    connection = pool.make_connection()
    pool._in_use_connections.add(connection)
    pool.release(connection)
    assert len(released) == count
