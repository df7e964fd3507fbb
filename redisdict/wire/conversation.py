"""Run the exchange over one connection for one request, without input or output.

Most requests are one write and the replies to it (`is_plain`), and drivers do that themselves. The
others are a conversation: the driver may have to ask first which incarnation its server is, or
whether it can make writes safe, and to wait afterwards until they are.
"""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum
from typing import Final, Protocol, TypeAlias, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from redisdict.wire.combinators import intercept
from redisdict.wire.packing import pack, reply_count, unwrap
from redisdict.wire.requests import Batch, Call, Command, Reply, Request, Sleep, Wait
from redisdict.wire.server_state import (
    QUESTIONS,
    Capabilities,
    Incarnations,
    Known,
    is_asked_anew,
    is_identified,
    named,
)

T = TypeVar("T")


class Sent(Enum):
    """Signals that the request itself was sent, and that its replies are read next."""

    SENT = "sent"


SENT: Final = Sent.SENT

#: Yields bytes to be written, a number of replies to be read, `Sleep`, and `SENT` once; is sent the
#: list of the replies, in which errors stand in their places. Returns the reply to the request.
Conversation: TypeAlias = Generator[bytes | int | Sleep | Sent, Reply, T]


class Server(Protocol):
    """The known properties of the server, or group of servers, at the other end."""

    capabilities: Capabilities
    incarnations: Incarnations

    @property
    def address(self) -> str: ...


def is_plain(request: Command | Batch) -> bool:
    """Whether a request is one write and its replies."""
    if type(request) is Batch and request.wait is not None:
        return False
    return not is_identified(request)


def converse(server: Server, known: Known, request: Command | Batch) -> Conversation[Reply]:
    """Send a request that isn't plain, and return the reply: an error of one command as an object.

    Args:
        known: the known state of the server at the other end of this connection.

    Raises:
        redis.exceptions.ConnectionError: redis-py connected again, so the name of the incarnation
            was that of the earlier server.
        redis.exceptions.ResponseError: the server refuses to give its name for now, or can't make
            the batch safe; the request wasn't sent.
    """
    wait = request.wait if isinstance(request, Batch) else None
    if wait is not None:
        yield from _be_assured(server, known, wait)
        if isinstance(request, Batch) and not request.commands:
            return [], ""
    if is_identified(request):
        if known.name is None or is_asked_anew(request):
            yield pack(QUESTIONS)
            known.name = server.incarnations.name_of((yield len(QUESTIONS.commands)))
        name = known.name
        yield pack(named(request, name))
        if known.name is not name:
            raise RedisConnectionError("The connection was lost, and connected again.")
    else:
        yield pack(request)
    yield SENT
    replies = yield reply_count(request)
    if wait is not None:
        replies[-1] = yield from intercept(wait.after(replies[-1]), _say)
        if replies[-1]:
            known.doubt(wait.guarantee)
    return unwrap(request, replies)


def _be_assured(server: Server, known: Known, wait: Wait) -> Conversation[None]:
    """Ask the server once whether it can make writes safe."""
    if known.is_assured_of(wait.guarantee):
        return
    if (yield from intercept(wait.before(server.address), _say)):
        assurance = server.capabilities.assurance_of(wait.guarantee)
        known.assurances[wait.guarantee] = assurance


def _say(request: Request) -> Conversation[Reply]:
    """Ask one command of an operation that holds the connection, or have it sleep."""
    if isinstance(request, Sleep):
        yield request
        return None
    assert not isinstance(request, Call)  # such operations have none
    yield pack(request)
    [reply] = yield 1
    if isinstance(reply, ResponseError):
        raise reply
    return reply
