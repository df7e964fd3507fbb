"""Spread a dict over several slots, in shards, each of which is a dict of its own."""

from __future__ import annotations

from abc import update_abstractmethods
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from redisdict.exceptions import ConfigurationError
from redisdict.mapping.keys import Names, shard_of
from redisdict.mapping.layouts.base import (
    FOREVER,
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
from redisdict.wire.scan import ShardsCursor
from redisdict.wire.server_state import Capabilities

T = TypeVar("T")
Page = TypeVar("Page", bound=tuple[Any, ...])

#: Shards that are scanned at once. It takes some to keep all nodes of a Cluster busy, and
#: too many would make small pages.
AT_ONCE = 8

#: The operations on one item that store none where none was.
NEVER_FIRST = frozenset(
    {"get", "contains", "delete", "pop", "compare_and_set", "touch", "ttl", "get_with_ttl"}
)


class ShardCount:
    """The number of shards that the server knows of a dict, in a key beside its items.

    It is stored before the first item and stays when the dict is cleared, since other clients may
    still use it. Each handle of the dict asks for it once; as long as the dict has never had an
    item, the handle asks again the next time.

    Args:
        key: where it is stored.
        count: the number given to the handle.
        shown_name: the dict's name in errors.
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

    A request for one item goes to the item's shard, see `_handed_on()`. One for many items goes to
    all their shards at once and isn't atomic: after a failure it may be done in some shards and not
    in others.

    Args:
        shards: the layouts, all of one kind.
        count: their number, as the server has it.
    """

    def __init__(self, shards: Sequence[Layout], count: ShardCount) -> None:
        self.is_hash = shards[0].is_hash
        self.prefix = b""  # each shard has its own, which is taken off here
        self._shards = shards
        self._count = count
        self._found_at = 0

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

    def ttl_many(self, fields: Sequence[bytes]) -> Operation[list[int]]:
        yield from self._count.before_reading()
        places = self._divided(range(len(fields)), fields)
        found = yield from run_concurrently(
            self._shards[number].ttl_many([fields[place] for place in own])
            for number, own in places.items()
        )
        left_ms = [FOREVER] * len(fields)
        for own, times in zip(places.values(), found, strict=True):
            for place, time_ms in zip(own, times, strict=True):
                left_ms[place] = time_ms
        return left_ms

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

    def scan_pairs(self, cursor: bytes, count: int = SCAN_COUNT) -> Operation[PageOfPairs]:
        cursor, pages = yield from self._scan(cursor, count, _bare_pairs)
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
        following, places = ShardsCursor.parse(cursor)
        going = [
            (number, place)
            for number, place in places
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
        return b"0" if is_over else bytes(ShardsCursor(following, places)), pages

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


def _handed_on(name: str) -> Callable[..., Any]:
    """Make the operation of this name on one item, whose field comes first: its shard does it.

    Until the number of shards is known to be right, that is asked for first.
    """

    def operation(self: ShardedLayout, field: bytes, *arguments: Any) -> Any:
        asked = getattr(self._shard(field), name)(field, *arguments)
        count = self._count
        if count.is_known:
            return asked
        check = count.before_reading if name in NEVER_FIRST else count.before_writing
        return Step(None, _behind, (check, asked)) if type(asked) is Step else _behind(check, asked)

    return operation


def _behind(check: Callable[[], Operation[None]], asked: Step[T] | Operation[T]) -> Operation[T]:
    yield from check()
    return (yield from asked.begin() if isinstance(asked, Step) else asked)


for _name in ShardedLayout.__abstractmethods__:
    setattr(ShardedLayout, _name, _handed_on(_name))
update_abstractmethods(ShardedLayout)  # type: ignore[type-abstract]  # not any more


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
    return ShardedLayout(layouts, ShardCount(key, shards, shown_name))  # type: ignore[abstract]  # just above


def _bare_pairs(shard: Layout, place: bytes, count: int) -> Operation[PageOfPairs]:
    """Read its page of pairs, with the fields alone."""
    place, names, values = yield from shard.scan_pairs(place, count)
    if shard.prefix:
        names = [name.removeprefix(shard.prefix) for name in names]
    return place, names, values


def _column(pages: Iterable[tuple[Any, ...]], at: int) -> list[Any]:
    """Join what the pages have at that place."""
    return list(chain.from_iterable(page[at] for page in pages))
