"""What makes a value of the one that is there, such that no change of another's is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from redisdict.exceptions import NotANumberError
from redisdict.mapping.item_operations import ABSENT, ItemOperations
from redisdict.wire.requests import Call, Operation, Sleep

__all__ = ["ChangeOperations"]

K = TypeVar("K")
V = TypeVar("V")

#: Attempts of a compare-and-set before the operation begins to wait between them.
EAGER_ATTEMPTS = 3


class ChangeOperations(ItemOperations[K, V]):
    """Changes of one item that begin with reading it."""

    def incr(self, key: K, delta: float) -> Operation[Any]:
        if isinstance(delta, bool) or not isinstance(delta, int | float):
            raise TypeError(f"delta is {type(delta).__name__}; an int or a float is expected.")
        if isinstance(delta, float):
            # The server would keep the sum as a text that doesn't tell 2.0 from 2.
            return (yield from self.transform(key, lambda number: _add(key, number, delta), 0))
        try:
            reply = yield from self.layout.incr(self._encode_key(key), delta, self._default_ms)
        except ResponseError as error:
            if not _is_beyond_the_server(error):
                raise
            return (yield from self.transform(key, lambda number: _add(key, number, delta), 0))
        return self._decode(reply) if isinstance(reply, bytes) else reply

    def compare_and_set(self, key: K, expected: Any, new: V) -> Operation[bool]:
        field = self._encode_key(key)
        stored_new = self._encode(new)
        while True:
            stored = yield from self.layout.get(field)
            if stored is None or self._decode(stored) != expected:
                return False
            if (yield from self.layout.compare_and_set(field, stored, stored_new)):
                return True

    def transform(
        self, key: K, function: Callable[[Any], Any], default: Any = ABSENT
    ) -> Operation[Any]:
        field = self._encode_key(key)
        attempt = 0
        while True:
            stored = yield from self.layout.get(field)
            if stored is None and default is ABSENT:
                raise KeyError(key)
            old = default if stored is None else self._decode(stored)
            new = yield Call(function, (old,))
            stored_new = self._encode(new)
            if stored is None:
                is_done = yield from self.layout.add(field, stored_new, self._default_ms)
            else:
                is_done = yield from self.layout.compare_and_set(field, stored, stored_new)
            if is_done:
                return new
            attempt += 1
            if attempt >= EAGER_ATTEMPTS:
                yield Sleep(self.locks.pause_s(attempt - EAGER_ATTEMPTS))

    def read_for_editing(self, key: K) -> Operation[tuple[V, bytes]]:
        stored = yield from self.layout.get(self._encode_key(key))
        if stored is None:
            raise KeyError(key)
        return self._decode(stored), stored

    def write_edited(self, key: K, value: V, stored: bytes) -> Operation[bool]:
        """Store an edited value; false when the stored one is no longer what was read."""
        new = self._encode(value)
        if new == stored:
            return True
        return bool((yield from self.layout.compare_and_set(self._encode_key(key), stored, new)))


def _is_beyond_the_server(error: ResponseError) -> bool:
    """Whether the server can't count with what is stored, though Python may be able to.

    The stored number may be a float in the serializer's form, or go beyond 64 bits.
    """
    text = str(error)
    return "not an integer" in text or "overflow" in text


def _add(key: object, number: Any, delta: float) -> Any:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise NotANumberError(
            f"The value of {key!r} is {type(number).__name__}, not a number;"
            " incr() and decr() need an int or a float."
        )
    return number + delta
