"""Connections for a plain `redis.asyncio.Redis` that ask over the connection that all tasks share.

redis-py's client checks a connection out for every command, sends over it and reads from it. Those
here have a socket of their own only from the first command that needs one: most commands are given
to the shared connection, and their replies are taken from there.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from functools import cache, lru_cache
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

__all__ = ["OWN_COMMANDS", "SharingConnection", "sharing"]

#: Commands that need a connection of their own: they block (on KeyDB also KEYS, and SCAN with a
#: COUNT of 100 or more, and what follows is left lying there), they change what the connection is
#: to the commands that follow, or they are answered by more or less than one reply.
OWN_COMMANDS: Final = frozenset(
    """
    BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN KEYS SCAN XREAD XREADGROUP
    DISCARD EXEC MULTI UNWATCH WATCH
    MONITOR PSUBSCRIBE PSYNC PUNSUBSCRIBE SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE SYNC UNSUBSCRIBE
    ASKING AUTH CLIENT HELLO HIMPORT QUIT READONLY READWRITE REPLCONF RESET SELECT
    DEBUG FAILOVER SHUTDOWN
    """.split()  # noqa: SIM905 - one group a line: what blocks, transactions, pushes, state, the end
)

#: Commands about the writes that were sent over the same connection before.
ABOUT_OWN_WRITES: Final = frozenset({"WAIT", "WAITAOF"})


class SharingConnection(AbstractConnection):
    """What makes an asynchronous connection class of redis-py one of those here."""

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
            redis.exceptions.RedisError: it is WAIT or WAITAOF, which tell of the writes of their
                own connection, and the writes weren't sent over that.
        """
        if not self._is_own:
            word = _first_word(args[0])
            if word in ABOUT_OWN_WRITES:
                raise RedisError(
                    f"{word} tells of the writes of its own connection, and the commands of this"
                    " pool share one. Send it in a pipeline together with the writes, or use"
                    " another pool, such as AsyncBlockingConnectionPool."
                )
            if word not in OWN_COMMANDS:
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
        """The reply to the command sent first; an error reply is raised, as a lost connection is.

        Raises:
            redis.exceptions.TimeoutError: it didn't come within `timeout` seconds, or within the
                pool's `socket_timeout`.
            redis.exceptions.RedisError: what the server refused, or the loss of the connection.
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

    async def disconnect(self, *args: Any, **options: Any) -> None:
        """Close its own socket; replies that are still to come are thrown away."""
        self._forget()
        await super().disconnect(*args, **options)

    def check_in(self) -> None:
        """Begin anew, for whoever checks it out next."""
        self._forget()
        self._is_own = False

    def _forget(self) -> None:
        # The shared connection passes over futures that are done.
        while self._replies:
            self._replies.popleft().cancel()


@cache
def sharing(connection_class: Any) -> Any:
    """The class of connections like these that share where they can."""
    if issubclass(connection_class, SharingConnection):
        return connection_class
    name = f"Sharing{connection_class.__name__}"
    return type(name, (SharingConnection, connection_class), {"__module__": __name__})


@lru_cache(maxsize=1024)
def _first_word(command: str | bytes) -> str:
    """The name of a command, which may come with that of a subcommand."""
    text = command.decode("latin-1") if isinstance(command, bytes) else command
    return text.partition(" ")[0].upper()


def _decoded(encoder: Any, reply: Any) -> Any:
    """The reply with text in place of bytes, as a client with `decode_responses` wants it."""
    if isinstance(reply, bytes):
        return encoder.decode(reply)
    if isinstance(reply, list):
        return [_decoded(encoder, each) for each in reply]
    if isinstance(reply, dict):
        return {_decoded(encoder, key): _decoded(encoder, each) for key, each in reply.items()}
    if isinstance(reply, set):
        return {_decoded(encoder, each) for each in reply}
    return reply
