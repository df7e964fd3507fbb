"""Read, store or delete many items, or all, in one call: in slices, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import compress, islice, tee
from typing import Any, Generic, Self, TypeVar

from redisdict.mapping.bound import noting_key
from redisdict.mapping.iteration import IterationMethods
from redisdict.mapping.layouts.base import BATCH, DEFAULT, Timeout
from redisdict.wire.requests import Call, Operation

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

#: Bytes of keys and values in one round trip of `set_many()`.
BATCH_BYTES = 4 * 1024 * 1024

#: Items that `set_many()` encodes before it looks how many bytes they have become.
ENCODED_AT_ONCE = 250


class BulkMethods(IterationMethods[K, V], Generic[K, V]):
    """`get_many`, `set_many` and `update`, `delete_many`; `==`, `|`, `len`, `clear`, `expire`."""

    # Several items

    def _get_many_operation(self, keys: Iterable[K]) -> Operation[dict[K, V]]:
        bound = self._bound
        found: dict[K, V] = {}
        decode, decode_many = bound.codec.decode, bound.codec.decode_many
        iterator = iter(keys)
        some = list(islice(iterator, BATCH))
        while some:
            pieces: Any = yield from bound.layout.get_many(bound.key_codec.arguments(some))
            following = iter(some)
            for values in pieces:
                there = list(islice(following, len(values)))
                if not all(values):  # a missing one is None; what is stored is never empty
                    is_there = [value is not None for value in values]
                    there = list(compress(there, is_there))
                    values = list(compress(values, is_there))
                with noting_key(there, values, decode):
                    found.update(zip(there, decode_many(values), strict=True))
            some = yield from next_batch(iterator, some)
        return found

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Get the items of these keys that exist. HMGET or MGET, 1,600 keys a command."""
        return self._run(self._get_many_operation(keys))

    async def aget_many(self, keys: Iterable[K]) -> dict[K, V]:
        """As `get_many()`."""
        return await self._arun(self._get_many_operation(keys))

    def _set_many_operation(self, items: Mapping[K, V], timeout: Timeout) -> Operation[None]:
        bound = self._bound
        timeout_ms = bound.milliseconds(timeout)
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
                yield from bound.layout.delete_many(batch[::2])
            else:
                yield from bound.layout.set_many(batch, timeout_ms)

    def set_many(self, items: Mapping[K, V], timeout: Timeout = DEFAULT) -> None:
        """Store several items for `timeout` seconds, None for ever. HSET or MSET, 1,600 a command.

        If one of them can't be stored, none is. Items beyond one round trip (16,000 items or 4
        MiB) are therefore encoded twice, first as a test, so memory stays flat.
        """
        self._run(self._set_many_operation(as_dict(items), timeout))

    async def aset_many(self, items: Mapping[K, V], timeout: Timeout = DEFAULT) -> None:
        """As `set_many()`."""
        if isinstance(items, IterationMethods):
            items = await items.acopy()
        await self._arun(self._set_many_operation(items, timeout))

    def update(self, other: Any = (), /, **more: V) -> None:
        """Store all items of a mapping, of pairs or of keywords, as `set_many()` does."""
        self.set_many(as_dict(other, **more))

    async def aupdate(self, other: Any = (), /, **more: V) -> None:
        """As `update()`."""
        if isinstance(other, IterationMethods):
            other = await other.acopy()
        await self.aset_many(as_dict(other, **more))

    def _encoded(self, items: Mapping[K, V]) -> Iterator[list[bytes]]:
        """Encode fields and values, in turn, as many at a time as one round trip should carry."""
        bound = self._bound
        all_keys, all_values = _columns(items)
        batch: list[bytes] = []
        size = 0
        while keys := list(islice(all_keys, ENCODED_AT_ONCE)):
            values = list(islice(all_values, ENCODED_AT_ONCE))
            fields = bound.key_codec.encode_many(keys)
            with noting_key(keys, values, bound.codec.encode):
                stored = bound.codec.encode_many(values)
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

    def _delete_many_operation(self, keys: Iterable[K]) -> Operation[int]:
        bound = self._bound
        count = 0
        iterator = iter(keys)
        some = list(islice(iterator, BATCH))
        while some:
            count += yield from bound.layout.delete_many(bound.key_codec.encode_many(some))
            some = yield from next_batch(iterator, some)
        return count

    def delete_many(self, keys: Iterable[K]) -> int:
        """Remove several items; return how many there were. HDEL or DEL, 1,600 keys a command."""
        return self._run(self._delete_many_operation(keys))

    async def adelete_many(self, keys: Iterable[K]) -> int:
        """As `delete_many()`."""
        return await self._arun(self._delete_many_operation(keys))

    # All items

    def __eq__(self, other: object) -> bool:
        """Compare with the items of a mapping; both are read until the first difference."""
        if not isinstance(other, Mapping):
            return NotImplemented
        if isinstance(other, IterationMethods):
            other = other.copy()
        count = 0
        for key, value in self._iterate(self._scan_items()):
            if key not in other or other[key] != value:
                return False
            count += 1
        return count == len(other)

    __hash__ = None  # type: ignore[assignment]  # as every mutable mapping

    def __or__(self, other: Mapping[K, V]) -> dict[K, V]:
        """Make a plain `dict` of all items, updated with those of `other`."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**self.copy(), **as_dict(other)}

    def __ror__(self, other: Mapping[K, V]) -> dict[K, V]:
        """Make a plain `dict` of the items of `other`, updated with these."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**other, **self.copy()}

    def __ior__(self, other: Mapping[K, V] | Iterable[tuple[K, V]]) -> Self:
        """As `update()`."""
        self.update(other)
        return self

    def __len__(self) -> int:
        """Count the items. HLEN, or a SCAN of the database."""
        bound = self._bound
        return bound.driver.do(bound.layout.length())

    async def alen(self) -> int:
        """As `len(d)`."""
        bound = self._bound
        return await bound.async_driver.run(bound.layout.length().begin())

    def _is_empty_operation(self) -> Operation[bool]:
        bound = self._bound
        if bound.layout.is_hash:
            return not (yield from bound.layout.length().begin())
        cursor = b"0"
        while True:
            cursor, fields = yield from bound.layout.scan_fields(cursor)
            if fields:
                return False
            if cursor == b"0":
                return True

    def __bool__(self) -> bool:
        """Return whether there is any item. HLEN, or SCAN until one is found."""
        return not self._run(self._is_empty_operation())

    def clear(self) -> None:
        """Remove all items. UNLINK, or SCAN and UNLINK."""
        bound = self._bound
        bound.driver.run(bound.layout.clear())

    async def aclear(self) -> None:
        """As `clear()`."""
        bound = self._bound
        await bound.async_driver.run(bound.layout.clear())

    def _expire_operation(self, timeout: Timeout) -> Operation[bool]:
        bound = self._bound
        timeout_ms = bound.milliseconds(timeout)
        if timeout_ms == 0:
            is_there = not (yield from self._is_empty_operation())
            yield from bound.layout.clear()
            return is_there
        return bool((yield from bound.layout.expire(timeout_ms)))

    def expire(self, timeout: Timeout) -> bool:
        """Let the whole dict expire in `timeout` seconds, None for never; return if it has items.

        A hash expires as a whole, including items that are stored meanwhile. In the keys layout
        only the present items get the timeout, and None removes the times to live of all. A
        script, or a SCAN with scripts.
        """
        return self._run(self._expire_operation(timeout))

    async def aexpire(self, timeout: Timeout) -> bool:
        """As `expire()`."""
        return await self._arun(self._expire_operation(timeout))

    def memory_usage(self) -> int:
        """Measure the bytes that the dict takes on the server. MEMORY USAGE.

        For a hash it is estimated from 1,000 items, so that a large one doesn't block the server.
        Dragonfly leaves out the bytes of a key in its table, some 45; a key that is stored there
        together with its value, for which it reports 0, counts as 32.

        Raises:
            redis.exceptions.NoPermissionError: the user may not ask (`+memory`).
        """
        bound = self._bound
        return bound.driver.run(bound.layout.memory_usage())

    async def amemory_usage(self) -> int:
        """As `memory_usage()`."""
        bound = self._bound
        return await bound.async_driver.run(bound.layout.memory_usage())


def as_dict(other: Any = (), /, **more: Any) -> Mapping[Any, Any]:
    """Read any argument of `dict.update()` completely, before anything is stored."""
    if isinstance(other, IterationMethods):
        other = other.copy()  # `dict()` would ask for one item after the other
    if isinstance(other, Mapping) and not more:
        return other
    items: dict[Any, Any] = {}
    items.update(other, **more)
    return items


def _columns(items: Mapping[K, V]) -> tuple[Iterator[K], Iterator[V]]:
    """Iterate over keys and over values, in step: a `dict` needs no pairs for that."""
    if type(items) is dict:
        return iter(items), iter(items.values())
    pairs, same_pairs = tee(items.items())
    return (key for key, _ in pairs), (value for _, value in same_pairs)


def next_batch(iterator: Iterator[T], batch: list[T]) -> Operation[list[T]]:
    """Take the next batch of a user's iterator, which may ask this server in turn."""
    if len(batch) < BATCH:
        return []
    following: list[T] = yield Call(list, (islice(iterator, BATCH),))
    return following
