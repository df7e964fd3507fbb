"""Batches for several servers, asked by one thread at once: all are sent before a reply is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import ReadOnlyError

from redisdict.connections.failures import (
    LOST,
    is_worth_a_retry,
    may_be_half_done,
    unavailable,
    was_refused,
)
from redisdict.connections.sync_driver import read_replies, send_request
from redisdict.exceptions import BackendUnavailable
from redisdict.wire.requests import Batch, Operation

if TYPE_CHECKING:
    from redisdict.connections.backend import Backend

__all__ = ["exchange"]


def exchange(parts: Sequence[tuple[Backend, Batch]]) -> list[Any]:
    """The replies of each server to its batch, or the `BackendUnavailable` of one in its place.

    No thread is needed for it: the servers work side by side while the first one is listened to.
    A batch whose connection is lost is sent once more, alone, if it may be.
    """
    conversations = [_Conversation(backend, batch) for backend, batch in parts]
    try:
        for each in conversations:
            each.begin()
        return [each.end() for each in conversations]
    finally:
        for each in conversations:
            each.hang_up()


class _Conversation:
    """One batch, sent to one server."""

    def __init__(self, backend: Backend, batch: Batch) -> None:
        self._backend = backend
        self._batch = batch
        self._pool: Any = None
        self._connection: Any = None
        self._is_sent = False
        self._failure: Exception | None = None

    def begin(self) -> None:
        try:
            self._pool = self._backend.pool()
            self._connection = self._pool.get_connection()
            send_request(self._backend, self._connection, self._batch)
            self._is_sent = True
        except LOST as error:
            self._failure = error

    def end(self) -> Any:
        if self._failure is None:
            try:
                replies = read_replies(self._connection, self._batch)
            except (ReadOnlyError, *LOST) as error:
                self._failure = error
            else:
                self._pool.release(self._connection)
                self._connection = None
                return replies
        return self._once_more(self._failure)

    def hang_up(self) -> None:
        """Let go of a connection on which a reply may be outstanding."""
        if self._connection is not None:
            self._connection.disconnect()
            self._pool.release(self._connection)
            self._connection = None

    def _once_more(self, failure: Exception) -> Any:
        was_sent = self._is_sent or (self._connection is not None and may_be_half_done(self._batch))
        was_sent = was_sent and not was_refused(self._batch, failure)
        self.hang_up()
        try:
            if not is_worth_a_retry(self._batch, failure, was_sent=was_sent):
                raise unavailable(
                    self._backend, self._batch, failure, was_sent=was_sent
                ) from failure
            return self._backend.driver.run(_ask(self._batch))
        except BackendUnavailable as error:
            return error


def _ask(batch: Batch) -> Operation[Any]:
    return (yield batch)
