"""Share one connection among all tasks, for all commands that allow it.

redis-py's client checks a connection out for every command, sends over it and reads from it. This
pool's connections open a socket of their own only at the first command that needs one: most
commands are passed to the shared connection, and their replies come from there.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from functools import cache, partial
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection
from redis.exceptions import ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redisdict.forks import own, take_over
from redisdict.pools.asynchronous import AsyncBlockingConnectionPool
from redisdict.pools.credentials import credentials_of
from redisdict.pools.dialing import dial
from redisdict.pools.shared_connection import SharedConnection
from redisdict.wire.commands import lookup
from redisdict.wire.packing import pack_command

__all__ = ["OptimizedAsyncConnectionPool"]


class OptimizedAsyncConnectionPool(AsyncBlockingConnectionPool):
    """A pool whose tasks share one connection for all commands that allow it.

    `execute()` sends over the shared connection. So do the connections that `get_connection()`
    checks out, for a plain `redis.asyncio.Redis`, until a command or a pipeline needs one of its
    own (`wire.commands`: what blocks, transactions, publish/subscribe, `SELECT`, …).

    Args:
        max_connections, timeout, connection_class, connection_kwargs: as for
            `AsyncBlockingConnectionPool`; `max_connections` doesn't count the shared connection.
    """

    _opens_at_once = False

    def __init__(
        self,
        max_connections: int | None = 50,
        timeout: float | None = 20,
        connection_class: type[Any] = Connection,
        **connection_kwargs: Any,
    ) -> None:
        super().__init__(
            max_connections=max_connections,
            timeout=timeout,
            connection_class=multiplexed(connection_class),  # type: ignore[arg-type]  # a class is hashable
            **connection_kwargs,
        )
        self._shared: SharedConnection | None = None
        self._opening: asyncio.Task[SharedConnection] | None = None

    def reset(self) -> None:
        super().reset()
        shared, self._shared, self._opening = self._shared, None, None
        if shared is not None:
            shared.leave()

    @property
    def shared(self) -> SharedConnection | None:
        """The shared connection, when there is one that takes a command at once."""
        if not own[0]:
            take_over()
        shared = self._shared
        return shared if shared is not None and shared.is_ready else None

    def make_connection(self) -> Any:
        """Make a new, not yet connected connection."""
        connection = super().make_connection()  # type: ignore[no-untyped-call]  # redis-py's
        connection.pool = self
        return connection

    async def execute(self, packed: bytes, count: int = 1) -> Any:
        """Send one packed command, or `count` of them, and wait for the reply, or the list.

        Returns:
            What the server replied; an error is returned, not raised, as is the loss of the
            connection (`NotSentError` when no byte of the command had left).
        """
        return await (await self.submit(packed, count))

    async def submit(self, packed: bytes, count: int = 1) -> asyncio.Future[Any]:
        """Do the first half of `execute()`: send as soon as there is room, for a future.

        Raises:
            redis.exceptions.ConnectionError: the server can't be reached.
        """
        return (await self.ready_shared()).submit(packed, count)

    async def ready_shared(self) -> SharedConnection:
        """Return the shared connection, opened if necessary, once it has room for a command.

        Raises:
            redis.exceptions.ConnectionError: the server can't be reached.
        """
        if not own[0]:
            take_over()
        shared = self._shared
        if shared is None or not shared.is_open:
            shared = await self._open_shared()
        if shared.is_full:
            await shared.room()
        return shared

    def retire_shared(self) -> None:
        """Let the next command open a new shared connection; commands under way end on the old."""
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.retire()

    def refuse(self) -> None:
        """Let the shared connection take no further commands. Called by any thread."""
        shared = self._shared
        if shared is not None:
            shared.refuse()

    async def retire(self) -> None:
        """Close the idle connections, and the others when their commands have ended."""
        if self._opening is not None:
            self._opening.add_done_callback(lambda _: self.retire_shared())
        self.retire_shared()
        await super().retire()

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the idle connections, those in use unless told otherwise, and the shared one."""
        take_over()
        if inuse_connections:
            if self._opening is not None:
                self._opening.cancel()
            if self._shared is not None:
                await self._shared.aclose()
        await super().disconnect(inuse_connections)

    def _spread_token(self, token: Any) -> None:
        super()._spread_token(token)
        if self._opening is not None:  # maybe with the token before
            self._opening.add_done_callback(lambda _: self._authenticate_shared(token))
        self._authenticate_shared(token)

    def _authenticate_shared(self, token: Any) -> None:
        """Send AUTH over the shared connection, between the commands of before and after it."""
        shared = self._shared
        if shared is None or not shared.is_open:
            return
        answer = shared.submit(pack_command((b"AUTH", *credentials_of(token))))
        answer.add_done_callback(partial(self._authenticated, shared))

    def _authenticated(self, shared: SharedConnection, answer: asyncio.Future[Any]) -> None:
        refusal = answer.result()
        if isinstance(refusal, Exception) and self._shared is shared:
            self.retire_shared()  # the next one has the credentials of then

    def _check_in(self, connection: Any) -> None:
        """Throw away the replies that a connection still waits for."""
        connection.check_in()
        super()._check_in(connection)

    async def _open_shared(self) -> SharedConnection:
        """Open the shared connection once for all; a caller's end doesn't end the attempt."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._connect_shared())
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    def _opened(self, task: asyncio.Task[SharedConnection]) -> None:
        if task is not self._opening:
            return  # of the parent process
        self._opening = None
        if not task.cancelled() and task.exception() is None:
            self._shared = task.result()

    async def _connect_shared(self) -> SharedConnection:
        self._loop = asyncio.get_running_loop()
        # Never connected: it tells where to, and who we are.
        shared = await dial(self.connection_class(**self.connection_kwargs))
        self.opened += 1
        return shared


class MultiplexedConnection(AbstractConnection):
    """Has the commands of a plain client multiplexed over the pool's shared connection."""

    #: The pool that has the shared connection, an `OptimizedAsyncConnectionPool`.
    pool: Any = None
    #: Whether it has been used over its own socket since it was checked out.
    _is_own = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._replies: deque[asyncio.Future[Any]] = deque()

    async def connect(self, *args: Any, **options: Any) -> None:
        """Open its own socket, which it uses from then on until it is checked in."""
        self._is_own = True
        await super().connect(*args, **options)  # type: ignore[no-untyped-call]  # redis-py's

    async def send_command(self, *args: Any, **options: Any) -> None:
        """Send a command: over the shared connection, or where it needs its own, over that.

        Raises:
            redis.exceptions.RedisError: it is WAIT or WAITAOF, which report on the writes of their
                own connection, and the writes weren't sent over that.
        """
        if not self._is_own:
            name, info = lookup(args[0])
            if info.is_about_own_writes:
                raise RedisError(
                    f"{name} reports on the writes of its own connection, and the commands of this"
                    " pool share one. Send it in a pipeline together with the writes, or use"
                    " another pool, such as AsyncBlockingConnectionPool."
                )
            if not info.needs_own_connection:
                packed = b"".join(self.pack_command(*args))
                self._replies.append(await self.pool.submit(packed))
                return
        await super().send_command(*args, **options)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send over its own socket, which it uses from then on until it is checked in."""
        if not self._is_own:
            self._is_own = True
            await self.pool.make_ready(self)
        await super().send_packed_command(command, check_health=check_health)

    async def read_response(
        self,
        disable_decoding: bool = False,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Read the reply to the earliest command; raise an error reply, and a lost connection.

        Raises:
            redis.exceptions.TimeoutError: it didn't come within `timeout` seconds, or within the
                pool's `socket_timeout`.
            redis.exceptions.RedisError: the server refused the command, or the connection was lost.
        """
        if not self._replies:
            return await super().read_response(disable_decoding, timeout, **options)
        try:
            async with asyncio.timeout(None if timeout == math.inf else timeout):
                reply = await self._replies.popleft()
        except TimeoutError:
            raise RedisTimeoutError(f"There was no reply within {timeout} s.") from None
        if isinstance(reply, ReadOnlyError):
            self.pool.retire_shared()  # it leads to a server that is no primary any more
        if isinstance(reply, Exception):
            raise reply
        if disable_decoding or not self.encoder.decode_responses:
            return reply
        return _decoded(self.encoder, reply)

    async def re_auth(self) -> None:
        """Authenticate with a new token, if there is one, over its own socket, if that is open."""
        if self.is_connected and not self._replies:
            self._is_own = True
            await super().re_auth()  # type: ignore[no-untyped-call]  # redis-py's

    async def disconnect(self, *args: Any, **options: Any) -> None:
        """Close its own socket; outstanding replies are discarded."""
        self._forget()
        await super().disconnect(*args, **options)

    def check_in(self) -> None:
        """Reset its state, for the next check-out."""
        self._forget()
        self._is_own = False

    def _forget(self) -> None:
        # The shared connection passes over futures that are done.
        while self._replies:
            self._replies.popleft().cancel()


@cache
def multiplexed(connection_class: Any) -> Any:
    """Make the class of connections like these that share where they can."""
    if issubclass(connection_class, MultiplexedConnection):
        return connection_class
    name = f"Multiplexed{connection_class.__name__}"
    return type(name, (MultiplexedConnection, connection_class), {"__module__": __name__})


def _decoded(encoder: Any, reply: Any) -> Any:
    """Decode a reply, as a client with `decode_responses` wants it."""
    if isinstance(reply, bytes):
        return encoder.decode(reply)
    if isinstance(reply, list):
        return [_decoded(encoder, each) for each in reply]
    if isinstance(reply, dict):
        return {_decoded(encoder, key): _decoded(encoder, each) for key, each in reply.items()}
    if isinstance(reply, set):
        return {_decoded(encoder, each) for each in reply}
    return reply
