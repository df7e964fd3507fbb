"""What an operation may ask of its driver.

An operation is a generator that does no input or output itself. It yields requests and is sent
the answers, so the same operation runs under the blocking and the async driver, and under a test
that has no server at all:

- a tuple is one command; the answer is the server's reply, bytes as they came;
- `Once` is a command that must not be sent twice;
- `Identified` is a command that names the incarnation of the server that it is sent to;
- `Batch` is several commands in one round trip; the answer is the list of replies, in which the
  error of one command stands in its place;
- `Sleep` waits without holding a connection;
- `Call` calls a function of the user's (or awaits it, under the async driver).

An error reply to a single command is thrown into the generator as `redis.exceptions.ResponseError`.
What the generator returns is the operation's result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

__all__ = [
    "Argument",
    "Batch",
    "Call",
    "Command",
    "Identified",
    "IdentifiedAnew",
    "Once",
    "Operation",
    "Request",
    "Sleep",
    "Wait",
    "Waits",
]

T = TypeVar("T")

Argument: TypeAlias = bytes | str | int
Command: TypeAlias = tuple[Argument, ...]


class Once(tuple[Argument, ...]):
    """A command whose repetition would change something, or would get another answer.

    After a lost connection it is sent again only if it can't have reached the server.
    """

    __slots__ = ()


class Identified(tuple[Argument, ...]):
    """A command to whose end the driver puts the name of its server's incarnation.

    That is the server at the end of the very connection that the command leaves by, also when it
    is sent again over another one; see `incarnations`. The name is asked for once over each
    connection (INFO, one round trip).
    """

    __slots__ = ()


class IdentifiedAnew(Identified):
    """The same; the name is asked for also when it is known, for it may have changed."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """How a batch is waited for, on the connection that wrote it.

    `command` is sent behind the batch. Where what to wait for depends on its reply, `then` makes
    the command that waits of it; the answer is then the pair of both replies.
    """

    command: Command
    then: Callable[[Any], Command] | None = None


class Waits(list[Any]):
    """What the waits of several nodes gave, each for its part of a batch."""

    @classmethod
    def of(cls, *waited: Any) -> Waits:
        return cls(one for each in waited for one in (each if isinstance(each, cls) else [each]))


@dataclass(frozen=True, slots=True)
class Batch:
    """Several commands in one round trip.

    `is_atomic` wraps them in MULTI and EXEC. `is_repeatable` is false when one of them is such
    that it must not be sent twice. `wait` holds the connection up until the others are safe; the
    answer is then a pair, of which what the wait gave is the second. With `is_spread` the keys may
    lie in many slots: of a Cluster each node gets its part, all of them at once, as a transaction
    of its own if the batch is one, and what their waits gave are `Waits`. `is_identified` is true
    when one of the commands is `Identified`.
    """

    commands: Sequence[Command]
    is_atomic: bool = False
    is_repeatable: bool = True
    wait: Wait | None = None
    is_spread: bool = False
    is_identified: bool = False


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait this long; no connection is held meanwhile."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """Call the user's function; no connection is held meanwhile."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


Request: TypeAlias = Command | Batch | Sleep | Call
Operation: TypeAlias = Generator[Request, Any, T]
