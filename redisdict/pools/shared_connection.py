"""Multiplex the commands of many tasks over one server connection.

Commands issued in one turn of the event loop are sent in one write; the server answers in order, so
replies are matched by counting. Nothing here is a task: bytes arrive in a protocol's callback,
which resolves futures, so nothing is left to cancel when a loop ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import hiredis
from redis.connection import DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redisdict.forks import abandon
from redisdict.pools.fast_connection import NotSentError
from redisdict.wire.server_state import Known

#: So many commands may wait for their replies before further ones wait to be sent.
MAX_IN_FLIGHT = 16_384

#: So many bytes may wait to be written before further commands wait to be sent.
MAX_UNSENT_BYTES = 4 * 1024 * 1024

_NOT_ENOUGH_DATA = object()


class _Replies:
    """Collects the replies to a batch; errors of single commands are kept in their place."""

    __slots__ = ("future", "left", "replies")

    def __init__(self, future: asyncio.Future[Any], count: int) -> None:
        self.future = future
        self.left = count
        self.replies: list[Any] = []

    def add(self, reply: Any) -> None:
        self.replies.append(reply)
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result(self.replies)


class SharedConnection(asyncio.Protocol):
    """A connection used by many tasks of one loop at once.

    Args:
        address: the server's name in errors.
        timeout_s: seconds that a command may wait for its reply; None waits for ever. When one
            has waited so long, the connection is closed, and all that wait on it fail.

    A future returned here always gets a result, which may be an exception object: if the exception
    were *set*, and the task cancelled meanwhile, asyncio would report it as never retrieved.
    """

    def __init__(self, address: str, timeout_s: float | None) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_NOT_ENOUGH_DATA,
        )
        self._waiters: deque[asyncio.Future[Any] | _Replies] = deque()
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._previous_turn = 0
        # Replies there have been, and there will have been when all that was sent is answered.
        self._replied = self._awaited = 0
        #: For each write, `_awaited` and the time then.
        self._turns: deque[tuple[int, float]] = deque()
        self._is_paused = False
        self._rooms: deque[asyncio.Future[None]] = deque()
        self._watchdog: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._is_retired = False
        #: It is never connected twice, so what is known of its server holds until it is lost.
        self.incarnation = Known()
        #: What lives as long as it does.
        self.held: object = None
        self.is_open = False
        #: Open, not full and not retired: a command may be submitted at once.
        self.is_ready = False

    @property
    def is_full(self) -> bool:
        """Whether a further command should wait for `room()` first."""
        return (
            self._is_paused
            or len(self._waiters) >= MAX_IN_FLIGHT
            or self._unsent_bytes >= MAX_UNSENT_BYTES
        )

    async def room(self) -> None:
        """Wait until the connection takes commands again, or is lost."""
        while self.is_open and self.is_full:
            room = self._loop.create_future()
            self._rooms.append(room)
            await room

    def submit(self, packed: bytes, count: int = 1) -> asyncio.Future[Any]:
        """Send a command, or `count` commands together; the future gets its reply, or a list."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self.is_open:
            future.set_result(NotSentError(f"The connection to {self._address} is closed."))
            return future
        waiters = self._waiters
        is_first = not waiters
        if count == 1:
            waiters.append(future)
        else:
            waiters.extend([_Replies(future, count)] * count)
        if not self._unsent:
            if is_first and self._previous_turn <= 1:
                # A task alone: waiting for the end of the turn would only add a turn.
                self._write(packed)
                return future
            self._loop.call_soon(self._flush)
        self._unsent.append(packed)
        self._unsent_bytes += len(packed)
        if self._unsent_bytes >= MAX_UNSENT_BYTES or len(waiters) >= MAX_IN_FLIGHT:
            self.is_ready = False
        return future

    def refuse(self) -> None:
        """Accept no further commands. Called by any thread; `retire()` has to follow."""
        self._is_retired = True
        self.is_ready = False

    def retire(self) -> None:
        """Take no further commands; close when those under way have their replies."""
        self.refuse()
        if not self._waiters:
            self._lose(RedisConnectionError(f"The connection to {self._address} was retired."))

    def leave(self) -> None:
        """In a forked child, leave the socket to the parent process."""
        self.is_open = self.is_ready = False
        abandon(self._transport)

    async def aclose(self) -> None:
        """Close the connection; waiting tasks get an error."""
        self._lose(RedisConnectionError(f"The connection to {self._address} was closed here."))
        if self._transport is not None:
            await self._closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has no such base
        self.is_open = self.is_ready = True

    def data_received(self, data: bytes) -> None:
        waiters = self._waiters
        gets = self._reader.gets
        before = len(waiters)
        try:
            self._reader.feed(data)
            while (reply := gets(False)) is not _NOT_ENOUGH_DATA:
                if type(reply) is hiredis.PushNotification:
                    continue
                if not waiters:
                    raise InvalidResponse("a reply came without a request")
                waiter = waiters.popleft()
                if type(waiter) is _Replies:
                    waiter.add(reply)
                elif not waiter.done():  # type: ignore[union-attr]  # a Future here
                    waiter.set_result(reply)  # type: ignore[union-attr]  # a Future here
        except (InvalidResponse, RedisError) as error:
            self._lose(RedisConnectionError(f"{self._address} sent an invalid reply: {error}"))
            return
        self._replied += before - len(waiters)
        turns = self._turns
        while turns and turns[0][0] <= self._replied:
            turns.popleft()
        if self._is_retired:
            self.retire()
        elif not self.is_ready:
            self._let_in()

    def connection_lost(self, error: Exception | None) -> None:
        reason = f": {error}" if error else ""
        self._lose(RedisConnectionError(f"{self._address} closed the connection{reason}."))
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        self._is_paused = True
        self.is_ready = False

    def resume_writing(self) -> None:
        self._is_paused = False
        self._let_in()

    def _flush(self) -> None:
        if not self._unsent:
            return
        packed = self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent)
        self._previous_turn = len(self._unsent)
        self._unsent.clear()
        self._unsent_bytes = 0
        self._write(packed)
        if not self.is_ready:
            self._let_in()

    def _write(self, packed: bytes) -> None:
        self._awaited = self._replied + len(self._waiters)
        if self._timeout_s is not None:
            self._turns.append((self._awaited, self._loop.time()))
            if self._watchdog is None:
                self._watchdog = self._loop.call_later(self._timeout_s, self._watch)
        if self._transport is not None:
            self._transport.write(packed)

    def _watch(self) -> None:
        """Close the connection when the oldest command has waited too long."""
        self._watchdog = None
        if not self._turns or self._timeout_s is None:
            return
        left_s = self._turns[0][1] + self._timeout_s - self._loop.time()
        if left_s > 0:
            self._watchdog = self._loop.call_later(left_s, self._watch)
            return
        self._lose(RedisTimeoutError(f"{self._address} didn't answer within {self._timeout_s} s."))

    def _let_in(self) -> None:
        """Wake those that wait for room, if there is some, or never will be."""
        if self.is_open and self.is_full:
            return
        self.is_ready = self.is_open and not self._is_retired
        while self._rooms:
            room = self._rooms.popleft()
            if not room.done():
                room.set_result(None)

    def _lose(self, error: RedisError) -> None:
        if self.is_open:
            self.is_open = self.is_ready = False
            if self._transport is not None:
                # What waits to be written must not be carried out after its error was given.
                self._transport.abort()
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        unsent = NotSentError(*error.args)
        sent_waiting = self._awaited - self._replied
        for position, waiter in enumerate(self._waiters):
            future = waiter.future if isinstance(waiter, _Replies) else waiter
            if not future.done():
                future.set_result(error if position < sent_waiting else unsent)
        self._waiters.clear()
        self._unsent.clear()
        self._turns.clear()
        self._unsent_bytes = 0
        self._let_in()
