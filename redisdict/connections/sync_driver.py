"""Runs operations in the calling thread."""

from __future__ import annotations

import time
from collections.abc import Callable
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
from redisdict.pools.fast_connection import FAST_PATH_UNAVAILABLE, NotSentError
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

__all__ = ["SyncDriver", "read_replies", "send_request"]

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
                is_sent = False
                try:
                    if connection is None:
                        pool = self._backend.pool()
                        connection = pool.get_connection()
                    send_request(self._backend, connection, request)
                    is_sent = True
                    reply = read_replies(connection, request)
                except (ReadOnlyError, *LOST) as error:
                    if connection is not None:
                        connection.disconnect()
                        pool.release(connection)
                        connection = None
                    connection, reply = self._again(pool, request, error, is_sent)
                except ResponseError as error:
                    request = operation.throw(error)
                    continue
                except BaseException:
                    if connection is not None:
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

    def do(self, step: Step[T]) -> T:
        """Send a step's command and return the reply as it came, or run its operation.

        Raises: as `run()`.
        """
        command = step.command
        if command is None:
            return self.run(step.begin())
        try:
            packed = command if type(command) is Identified else pack_command(command)  # type: ignore[arg-type]  # its stub has tuples of one
            reply = self._backend.execute(packed)
        except ResponseError:
            return self.run(step.begin())
        except LOST as error:
            was_sent = not isinstance(error, NotSentError) and not was_refused(command, error)
            if not is_worth_a_retry(command, error, was_sent=was_sent):
                raise unavailable(self._backend, command, error, was_sent=was_sent) from error
            return self.run(step.begin())
        if reply is FAST_PATH_UNAVAILABLE:
            return self.run(step.begin())
        result: T = reply
        return result

    def _again(self, pool: Any, request: Any, error: Exception, is_sent: bool) -> tuple[Any, Any]:
        """Send the request again: the connection that has answered, still held, and the reply."""
        attempts = Attempts(self._backend, request)
        while True:
            was_sent = is_sent or may_be_half_done(request)
            pause_s = attempts.pause_after(
                error, was_sent=was_sent and not was_refused(request, error)
            )
            # What broke this connection has probably broken the idle ones too.
            pool.disconnect(inuse_connections=False)
            if pause_s:
                time.sleep(pause_s)
            connection = None
            is_sent = is_kept = False
            try:
                self._backend.before_retry()
                connection = pool.get_connection()
                send_request(self._backend, connection, request)
                is_sent = True
                reply = read_replies(connection, request)
                is_kept = True
                return connection, reply
            except (ReadOnlyError, *LOST) as failure:
                error = failure
            except ResponseError as refusal:
                is_kept = True
                return connection, refusal
            finally:
                if connection is not None and not is_kept:
                    connection.disconnect()
                    pool.release(connection)


def _outside(request: Sleep | Call) -> Any:
    if type(request) is Call:
        return request.function(*request.arguments)
    assert type(request) is Sleep  # there is no third
    time.sleep(request.seconds)
    return None


def send_request(backend: Backend, connection: Any, request: Any) -> None:
    """Send a command or a batch; the name of the incarnation in it is that of the connection.

    Raises:
        redis.exceptions.ConnectionError: the connection is lost; or it was connected anew behind
            our back, so that the name was that of the server before.
        redis.exceptions.ResponseError: the server refuses to tell its name for now, or can't make
            the batch safe; the request wasn't sent.
    """
    if type(request) is Batch and request.wait is not None:
        _make_sure(backend, connection, request.wait)
        if not request.commands:
            return
    if type(request) is tuple or not is_identified(request):
        connection.send_packed_command((pack(request),))
        return
    known = known_of(connection)
    if known.name is None or is_asked_anew(request):
        connection.send_packed_command((pack(QUESTIONS),))
        known.name = backend.incarnations.name_of(read_replies(connection, QUESTIONS))
    name = known.name
    connection.send_packed_command((pack(named(request, name)),))
    if known.name is not name:
        raise RedisConnectionError("The connection was lost, and connected anew.")


def read_replies(connection: Any, request: Any) -> Any:
    """The reply to a command, raised when it is an error, or the replies to a batch."""
    if type(request) is not Batch:
        return connection.read_response(True, disconnect_on_error=True)
    wait = request.wait
    if wait is not None and not request.commands:
        return [], ""
    replies: list[Any] = []
    for _ in range(reply_count(request)):
        try:
            replies.append(connection.read_response(True, disconnect_on_error=True))
        except ResponseError as error:
            replies.append(error)
    if wait is not None:
        replies[-1] = _run_on(connection, wait.after(replies[-1]))
        if replies[-1]:
            known_of(connection).doubt(wait.guarantee)
    unwrapped = unwrap(request, replies)
    if isinstance(unwrapped, ReadOnlyError):
        raise unwrapped
    return unwrapped


def _make_sure(backend: Backend, connection: Any, wait: Wait) -> None:
    """Ask the server once whether it can make writes safe."""
    known = known_of(connection)
    if known.is_assured_of(wait.guarantee):
        return
    if _run_on(connection, wait.before(backend.address)):
        known.assurances[wait.guarantee] = backend.capabilities.assurance_of(wait.guarantee)


def _run_on(connection: Any, operation: Operation[T]) -> T:
    """The result of an operation of single commands, over a connection that is held throughout."""
    step: Callable[[Any], Any] = operation.send
    answer: Any = None
    try:
        while True:
            request = step(answer)
            step = operation.send
            if type(request) is Sleep:
                answer = _outside(request)
                continue
            connection.send_packed_command((pack(request),))
            try:
                answer = connection.read_response(True, disconnect_on_error=True)
            except ResponseError as error:
                step, answer = operation.throw, error
    except StopIteration as stop:
        result: T = stop.value
        return result
