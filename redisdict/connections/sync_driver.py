"""Runs operations in the calling thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import ReadOnlyError, ResponseError

from redisdict.connections.failures import LOST, is_worth_a_retry, unavailable, was_refused
from redisdict.connections.packing import pack, reply_count, unwrap
from redisdict.connections.requests import Batch, Call, Command, Operation, Request, Sleep

if TYPE_CHECKING:
    from redisdict.connections.backend import Backend

__all__ = ["SyncDriver"]

T = TypeVar("T")


class SyncDriver:
    """Runs an operation to its end over connections of the backend's pool for threads.

    One connection is held from the first command to the end, but not while the operation sleeps
    or calls the user's function. It never goes back to the pool with a reply outstanding.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def run(self, operation: Operation[T]) -> T:
        """The result of `operation`.

        Raises:
            BackendUnavailable: the server can't be reached, hung up or didn't answer in time.
            redis.exceptions.ResponseError: the server refused, and the operation let it pass.
        """
        pool: Any = None
        connection: Any = None
        send = operation.send
        try:
            request = send(None)
            while True:
                if type(request) is Sleep or type(request) is Call:
                    if connection is not None:
                        pool.release(connection)
                        connection = None
                    try:
                        answer = _outside(request)
                    except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
                        # The operation may have something to undo before it passes this on.
                        request = operation.throw(error)
                    else:
                        request = send(answer)
                    continue
                if connection is None:
                    pool = self._backend.pool()
                    connection = self._connect(pool, request)
                is_sent = False
                try:
                    connection.send_packed_command((pack(request),))
                    is_sent = True
                    reply = _read(connection, request)
                except ReadOnlyError as error:
                    # The primary has become a replica; the command was not carried out.
                    connection.disconnect()
                    reply = self._again(pool, connection, request, error, was_sent=False)
                except ResponseError as error:
                    request = operation.throw(error)
                    continue
                except LOST as error:
                    connection.disconnect()
                    reply = self._again(
                        pool,
                        connection,
                        request,
                        error,
                        was_sent=is_sent and not was_refused(error),
                    )
                except BaseException:
                    connection.disconnect()
                    raise
                if isinstance(reply, ResponseError):
                    request = operation.throw(reply)
                else:
                    request = send(reply)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            if connection is not None:
                pool.release(connection)

    def ask(
        self,
        command: Command | None,
        operation: Callable[..., Operation[T]],
        *arguments: Any,
    ) -> T:
        """The short way to what `operation(*arguments)` gives, where one command does it.

        Sends the command and returns the reply as it came. Where there is no such command, the
        server refuses it or the connection is lost, the operation is run from its beginning, unless
        the command may have been carried out and must not be repeated.

        Raises: as `run()`.
        """
        if command is None:
            return self.run(operation(*arguments))
        try:
            pool: Any = self._backend.pool()
            connection = pool.get_connection()
        except LOST:
            return self.run(operation(*arguments))
        is_clean = is_sent = False
        try:
            connection.send_packed_command((pack(command),), False)
            is_sent = True
            reply: T = connection.read_response(True, disconnect_on_error=True)
            is_clean = True
            return reply
        except ResponseError as error:
            is_clean = not isinstance(error, ReadOnlyError)
        except LOST as error:
            was_sent = is_sent and not was_refused(error)
            if not is_worth_a_retry(command, error, was_sent=was_sent):
                raise unavailable(self._backend, command, error, was_sent=was_sent) from error
        finally:
            if not is_clean:
                connection.disconnect()
            pool.release(connection)
        return self.run(operation(*arguments))

    def _connect(self, pool: Any, request: Request) -> Any:
        try:
            return pool.get_connection()
        except LOST as error:
            if not is_worth_a_retry(request, error, was_sent=False):
                raise unavailable(self._backend, request, error, was_sent=False) from error
        try:
            self._backend.before_retry()
            return pool.get_connection()
        except LOST as error:
            raise unavailable(self._backend, request, error, was_sent=False) from error

    def _again(
        self, pool: Any, connection: Any, request: Any, error: Exception, *, was_sent: bool
    ) -> Any:
        """Send the request once more, over the same connection object, connected anew."""
        if not is_worth_a_retry(request, error, was_sent=was_sent):
            raise unavailable(self._backend, request, error, was_sent=was_sent) from error
        is_sent = False
        try:
            # What broke this connection has probably broken the idle ones too.
            pool.disconnect(inuse_connections=False)
            self._backend.before_retry()
            connection.connect()
            connection.send_packed_command((pack(request),))
            is_sent = True
            return _read(connection, request)
        except ResponseError as refusal:
            return refusal
        except LOST as second:
            connection.disconnect()
            raise unavailable(self._backend, request, second, was_sent=is_sent) from second
        except BaseException:
            connection.disconnect()
            raise


def _outside(request: Sleep | Call) -> Any:
    if type(request) is Call:
        return request.function(*request.arguments)
    assert type(request) is Sleep  # there is no third
    time.sleep(request.seconds)
    return None


def _read(connection: Any, request: Any) -> Any:
    """The reply to a command, raised when it is an error, or the replies to a batch."""
    if type(request) is not Batch:
        return connection.read_response(True, disconnect_on_error=True)
    replies = []
    for _ in range(reply_count(request)):
        try:
            replies.append(connection.read_response(True, disconnect_on_error=True))
        except ResponseError as error:
            replies.append(error)
    return unwrap(request, replies)
