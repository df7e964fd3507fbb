"""Define the requests that an operation may yield to its driver.

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
from typing import Any, Generic, TypeAlias, TypeVar, final

from redis.exceptions import ResponseError

T = TypeVar("T")

Argument: TypeAlias = bytes | str | int
Command: TypeAlias = tuple[Argument, ...]

#: What a server answers, or a user's function gives: RESP has a dozen types, and nests them.
Reply: TypeAlias = Any


class Once(tuple[Argument, ...]):
    """A command whose repetition would change something, or would get another reply.

    After a lost connection it is sent again only if it can't have reached the server.
    """

    __slots__ = ()


class Identified(tuple[Argument, ...]):
    """A command to which the driver appends the name of its server's incarnation.

    That is the server of the connection over which the command is sent, also when it is sent again
    over another one; see `server_state`. The name is asked for once over each connection (INFO, one
    round trip).
    """

    __slots__ = ()


class IdentifiedAnew(Identified):
    """The same, but the name is asked for even if it is known, because it may have changed."""

    __slots__ = ()


class Witnessed(tuple[Argument, ...]):
    """A command to whose reply, a list, the name of its server's incarnation is appended.

    So the caller can compare the reply with the name, instead of a script on the server. Only for a
    `Step`, and for threads: without a fast path, its operation is run.
    """

    __slots__ = ()


class GuaranteeRefused(ResponseError):
    """Raised before a batch is sent: its server can't make it as safe as it has to be.

    Attributes:
        is_for_now: whether that may be over in a moment, as when a replica connects again.
        is_partial: whether another part of the batch was sent anyway, to another server.
    """

    is_partial = False

    def __init__(self, text: str, *, is_for_now: bool = False) -> None:
        super().__init__(text)
        self.is_for_now = is_for_now


@dataclass(frozen=True, slots=True)
class Wait:
    """The wait for the guarantee of a batch, on the connection that wrote it.

    Attributes:
        guarantee: its name. A connection that was asked for it once isn't asked again, until a
            write wasn't safe.
        before: takes the server's address and returns an operation that asks whether the server can
            give the guarantee. It is true if it can, false if the server doesn't take writes
            anyway, and raises `GuaranteeRefused` if it can't: then the batch isn't sent.
        command: the command that is sent after the batch.
        after: takes the reply to `command`, or its error, and returns an operation that waits. Its
            result is the reason why the batch isn't safe, empty if it is.

    Both operations yield single commands and `Sleep`, during which the connection is held.
    """

    guarantee: str
    before: Callable[[str], Operation[bool]]
    command: Command
    after: Callable[[Reply], Operation[str]]


class Waits(list[str]):
    """The results of the waits of several nodes, each for its part of a batch."""

    @classmethod
    def of(cls, *waited: Any) -> Waits:
        return cls(one for each in waited for one in (each if isinstance(each, cls) else [each]))


@final
@dataclass(frozen=True, slots=True)
class Batch:
    """Several commands in one round trip.

    `is_atomic` wraps them in MULTI and EXEC. `is_repeatable` is false if one of them must not be
    sent twice. `wait` holds the connection until the others are safe; the answer is then a pair
    with the wait's result as the second. Without commands it only asks whether the server can make
    them safe. With `is_spread` the keys may lie in many slots: in a Cluster each node gets its
    part, all of them at once, as a transaction of its own if the batch is one, and the results of
    their waits are `Waits`. `is_identified` is true if one of the commands is `Identified`.
    """

    commands: Sequence[Command]
    is_atomic: bool = False
    is_repeatable: bool = True
    wait: Wait | None = None
    is_spread: bool = False
    is_identified: bool = False


@final
@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait this long; no connection is held meanwhile."""

    seconds: float


@final
@dataclass(frozen=True, slots=True)
class Call:
    """Call the user's function; no connection is held meanwhile.

    Attributes:
        in_task: the function that the async driver calls instead, if it has its own.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    in_task: Callable[..., Any] | None = None


Request: TypeAlias = Command | Batch | Sleep | Call
Operation: TypeAlias = Generator[Request, Reply, T]


def commands_of(request: Command | Batch) -> Sequence[Command]:
    """Return the commands of a request: those of a batch, or the one that it is."""
    return request.commands if isinstance(request, Batch) else (request,)


def as_batch(request: Command | Batch) -> Batch:
    """Make a batch of a single request; the answer is then a list of its one reply."""
    if isinstance(request, Batch):
        return request
    return Batch(
        [request],
        is_repeatable=not isinstance(request, Once),
        is_identified=isinstance(request, Identified),
    )


class Step(Generic[T]):
    """Send one command whose reply is the result; run the operation if that isn't enough.

    It is the fast path for one plain command: no generator is made and nothing is interpreted. A
    driver runs the operation from its beginning if there is no command, if the server refuses it or
    if the connection is lost, unless the command may have been carried out and is `Once`.

    Attributes:
        command: None if only the operation can do it.
        operation, arguments: the function and its arguments.
    """

    __slots__ = ("arguments", "command", "operation")

    def __init__(
        self,
        command: Command | None,
        operation: Callable[..., Operation[T]],
        arguments: tuple[Any, ...] = (),
    ) -> None:
        self.command = command
        self.operation = operation
        self.arguments = arguments

    def begin(self) -> Operation[T]:
        """Make the operation, to be run from its beginning."""
        return self.operation(*self.arguments)
