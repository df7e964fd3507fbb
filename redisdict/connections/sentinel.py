"""Connect to a primary behind Sentinel, asking the sentinels for its address each time.

redis-py 8.1's own connections reconnect within a command to their former address, and so miss a
failover; these always call `connect()`, which asks. Only one asks at a time, since redis-py moves
the sentinel that has answered to the front of its list: when several do that at once, one sentinel
ends up twice in the list, and another is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from redisdict import forks
from redisdict.conf import Options
from redisdict.connections.announced import AddressBook
from redisdict.connections.groups import in_turn, random_turn
from redisdict.connections.locations import Address, Location
from redisdict.pools.asynchronous import AsyncConnectionPool
from redisdict.pools.multiplexed import OptimizedAsyncConnectionPool
from redisdict.pools.sync import ConnectionPool

#: Seconds that a sentinel has to answer, unless the options give timeouts.
SENTINEL_TIMEOUT_S = 1.0


class SentinelConnection(redis.sentinel.SentinelManagedConnection):
    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if not self.is_connected:
            self.connect()  # type: ignore[no-untyped-call]  # redis-py's
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]  # redis-py's


class SentinelSSLConnection(SentinelConnection, redis.sentinel.SentinelManagedSSLConnection):
    pass


class AsyncSentinelConnection(redis.asyncio.sentinel.SentinelManagedConnection):
    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        if not self.is_connected:
            await self.connect()  # type: ignore[no-untyped-call]  # redis-py's
        await super().send_packed_command(command, check_health)


class AsyncSentinelSSLConnection(
    AsyncSentinelConnection, redis.asyncio.sentinel.SentinelManagedSSLConnection
):
    pass


class AsyncSentinelRoute:
    """Finds the primary of one service, or its replicas, for the connections of one pool."""

    check_connection = False

    def __init__(
        self,
        pool: redis.asyncio.ConnectionPool,
        location: Location,
        options: Options,
        book: AddressBook,
        *,
        to_replicas: bool = False,
    ) -> None:
        self._pool = pool
        self._book = book
        self.is_master = not to_replicas
        self._turn = random_turn()
        self.service_name = location.service
        self.sentinel = redis.asyncio.sentinel.Sentinel(
            location.nodes,
            sentinel_kwargs={
                **sentinel_options(location, options),
                "ssl": location.is_tls,
                "retry": AsyncRetry(NoBackoff(), 0),
            },
        )
        _replace_pools(self.sentinel.sentinels, AsyncConnectionPool)
        self._address: Address | None = None
        self._asking = asyncio.Lock()

    async def get_master_address(self) -> Address:
        """Ask the sentinels (SENTINEL MASTERS); a new primary ends the idle connections."""
        async with self._asking:
            try:
                address: Address = await self.sentinel.discover_master(self.service_name)
            except redis.asyncio.sentinel.MasterNotFoundError:
                raise _no_primary(self.service_name) from None
        address = self._book.reach(address)
        if self.is_master and self._address not in (None, address):
            await self._pool.disconnect(inuse_connections=False)
            if isinstance(self._pool, OptimizedAsyncConnectionPool):
                self._pool.retire_shared()
        self._address = address
        return address

    async def rotate_slaves(self) -> AsyncIterator[Address]:
        """Do what `SentinelRoute.rotate_slaves()` does."""
        async with self._asking:
            replicas: Sequence[Any] = await self.sentinel.discover_slaves(self.service_name)
            self._turn += 1
        for replica in in_turn(replicas, self._turn):
            yield self._book.reach(replica)
        yield await self.get_master_address()

    async def aclose(self) -> None:
        await self.sentinel.aclose()


class SentinelRoute(redis.sentinel.SentinelConnectionPoolProxy):
    """The same for the connections of one pool for threads."""

    def __init__(
        self,
        pool: redis.ConnectionPool,
        location: Location,
        options: Options,
        book: AddressBook,
        *,
        to_replicas: bool = False,
    ) -> None:
        self._book = book
        sentinel = redis.sentinel.Sentinel(
            location.nodes,
            sentinel_kwargs={
                **sentinel_options(location, options),
                "ssl": location.is_tls,
                "retry": Retry(NoBackoff(), 0),
            },
        )
        _replace_pools(sentinel.sentinels, ConnectionPool)
        self._asking = forks.Lock()
        self._turn = random_turn()
        super().__init__(pool, not to_replicas, False, location.service, sentinel)  # type: ignore[no-untyped-call]  # redis-py's

    def get_master_address(self) -> Address:
        """Ask the sentinels (SENTINEL MASTERS); a new primary ends the idle connections."""
        with self._asking:
            try:
                address: Address = super().get_master_address()  # type: ignore[no-untyped-call]  # redis-py's
                return self._book.reach(address)
            except redis.sentinel.MasterNotFoundError:
                raise _no_primary(self.service_name) from None

    def rotate_slaves(self) -> Iterator[Address]:
        """Yield the replicas that are up, another one first each time (SENTINEL REPLICAS).

        At last the primary, for when there is none.
        """
        with self._asking:
            replicas = self.sentinel_manager.discover_slaves(self.service_name)
            self._turn += 1
        yield from map(self._book.reach, in_turn(replicas, self._turn))
        yield self.get_master_address()

    def quorum(self) -> int:
        """Return how many sentinels have to agree that the primary is lost. SENTINEL MASTERS."""
        with self._asking:
            for client in self.sentinel_manager.sentinels:
                with contextlib.suppress(RedisConnectionError, RedisTimeoutError):
                    return int(client.sentinel_masters()[self.service_name]["quorum"])
        raise _no_primary(self.service_name)


def connection_class(location: Location, is_async: bool) -> type[Any]:
    if is_async:
        return AsyncSentinelSSLConnection if location.is_tls else AsyncSentinelConnection
    return SentinelSSLConnection if location.is_tls else SentinelConnection


def sentinel_options(location: Location, options: Options) -> dict[str, Any]:
    """Share the sockets' options of the servers with the sentinels, but not the credentials.

    One that doesn't answer within `SENTINEL_TIMEOUT_S` is passed over for the next.
    """
    shared: dict[str, Any] = {
        "socket_timeout": SENTINEL_TIMEOUT_S,
        "socket_connect_timeout": SENTINEL_TIMEOUT_S,
    }
    shared |= {name: value for name, value in options.items() if name.startswith("socket_")}
    if location.is_tls:
        shared |= {name: value for name, value in options.items() if name.startswith("ssl_")}
    return {**shared, **location.node_options}


def _replace_pools(clients: Iterable[Any], pool_class: type[Any]) -> None:
    """Give the sentinels' clients pools that don't disturb the parent of a forked child."""
    for client in clients:
        pool = client.connection_pool
        client.connection_pool = pool_class(
            connection_class=pool.connection_class,
            max_connections=pool.max_connections,
            **pool.connection_kwargs,
        )


def _no_primary(service: str) -> redis.sentinel.MasterNotFoundError:
    return redis.sentinel.MasterNotFoundError(
        f"none of the sentinels that answer knows a primary of {service!r} that is up"
    )
