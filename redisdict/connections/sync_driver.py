"""Do the input and output of operations in the calling thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError

from redisdict.connections import retry
from redisdict.connections.drivers import Driver
from redisdict.connections.retry import FAILED, LOST, Failure, check_retry, retries
from redisdict.exceptions import BackendUnavailable
from redisdict.pools.fast_connection import FAST_PATH_UNAVAILABLE, no_fast_path
from redisdict.wire import conversation
from redisdict.wire.conversation import SENT, Conversation, Sent, converse, is_plain
from redisdict.wire.packing import pack, pack_command, reply_count, unwrap
from redisdict.wire.requests import (
    Batch,
    Call,
    Command,
    Identified,
    Once,
    Operation,
    Reply,
    Sleep,
    Step,
    Witnessed,
)
from redisdict.wire.server_state import known_of, named_at_once

T = TypeVar("T")

#: Commands that the connection packs, for what it knows of its server belongs to them.
BY_CONNECTION = (Identified, Witnessed)

#: Commands that a pool or a connection with a fast path carries out in one call.
AT_ONCE = frozenset({tuple, Once, Identified})


class Server(retry.Server, conversation.Server, Protocol):
    """The part of a backend that the driver needs."""

    #: `execute()` of the pool, or what says that there is none.
    execute: Callable[[bytes | Command], Reply]

    def pool(self) -> redis.ConnectionPool: ...

    def revive(self) -> None: ...


class PoolDriver(Driver):
    """Runs an operation to its end over connections of the backend's pool for threads."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def run(self, operation: Operation[T]) -> T:
        """Run an operation and give its result, as `Driver.run()` says.

        A single command takes the pool's fast path, where there is one. For anything else one
        connection is held to the end, but not while the operation sleeps or calls the user's
        function. It never goes back to the pool with a reply outstanding.
        """
        channel = _Channel(self._server)
        send = operation.send
        try:
            request = send(None)
            while True:
                if type(request) is Sleep or type(request) is Call:
                    if channel.connection is not None:
                        channel.close()
                    try:
                        answer = _outside(request)
                    except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
                        # The operation may have something to undo before it passes this on.
                        request = operation.throw(error)
                    else:
                        request = send(answer)
                    continue
                answer = channel.ask(request)
                if type(answer) is Failure:
                    answer = channel.retry(request, answer)
                if isinstance(answer, ResponseError):
                    request = operation.throw(answer)
                else:
                    request = send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            if channel.connection is not None:
                channel.close()

    def do(self, step: Step[T]) -> T:
        command = step.command
        if command is None:
            return self.run(step.begin())
        try:
            packed = command if type(command) in BY_CONNECTION else pack_command(command)
            reply = self._server.execute(packed)
        except ResponseError:
            return self.run(step.begin())
        except LOST as error:
            check_retry(self._server, command, Failure.of(command, error, is_sent=True))
            return self.run(step.begin())
        if reply is FAST_PATH_UNAVAILABLE:
            return self.run(step.begin())
        result: T = reply
        return result


class PendingBatch:
    """One batch, sent to one server; its replies are read later.

    So one thread can ask several servers at once, which work side by side while it listens.
    """

    def __init__(self, server: Server, batch: Batch) -> None:
        self._batch = batch
        self._channel = _Channel(server)
        self._answer: Reply = self._channel.begin(batch)

    def finish(self) -> Reply:
        """Read the replies; of a server that didn't answer, `BackendUnavailable` in their place.

        A batch whose connection is lost is sent once more, alone, if it may be.
        """
        if self._answer is SENT:
            self._answer = self._channel.end()
        if type(self._answer) is Failure:
            try:
                self._answer = self._channel.retry(self._batch, self._answer)
            except BackendUnavailable as error:
                self._answer = error
        self._channel.close()
        return self._answer

    def cancel(self) -> None:
        """Let go of the connection, on which a reply may be outstanding."""
        if self._answer is SENT:
            self._channel.drop()
        self._channel.close()


class _Channel:
    """A connection of the pool, for as long as it is held."""

    __slots__ = ("_conversation", "_execute", "_pool", "_request", "_server", "connection")

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pool: redis.ConnectionPool | None = None
        self.connection: Any = None

    def ask(self, request: Command | Batch) -> Reply:
        """Send a request; give the reply, an error reply as an object, or a `Failure`."""
        is_sent = False
        try:
            if type(request) in AT_ONCE:
                execute = self._server.execute if self.connection is None else self._execute
                command: Any = request
                is_sent = True  # unless NotSentError says otherwise
                reply = execute(command if type(command) is Identified else pack_command(command))
                if reply is not FAST_PATH_UNAVAILABLE:
                    return reply
                is_sent = False
            connection = self.connection or self._check_out()
            if is_plain(request):
                connection.send_packed_command((pack(request),))
            else:
                known = known_of(connection)
                name, ready = known.name, named_at_once(request, known)
                if ready is None:
                    answer = self.begin(request)
                    return self.end() if answer is SENT else answer
                connection.send_packed_command((pack(ready),))
                if known.name is not name:
                    raise RedisConnectionError("The connection was lost, and connected again.")
            is_sent = True
            if type(request) is not Batch:
                return connection.read_response(True, disconnect_on_error=True)
            answer = unwrap(request, _read(connection, reply_count(request)))
        except FAILED as error:
            return self._fail(request, error, is_sent)
        except ResponseError as error:
            return error
        except BaseException:
            self.drop()
            raise
        return self._fail(request, answer, True) if type(answer) is ReadOnlyError else answer

    def begin(self, request: Command | Batch) -> Reply:
        """Do the first half of `ask()`: return `SENT`, or the outcome if there is one already."""
        try:
            connection = self.connection or self._check_out()
        except FAILED as error:
            return self._fail(request, error, False)
        self._request = request
        self._conversation = converse(self._server, known_of(connection), request)
        return self._go_on(is_sent=False)

    def end(self) -> Reply:
        """Do the second half of `ask()`, after `SENT`."""
        return self._go_on(is_sent=True)

    def retry(self, request: Command | Batch, failure: Failure) -> Reply:
        """Send a request again, as often as the rules allow it, for what `ask()` gives.

        Raises:
            BackendUnavailable: there was no answer.
        """
        pauses = retries(self._server, request, failure)
        pause_s = next(pauses)
        while True:
            # What broke this connection has probably broken the idle ones too.
            if self._pool is not None:
                self._pool.disconnect(inuse_connections=False)
            if pause_s:
                time.sleep(pause_s)
            try:
                self._server.revive()
            except LOST as error:
                answer: Reply = Failure.of(request, error, is_sent=False)
            else:
                answer = self.ask(request)
            if type(answer) is not Failure:
                return answer
            pause_s = pauses.send(answer)

    def close(self) -> None:
        """Give the connection back, if one is held."""
        connection, self.connection = self.connection, None
        if connection is not None and self._pool is not None:
            self._pool.release(connection)

    def drop(self) -> None:
        """Give the connection back closed, because a reply may be outstanding on it."""
        if self.connection is not None:
            self.connection.disconnect()
        self.close()

    def _check_out(self) -> Any:
        self._pool = self._server.pool()
        self.connection = connection = self._pool.get_connection()
        self._execute = getattr(connection, "execute", no_fast_path)
        return connection

    def _fail(self, request: Command | Batch, error: Exception, is_sent: bool) -> Failure:
        is_begun = self.connection is not None
        self.drop()
        if is_sent and self._pool is None:  # by the pool's fast path
            self._pool = self._server.pool()
        return Failure.of(request, error, is_sent=is_sent, is_begun=is_begun)

    def _go_on(self, *, is_sent: bool) -> Reply:
        try:
            answer = _talk(self.connection, self._conversation)
        except FAILED as error:
            return self._fail(self._request, error, is_sent)
        except ResponseError as error:  # to tell its incarnation, or to make the batch safe
            return error
        except BaseException:
            self.drop()
            raise
        if type(answer) is ReadOnlyError:
            return self._fail(self._request, answer, is_sent)
        return answer


def _talk(connection: Any, conversation: Conversation[Reply]) -> Reply:
    """Hold a conversation over a connection until its end, or until `SENT`."""
    answer: Reply = None
    try:
        while True:
            action = conversation.send(answer)
            answer = None
            if isinstance(action, bytes):
                connection.send_packed_command((action,))
            elif isinstance(action, int):
                answer = _read(connection, action)
            elif isinstance(action, Sent):
                return action
            else:
                time.sleep(action.seconds)
    except StopIteration as stop:
        return stop.value


def _read(connection: Any, count: int) -> list[Reply]:
    replies: list[Reply] = []
    for _ in range(count):
        try:
            replies.append(connection.read_response(True, disconnect_on_error=True))
        except ResponseError as error:
            replies.append(error)
    return replies


def _outside(request: Sleep | Call) -> Reply:
    if type(request) is Call:
        return request.function(*request.arguments)
    assert type(request) is Sleep  # there is no third
    time.sleep(request.seconds)
    return None
