"""Do the input and output of operations in the running event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from typing import Any, Protocol, TypeVar

import redis.asyncio
from redis.exceptions import ReadOnlyError, ResponseError

from redisdict.connections import retry
from redisdict.connections.drivers import AsyncDriver
from redisdict.connections.retry import FAILED, LOST, Failure, check_retry, retries
from redisdict.pools.multiplexed import OptimizedAsyncConnectionPool
from redisdict.pools.shared_connection import SharedConnection
from redisdict.wire import conversation
from redisdict.wire.conversation import Conversation, Sent, converse, is_plain
from redisdict.wire.packing import pack, pack_command, reply_count, unwrap
from redisdict.wire.requests import (
    Batch,
    Call,
    Command,
    Identified,
    Operation,
    Reply,
    Sleep,
    Step,
    Witnessed,
)
from redisdict.wire.server_state import Known, known_of, named_at_once

T = TypeVar("T")


class Server(retry.Server, conversation.Server, Protocol):
    """The part of a backend that the driver needs."""

    def async_pool(self) -> redis.asyncio.ConnectionPool: ...

    def shared_connection(self) -> SharedConnection | None: ...

    async def arevive(self) -> None: ...


class AsyncPoolDriver(AsyncDriver):
    """Runs an operation to its end over the running loop's pool of the backend.

    With `OptimizedAsyncConnectionPool` the commands go over the connection that all tasks share.
    With another pool a connection is checked out for each command; it never goes back with a
    reply outstanding, nor after a cancelled task.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    async def run(self, operation: Operation[T]) -> T:
        send = operation.send
        try:
            request = send(None)
            while True:
                if type(request) is Sleep or type(request) is Call:
                    try:
                        answer = await _outside(request)
                    except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
                        # The operation may have something to undo before it passes this on.
                        request = operation.throw(error)
                    else:
                        request = send(answer)
                    continue
                shared = None
                ready = request
                if type(request) is not Batch:
                    shared = self._server.shared_connection()
                    if shared is not None and type(request) is not tuple and not is_plain(request):
                        ready = named_at_once(request, shared.incarnation)
                        if ready is None:
                            shared = None
                try:
                    if shared is not None:  # the fast path of a single command
                        answer = await shared.submit(pack(ready))
                        if isinstance(answer, FAILED):
                            answer = Failure.of(request, answer, is_sent=True)
                    else:
                        answer = await self._ask(request)
                    if type(answer) is Failure:
                        answer = await self._retry(request, answer)
                except asyncio.CancelledError as error:
                    # The server may have done it; what the operation has to undo, it can undo.
                    request = operation.throw(error)
                    continue
                if isinstance(answer, ResponseError):
                    request = operation.throw(answer)
                else:
                    request = send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def send(self, step: Step[T]) -> Awaitable[T | Exception]:
        """Do the first half of `do()`, over the shared connection if there is one."""
        command = step.command
        if command is not None and type(command) is not Witnessed:
            shared = self._server.shared_connection()
            if shared is not None:
                if type(command) is not Identified:
                    return shared.submit(pack_command(command))
                name = shared.incarnation.name
                if name is not None:
                    identified = command + (name,)  # noqa: RUF005  # half the time
                    return shared.submit(pack_command(identified))
        return self.run(step.begin())

    async def recover(self, step: Step[T], error: Exception) -> T:
        if isinstance(error, ReadOnlyError):
            self._retire_shared()
        elif not isinstance(error, ResponseError):
            command = step.command or ()
            check_retry(self._server, command, Failure.of(command, error, is_sent=True))
        return await self.run(step.begin())

    async def _ask(self, request: Command | Batch) -> Reply:
        """Send a request; give the reply, an error reply as an object, or a `Failure`."""
        pool = self._server.async_pool()
        needs_own_connection = type(request) is Batch and request.wait is not None
        channel: _Channel | _SharedChannel
        try:
            if isinstance(pool, OptimizedAsyncConnectionPool) and not needs_own_connection:
                channel = _SharedChannel(await pool.ready_shared())
            else:
                channel = _Channel(await pool.get_connection())
        except LOST as error:
            return Failure.of(request, error, is_sent=False)
        is_clean = False
        try:
            if is_plain(request):
                await channel.write(pack(request))
                channel.is_sent = True
                answer = unwrap(request, await channel.read(reply_count(request)))
            else:
                answer = await _talk(channel, converse(self._server, channel.known, request))
            is_clean = type(answer) is not ReadOnlyError
            return answer if is_clean else Failure.of(request, answer, is_sent=True)
        except LOST as error:
            is_begun = type(channel) is _Channel
            return Failure.of(request, error, is_sent=channel.is_sent, is_begun=is_begun)
        except ResponseError as refusal:  # to tell its incarnation, or to make the batch safe
            is_clean = True
            return refusal
        finally:
            if type(channel) is _Channel:
                await channel.close(pool, is_clean=is_clean)

    async def _retry(self, request: Command | Batch, failure: Failure) -> Reply:
        """Send a request again, as often as the rules allow it, for what `_ask()` gives.

        Raises:
            BackendUnavailable: there was no answer.
        """
        pauses = retries(self._server, request, failure)
        pause_s = next(pauses)
        answer: Reply = failure
        while True:
            if isinstance(answer.error, ReadOnlyError):
                self._retire_shared()
            if pause_s:
                await asyncio.sleep(pause_s)
            try:
                await self._server.arevive()
            except LOST as error:
                answer = Failure.of(request, error, is_sent=False)
            else:
                answer = await self._ask(request)
            if type(answer) is not Failure:
                return answer
            pause_s = pauses.send(answer)

    def _retire_shared(self) -> None:
        """Let the next command open a new connection: this one doesn't lead to a primary."""
        pool = self._server.async_pool()
        if isinstance(pool, OptimizedAsyncConnectionPool):
            pool.retire_shared()


class _Channel:
    """A connection that one request has for itself."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        #: Whether all of the request itself has left.
        self.is_sent = False

    @property
    def known(self) -> Known:
        return known_of(self._connection)

    async def write(self, packed: bytes) -> None:
        await self._connection.send_packed_command((packed,))

    async def read(self, count: int) -> list[Reply]:
        replies: list[Reply] = []
        for _ in range(count):
            try:
                replies.append(await self._connection.read_response(disable_decoding=True))
            except ResponseError as error:
                replies.append(error)
        return replies

    async def close(self, pool: redis.asyncio.ConnectionPool, *, is_clean: bool) -> None:
        """Give the connection back, closed where a reply may be outstanding on it."""
        if not is_clean:
            await self._connection.disconnect(nowait=True)
        await pool.release(self._connection)


class _SharedChannel:
    """The connection that all tasks share: commands are sent when their replies are awaited."""

    def __init__(self, shared: SharedConnection) -> None:
        self._shared = shared
        self._unsent = b""
        self.known = shared.incarnation
        self.is_sent = False

    async def write(self, packed: bytes) -> None:
        self._unsent = packed

    async def read(self, count: int) -> list[Reply]:
        answer = await self._shared.submit(self._unsent, count)
        if isinstance(answer, LOST):
            raise answer
        return [answer] if count == 1 else answer


async def _talk(channel: _Channel | _SharedChannel, conversation: Conversation[Reply]) -> Reply:
    """Hold a conversation over a connection until its end."""
    answer: Reply = None
    try:
        while True:
            action = conversation.send(answer)
            answer = None
            if isinstance(action, bytes):
                await channel.write(action)
            elif isinstance(action, int):
                answer = await channel.read(action)
            elif isinstance(action, Sent):
                channel.is_sent = True
            else:
                await asyncio.sleep(action.seconds)
    except StopIteration as stop:
        return stop.value


async def _outside(request: Sleep | Call) -> Reply:
    if type(request) is Call:
        function = request.in_task or request.function
        result = function(*request.arguments)
        return await result if inspect.isawaitable(result) else result
    assert type(request) is Sleep  # there is no third
    await asyncio.sleep(request.seconds)
    return None
