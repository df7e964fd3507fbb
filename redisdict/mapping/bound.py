"""Hold what the methods of a dict work with: its layout, its codecs, its drivers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, Final, Generic, TypeVar

from redisdict.codec import Codec
from redisdict.connections.drivers import AsyncDriver, Driver
from redisdict.exceptions import DeserializationError, SerializationError
from redisdict.mapping.keys import KeyCodec
from redisdict.mapping.layouts.base import Layout, Timeout, to_milliseconds
from redisdict.mapping.locks import InFlight, LockOperations
from redisdict.wire.requests import Operation

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

#: Stands for "no default given", where None is a value like any other.
ABSENT: Final = object()


@dataclass(slots=True)
class Bound(Generic[K]):
    """The objects that a dict looks up at its first use.

    Args:
        layout: where the items are.
        key_codec: how keys are written.
        codec: how values are written.
        default_ms: milliseconds an item lives when nothing else is said; None for ever.
        locks: the dict's locks and leases.
        in_flight: what this process is computing for it.
        driver, async_driver: have operations and steps done, in threads and in tasks.
    """

    layout: Layout
    key_codec: KeyCodec[K]
    codec: Codec
    default_ms: int | None
    locks: LockOperations
    in_flight: InFlight
    driver: Driver
    async_driver: AsyncDriver
    encode_plain_key: Callable[[K], bytes] = dataclass_field(init=False)

    def __post_init__(self) -> None:
        self.encode_plain_key = self.key_codec.encode_plain

    def field_of(self, key: K) -> bytes:
        try:
            return self.encode_plain_key(key)
        except (TypeError, UnicodeEncodeError):
            return self.key_codec.encode(key)

    def milliseconds(self, timeout: Timeout) -> int | None:
        return to_milliseconds(timeout, self.default_ms)


class Topic(Generic[K, V]):
    """Some of a dict's methods, with all that one takes side by side.

    Each method has three parts: the operation, a generator that does no input or output (see
    `wire.requests`); the method for threads, which runs it; and the twin for tasks, under the same
    name with an `a` before it. Where one plain command is mostly enough, a `Step` replaces the
    operation, and the twin awaits the reply itself: a driver's `send()` returns the shared
    connection's future, whose result is an object for an error, too. One coroutine more would cost
    as much as the whole method.
    """

    _bound: Bound[K]

    def _run(self, operation: Operation[T]) -> T:
        return self._bound.driver.run(operation)

    def _arun(self, operation: Operation[T]) -> Coroutine[Any, Any, T]:
        return self._bound.async_driver.run(operation)


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
