"""A dict spread over several slots: shards, each of which is a dict of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from redisdict.exceptions import ConfigurationError
from redisdict.mapping.keys import Names, shard_of
from redisdict.mapping.layouts.base import (
    SCAN_COUNT,
    Layout,
    PageOfPairs,
    Pair,
    Record,
    Values,
)
from redisdict.mapping.layouts.hash import HashLayout
from redisdict.mapping.layouts.keys import KeysLayout
from redisdict.mapping.scanning import Pages
from redisdict.wire.combinators import run_concurrently
from redisdict.wire.requests import Argument, Batch, Operation, Step
from redisdict.wire.server_state import Capabilities

__all__ = ["ShardCount", "ShardedLayout", "make_layout"]

T = TypeVar("T")
Page = TypeVar("Page", bound=tuple[Any, ...])

#: Shards that are scanned at once. It takes some to keep all nodes of a Cluster busy, and
#: too many would make small pages.
AT_ONCE = 8


class ShardCount:
    """The number of shards that the server knows of a dict, in a key beside its items.

    It is stored before the first item and stays when the dict is cleared, for other clients may go
    on using it. It is asked for once by each handle of the dict; one of a dict that has never had
    an item asks again the next time.

    Args:
        key: where it is stored.
        count: what the handle has been told.
        shown_name: how the dict is called in an error.
    """

    def __init__(self, key: bytes, count: int, shown_name: str) -> None:
        self._key = key
        self._count = count
        self._shown_name = shown_name
        self.is_known = False

    def before_reading(self) -> Operation[None]:
        """Ask for the number, once. GET.

        Raises:
            ConfigurationError: the dict has another number of shards.
        """
        if not self.is_known:
            stored = yield (b"GET", self._key)
            self._compare(stored)

    def before_writing(self) -> Operation[None]:
        """Store the number unless there is one, and ask for it, once. SET NX and GET.

        Raises:
            ConfigurationError: the dict has another number of shards; nothing was written.
        """
        if self.is_known:
            return
        replies = yield Batch([(b"SET", self._key, self._count, b"NX"), (b"GET", self._key)])
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        self._compare(replies[1])

    def _compare(self, stored: bytes | None) -> None:
        if stored is None:
            return  # nothing was ever stored, so any number is right
        if stored != b"%d" % self._count:
            raise ConfigurationError(
                f"{self._shown_name} has {stored.decode(errors='replace')} shards on the server,"
                f" and was opened with shards={self._count}; nothing was read or written. Open it"
                " with the number that it has. For another number, copy it to a dict of another"
                " name with clone_to()."
            )
        self.is_known = True


class ShardedLayout(Layout):
    """Items spread over the layouts of several shards by a hash of their keys.

    What concerns one item is asked of its shard. What concerns many goes to all their shards at
    once, and isn't atomic: a failure can leave it done in some shards and not in others.

    Args:
        shards: the layouts, all of one kind.
        count: what the server knows of their number.
    """

    def __init__(self, shards: Sequence[Layout], count: ShardCount) -> None:
        self.is_hash = shards[0].is_hash
        self.prefix = b""  # each shard has its own, which is taken off here
        self._shards = shards
        self._count = count
        self._found_at = 0

    # One item

    def get(self, field: bytes) -> Step[bytes | None]:
        return self._step(self._read, self._shard(field).get(field))

    def contains(self, field: bytes) -> Step[int]:
        return self._step(self._read, self._shard(field).contains(field))

    def set(self, field: bytes, value: Argument, timeout_ms: int | None) -> Step[Any]:
        return self._step(self._write, self._shard(field).set(field, value, timeout_ms))

    def delete(self, field: bytes) -> Step[int]:
        return self._step(self._read, self._shard(field).delete(field))

    def add(self, field: bytes, value: Argument, timeout_ms: int | None) -> Operation[int]:
        return self._write(self._shard(field).add(field, value, timeout_ms))

    def pop(self, field: bytes) -> Operation[bytes | None]:
        return self._read(self._shard(field).pop(field))

    def compare_and_set(self, field: bytes, expected: bytes, new: Argument) -> Operation[int]:
        return self._read(self._shard(field).compare_and_set(field, expected, new))

    def incr(self, field: bytes, delta: int, timeout_ms: int | None) -> Operation[bytes | int]:
        return self._write(self._shard(field).incr(field, delta, timeout_ms))

    def touch(self, field: bytes, timeout_ms: int | None) -> Operation[int]:
        return self._read(self._shard(field).touch(field, timeout_ms))

    def ttl(self, field: bytes) -> Operation[int]:
        return self._read(self._shard(field).ttl(field))

    def popitem(self) -> Operation[Pair | None]:
        # Goes on where the last one was found, so that a dict is emptied shard by shard.
        yield from self._count.before_reading()
        start = self._found_at
        for number in chain(range(start, len(self._shards)), range(start)):
            pair = yield from self._shards[number].popitem()
            if pair is not None:
                self._found_at = number
                return pair
        return None

    # Many items

    def get_many(self, fields: Sequence[Any]) -> Operation[list[Values]]:
        yield from self._count.before_reading()
        fields = [field.encode() if isinstance(field, str) else field for field in fields]
        places = self._divided(range(len(fields)), fields)
        found = yield from run_concurrently(
            self._shards[number].get_many([fields[place] for place in own])
            for number, own in places.items()
        )
        values: list[bytes | None] = [None] * len(fields)
        for own, pieces in zip(places.values(), found, strict=True):
            for place, value in zip(own, chain.from_iterable(pieces), strict=True):
                values[place] = value
        return [values]

    def set_many(self, items: Sequence[Argument], timeout_ms: int | None) -> Operation[None]:
        yield from self._count.before_writing()
        fields: Any = items[::2]
        parts = self._divided(zip(fields, items[1::2], strict=True), fields)
        yield from run_concurrently(
            self._shards[number].set_many(list(chain.from_iterable(own)), timeout_ms)
            for number, own in parts.items()
        )

    def delete_many(self, fields: Sequence[bytes]) -> Operation[int]:
        yield from self._count.before_reading()
        parts = self._divided(fields, fields)
        counts = yield from run_concurrently(
            self._shards[number].delete_many(own) for number, own in parts.items()
        )
        return sum(counts)

    def set_records(self, records: Sequence[Record]) -> Operation[None]:
        yield from self._count.before_writing()
        parts = self._divided(records, (record[0] for record in records))
        yield from run_concurrently(
            self._shards[number].set_records(own) for number, own in parts.items()
        )

    # All items

    def length(self) -> Step[int]:
        return Step(None, self._length)

    def _length(self) -> Operation[int]:
        yield from self._count.before_reading()
        if self.is_hash:
            return sum((yield from self._of_all(lambda shard: shard.length().begin())))
        # One memory for all shards of what was counted, for it bounds what the scan takes.
        total, cursor, pages = 0, b"0", Pages()
        while True:
            cursor, fields = yield from self.scan_fields(cursor)
            total += len(pages.fresh(cursor, fields))
            if cursor == b"0":
                return total

    def clear(self) -> Operation[None]:
        yield from self._count.before_reading()
        yield from self._of_all(lambda shard: shard.clear())

    def expire(self, timeout_ms: int | None) -> Operation[int]:
        yield from self._count.before_reading()
        return max((yield from self._of_all(lambda shard: shard.expire(timeout_ms))))

    def memory_usage(self) -> Operation[int]:
        yield from self._count.before_reading()
        return sum((yield from self._of_all(lambda shard: shard.memory_usage())))

    def scan_fields(
        self, cursor: bytes, pattern: bytes | None = None, count: int = SCAN_COUNT
    ) -> Operation[tuple[bytes, list[bytes]]]:
        cursor, pages = yield from self._scan(
            cursor, count, lambda shard, place, share: shard.scan_fields(place, pattern, share)
        )
        return cursor, _column(pages, 1)

    def scan_pairs(
        self, cursor: bytes, pattern: bytes | None = None, count: int = SCAN_COUNT
    ) -> Operation[PageOfPairs]:
        cursor, pages = yield from self._scan(
            cursor, count, lambda shard, place, share: _bare_pairs(shard, place, pattern, share)
        )
        return cursor, _column(pages, 1), _column(pages, 2)

    def scan_records(
        self, cursor: bytes, count: int = SCAN_COUNT
    ) -> Operation[tuple[bytes, list[Record]]]:
        cursor, pages = yield from self._scan(
            cursor, count, lambda shard, place, share: shard.scan_records(place, share)
        )
        return cursor, _column(pages, 1)

    def _scan(
        self,
        cursor: bytes,
        count: int,
        read: Callable[[Layout, bytes, int], Operation[Page]],
    ) -> Operation[tuple[bytes, list[Page]]]:
        """Read a page of each of the shards that are scanned at this time."""
        yield from self._count.before_reading()
        following, going = _split(cursor)
        going = [
            (number, place)
            for number, place in going
            if place != b"0" and number < len(self._shards)
        ]
        while len(going) < AT_ONCE and following < len(self._shards):
            going.append((following, b"0"))
            following += 1
        if not going:  # no cursor of this dict
            return b"0", []
        share = max(1, count // len(going))
        pages = yield from run_concurrently(
            read(self._shards[number], place, share) for number, place in going
        )
        # Those that have just ended are told as well: it may be because they have shrunk.
        places = [(number, place) for (number, _), (place, *_) in zip(going, pages, strict=True)]
        is_over = following == len(self._shards) and all(place == b"0" for _, place in places)
        return b"0" if is_over else _joined(following, places), pages

    # Shards

    def _shard(self, field: bytes) -> Layout:
        return self._shards[shard_of(field, len(self._shards))]

    def _divided(self, items: Iterable[T], fields: Iterable[bytes]) -> dict[int, list[T]]:
        """Sort the items by the number of their field's shard, in the order of the numbers."""
        count = len(self._shards)
        parts: dict[int, list[T]] = {}
        for item, field in zip(items, fields, strict=True):
            parts.setdefault(shard_of(field, count), []).append(item)
        return dict(sorted(parts.items()))

    def _of_all(self, begin: Callable[[Layout], Operation[T]]) -> Operation[list[T]]:
        return run_concurrently(begin(shard) for shard in self._shards)

    def _step(self, run: Callable[[Step[T]], Operation[T]], step: Step[T]) -> Step[T]:
        """Let a shard do it, once the number of shards is known to be right."""
        return step if self._count.is_known else Step(None, run, step)

    def _read(self, asked: Step[T] | Operation[T]) -> Operation[T]:
        """Ask as a reader; also for changes of what is there already: no item, no change."""
        yield from self._count.before_reading()
        return (yield from asked.begin() if isinstance(asked, Step) else asked)

    def _write(self, asked: Step[T] | Operation[T]) -> Operation[T]:
        yield from self._count.before_writing()
        return (yield from asked.begin() if isinstance(asked, Step) else asked)


def make_layout(
    names: Names,
    capabilities: Capabilities,
    *,
    is_hash: bool,
    shards: int | None = None,
    shown_name: str = "",
) -> Layout:
    """Make the layout of the dict with these names; `shown_name` is how an error calls it."""
    layouts: list[Layout] = [
        HashLayout(each, capabilities) if is_hash else KeysLayout(each)
        for each in names.of_shards(shards) or [names]
    ]
    if shards is None:
        return layouts[0]
    key = names.shard_count_of_hash if is_hash else names.shard_count_of_keys
    return ShardedLayout(layouts, ShardCount(key, shards, shown_name))


def _bare_pairs(
    shard: Layout, place: bytes, pattern: bytes | None, count: int
) -> Operation[PageOfPairs]:
    """Read its page of pairs, with the fields alone."""
    place, names, values = yield from shard.scan_pairs(place, pattern, count)
    if shard.prefix:
        names = [name.removeprefix(shard.prefix) for name in names]
    return place, names, values


def _column(pages: Iterable[tuple[Any, ...]], at: int) -> list[Any]:
    """Join what the pages have at that place."""
    return list(chain.from_iterable(page[at] for page in pages))


def _split(cursor: bytes) -> tuple[int, list[tuple[int, bytes]]]:
    """Read from a cursor the first shard not yet begun, and the place in those that it is in."""
    following, _, places = cursor.partition(b":")
    going: list[Any] = [place.split(b"=") for place in places.split(b",") if place]
    return int(following), [(int(number), place) for number, place in going]


def _joined(following: int, going: Iterable[tuple[int, bytes]]) -> bytes:
    return b"%d:%s" % (following, b",".join(b"%d=%s" % place for place in going))
