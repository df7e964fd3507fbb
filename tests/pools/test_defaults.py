"""What connections are told where the settings say nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.driver_info import DriverInfo

from redisdict import __version__
from redisdict.pools import AsyncConnectionPool, ConnectionPool, OptimizedAsyncConnectionPool
from redisdict.pools.defaults import set_defaults

POOLS: list[Callable[..., Any]] = [
    ConnectionPool,
    AsyncConnectionPool,
    OptimizedAsyncConnectionPool,
]


def test_a_connection_introduces_itself(valkey_url: str) -> None:
    pool = ConnectionPool.from_url(valkey_url)
    client = redis.Redis(connection_pool=pool)
    assert client.client_info()["lib-name"] == f"redis-py(django-redisdict_v{__version__})"
    assert client.client_info()["lib-ver"] == redis.__version__
    pool.disconnect()


async def test_a_connection_of_tasks_introduces_itself(valkey_url: str) -> None:
    pool = AsyncConnectionPool.from_url(valkey_url)
    client = redis.asyncio.Redis(connection_pool=pool)
    info = await client.client_info()
    assert info["lib-name"] == f"redis-py(django-redisdict_v{__version__})"
    await pool.disconnect()


@pytest.mark.parametrize("make", POOLS)
def test_one_introduction_for_all(make: Callable[..., Any]) -> None:
    """To make one, redis-py reads the metadata of its package, each time anew."""
    one, other = make(), make()
    assert one.connection_kwargs["driver_info"] is other.connection_kwargs["driver_info"]


@pytest.mark.parametrize(
    "given",
    [{"driver_info": None}, {"driver_info": DriverInfo("mine", "1")}, {"lib_name": "mine"}],
    ids=["none", "own", "by-name"],
)
def test_an_introduction_of_ones_own_stays(given: dict[str, Any]) -> None:
    arguments = dict(given)
    set_defaults(arguments)
    arguments.pop("maint_notifications_config")
    assert arguments == given


def test_notifications_that_are_asked_for_stay() -> None:
    arguments = {"maint_notifications_config": None}
    set_defaults(arguments)
    assert arguments["maint_notifications_config"] is None
