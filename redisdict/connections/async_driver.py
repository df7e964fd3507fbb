"""Runs operations in the running event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError

from redisdict.connections.failures import (
    LOST,
    is_worth_a_retry,
    may_be_half_done,
    unavailable,
    was_refused,
)
from redisdict.connections.retry import Attempts
from redisdict.pools.fast_connection import NotSentError
from redisdict.pools.multiplexed import OptimizedAsyncConnectionPool
from redisdict.pools.shared_connection import SharedConnection
from redisdict.wire.packing import pack, reply_count, unwrap
from redisdict.wire.requests import (
    Batch,
    Call,
    Identified,
    Operation,
    Sleep,
    Step,
    Wait,
)
from redisdict.wire.server_state import QUESTIONS, is_asked_anew, is_identified, known_of, named

if TYPE_CHECKING:
    from redisdict.connections.backend import Backend

__all__ = ["AsyncDriver"]

T = TypeVar("T")


class AsyncDriver:
    """Runs an operation to its end over the running loop's pool of the backend.

    With `OptimizedAsyncConnectionPool` the commands go over the connection that all tasks share.
    With another pool a connection is checked out for each command; it never goes back with a
    reply outstanding, nor after a cancelled task.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def run(self, operation: Operation[T]) -> T:
        """The result of `operation`.

        Raises:
            BackendUnavailable: the server can't be reached, hung up or didn't answer in time.
            redis.exceptions.ResponseError: the server refused, and the operation let it pass.
        """
        send = operation.send
        try:
            request: Any = send(None)
            while True:
                kind = type(request)
                if kind is Sleep or kind is Call:
                    try:
                        answer = await _outside(request)
                    except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
                        # The operation may have something to undo before it passes this on.
                        request = operation.throw(error)
                    else:
                        request = send(answer)
                    continue
                pool: Any = self._backend.async_pool()
                is_plain = kind is tuple or not (kind is Batch or is_identified(request))
                is_sharing = is_plain and isinstance(pool, OptimizedAsyncConnectionPool)
                shared = pool.shared if is_sharing else None
                try:
                    if shared is not None:  # the short way of a single command
                        reply = await shared.submit(pack_command(request))
                        if isinstance(reply, Exception):
                            is_sent = not isinstance(reply, NotSentError)
                            reply = await self._settle(pool, request, reply, is_sent)
                    else:
                        attempt = await self._attempt(pool, request)
                        reply = await self._settle(pool, request, *attempt)
                except asyncio.CancelledError as error:
                    # The server may have done it; what the operation has to undo, it can undo.
                    request = operation.throw(error)
                    continue
                if isinstance(reply, ResponseError):
                    request = operation.throw(reply)
                else:
                    request = send(reply)
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def do(self, step: Step[T]) -> T:
        """Send a step's command and give the reply as it came, or run its operation.

        Raises: as `run()`.
        """
        reply = await self.send(step)
        if isinstance(reply, Exception):
            return await self.recover(step, reply)
        return reply

    def send(self, step: Step[T]) -> Awaitable[T | Exception]:
        """Do the first half of `do()`, for callers that await the reply themselves.

        The command goes over the shared connection; without one the operation is run.

        Returns:
            What can be awaited for the reply, or for an error that `recover()` is to be given.
        """
        pool: Any = self._backend.async_pool()
        command = step.command
        if command is not None and isinstance(pool, OptimizedAsyncConnectionPool):
            shared = pool.shared
            if shared is not None:
                if type(command) is not Identified:
                    return shared.submit(pack_command(command))  # type: ignore[arg-type]  # its stub has tuples of one
                name = shared.incarnation.name
                if name is not None:
                    identified = command + (name,)  # noqa: RUF005  # half the time
                    return shared.submit(pack_command(identified))  # type: ignore[arg-type]  # as above
        return self.run(step.begin())

    async def recover(self, step: Step[T], error: Exception) -> T:
        """Do the second half of `do()`, after `send()` has come to an error.

        Raises: as `run()`.
        """
        command = step.command or ()
        is_refusal = isinstance(error, ResponseError) or was_refused(command, error)
        was_sent = not is_refusal and not isinstance(error, NotSentError)
        pool: Any = self._backend.async_pool()
        if isinstance(error, ReadOnlyError):
            pool.retire_shared()
        elif not is_worth_a_retry(command, error, was_sent=was_sent):
            raise unavailable(self._backend, command, error, was_sent=was_sent) from error
        return await self.run(step.begin())

    async def _settle(self, pool: Any, request: Any, reply: Any, is_sent: bool) -> Any:
        """What came of the first attempt, or of further ones where those are right."""
        attempts: Attempts | None = None
        while isinstance(reply, (*LOST, ReadOnlyError)):
            attempts = attempts or Attempts(self._backend, request)
            if isinstance(reply, ReadOnlyError) and isinstance(pool, OptimizedAsyncConnectionPool):
                pool.retire_shared()
            was_sent = is_sent or may_be_half_done(request)
            pause_s = attempts.pause_after(
                reply, was_sent=was_sent and not was_refused(request, reply)
            )
            if pause_s:
                await asyncio.sleep(pause_s)
            await self._backend.abefore_retry()
            reply, is_sent = await self._attempt(pool, request)
        return reply

    async def _attempt(self, pool: Any, request: Any) -> tuple[Any, bool]:
        """The reply, or the error of the connection as an object; and whether anything was sent."""
        holds_up = type(request) is Batch and request.wait is not None
        if isinstance(pool, OptimizedAsyncConnectionPool) and not holds_up:
            return await self._attempt_shared(pool, request)
        try:
            connection = await pool.get_connection()
        except LOST as error:
            return error, False
        is_sent = is_clean = False
        try:
            await self._send(connection, request)
            is_sent = True
            reply = await _read(connection, request)
            is_clean = not isinstance(reply, ReadOnlyError)
            return reply, True
        except LOST as error:
            return error, is_sent
        except ResponseError as refusal:  # to tell its incarnation, or to make the batch safe
            return refusal, is_sent
        finally:
            if not is_clean:
                await connection.disconnect(nowait=True)
            await pool.release(connection)

    async def _send(self, connection: Any, request: Any) -> None:
        """As `sync_driver.send_request()`."""
        if type(request) is Batch and request.wait is not None:
            await self._make_sure(connection, request.wait)
            if not request.commands:
                return
        if type(request) is tuple or not is_identified(request):
            await connection.send_packed_command((pack(request),))
            return
        known = known_of(connection)
        if known.name is None or is_asked_anew(request):
            await connection.send_packed_command((pack(QUESTIONS),))
            known.name = self._backend.incarnations.name_of(await _read(connection, QUESTIONS))
        name = known.name
        await connection.send_packed_command((pack(named(request, name)),))
        if known.name is not name:
            raise RedisConnectionError("The connection was lost, and connected anew.")

    async def _make_sure(self, connection: Any, wait: Wait) -> None:
        """Ask the server once whether it can make writes safe."""
        known = known_of(connection)
        if known.is_assured_of(wait.guarantee):
            return
        if await _run_on(connection, wait.before(self._backend.address)):
            assurance = self._backend.capabilities.assurance_of(wait.guarantee)
            known.assurances[wait.guarantee] = assurance

    async def _named_for(self, shared: SharedConnection, request: Any) -> Any:
        """The request with the name of the incarnation that the shared connection leads to."""
        known = shared.incarnation
        if known.name is None or is_asked_anew(request):
            replies = await shared.submit(pack(QUESTIONS), len(QUESTIONS.commands))
            if isinstance(replies, Exception):
                raise replies
            known.name = self._backend.incarnations.name_of(replies)
        return named(request, known.name)

    async def _attempt_shared(
        self, pool: OptimizedAsyncConnectionPool, request: Any
    ) -> tuple[Any, bool]:
        count = reply_count(request) if type(request) is Batch else 1
        try:
            shared = await pool.ready_shared()
            if is_identified(request):
                request = await self._named_for(shared, request)
            reply = await shared.submit(pack(request), count)
        except LOST as error:  # no shared connection could be opened
            return error, False
        except ResponseError as refusal:  # to tell its incarnation
            return refusal, False
        if isinstance(reply, LOST):
            return reply, not isinstance(reply, NotSentError)
        if type(request) is Batch:
            return unwrap(request, [reply] if count == 1 else reply), True
        return reply, True


async def _outside(request: Sleep | Call) -> Any:
    if type(request) is Call:
        result = request.function(*request.arguments)
        return await result if inspect.isawaitable(result) else result
    assert type(request) is Sleep  # there is no third
    await asyncio.sleep(request.seconds)
    return None


async def _read(connection: Any, request: Any) -> Any:
    """The reply to a command, an error reply as an object, or the replies to a batch."""
    if type(request) is not Batch:
        return await _read_one(connection)
    wait = request.wait
    if wait is not None and not request.commands:
        return [], ""
    replies = [await _read_one(connection) for _ in range(reply_count(request))]
    if wait is not None:
        replies[-1] = await _run_on(connection, wait.after(replies[-1]))
        if replies[-1]:
            known_of(connection).doubt(wait.guarantee)
    return unwrap(request, replies)


async def _read_one(connection: Any) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


async def _run_on(connection: Any, operation: Operation[T]) -> T:
    """The result of an operation of single commands, over a connection that is held throughout."""
    step: Callable[[Any], Any] = operation.send
    answer: Any = None
    try:
        while True:
            request = step(answer)
            step = operation.send
            if type(request) is Sleep:
                answer = await _outside(request)
                continue
            await connection.send_packed_command((pack(request),))
            answer = await _read_one(connection)
            if isinstance(answer, ResponseError):
                step = operation.throw
    except StopIteration as stop:
        result: T = stop.value
        return result
