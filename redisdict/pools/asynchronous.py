"""Pool connections for tasks of one loop: redis-py's pools with cheap check-out and check-in."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import redis.asyncio
from redis.asyncio.connection import Connection
from redis.event import AsyncAfterConnectionReleasedEvent
from redis.exceptions import MaxConnectionsError, RedisError

from redisdict.forks import abandon, on_fork, own, take_over
from redisdict.pools import credentials
from redisdict.pools.defaults import set_defaults
from redisdict.pools.sync import IDLE_POLL_AFTER_S

__all__ = ["AsyncBlockingConnectionPool", "AsyncConnectionPool"]


class AsyncConnectionPool(redis.asyncio.ConnectionPool):
    """A pool that raises when all its connections are in use.

    Args:
        connection_class: any connection class of `redis.asyncio`.
        max_connections: most connections; None means redis-py's 100.
        connection_kwargs: arguments of the connections, as in redis-py.

    Raises:
        redis.exceptions.MaxConnectionsError: raised by `get_connection()` when all are in use.

    It belongs to the event loop in which it is first used.
    """

    #: Whether connections are opened when they are checked out, or else by their first command.
    _opens_at_once = True

    #: Connections opened, tasks that have waited for one, those that wait now, and how long.
    opened = waits = waiting = 0
    waited_s = 0.0

    def __init__(
        self,
        connection_class: type[Any] = Connection,
        max_connections: int | None = None,
        **connection_kwargs: Any,
    ) -> None:
        set_defaults(connection_kwargs)
        connect = connection_kwargs.get("redis_connect_func")
        if connect is not None:
            connection_kwargs["redis_connect_func"] = awaited(connect)
        redis.asyncio.ConnectionPool.__init__(
            self,
            connection_class=connection_class,
            max_connections=max_connections,
            **connection_kwargs,
        )
        self._has_tokens = credentials.subscribe(self.connection_kwargs, self.take_token)
        self.pid = os.getpid()
        on_fork(self._renew)

    def reset(self) -> None:
        """Forget all connections."""
        self._lock = asyncio.Lock()
        #: The loop in which connections are opened; known from the first one on.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._available_connections = []
        self._in_use_connections = set()
        self.opened = self.waits = self.waiting = 0
        self.waited_s = 0.0
        self.pid = os.getpid()

    def _renew(self) -> None:
        """Leave all connections to the parent process, without a word to the server."""
        if self.pid == os.getpid():
            return  # made in the child
        inherited: list[Any] = [*self._available_connections, *self._in_use_connections]
        self.reset()
        for connection in inherited:
            if connection.is_connected:
                abandon(connection._writer.transport)

    def __del__(self) -> None:
        """redis-py's own records metrics that this pool doesn't keep."""

    async def get_connection(
        self, command_name: object = None, *keys: object, **options: object
    ) -> Any:
        """Check a connected connection out.

        Raises:
            redis.exceptions.ConnectionError: the server can't be reached, or no connection is
                free (`MaxConnectionsError`, or after `timeout` seconds in the blocking pool).
        """
        if not own[0]:
            take_over()
        connection: Any = self.get_available_connection()  # type: ignore[no-untyped-call]  # redis-py's
        if self._opens_at_once:
            try:
                await self.make_ready(connection)
            except BaseException:
                self._check_in(connection)
                raise
        return connection

    async def make_ready(self, connection: Any) -> None:
        """Connect it, or check one that was idle; one used a moment ago is left as it is.

        Raises:
            redis.exceptions.ConnectionError: the server can't be reached.
        """
        if connection.is_connected:
            idle_s = time.monotonic() - connection.returned_at
            has_news = self._has_tokens and credentials.has_new_token(connection)
            if idle_s < IDLE_POLL_AFTER_S and not has_news:
                return
        self.opened += not connection.is_connected
        self._loop = asyncio.get_running_loop()
        await self.ensure_connection(connection)
        if self._has_tokens:
            await credentials.aauthenticate(connection)
        if connection.health_check_interval:
            await connection.check_health()

    async def release(self, connection: Any) -> None:
        """Check a connection in. One that isn't checked out here is left alone."""
        if not own[0]:
            take_over()
        if connection not in self._in_use_connections:
            return
        if connection.should_reconnect():
            await connection.disconnect(nowait=True)
        if self._has_tokens:
            await self._announce_release(connection)
        self._check_in(connection)

    def take_token(self, token: Any) -> None:
        """Let each connection authenticate with a new token before its next command, or after the
        one under way. Called by any thread, for a streaming credential provider.
        """
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(self._spread_token, token)

    async def re_auth_callback(self, token: Any) -> None:
        """Take a token from the redis-py client that the provider has called for all."""
        self.connection_kwargs["credential_provider"].send(token)

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the idle connections, and those in use as well unless told otherwise."""
        take_over()
        await super().disconnect(inuse_connections)

    async def retire(self) -> None:
        """Close the idle connections, and those in use when they are checked in."""
        take_over()
        in_use: set[Any] = self._in_use_connections
        for connection in in_use:
            connection.mark_for_reconnect()
        await self.disconnect(inuse_connections=False)

    def _spread_token(self, token: Any) -> None:
        connections: list[Any] = [*self._available_connections, *self._in_use_connections]
        for connection in connections:
            connection.set_re_auth_token(token)

    async def _announce_release(self, connection: Any) -> None:
        """Let redis-py have it authenticate with a new token, if there is one."""
        dispatcher: Any = self._event_dispatcher
        try:
            await dispatcher.dispatch_async(AsyncAfterConnectionReleasedEvent(connection))
        except RedisError:
            await connection.disconnect(nowait=True)  # the next use has the token of then

    def _check_in(self, connection: Any) -> None:
        self._in_use_connections.discard(connection)
        connection.returned_at = time.monotonic()
        self._available_connections.append(connection)


def awaited(connect: Callable[[Any], Any]) -> Callable[[Any], Awaitable[None]]:
    """Await a function's result if it can be, so that one function serves threads and tasks.

    redis-py awaits coroutine functions alone.
    """

    async def connect_and_wait(connection: Any) -> None:
        answer = connect(connection)
        if inspect.isawaitable(answer):
            await answer

    return connect_and_wait


class AsyncBlockingConnectionPool(AsyncConnectionPool, redis.asyncio.BlockingConnectionPool):
    """A pool that waits for a connection when all are in use, first come, first served.

    Args:
        max_connections: most connections.
        timeout: seconds to wait for one; None waits for ever.
        connection_class, connection_kwargs: as for `AsyncConnectionPool`.

    Raises:
        redis.exceptions.ConnectionError: raised by `get_connection()` when none came free in time.
    """

    def __init__(
        self,
        max_connections: int | None = 50,
        timeout: float | None = 20,
        connection_class: type[Any] = Connection,
        **connection_kwargs: Any,
    ) -> None:
        connection_kwargs.pop("queue_class", None)  # redis-py's queue isn't used here
        self.timeout = timeout
        self._in_maintenance = False
        AsyncConnectionPool.__init__(
            self,
            connection_class=connection_class,
            max_connections=max_connections or 50,
            **connection_kwargs,
        )
        self._places = asyncio.Semaphore(self.max_connections)

    def reset(self) -> None:
        super().reset()
        self._places = asyncio.Semaphore(self.max_connections)

    async def get_connection(
        self, command_name: object = None, *keys: object, **options: object
    ) -> Any:
        if not own[0]:
            take_over()
        await self._take_place()
        try:
            return await AsyncConnectionPool.get_connection(self)
        except BaseException:
            self._places.release()
            raise

    async def release(self, connection: Any) -> None:
        """Check a connection in, and wake the task that has waited longest."""
        if not own[0]:
            take_over()
        if connection not in self._in_use_connections:
            return
        try:
            await AsyncConnectionPool.release(self, connection)
        finally:
            self._places.release()

    async def _take_place(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        self.waits += 1
        self.waiting += 1
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.timeout):
                await self._places.acquire()
        except TimeoutError:
            # MaxConnectionsError, for trying again would only wait once more.
            raise MaxConnectionsError(
                f"No connection came free within {self.timeout} s (timeout);"
                f" all {self.max_connections} are in use (max_connections)."
            ) from None
        finally:
            self.waiting -= 1
            self.waited_s += time.monotonic() - began
