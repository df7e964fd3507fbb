"""What the methods of a dict work with: its layout, its codecs, and who runs its operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, Protocol, TypeVar

from redisdict.codec import Codec
from redisdict.exceptions import DeserializationError, SerializationError
from redisdict.mapping.in_flight import InFlight
from redisdict.mapping.keys import KeyCodec
from redisdict.mapping.layouts.base import Layout
from redisdict.mapping.locks import LockOperations
from redisdict.mapping.timeouts import Timeout, to_milliseconds
from redisdict.wire.requests import Operation, Step

__all__ = ["ABSENT", "BOUND", "Bound", "noting_key"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

#: Stands for "no default given", where None is a value like any other.
ABSENT: Final = object()


class Run(Protocol):
    """Runs an operation in the calling thread."""

    def __call__(self, operation: Operation[T]) -> T: ...


class Do(Protocol):
    """Does a step in the calling thread."""

    def __call__(self, step: Step[T]) -> T: ...


class Send(Protocol):
    """Begins a step in the running event loop: a reply or an error to come."""

    def __call__(self, step: Step[T]) -> Awaitable[T | Exception]: ...


class Recover(Protocol):
    """Does a step after its beginning has come to an error."""

    async def __call__(self, step: Step[T], error: Exception) -> T: ...


class AsyncRun(Protocol):
    """Runs an operation in the running event loop."""

    async def __call__(self, operation: Operation[T]) -> T: ...


class Bound(Generic[K, V]):
    """Declare what `PersistentDict` finds at its first use, for the methods of each topic.

    A topic is a subclass that has side by side what a method takes: the operation, a generator that
    does no input or output (see `wire.requests`); the method for threads, which has it run; and the
    twin for tasks, under the same name with an `a` before it. What one plain command mostly does is
    a `Step` in place of the operation, and its twin awaits the reply itself: `_send` gives the
    shared connection's future, out of which an error comes as an object, and one coroutine more
    would cost as much as all that the method does.
    """

    _layout: Layout
    _codec: Codec
    _key_codec: KeyCodec[K]
    _encode_plain_key: Callable[[K], bytes]
    _default_ms: int | None
    _locks: LockOperations
    _in_flight: InFlight
    _run: Run
    _do: Do
    _arun: AsyncRun
    _send: Send
    _recover: Recover

    def _field_of(self, key: K) -> bytes:
        try:
            return self._encode_plain_key(key)
        except (TypeError, UnicodeEncodeError):
            return self._key_codec.encode(key)

    def _milliseconds(self, timeout: Timeout) -> int | None:
        return to_milliseconds(timeout, self._default_ms)


#: The attributes above, none of which is there before the first use.
BOUND: Final = frozenset(Bound.__annotations__)


@contextmanager
def noting_key(
    keys: Iterable[object], values: Iterable[Any], convert: Callable[[Any], object]
) -> Iterator[None]:
    """Add the key to an error of the block, which converts all of these values at once.

    The values are converted one by one to find it, so only an error costs anything.
    """
    try:
        yield
    except (DeserializationError, SerializationError) as error:
        items = zip(keys, values, strict=True)
        key = next(key for key, value in items if not _is_good(convert, value))
        error.add_note(f"It is the value of {key!r:.80}.")
        raise


def _is_good(convert: Callable[[Any], object], value: object) -> bool:
    try:
        convert(value)
    except (DeserializationError, SerializationError):
        return False
    return True
