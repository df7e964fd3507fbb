"""What a dict does, once for sync and async: each operation is a generator (see `requests`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

from redis.exceptions import ResponseError

from redisdict.codec import Codec
from redisdict.connections.requests import Call, Operation, Sleep
from redisdict.exceptions import NotANumberError
from redisdict.mapping.keys import KeyCodec
from redisdict.mapping.layout import FOREVER, MISSING, Layout
from redisdict.mapping.locks import LockOperations
from redisdict.mapping.scanning import Scan
from redisdict.mapping.timeouts import DEFAULT, Timeout, to_milliseconds

__all__ = ["ABSENT", "Operations"]

K = TypeVar("K")
V = TypeVar("V")

#: Stands for "no default given", where None is a value like any other.
ABSENT: Final = object()

#: Attempts of a compare-and-set before the operation begins to wait between them.
EAGER_ATTEMPTS = 3


class Operations(Generic[K, V]):
    """The operations of one dict over its layout."""

    def __init__(
        self,
        layout: Layout,
        keys: KeyCodec[K],
        codec: Codec,
        locks: LockOperations,
        timeout: float | None,
    ) -> None:
        self.layout = layout
        self.locks = locks
        self._encode_key = keys.encode
        self._decode_key = keys.decode
        self._encode = codec.encode
        self._decode: Callable[[bytes], Any] = codec.decode
        self._default_ms = to_milliseconds(timeout, None)

    def getitem(self, key: K) -> Operation[V]:
        stored = yield from self.layout.get(self._encode_key(key))
        if stored is None:
            raise KeyError(key)
        value: V = self._decode(stored)
        return value

    def get(self, key: K, default: Any) -> Operation[Any]:
        stored = yield from self.layout.get(self._encode_key(key))
        return default if stored is None else self._decode(stored)

    def contains(self, key: K) -> Operation[bool]:
        return bool((yield from self.layout.contains(self._encode_key(key))))

    def set(self, key: K, value: V, timeout: Timeout = DEFAULT) -> Operation[None]:
        field = self._encode_key(key)
        stored = self._encode(value)
        timeout_ms = to_milliseconds(timeout, self._default_ms)
        if timeout_ms == 0:
            yield from self.layout.delete([field])
        else:
            yield from self.layout.set(field, stored, timeout_ms)

    def add(self, key: K, value: V, timeout: Timeout = DEFAULT) -> Operation[bool]:
        field = self._encode_key(key)
        stored = self._encode(value)
        timeout_ms = to_milliseconds(timeout, self._default_ms)
        if timeout_ms == 0:
            return not (yield from self.layout.contains(field))
        return bool((yield from self.layout.add(field, stored, timeout_ms)))

    def delete(self, key: K) -> Operation[bool]:
        return bool((yield from self.layout.delete([self._encode_key(key)])))

    def delitem(self, key: K) -> Operation[None]:
        if not (yield from self.delete(key)):
            raise KeyError(key)

    def setdefault(self, key: K, default: V) -> Operation[V]:
        field = self._encode_key(key)
        new = self._encode(default)
        while True:
            stored = yield from self.layout.get(field)
            if stored is not None:
                value: V = self._decode(stored)
                return value
            if (yield from self.layout.add(field, new, self._default_ms)):
                return default

    def pop(self, key: K, default: Any = ABSENT) -> Operation[Any]:
        stored = yield from self.layout.pop(self._encode_key(key))
        if stored is not None:
            return self._decode(stored)
        if default is ABSENT:
            raise KeyError(key)
        return default

    def popitem(self) -> Operation[tuple[K, V]]:
        pair = yield from self.layout.popitem()
        if pair is None:
            raise KeyError("popitem(): the dict is empty")
        return self._decode_key(pair[0]), self._decode(pair[1])

    def get_many(self, keys: Iterable[K]) -> Operation[dict[K, V]]:
        wanted = list(keys)
        values = yield from self.layout.get_many([self._encode_key(key) for key in wanted])
        decode = self._decode
        return {
            key: decode(stored)
            for key, stored in zip(wanted, values, strict=True)
            if stored is not None
        }

    def set_many(self, items: Mapping[K, V], timeout: Timeout = DEFAULT) -> Operation[None]:
        pairs = [(self._encode_key(key), self._encode(value)) for key, value in items.items()]
        timeout_ms = to_milliseconds(timeout, self._default_ms)
        if timeout_ms == 0:
            yield from self.layout.delete([field for field, _ in pairs])
        elif pairs:
            yield from self.layout.set_many(pairs, timeout_ms)

    def delete_many(self, keys: Iterable[K]) -> Operation[int]:
        return (yield from self.layout.delete([self._encode_key(key) for key in keys]))

    def touch(self, key: K, timeout: Timeout = DEFAULT) -> Operation[bool]:
        field = self._encode_key(key)
        timeout_ms = to_milliseconds(timeout, self._default_ms)
        if timeout_ms == 0:
            return bool((yield from self.layout.delete([field])))
        return bool((yield from self.layout.touch(field, timeout_ms)))

    def ttl(self, key: K) -> Operation[float | None]:
        left_ms = yield from self.layout.ttl(self._encode_key(key))
        if left_ms == MISSING:
            raise KeyError(key)
        return None if left_ms == FOREVER else left_ms / 1000

    def expire(self, timeout: Timeout) -> Operation[bool]:
        timeout_ms = to_milliseconds(timeout, self._default_ms)
        if timeout_ms == 0:
            is_there = not (yield from self.is_empty())
            yield from self.layout.clear()
            return is_there
        return bool((yield from self.layout.expire(timeout_ms)))

    def incr(self, key: K, delta: float) -> Operation[Any]:
        if isinstance(delta, bool) or not isinstance(delta, int | float):
            raise TypeError(f"delta is {type(delta).__name__}; an int or a float is expected.")
        try:
            reply = yield from self.layout.incr(self._encode_key(key), delta)
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

    def get_or_set(
        self, key: K, default: Any, timeout: Timeout, lock_timeout: float
    ) -> Operation[Any]:
        field = self._encode_key(key)
        stored = yield from self.layout.get(field)
        if stored is not None:
            return self._decode(stored)
        if not callable(default):
            return (yield from self._keep(key, field, default, timeout))
        token = self.locks.new_token()
        attempt = 0
        while not (yield from self.locks.try_acquire(field, token, lock_timeout)):
            yield Sleep(self.locks.pause_s(attempt))
            attempt += 1
            stored = yield from self.layout.get(field)
            if stored is not None:
                return self._decode(stored)
        try:
            stored = yield from self.layout.get(field)
            if stored is None:
                result = yield from self._keep(key, field, (yield Call(default)), timeout)
            else:
                result = self._decode(stored)
        except GeneratorExit:
            raise  # the connection is lost; the lock goes with its time limit
        except BaseException:
            yield from self.locks.release(field, token)
            raise
        yield from self.locks.release(field, token)
        return result

    def _keep(self, key: K, field: bytes, value: Any, timeout: Timeout) -> Operation[Any]:
        """Store the value unless another is there by now; the one that is there."""
        if (yield from self.add(key, value, timeout)):
            return value
        stored = yield from self.layout.get(field)
        return value if stored is None else self._decode(stored)

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

    def length(self) -> Operation[int]:
        return (yield from self.layout.length())

    def is_empty(self) -> Operation[bool]:
        if self.layout.is_hash:
            return not (yield from self.layout.length())
        cursor = b"0"
        while True:
            cursor, fields = yield from self.layout.scan_fields(cursor, None)
            if fields:
                return False
            if cursor == b"0":
                return True

    def clear(self) -> Operation[None]:
        yield from self.layout.clear()

    def memory_usage(self) -> Operation[int]:
        return (yield from self.layout.memory_usage())

    def scan_keys(self) -> Scan[K]:
        decode_key = self._decode_key

        def page(cursor: bytes) -> Operation[tuple[bytes, list[bytes], list[bytes]]]:
            cursor, fields = yield from self.layout.scan_fields(cursor, None)
            return cursor, fields, fields

        return Scan(page, decode_key)

    def scan_values(self) -> Scan[V]:
        decode = self._decode
        return Scan(self._page_of_pairs, lambda pair: decode(pair[1]))

    def scan_items(self) -> Scan[tuple[K, V]]:
        decode_key, decode = self._decode_key, self._decode
        return Scan(self._page_of_pairs, lambda pair: (decode_key(pair[0]), decode(pair[1])))

    def _page_of_pairs(self, cursor: bytes) -> Operation[Any]:
        cursor, pairs = yield from self.layout.scan_pairs(cursor, None)
        return cursor, [field for field, _ in pairs], pairs


def _is_beyond_the_server(error: ResponseError) -> bool:
    """Whether the server can't count with what is stored, though Python may be able to.

    The stored number may be a float in the serializer's form, or go beyond 64 bits.
    """
    text = str(error)
    return any(
        part in text for part in ("not an integer", "not a float", "not a valid float", "overflow")
    )


def _add(key: object, number: Any, delta: float) -> Any:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise NotANumberError(
            f"The value of {key!r} is {type(number).__name__}, not a number;"
            " incr() and decr() need an int or a float."
        )
    return number + delta
