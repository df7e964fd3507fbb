"""What is done with many items or the whole dict, in slices, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress, islice, tee
from typing import Any, TypeVar

from redisdict.mapping.globs import Glob
from redisdict.mapping.item_operations import ItemOperations
from redisdict.mapping.layouts.base import BATCH, Record
from redisdict.mapping.naming import naming
from redisdict.mapping.scanning import PageSize, Scan
from redisdict.mapping.timeouts import DEFAULT, Timeout, to_milliseconds
from redisdict.wire.requests import Call, Operation

__all__ = ["BulkOperations"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

#: Bytes of keys and values in one round trip of `set_many()`.
BATCH_BYTES = 4 * 1024 * 1024

#: Items that `set_many()` encodes before it looks how many bytes they have become.
ENCODED_AT_ONCE = 250


class BulkOperations(ItemOperations[K, V]):
    """The operations on many items of a dict, and on all."""

    def get_many(self, keys: Iterable[K]) -> Operation[dict[K, V]]:
        found: dict[K, V] = {}
        decode_many = self.codec.decode_many
        iterator = iter(keys)
        some = list(islice(iterator, BATCH))
        while some:
            pieces: Any = yield from self.layout.get_many(self.keys.arguments(some))
            following = iter(some)
            for values in pieces:
                there = list(islice(following, len(values)))
                if not all(values):  # a missing one is None; what is stored is never empty
                    is_there = [value is not None for value in values]
                    there = list(compress(there, is_there))
                    values = list(compress(values, is_there))
                with naming(there, values, self._decode):
                    found.update(zip(there, decode_many(values), strict=True))
            some = yield from _next_batch(iterator, some)
        return found

    def set_many(self, items: Mapping[K, V], timeout: Timeout = DEFAULT) -> Operation[None]:
        timeout_ms = to_milliseconds(timeout, self._default_ms)
        batches = self._encoded(items)
        first = next(batches, [])
        if len(first) < 2 * len(items):
            # More than one round trip: see that the last item can be stored before the first is.
            for _ in batches:
                pass
            batches = self._encoded(items)
        else:
            batches = iter([first])
        for batch in batches:
            if timeout_ms == 0:
                yield from self.layout.delete(batch[::2])
            else:
                yield from self.layout.set_many(batch, timeout_ms)

    def _encoded(self, items: Mapping[K, V]) -> Iterator[list[bytes]]:
        """Fields and values, in turn, as many at a time as one round trip should carry."""
        all_keys, all_values = _columns(items)
        batch: list[bytes] = []
        size = 0
        while keys := list(islice(all_keys, ENCODED_AT_ONCE)):
            values = list(islice(all_values, ENCODED_AT_ONCE))
            fields = self.keys.encode_many(keys)
            with naming(keys, values, self._encode):
                stored = self.codec.encode_many(values)
            start = len(batch)
            batch += fields + stored
            batch[start::2], batch[start + 1 :: 2] = fields, stored
            size += sum(map(len, fields)) + sum(map(len, stored))
            if len(batch) > 2 * (BATCH - ENCODED_AT_ONCE) or size >= BATCH_BYTES:
                yield batch
                batch = []
                size = 0
        if batch:
            yield batch

    def delete_many(self, keys: Iterable[K]) -> Operation[int]:
        count = 0
        iterator = iter(keys)
        some = list(islice(iterator, BATCH))
        while some:
            count += yield from self.layout.delete(self.keys.encode_many(some))
            some = yield from _next_batch(iterator, some)
        return count

    def length(self) -> Operation[int]:
        return (yield from self.layout.length())

    def is_empty(self) -> Operation[bool]:
        if self.layout.is_hash:
            return not (yield from self.layout.length())
        cursor = b"0"
        while True:
            cursor, fields = yield from self.layout.scan_fields(cursor)
            if fields:
                return False
            if cursor == b"0":
                return True

    def clear(self) -> Operation[None]:
        yield from self.layout.clear()

    def expire(self, timeout: Timeout) -> Operation[bool]:
        timeout_ms = to_milliseconds(timeout, self._default_ms)
        if timeout_ms == 0:
            is_there = not (yield from self.is_empty())
            yield from self.layout.clear()
            return is_there
        return bool((yield from self.layout.expire(timeout_ms)))

    def memory_usage(self) -> Operation[int]:
        return (yield from self.layout.memory_usage())

    def scan_keys(self) -> Scan[K]:
        def page(cursor: bytes) -> Operation[Any]:
            cursor, fields = yield from self.layout.scan_fields(cursor)
            return cursor, fields, (fields,)

        return Scan(page, self.keys.decode_many)

    def scan_keys_matching(self, pattern: str) -> Scan[K]:
        text = self.keys.text
        if text is None:
            raise TypeError(
                f"The keys of this dict are {self.keys.kind}, not text, so no pattern matches"
                " them; go through the keys and choose."
            )
        glob = Glob(pattern)

        def page(cursor: bytes) -> Operation[Any]:
            cursor, fields = yield from self.layout.scan_fields(cursor, glob.superset)
            matching = [field for field in fields if glob.matches(text(field))]
            return cursor, matching, (matching,)

        return Scan(page, self.keys.decode_many)

    def scan_values(self) -> Scan[V]:
        prefix = self.layout.prefix

        def decode(names: Sequence[bytes], values: Sequence[bytes]) -> list[V]:
            fields = (name.removeprefix(prefix) for name in names)
            with naming(map(self._decode_key, fields), values, self._decode):
                return self.codec.decode_many(values)

        return self._scan_pairs(decode)

    def scan_items(self) -> Scan[tuple[K, V]]:
        decode_names, decode_many = self.keys.decode_names, self.codec.decode_many
        prefix = self.layout.prefix

        def decode(names: Sequence[bytes], values: Sequence[bytes]) -> Iterable[tuple[K, V]]:
            keys = decode_names(names, prefix)
            with naming(keys, values, self._decode):
                return zip(keys, decode_many(values), strict=True)

        return self._scan_pairs(decode)

    def scan_records(self) -> Scan[Record]:
        """All that is stored, as it is stored."""
        size = PageSize()

        def page(cursor: bytes) -> Operation[Any]:
            cursor, records = yield from self.layout.scan_records(cursor, size.count)
            fields = [record[0] for record in records]
            size.learn(fields, [record[1] for record in records])
            return cursor, fields, (records,)

        return Scan(page, list)

    def _scan_pairs(self, decode: Any) -> Scan[Any]:
        size = PageSize()

        def page(cursor: bytes) -> Operation[Any]:
            cursor, names, values = yield from self.layout.scan_pairs(cursor, None, size.count)
            size.learn(names, values)
            return cursor, names, (names, values)

        return Scan(page, decode)


def _columns(items: Mapping[K, V]) -> tuple[Iterator[K], Iterator[V]]:
    """The keys and the values, which are to be taken in step: a `dict` needs no pairs for that."""
    if type(items) is dict:
        return iter(items), iter(items.values())
    pairs, same_pairs = tee(items.items())
    return (key for key, _ in pairs), (value for _, value in same_pairs)


def _next_batch(iterator: Iterator[T], batch: list[T]) -> Operation[list[T]]:
    """What follows a batch of a user's iterator, which may ask this server in turn."""
    if len(batch) < BATCH:
        return []
    following: list[T] = yield Call(list, (islice(iterator, BATCH),))
    return following
