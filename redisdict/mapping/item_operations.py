"""What is done with one item, once for sync and async: each is a generator (see `requests`)."""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

from redisdict.codec import Codec
from redisdict.exceptions import DeserializationError
from redisdict.mapping.keys import KeyCodec
from redisdict.mapping.layouts.base import FOREVER, MISSING, Layout
from redisdict.mapping.locks import LockOperations
from redisdict.mapping.timeouts import DEFAULT, Timeout, to_milliseconds
from redisdict.wire.requests import Operation, Step

__all__ = ["ABSENT", "ItemOperations"]

K = TypeVar("K")
V = TypeVar("V")

#: Stands for "no default given", where None is a value like any other.
ABSENT: Final = object()


class ItemOperations(Generic[K, V]):
    """The operations on one item of a dict, over its layout.

    Args:
        layout: where the items are.
        keys: how keys are written.
        codec: how values are written.
        locks: the dict's locks and leases.
        timeout: seconds an item lives when nothing else is said; None for ever.
    """

    def __init__(
        self,
        layout: Layout,
        keys: KeyCodec[K],
        codec: Codec,
        locks: LockOperations,
        timeout: float | None,
    ) -> None:
        self.layout = layout
        self.keys = keys
        self.codec = codec
        self.locks = locks
        self._encode_key = keys.encode
        self._encode_plain_key = keys.encode_plain
        self._decode_key = keys.decode
        self._encode = codec.encode
        self._decode = codec.decode
        self._default_ms = to_milliseconds(timeout, None)

    # What one plain command does

    def get(self, key: K) -> Step[bytes | None]:
        field = self._encode_field(key)
        layout = self.layout
        return Step(layout.get_command(field), layout.get, field)

    def contains(self, key: K) -> Step[int]:
        field = self._encode_field(key)
        layout = self.layout
        return Step(layout.contains_command(field), layout.contains, field)

    def set(self, key: K, value: V, timeout: Timeout = DEFAULT) -> Step[Any]:
        field = self._encode_field(key)
        stored = self._encode(value)
        layout = self.layout
        timeout_ms = (
            self._default_ms if timeout is DEFAULT else to_milliseconds(timeout, self._default_ms)
        )
        if timeout_ms is None:
            return Step(layout.set_command(field, stored), layout.set, field, stored, None)
        if timeout_ms == 0:
            return Step(layout.delete_command(field), layout.delete, [field])
        return Step(None, layout.set, field, stored, timeout_ms)

    def delete(self, key: K) -> Step[int]:
        field = self._encode_field(key)
        layout = self.layout
        return Step(layout.delete_command(field), layout.delete, [field])

    def _encode_field(self, key: K) -> bytes:
        try:
            return self._encode_plain_key(key)
        except (TypeError, UnicodeEncodeError):
            return self._encode_key(key)

    # Operations

    def add(self, key: K, value: V, timeout: Timeout = DEFAULT) -> Operation[bool]:
        field = self._encode_key(key)
        stored = self._encode(value)
        timeout_ms = to_milliseconds(timeout, self._default_ms)
        if timeout_ms == 0:
            return not (yield from self.layout.contains(field))
        return bool((yield from self.layout.add(field, stored, timeout_ms)))

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
        field = self._encode_key(key)
        stored = yield from self.layout.pop(field)
        if stored is not None:
            return (yield from self._read_or_put_back(field, stored))[1]
        if default is ABSENT:
            raise KeyError(key)
        return default

    def popitem(self) -> Operation[tuple[K, V]]:
        pair = yield from self.layout.popitem()
        if pair is None:
            raise KeyError("popitem(): the dict is empty")
        return (yield from self._read_or_put_back(*pair))

    def _read_or_put_back(self, field: bytes, stored: bytes) -> Operation[tuple[K, V]]:
        """An item that was taken out; one that can't be read is stored again as it was.

        It then lives as long as the dict's timeout says. One that somebody else has stored
        meanwhile stays.
        """
        try:
            return self._decode_key(field), self._decode(stored)
        except DeserializationError:
            yield from self.layout.add(field, stored, self._default_ms)
            raise

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
