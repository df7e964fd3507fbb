"""What is done with many items or the whole dict, in slices, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from redisdict.connections.requests import Call, Operation
from redisdict.mapping.globs import Glob
from redisdict.mapping.item_operations import ItemOperations
from redisdict.mapping.layout import BATCH, Pair, Record
from redisdict.mapping.scanning import PageSize, Scan
from redisdict.mapping.timeouts import DEFAULT, Timeout, to_milliseconds

__all__ = ["BulkOperations"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

#: Bytes of keys and values in one round trip of `set_many()`.
BATCH_BYTES = 4 * 1024 * 1024


class BulkOperations(ItemOperations[K, V]):
    """The operations on many items of a dict, and on all."""

    def get_many(self, keys: Iterable[K]) -> Operation[dict[K, V]]:
        found = {}
        decode = self._decode
        iterator = iter(keys)
        some = list(islice(iterator, BATCH))
        while some:
            values = yield from self.layout.get_many([self._encode_key(key) for key in some])
            for key, stored in zip(some, values, strict=True):
                if stored is not None:
                    found[key] = decode(stored)
            some = yield from _next_batch(iterator, some)
        return found

    def set_many(self, items: Mapping[K, V], timeout: Timeout = DEFAULT) -> Operation[None]:
        timeout_ms = to_milliseconds(timeout, self._default_ms)
        batches = self._encoded(items)
        first = next(batches, [])
        if len(first) < len(items):
            # More than one round trip: see that the last item can be stored before the first is.
            for _ in batches:
                pass
            batches = self._encoded(items)
        else:
            batches = iter([first])
        for pairs in batches:
            if timeout_ms == 0:
                yield from self.layout.delete([field for field, _ in pairs])
            else:
                yield from self.layout.set_many(pairs, timeout_ms)

    def _encoded(self, items: Mapping[K, V]) -> Iterator[list[Pair]]:
        """The items as bytes, as many at a time as one round trip should carry."""
        batch = []
        size = 0
        for key, value in items.items():
            pair = (self._encode_key(key), self._encode(value))
            batch.append(pair)
            size += len(pair[0]) + len(pair[1])
            if len(batch) == BATCH or size >= BATCH_BYTES:
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
            count += yield from self.layout.delete([self._encode_key(key) for key in some])
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
            return cursor, fields, fields

        return Scan(page, self._decode_key)

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
            return cursor, matching, matching

        return Scan(page, self._decode_key)

    def scan_values(self) -> Scan[V]:
        decode = self._decode
        return self._scan_pairs(lambda pair: decode(pair[1]))

    def scan_items(self) -> Scan[tuple[K, V]]:
        decode_key, decode = self._decode_key, self._decode
        return self._scan_pairs(lambda pair: (decode_key(pair[0]), decode(pair[1])))

    def scan_records(self) -> Scan[Record]:
        """All that is stored, as it is stored."""
        size = PageSize()

        def page(cursor: bytes) -> Operation[Any]:
            cursor, records = yield from self.layout.scan_records(cursor, size.count)
            size.learn(records)
            return cursor, [record[0] for record in records], records

        return Scan(page, lambda record: record)

    def _scan_pairs(self, decode: Any) -> Scan[Any]:
        size = PageSize()

        def page(cursor: bytes) -> Operation[Any]:
            cursor, pairs = yield from self.layout.scan_pairs(cursor, None, size.count)
            size.learn(pairs)
            return cursor, [field for field, _ in pairs], pairs

        return Scan(page, decode)


def _next_batch(iterator: Iterator[T], batch: list[T]) -> Operation[list[T]]:
    """What follows a batch of a user's iterator, which may ask this server in turn."""
    if len(batch) < BATCH:
        return []
    following: list[T] = yield Call(list, (islice(iterator, BATCH),))
    return following
