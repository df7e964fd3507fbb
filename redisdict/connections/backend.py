"""Hold everything that belongs to one alias: its pools, its clients, its drivers.

The pool for threads exists once in the process. A pool for tasks exists once in an event loop: it
is closed and forgotten when the loop shuts its generators down, as `asyncio.run()` and Django's own
runners do before they close the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import get_running_loop
from collections.abc import AsyncGenerator, Callable
from typing import Any, Protocol, cast

import redis
import redis.asyncio

from redisdict import forks
from redisdict.conf import AliasConfig
from redisdict.connections import observation
from redisdict.connections.async_driver import AsyncPoolDriver
from redisdict.connections.cluster import Cluster
from redisdict.connections.drivers import AsyncDriver, Driver, DriverPair
from redisdict.connections.durability import Durability
from redisdict.connections.factory import PoolFactory
from redisdict.connections.middleware import (
    AsyncMiddlewareDriver,
    Middleware,
    MiddlewareDriver,
    Tracing,
)
from redisdict.connections.routing import (
    AsyncRoutingDriver,
    ReplicaRouter,
    RoutingDriver,
)
from redisdict.connections.sync_driver import PendingBatch, PoolDriver
from redisdict.forks import own
from redisdict.pools.asynchronous import AsyncConnectionPool
from redisdict.pools.fast_connection import no_fast_path
from redisdict.pools.multiplexed import OptimizedAsyncConnectionPool
from redisdict.pools.shared_connection import SharedConnection
from redisdict.pools.sync import ConnectionPool
from redisdict.wire.requests import Batch, Command, Reply
from redisdict.wire.server_state import Capabilities, Incarnations

#: The default of RETRY_FOR where another server replaces a lost one automatically. Sentinels need
#: the time they are configured to wait (often 5 s) and 1.3 s more.
GROUP_RETRY_FOR_S = 10.0


class Attachment(Protocol):
    """An object that a layer above keeps for one backend."""

    def close(self) -> None:
        """Close what it has open; its next use may open it again."""


class Backend:
    """The server, or group of servers, behind one alias. Nothing is connected before first use.

    Args:
        config: the checked configuration, from `redisdict.conf.parse_alias()`.
        to_replicas: whether it leads to the replicas, for what only reads.

    Raises:
        ConfigurationError: from any method, when the location, a pool class or an option of
            the configuration can't be used.
    """

    def __init__(self, config: AliasConfig, *, to_replicas: bool = False) -> None:
        self.config = config
        self.factory = PoolFactory(config, to_replicas=to_replicas)
        self._lock = forks.Lock()
        self._pool: redis.ConnectionPool | None = None
        #: `execute()` of the pool for threads, when there is one and it is one of this package's.
        self.execute: Callable[[bytes | Command], Reply] = no_fast_path
        self._loops: dict[asyncio.AbstractEventLoop, _OfLoop] = {}
        # The loop asked for last, and its pool: most programs have one, and looking it up would be
        # a twentieth of what a command costs.
        self._last_loop_pool: tuple[
            asyncio.AbstractEventLoop | None, redis.asyncio.ConnectionPool | None
        ] = (None, None)
        self._last_shared: tuple[asyncio.AbstractEventLoop | None, SharedConnection | None] = (
            None,
            None,
        )
        self._cluster_client: redis.RedisCluster | None = None
        #: Objects that the layers above keep with it, by a name; `close()` closes them.
        self.attachments: dict[str, Attachment] = {}
        self.capabilities = Capabilities()
        self.incarnations = Incarnations(self.factory.address)
        pool_driver, async_pool_driver = PoolDriver(self), AsyncPoolDriver(self)
        observation.enroll(pool_driver, async_pool_driver)
        self.driver: Driver = pool_driver
        self.async_driver: AsyncDriver = async_pool_driver
        self._replicas: Backend | None = None
        if self.factory.reads_replicas and not to_replicas:
            self._replicas = Backend(self.factory.config_of_replicas(), to_replicas=True)
        self._group = self.factory.make_group(self, Backend)
        self.cluster = self._group if isinstance(self._group, Cluster) else None
        if self._group is not None:
            self.driver = RoutingDriver(self._group)
            self.async_driver = AsyncRoutingDriver(self._group)
        if self.cluster is not None:
            self._inherited: list[object] = []
            forks.on_fork(self._renew)
        tracer = self.factory.make_tracer()
        if tracer is not None:
            tracing = Tracing(tracer, config.alias)
            self.driver, self.async_driver = self._drivers_behind(tracing)

    def __repr__(self) -> str:
        return f"<Backend {self.config.alias!r}>"

    def _renew(self) -> None:
        """Let redis-py's clients of a Cluster be made again, because they don't notice a fork.

        What the parent has is kept, since it isn't ours to be closed.
        """
        self._inherited += [self._cluster_client, self._loops]
        for entry in self._loops.values():
            for node in entry.held.get_nodes():
                for connection in node._connections:  # there is no public way to them
                    if connection.is_connected:
                        forks.abandon(connection._writer.transport)
        self._cluster_client, self._loops = None, {}

    @property
    def address(self) -> str:
        """The server's address, without credentials."""
        return self.factory.address

    def pool(self) -> redis.ConnectionPool:
        """Return the pool for threads, one in the process."""
        if self._pool is None:
            with self._lock:
                if self._pool is None:
                    self._pool = self.factory.make_pool()
                    self.execute = getattr(self._pool, "execute", no_fast_path)
        return self._pool

    def async_pool(self) -> redis.asyncio.ConnectionPool:
        """Return the pool of the running event loop.

        Raises:
            RuntimeError: no event loop is running.
        """
        loop = get_running_loop()
        last_loop, pool = self._last_loop_pool
        if loop is last_loop and pool is not None:
            return pool
        while True:
            entry = self._of_loop(loop, self.factory.make_async_pool)
            if entry.is_left:
                entry.renew(self.factory.make_async_pool())
            found: redis.asyncio.ConnectionPool = entry.held
            self._last_loop_pool = loop, found
            if not entry.is_left:  # nor has another thread just said so
                return found

    def shared_connection(self) -> SharedConnection | None:
        """Find the connection that the loop's tasks share, if it takes a command at once."""
        loop, shared = self._last_shared
        if shared is None or not shared.is_ready or not own[0] or loop is not get_running_loop():
            pool = self.async_pool()
            shared = pool.shared if isinstance(pool, OptimizedAsyncConnectionPool) else None
            self._last_shared = get_running_loop(), shared
        return shared

    def leave_connections(self) -> None:
        """Let each command that begins from now on, in any thread or loop, be sent over a
        connection opened after this.

        Commands under way end on those that they have. A pool borrowed from django-redis is left
        as it is, and so is a Cluster: its nodes have backends of their own.
        """
        if self.factory.is_borrowed or self.cluster is not None:
            return
        with self._lock:
            pool, self._pool, self.execute = self._pool, None, no_fast_path
        for entry in list(self._loops.values()):
            entry.leave()
        self._last_loop_pool = self._last_shared = None, None
        if isinstance(pool, ConnectionPool):
            pool.retire()
        elif pool is not None:
            pool.disconnect(inuse_connections=False)

    def _of_loop(self, loop: asyncio.AbstractEventLoop, make: Callable[[], Any]) -> _OfLoop:
        entry = self._loops.get(loop)
        if entry is None:
            # A pool refers to its loop, so those of loops that were closed without ceremony stay.
            for other in [each for each in self._loops if each.is_closed()]:
                self._forget_loop(other)
            entry = self._loops[loop] = _OfLoop(make())
            entry.close_with_loop(lambda: self._forget_loop(loop))
        return entry

    def _forget_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loops.pop(loop, None)
        self._last_loop_pool = self._last_shared = None, None

    def client(self) -> redis.Redis:
        """Make a redis-py client over the pool for threads.

        Of a Cluster it is a `redis.RedisCluster`, one in the process, which connects at once and
        has pools of its own.
        """
        if self.cluster is not None:
            forks.take_over()
            with self._lock:
                self._cluster_client = self._cluster_client or self.factory.make_cluster_client()
                return cast(redis.Redis, self._cluster_client)
        return redis.Redis(connection_pool=self.pool())

    def async_client(self) -> redis.asyncio.Redis:
        """Make a redis-py client over the running event loop's pool.

        Of a Cluster it is a `redis.asyncio.RedisCluster`, one in an event loop, which connects at
        its first use, has connections of its own, and is closed with the loop.

        Raises:
            RuntimeError: no event loop is running.
        """
        if self.cluster is not None:
            forks.take_over()
            make = self.factory.make_async_cluster_client
            return cast(redis.asyncio.Redis, self._of_loop(get_running_loop(), make).held)
        return redis.asyncio.Redis(connection_pool=self.async_pool())

    @property
    def has_credential_provider(self) -> bool:
        """Whether each new connection asks a provider for its credentials."""
        return self.factory.has_credential_provider

    @property
    def retry_for_s(self) -> float:
        """The seconds for which a command may be tried again after a lost connection."""
        given = self.config.retry_for
        if given is not None:
            return given
        return GROUP_RETRY_FOR_S if self.factory.location.kind in ("sentinel", "cluster") else 0.0

    def drivers_of_dicts(self, guarantee: str | None) -> DriverPair:
        """Do what `drivers()` does for dicts, which may read from replicas if the alias says so."""
        drivers = self.drivers(guarantee)
        if self._replicas is None:
            return drivers
        router = ReplicaRouter(drivers, self._replicas)
        return DriverPair(RoutingDriver(router), AsyncRoutingDriver(router))

    def drivers(self, guarantee: str | None) -> DriverPair:
        """Return the drivers for threads and for tasks, with this guarantee of writes."""
        if guarantee is None:
            return DriverPair(self.driver, self.async_driver)
        timeout_s = self.factory.socket_timeout_s
        durability = Durability(guarantee, self.address, timeout_s, self.retry_for_s)
        return self._drivers_behind(durability)

    def _drivers_behind(self, middleware: Middleware) -> DriverPair:
        return DriverPair(
            MiddlewareDriver(self.driver, middleware),
            AsyncMiddlewareDriver(self.async_driver, middleware),
        )

    def start(self, batch: Batch) -> PendingBatch:
        """Send a batch over the pool for threads; its replies are read later."""
        return observation.start(self, batch)

    def revive(self) -> None:
        """Try to restart a lost server before a command is tried again. May block."""
        self.capabilities.forget()
        self.factory.revive()

    async def arevive(self) -> None:
        """Do the same for tasks: blocking work is done in a thread."""
        if self.factory.location.kind == "embedded":
            await asyncio.to_thread(self.revive)
        else:
            self.capabilities.forget()

    def pools(self) -> list[redis.ConnectionPool | redis.asyncio.ConnectionPool]:
        """List the pools that there are now, those of the servers that are part of it as well.

        A pool that is borrowed is among them; the clients of a Cluster, which are redis-py's own,
        are not.
        """
        found: list[Any] = [] if self._pool is None else [self._pool]
        if self.cluster is None:
            found += [entry.held for entry in list(self._loops.values())]
        for other in self._others:
            found += other.pools()
        return found

    @property
    def _others(self) -> list[Backend]:
        """The backends that are part of this one: a group's servers, and the replicas."""
        nodes = [] if self._group is None else self._group.nodes
        return [*nodes, self._replicas] if self._replicas else nodes

    def close(self) -> None:
        """Close the connections of the pool for threads; the next use opens new ones.

        A pool borrowed from django-redis is left alone: it isn't ours.
        """
        for attachment in list(self.attachments.values()):
            attachment.close()
        for node in self._others:
            node.close()
        client, self._cluster_client = self._cluster_client, None
        if client is not None:
            client.close()
        pool, self._pool, self.execute = self._pool, None, no_fast_path
        if pool is not None and not self.factory.is_borrowed:
            pool.disconnect()

    async def aclose(self) -> None:
        """Close the connections of the running event loop; the next use opens new ones."""
        for node in self._others:
            await node.aclose()
        entry = self._loops.get(get_running_loop())
        if entry is not None:
            await entry.aclose()


class _OfLoop:
    """A pool, or a client, that belongs to one event loop."""

    def __init__(self, held: Any) -> None:
        self.held = held
        #: Whether another pool has to replace the held one.
        self.is_left = False
        self._leaving: set[asyncio.Task[None]] = set()
        self._keeper: AsyncGenerator[None] | None = None

    def leave(self) -> None:
        """Send no further commands to the held pool. Called by any thread."""
        self.is_left = True
        if isinstance(self.held, OptimizedAsyncConnectionPool):
            self.held.refuse()

    def renew(self, pool: redis.asyncio.ConnectionPool) -> None:
        """Hold another pool; the old one's connections are closed once they aren't in use."""
        old, self.held, self.is_left = self.held, pool, False
        task = asyncio.get_running_loop().create_task(_retire(old))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def aclose(self) -> None:
        if self._keeper is not None:
            await self._keeper.aclose()

    def close_with_loop(self, forget: Callable[[], object]) -> None:
        """Tie it to the end of the running loop, and call `forget` then.

        A loop keeps account of the async generators begun in it, and closes them before it ends
        (`shutdown_asyncgens`). So one is begun here whose end closes it.
        """
        self._keeper = self._keep(forget)
        with contextlib.suppress(StopIteration):  # it has reached its `yield`
            self._keeper.__anext__().send(None)

    async def _keep(self, forget: Callable[[], object]) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            forget()
            await asyncio.gather(*self._leaving, return_exceptions=True)
            try:
                await self.held.aclose()
            finally:
                await _close_remaining(self.held)


async def _retire(pool: redis.asyncio.ConnectionPool) -> None:
    if isinstance(pool, AsyncConnectionPool):
        await pool.retire()
    else:
        await pool.disconnect(inuse_connections=False)
    await _close_route(pool)


async def _close_remaining(held: Any) -> None:
    """Close what redis-py leaves open when a pool or a client is closed.

    A client of a Cluster that has lost a connection begins again at its next command. Closed before
    that, it believes to have nothing to close.
    """
    nodes = getattr(held, "nodes_manager", None)
    if nodes is not None:
        left = [*nodes.nodes_cache.values(), *nodes.startup_nodes.values()]  # two of each name
        await asyncio.gather(*(node.disconnect() for node in left), return_exceptions=True)
    await _close_route(held)


async def _close_route(held: Any) -> None:
    route = getattr(held, "connection_kwargs", {}).get("connection_pool")
    if route is not None:  # to the primary, by way of sentinels
        await route.aclose()
