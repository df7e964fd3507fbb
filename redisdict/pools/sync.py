"""Pool connections for threads: redis-py's pools, with cheap check-out and check-in.

redis-py 8.1 spends some 6 µs on `get_connection()` and `release()`, as much as on everything else
it does for a GET: a poll system call, an event, metrics hooks, a process check. Here the connection
that was returned last is checked out first, without a poll if it was used a moment ago. One that
was idle for longer is polled, which detects that the server has closed it.
"""

from __future__ import annotations

import inspect
import os
import threading
from contextlib import suppress
from time import monotonic
from typing import Any

import redis
from redis.connection import Connection, ConnectionInterface
from redis.event import AfterConnectionReleasedEvent
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redisdict.forks import on_fork, own, take_over
from redisdict.pools import credentials
from redisdict.pools.defaults import set_defaults
from redisdict.pools.fast_connection import FAST_CLASSES, FAST_PATH_UNAVAILABLE, FastConnection
from redisdict.wire.requests import Command, Reply

__all__ = ["BlockingConnectionPool", "ConnectionPool"]

#: A connection that lay idle for longer than this many seconds is polled before it is used.
IDLE_POLL_AFTER_S = 1.0


class ConnectionPool(redis.ConnectionPool):
    """A pool that raises when all its connections are in use.

    Args:
        connection_class: any connection class of redis-py; its own three are replaced by those of
            `redisdict.pools.fast_connection`, which read faster.
        max_connections: most connections; None means redis-py's 100.
        connection_kwargs: arguments of the connections, as in redis-py.

    Raises:
        redis.exceptions.MaxConnectionsError: raised by `get_connection()` when all are in use.

    `redisdict.pools.defaults` has the arguments whose defaults aren't redis-py's.
    """

    def __init__(
        self,
        connection_class: type[Any] = Connection,
        max_connections: int | None = None,
        **connection_kwargs: Any,
    ) -> None:
        set_defaults(connection_kwargs)
        if inspect.iscoroutinefunction(connection_kwargs.get("redis_connect_func")):
            raise TypeError(
                "redis_connect_func is a coroutine function, which connections of threads can't"
                " await; give a function that returns a coroutine for those of redis.asyncio alone."
            )
        redis.ConnectionPool.__init__(
            self,
            connection_class=FAST_CLASSES.get(connection_class, connection_class),
            max_connections=max_connections,
            **connection_kwargs,
        )
        self._has_tokens = credentials.subscribe(self.connection_kwargs, self.take_token)
        self._has_fast_path = (
            issubclass(self.connection_class, FastConnection) and self.cache is None
        )
        on_fork(self._renew)

    def reset(self) -> None:
        """Forget all connections, and reset their counts."""
        self._lock = threading.RLock()
        self._fork_lock = threading.RLock()
        self._returned = threading.Condition(threading.Lock())
        self._waiting = 0
        #: Since it was made: connections opened, callers that have waited for one, and how long.
        self.opened = self.waits = 0
        self.waited_s = 0.0
        self._created_connections = 0
        #: Idle ones, those in use, and those that are on their way between.
        self._connections: list[Any] = []
        self._available_connections: list[Any] = []
        self._in_use_connections: set[Any] = set()
        self.pid = os.getpid()

    def _renew(self) -> None:
        """Leave all connections to the parent process, and send nothing to the server.

        A thread that holds one in this process finds it lost.
        """
        if self.pid == os.getpid():
            return  # made in the child
        held = list(self._in_use_connections)
        self.reset()
        for connection in held:
            getattr(connection, "leave", connection.disconnect)()

    def __del__(self) -> None:
        """redis-py's own records metrics that this pool doesn't keep."""

    def execute(self, packed: bytes | Command) -> Reply:
        """Send a packed command over the connection returned last, and read its reply.

        This is `get_connection()`, the connection's `execute()` and `release()` in one, for the
        usual case: a connection is idle, was used a moment ago, and is one of
        `redisdict.pools.fast_connection`.

        Args:
            packed: as for `FastConnection.execute()`.

        Returns:
            The reply, undecoded; or `FAST_PATH_UNAVAILABLE`, and nothing was sent.

        Raises:
            NotSentError: the connection was lost before the whole command was sent.
            redis.exceptions.RedisError: as `FastConnection.execute()`.
        """
        if not own[0]:
            take_over()
        try:
            connection = self._available_connections.pop()
        except IndexError:
            return FAST_PATH_UNAVAILABLE
        now = monotonic()
        if not self._has_fast_path or now - connection.returned_at >= IDLE_POLL_AFTER_S:
            self._put_back(connection)
            return FAST_PATH_UNAVAILABLE
        self._in_use_connections.add(connection)
        try:
            return connection.execute(packed)
        finally:  # what release() does, but for what a connection that is ready doesn't need
            self._in_use_connections.discard(connection)
            connection.returned_at = now
            self._available_connections.append(connection)
            if self._waiting:
                self._wake()

    def get_connection(self, command_name: object = None, *keys: object, **options: object) -> Any:
        """Check a connected connection out.

        Raises:
            redis.exceptions.ConnectionError: the server can't be reached, or no connection is
                free (`MaxConnectionsError`, or after `timeout` seconds in the blocking pool).
        """
        if not own[0]:
            take_over()
        try:
            connection = self._available_connections.pop()
        except IndexError:
            connection = self._grow() or self._none_left()
        self._in_use_connections.add(connection)
        if connection.is_connected:
            idle_s = monotonic() - connection.returned_at
            has_news = self._has_tokens and credentials.has_new_token(connection)
            if idle_s < IDLE_POLL_AFTER_S and not has_news:
                return connection
        try:
            self._make_ready(connection)
        except BaseException:
            self.release(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        """Check a connection in. One that isn't checked out here is left alone."""
        if not own[0]:
            take_over()
        try:
            self._in_use_connections.remove(connection)
        except KeyError:
            return
        if connection.should_reconnect():
            connection.disconnect()
        if self._has_tokens:
            self._announce_release(connection)
        connection.returned_at = monotonic()
        self._put_back(connection)

    def take_token(self, token: Any) -> None:
        """Let each connection authenticate with a new token before its next command, or after the
        one under way. Called by any thread, for a streaming credential provider.
        """
        for connection in list(self._connections):
            connection.set_re_auth_token(token)

    def re_auth_callback(self, token: Any) -> None:
        """Take a token from the redis-py client that the provider has called for all."""
        self.connection_kwargs["credential_provider"].send(token)

    def make_connection(self) -> ConnectionInterface:
        """Make a new, not yet connected connection, and count it.

        Raises:
            redis.exceptions.MaxConnectionsError: all connections exist already.
        """
        take_over()
        connection = self._grow()
        if connection is None:
            raise self._too_many()
        return connection  # type: ignore[no-any-return]  # any class that redis-py accepts

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the idle connections, and those in use as well unless told otherwise."""
        take_over()
        connections = list(self._available_connections)
        if inuse_connections:
            connections += list(self._in_use_connections)
        for connection in connections:
            connection.disconnect()

    def retire(self) -> None:
        """Close the idle connections, and those in use when they are checked in."""
        take_over()
        for connection in list(self._in_use_connections):
            connection.mark_for_reconnect()
        idle: list[Any] = []
        with suppress(IndexError):
            while True:  # one that is taken out is in nobody else's hands
                idle.append(self._available_connections.pop())
        for connection in idle:
            connection.disconnect()
            self._put_back(connection)

    @property
    def waiting(self) -> int:
        """The number of callers that wait for a connection now."""
        return self._waiting

    def _announce_release(self, connection: Any) -> None:
        """Let redis-py have it authenticate with a new token, if there is one."""
        dispatcher: Any = self._event_dispatcher
        try:
            dispatcher.dispatch(AfterConnectionReleasedEvent(connection))
        except RedisError:
            connection.disconnect()  # the next use connects it with the token of then

    def _put_back(self, connection: Any) -> None:
        self._available_connections.append(connection)
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        with self._returned:
            self._returned.notify()

    def _grow(self) -> Any | None:
        with self._lock:
            if self._created_connections >= self.max_connections:
                return None
            self._created_connections += 1
        try:
            connection = self._new_connection()
        except BaseException:
            self._created_connections -= 1
            raise
        connection.returned_at = monotonic()
        self._connections.append(connection)
        return connection

    def _new_connection(self) -> Any:
        if self.cache is not None:
            from redis.connection import CacheProxyConnection

            proxy: Any = CacheProxyConnection  # abstract to the type checker, not to Python
            return proxy(self.connection_class(**self.connection_kwargs), self.cache, self._lock)
        return self.connection_class(**self.connection_kwargs)

    def _none_left(self) -> Any:
        raise self._too_many()

    def _too_many(self) -> MaxConnectionsError:
        return MaxConnectionsError(
            f"All {self.max_connections} connections are in use (max_connections)."
        )

    def _make_ready(self, connection: Any) -> None:
        """Connect; drop a connection that has something to read before anything was asked."""
        self.opened += not connection.is_connected
        connection.connect()
        try:
            is_dirty = connection.can_read() and self.cache is None
        except (RedisConnectionError, RedisTimeoutError, OSError):
            is_dirty = True
        if is_dirty:
            connection.disconnect()
            connection.connect()
        if self._has_tokens:
            credentials.authenticate(connection)
        if connection.health_check_interval:
            connection.check_health()

    def _get_free_connections(self) -> list[Any]:
        return list(self._available_connections)

    def _get_in_use_connections(self) -> set[Any]:
        return set(self._in_use_connections)


class BlockingConnectionPool(ConnectionPool, redis.BlockingConnectionPool):
    """A pool that waits for a connection when all are in use.

    Args:
        max_connections: most connections.
        timeout: seconds to wait for one; None waits for ever.
        connection_class, connection_kwargs: as for `ConnectionPool`.

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
        self.timeout = timeout
        self._in_maintenance = False
        self._locked = False
        connection_kwargs.pop("queue_class", None)  # redis-py's queue isn't used here
        ConnectionPool.__init__(
            self,
            connection_class=connection_class,
            max_connections=max_connections or 50,
            **connection_kwargs,
        )

    def _none_left(self) -> Any:
        deadline = None if self.timeout is None else monotonic() + self.timeout
        with self._returned:
            # Counted before looking again: whoever returns a connection after this look sees the
            # count and notifies, whoever returned one before it has made it visible to the look.
            self._waiting += 1
            self.waits += 1
            began = monotonic()
            try:
                while True:
                    try:
                        return self._available_connections.pop()
                    except IndexError:
                        pass
                    left_s = None if deadline is None else deadline - monotonic()
                    if left_s is not None and left_s <= 0:
                        # MaxConnectionsError, for trying again would only wait once more.
                        raise MaxConnectionsError(
                            f"No connection came free within {self.timeout} s"
                            f" (timeout); all {self.max_connections} are in use (max_connections)."
                        )
                    self._returned.wait(left_s)
            finally:
                self._waiting -= 1
                self.waited_s += monotonic() - began
