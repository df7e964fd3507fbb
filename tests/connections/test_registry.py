"""Aliases to backends: one pool each, settings that change, loops that end, borrowed pools."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from redisdict import (
    BackendUnavailable,
    ConfigurationError,
    PersistentDict,
    aclose_all,
    close_all,
    get_async_client,
    get_client,
)
from redisdict.connections.registry import get_backend
from redisdict.servers.embedded import stop_server
from redisdict.servers.topologies import SentinelTopology
from tests.waiting import LIMIT_S

Alias = Callable[..., dict[str, Any]]


def test_one_url_with_different_options_is_two_pools(redis_url: str, alias_for: Alias) -> None:
    aliases = {
        "few": alias_for(redis_url, OPTIONS={"max_connections": 1}),
        "many": alias_for(redis_url, OPTIONS={"max_connections": 9}),
    }
    with override_settings(REDISDICT=aliases):
        few, many = get_client("few").connection_pool, get_client("many").connection_pool
        assert few is not many
        assert (few.max_connections, many.max_connections) == (1, 9)
        assert get_client("few").connection_pool is few


def test_a_dict_follows_the_settings(redis_url: str, valkey_url: str, alias_for: Alias) -> None:
    mapping: PersistentDict[str, int] = PersistentDict("d")
    with override_settings(REDISDICT={"default": alias_for(redis_url)}):
        mapping["k"] = 1
        with override_settings(REDISDICT={"default": alias_for(valkey_url)}):
            assert "k" not in mapping
        assert mapping["k"] == 1
        mapping.clear()


def test_closed_connections_are_opened_again(redis_url: str, alias_for: Alias) -> None:
    with override_settings(REDISDICT={"default": alias_for(redis_url)}):
        client = get_client()
        first = client.client_id()
        close_all()
        assert get_client().client_id() != first


async def test_the_same_for_tasks(redis_url: str, alias_for: Alias) -> None:
    with override_settings(REDISDICT={"default": alias_for(redis_url)}):
        first = await get_async_client().client_id()
        await aclose_all()
        assert await get_async_client().client_id() != first
        await aclose_all()


def test_a_client_for_tasks_needs_a_loop(redis_url: str, alias_for: Alias) -> None:
    with override_settings(REDISDICT={"default": alias_for(redis_url)}):
        with pytest.raises(RuntimeError, match="no running event loop"):
            get_async_client()


TWO_RUNS = """
import asyncio, gc, os, sys
from django.conf import settings
settings.configure(INSTALLED_APPS=["redisdict"], REDISDICT={"default": {
    "LOCATION": sys.argv[1], "ASYNC_POOL_CLASS": "redisdict.pools." + sys.argv[2],
    "KEY_PREFIX": sys.argv[3]}})
import django
django.setup()
from redisdict import PersistentDict, get_async_client
d = PersistentDict("d")

def sockets():
    return sum("socket" in os.readlink(f"/proc/self/fd/{n}")
        for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}"))

async def main():
    # Development mode would report what a busy machine takes long for.
    asyncio.get_running_loop().slow_callback_duration = 1000
    await asyncio.gather(*(d.aset(str(n), n) for n in range(20)))
    assert await d.alen() == 20
    assert await get_async_client().ping()
    await d.aclear()

before = sockets()
asyncio.run(main())
asyncio.run(main())
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
del loop
gc.collect()
assert sockets() == before, (before, sockets())
print("fine")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts sockets in /proc")
@pytest.mark.each_value_once("pool")
@pytest.mark.parametrize(
    "pool", ["AsyncConnectionPool", "AsyncBlockingConnectionPool", "OptimizedAsyncConnectionPool"]
)
def test_two_runs_in_one_process_leave_no_warning_and_no_socket(
    pool: str, server_url: str, key_prefix: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", TWO_RUNS, server_url, pool, key_prefix],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")


async def test_each_loop_has_a_pool_of_its_own(redis_url: str, alias_for: Alias) -> None:
    with override_settings(REDISDICT={"default": alias_for(redis_url)}):
        here = get_backend().async_pool()
        assert get_backend().async_pool() is here

        async def elsewhere() -> int:
            pool = get_backend().async_pool()
            assert pool is not here
            return id(await get_async_client().ping())

        await asyncio.to_thread(asyncio.run, elsewhere())
        gc.collect()
        assert len(get_backend()._loops) == 1
        await aclose_all()


def test_the_pool_of_django_redis_is_borrowed(redis_url: str, key_prefix: str) -> None:
    caches = {
        "shop": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"{redis_url}?client_name={key_prefix}",
            "OPTIONS": {"SOCKET_TIMEOUT": 3},
        }
    }
    with override_settings(
        CACHES={**caches, "default": caches["shop"]},
        REDISDICT={"default": {"CACHE": "shop", "KEY_PREFIX": key_prefix}},
    ):
        from django_redis import get_redis_connection

        theirs = get_redis_connection("shop").connection_pool
        assert get_client().connection_pool is theirs
        mapping: PersistentDict[str, int] = PersistentDict("d")
        mapping["k"] = 1

        async def main() -> None:
            assert await mapping.aget("k") == 1
            pool = get_backend().async_pool()
            assert pool.connection_kwargs["socket_timeout"] == 3

        asyncio.run(main())
        mapping.clear()
        close_all()
        assert theirs._available_connections[0].is_connected  # not ours to close
        theirs.disconnect()


@pytest.mark.parametrize(
    ("caches", "message"),
    [
        ({}, r'has "CACHE": \'shop\', but CACHES has no such cache'),
        (
            {"shop": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
            r"only the pool of a django_redis",
        ),
    ],
)
def test_what_cannot_be_borrowed_is_named(caches: dict[str, Any], message: str) -> None:
    default = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    with override_settings(CACHES={**default, **caches}, REDISDICT={"default": {"CACHE": "shop"}}):
        with pytest.raises(ConfigurationError, match=message):
            get_client()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"POOL_CLASS": "redisdict.pools.Nope"}, r'\["POOL_CLASS"\] is .* can\'t be imported'),
        (
            {"POOL_CLASS": "redis.Redis"},
            r"a subclass of redis.connection.ConnectionPool is expected",
        ),
        (
            {"OPTIONS": {"max_conections": 3}},
            r"the unknown option 'max_conections', .*did you mean 'max_connections'",
        ),
        (
            {"OPTIONS": {"max_connections": "x"}},
            r"is 'x' \(str\); a whole number of at least 1, or None, is expected",
        ),
    ],
)
def test_a_mistake_is_named_at_first_use(
    redis_url: str, alias_for: Alias, values: dict[str, Any], message: str
) -> None:
    with override_settings(REDISDICT={"default": {**alias_for(redis_url), **values}}):
        with pytest.raises(ConfigurationError, match=message):
            get_client()


def test_sentinel(sentinel: SentinelTopology, alias_for: Alias) -> None:
    with override_settings(REDISDICT={"default": alias_for(sentinel.location)}):
        mapping: PersistentDict[str, int] = PersistentDict("d")
        mapping["k"] = 1
        assert mapping["k"] == 1
        assert get_client().role()[0] == b"master"

        async def main() -> None:
            await mapping.aset("j", 2)
            assert await mapping.aget_many(["k", "j"]) == {"k": 1, "j": 2}
            assert (await get_async_client().role())[0] == b"master"

        asyncio.run(main())
        mapping.clear()


def test_django_redis_with_sentinel_is_borrowed_for_tasks(
    sentinel: SentinelTopology, key_prefix: str
) -> None:
    host, port = sentinel.location.removeprefix("redis+sentinel://").split(",")[0].split(":")
    caches = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"redis://{sentinel.service}/0",
            "OPTIONS": {
                "CLIENT_CLASS": "django_redis.client.SentinelClient",
                "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
                "SENTINELS": [(host, int(port))],
            },
        }
    }
    with override_settings(
        CACHES=caches,
        DJANGO_REDIS_CONNECTION_FACTORY="django_redis.pool.SentinelConnectionFactory",
        REDISDICT={"default": {"CACHE": "default", "KEY_PREFIX": key_prefix}},
    ):
        mapping: PersistentDict[str, int] = PersistentDict("d")
        mapping["k"] = 1

        async def main() -> int:
            return await mapping.aget("k")  # type: ignore[return-value]  # an int

        assert asyncio.run(main()) == 1
        mapping.clear()


def test_embedded(tmp_path: Path, key_prefix: str) -> None:
    path = tmp_path / "valkey"
    with override_settings(REDISDICT={"default": {"LOCATION": f"embedded://{path}"}}):
        mapping: PersistentDict[str, int] = PersistentDict("d")
        assert not path.exists()
        mapping["k"] = 1
        stop_server(path)
        assert mapping["k"] == 1  # started again, with the data
        stop_server(path)
        assert asyncio.run(mapping.aget("k")) == 1
        stop_server(path)


def test_a_server_that_is_not_there(alias_for: Alias) -> None:
    with override_settings(REDISDICT={"default": alias_for("redis://127.0.0.1:1/0")}):
        with pytest.raises(BackendUnavailable, match='REDISDICT\\["default"\\]'):
            PersistentDict("d")["k"]
