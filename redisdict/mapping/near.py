"""Reads of a dict that are answered from this process's memory where its promise allows it.

Everything else that a dict does goes through drivers that drop what is kept of the keys concerned
(`redisdict.near.access`), so this is about reads alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Generic, TypeVar, cast

from redisdict.connections.backend import Backend
from redisdict.connections.drivers import DriverPair
from redisdict.mapping.bound import ABSENT, Bound
from redisdict.mapping.bulk import next_batch
from redisdict.mapping.cache import CacheMethods, stale_milliseconds
from redisdict.mapping.keys import Names, shard_of
from redisdict.mapping.layouts.base import BATCH, DEFAULT, FOREVER, Timeout
from redisdict.mapping.layouts.base import MISSING as NO_ITEM
from redisdict.mapping.protocol import MappingMethods
from redisdict.near.clock import clock
from redisdict.near.eviction import ENTRY_BYTES, Entry
from redisdict.near.eviction import FOREVER as NO_END
from redisdict.near.reader import RequestReader
from redisdict.near.service import teller_of
from redisdict.near.space import NearSpace, Part, Reader
from redisdict.near.state import MISSING, FillToken, NearState
from redisdict.near.values import immutable_size
from redisdict.near.watches import Watch
from redisdict.wire.combinators import run_concurrently
from redisdict.wire.requests import Call, Operation

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class NearBound(Generic[K]):
    """What the reads of one handle work with, beside its `Bound`.

    Args:
        bound: of the handle.
        space: what is kept of the dict.
        near: the handle's promise.
        drivers: those that don't drop.
    """

    def __init__(
        self, bound: Bound[K], space: NearSpace, near: float | str, drivers: DriverPair
    ) -> None:
        self._bound = bound
        self._readers = [part.reader(near) for part in space.parts]
        self.drivers = drivers
        #: Who alone may read what was decoded: another codec might refuse it.
        self.codec = bound.codec
        self.encode_plain_key = bound.encode_plain_key
        self.field_of = bound.field_of
        self.find: Callable[[bytes], Entry | None] = (
            self._find_in_shard if len(self._readers) > 1 else self._readers[0].find
        )

    def reader_of(self, field: bytes) -> Reader:
        """Get the reader of the shard that has a field."""
        return self._readers[shard_of(field, len(self._readers))]

    def _find_in_shard(self, field: bytes) -> Entry | None:
        return self.reader_of(field).find(field)

    def wait_for_pings(self, fields: Iterable[bytes], ping: Ping) -> Operation[None]:
        """Wait for a PING where that makes something servable, before the server is asked."""
        for reader in {self.reader_of(field).who_pings(field) for field in fields}:
            if reader is not None:
                yield Call(ping, (reader,))

    def read(self, field: bytes) -> Operation[Any]:
        """Ask the server for a value, and keep it; `ABSENT` when there is none."""
        return (yield from self.read_many([field]))[0]

    def read_many(self, fields: Sequence[bytes]) -> Operation[list[Any]]:
        """Ask the server for values, and keep them; `ABSENT` for those that there are none of.

        The times to live come in the same round trip, and count from when it began.
        """
        layout = self._bound.layout
        states = [self.reader_of(field).state for field in fields]
        tokens = [state.begin_fill(field) for state, field in zip(states, fields, strict=True)]
        open_tokens = dict(zip(tokens, states, strict=True))
        try:
            sent_at = clock()
            if len(fields) == 1:
                parts: list[Operation[Any]] = [
                    layout.get(fields[0]).begin(),
                    layout.ttl(fields[0]),
                ]
                stored, left_ms = ([each] for each in (yield from run_concurrently(parts)))
            else:
                parts = [layout.get_many(fields), layout.ttl_many(fields)]
                pieces, left_ms = yield from run_concurrently(parts)
                stored = list(chain.from_iterable(pieces))
            values = []
            for token, each, each_ms in zip(tokens, stored, left_ms, strict=True):
                values.append(self._keep(open_tokens.pop(token), token, each, each_ms, sent_at))
        finally:
            for token, state in open_tokens.items():
                state.abandon_fill(token)
        return values

    def _keep(
        self, state: NearState, token: FillToken, stored: bytes | None, left_ms: int, sent_at: float
    ) -> Any:
        """Keep what the server has given, and give its value."""
        codec = self.codec
        size = ENTRY_BYTES + len(cast(bytes, token.key))
        if stored is None:
            state.complete_fill(token, MISSING, None, size=size, owner=codec)
            return ABSENT
        try:
            value = codec.decode(stored)
        except BaseException:
            state.abandon_fill(token)
            raise
        if left_ms == NO_ITEM:  # it has ended between the two questions
            state.abandon_fill(token)
            return value
        expires_at = NO_END if left_ms == FOREVER else sent_at + left_ms / 1000
        own_size = immutable_size(value)
        state.complete_fill(
            token,
            stored if own_size is None else value,
            hash(stored),
            expires_at=expires_at,
            size=size + (len(stored) if own_size is None else own_size),
            make=codec.decode if own_size is None else None,
            owner=codec,
        )
        return value


Ping = Callable[[RequestReader], Any]


def ping_in_thread(reader: RequestReader) -> bool:
    """Wait for a PING sent after the start of the request."""
    return reader.ping()


def ping_in_task(reader: RequestReader) -> Awaitable[bool]:
    """As `ping_in_thread()`."""
    return reader.aping()


class _FirstUse:
    """Binds a dict that isn't bound; in one that is, the instance has the attribute itself."""

    def __get__(self, mapping: NearMethods[Any, Any], owner: type) -> NearBound[Any]:
        while True:
            _ = mapping._bound
            near: NearBound[Any] | None = mapping.__dict__.get("_near")
            if near is not None:
                return near
            # Another thread is about to have it bound anew.
            mapping.__dict__.pop("_bound", None)


class NearMethods(MappingMethods[K, V], CacheMethods[K, V], Generic[K, V]):
    """The reads of a dict with `near`: `d[key]`, `get`, `in`, `get_many`, and what reads first."""

    _near = _FirstUse()

    def _value_of(self, entry: Entry) -> Any:
        """Give the value of an entry, `ABSENT` for one that says that there is none."""
        make = entry.make
        if make is not None:
            return make(entry.value)
        return ABSENT if entry.value is MISSING else entry.value

    def _read_operation(self, key: K, ping: Ping) -> Operation[Any]:
        """Get the value that memory or the server has, or `ABSENT`."""
        near = self._near
        field = near.field_of(key)
        entry = near.find(field)
        if entry is None:
            yield from near.wait_for_pings([field], ping)
            entry = near.find(field)
        if entry is None or entry.owner is not near.codec:
            return (yield from near.read(field))
        return self._value_of(entry)

    def _read(self, key: K) -> Any:
        return self._near.drivers.driver.run(self._read_operation(key, ping_in_thread))

    async def _aread(self, key: K) -> Any:
        return await self._near.drivers.async_driver.run(self._read_operation(key, ping_in_task))

    # What is in memory is found without an operation or a driver: this is what it is all for. Each
    # has the same lines, since a call of a method would be a tenth of what it costs.

    def __getitem__(self, key: K) -> V:
        near = self._near
        try:
            entry = near.find(near.encode_plain_key(key))
        except (TypeError, UnicodeEncodeError):
            entry = None
        if entry is not None and entry.owner is near.codec:
            make = entry.make
            value: Any = entry.value
            if make is not None:
                value = make(value)
            elif value is MISSING:
                raise KeyError(key)
            return cast(V, value)
        value = self._read(key)
        if value is ABSENT:
            raise KeyError(key)
        return cast(V, value)

    async def agetitem(self, key: K) -> V:
        near = self._near
        try:
            entry = near.find(near.encode_plain_key(key))
        except (TypeError, UnicodeEncodeError):
            entry = None
        if entry is not None and entry.owner is near.codec:
            make = entry.make
            value: Any = entry.value
            if make is not None:
                value = make(value)
            elif value is MISSING:
                raise KeyError(key)
            return cast(V, value)
        value = await self._aread(key)
        if value is ABSENT:
            raise KeyError(key)
        return cast(V, value)

    def get(self, key: K, default: Any = None) -> Any:
        near = self._near
        try:
            entry = near.find(near.encode_plain_key(key))
        except (TypeError, UnicodeEncodeError):
            entry = None
        if entry is not None and entry.owner is near.codec:
            make = entry.make
            value = entry.value
            if make is not None:
                return make(value)
            return default if value is MISSING else value
        value = self._read(key)
        return default if value is ABSENT else value

    async def aget(self, key: K, default: Any = None) -> Any:
        near = self._near
        try:
            entry = near.find(near.encode_plain_key(key))
        except (TypeError, UnicodeEncodeError):
            entry = None
        if entry is not None and entry.owner is near.codec:
            make = entry.make
            value = entry.value
            if make is not None:
                return make(value)
            return default if value is MISSING else value
        value = await self._aread(key)
        return default if value is ABSENT else value

    def __contains__(self, key: object) -> bool:
        entry = self._near.find(self._near.field_of(cast(K, key)))
        if entry is not None:
            return entry.value is not MISSING
        return self._read(cast(K, key)) is not ABSENT

    async def acontains(self, key: object) -> bool:
        entry = self._near.find(self._near.field_of(cast(K, key)))
        if entry is not None:
            return entry.value is not MISSING
        return await self._aread(cast(K, key)) is not ABSENT

    # Many

    def _get_many_near(self, keys: Iterable[K], ping: Ping) -> Operation[dict[K, V]]:
        near, find, codec = self._near, self._near.find, self._near.codec
        encode_many = self._bound.key_codec.encode_many
        found: dict[K, V] = {}
        iterator = iter(keys)
        some = list(islice(iterator, BATCH))
        while some:
            fields = encode_many(some)
            entries: list[Entry | None] = list(map(find, fields))
            if not all(entries):
                yield from near.wait_for_pings(
                    [field for field, entry in _pairs(fields, entries) if entry is None], ping
                )
                entries = [entry or find(field) for field, entry in _pairs(fields, entries)]
            unknown = [
                at for at, entry in enumerate(entries) if entry is None or entry.owner is not codec
            ]
            read: list[Any] = []
            if unknown:
                read = yield from near.read_many([fields[at] for at in unknown])
            read_at = dict(zip(unknown, read, strict=True))
            for at, (key, entry) in enumerate(_pairs(some, entries)):
                value = read_at[at] if at in read_at else self._value_of(cast(Entry, entry))
                if value is not ABSENT:
                    found[key] = value
            some = yield from next_batch(iterator, some)
        return found

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        return self._near.drivers.driver.run(self._get_many_near(keys, ping_in_thread))

    async def aget_many(self, keys: Iterable[K]) -> dict[K, V]:
        return await self._near.drivers.async_driver.run(self._get_many_near(keys, ping_in_task))

    # What reads first, and only then does something

    def setdefault(self, key: K, default: V = None) -> V:  # type: ignore[assignment]  # as dict's
        value = self._read(key)
        return super().setdefault(key, default) if value is ABSENT else cast(V, value)

    async def asetdefault(self, key: K, default: V = None) -> V:  # type: ignore[assignment]  # as dict's
        value = await self._aread(key)
        return await super().asetdefault(key, default) if value is ABSENT else cast(V, value)

    def _is_fresh(self, key: K, stale_ms: int) -> bool:
        """Whether the value that was just read has more than that left to live."""
        if not stale_ms:
            return True
        entry = self._near.find(self._near.field_of(key))
        return entry is not None and entry.expires_at - clock() > stale_ms / 1000

    def get_or_set(
        self,
        key: K,
        default: Any,
        timeout: Timeout = DEFAULT,
        *,
        stale: float = 0,
        lock_timeout: float = 60,
    ) -> V:
        stale_ms = stale_milliseconds(stale, self._bound.milliseconds(timeout))
        value = self._read(key)
        if value is not ABSENT and self._is_fresh(key, stale_ms):
            return cast(V, value)
        return super().get_or_set(key, default, timeout, stale=stale, lock_timeout=lock_timeout)

    async def aget_or_set(
        self,
        key: K,
        default: Any,
        timeout: Timeout = DEFAULT,
        *,
        stale: float = 0,
        lock_timeout: float = 60,
    ) -> V:
        stale_ms = stale_milliseconds(stale, self._bound.milliseconds(timeout))
        value = await self._aread(key)
        if value is not ABSENT and self._is_fresh(key, stale_ms):
            return cast(V, value)
        return await super().aget_or_set(
            key, default, timeout, stale=stale, lock_timeout=lock_timeout
        )


def _pairs(first: Sequence[K], second: Sequence[T]) -> Iterator[tuple[K, T]]:
    return zip(first, second, strict=True)


def make_space(backend: Backend, names: Sequence[Names], *, is_hash: bool) -> NearSpace:
    """Make what is kept of a dict whose items are under these names: one, or one for each shard."""
    config = backend.config
    parts = []
    for each in names:
        state = NearState(
            max(1, config.near_max_bytes // len(names)), max(1, config.near_max_items // len(names))
        )
        if is_hash:
            keys = (each.hash, each.relocated, each.deadlines)
            watches = [Watch(key, state, is_exact=True) for key in keys]
        else:
            watches = [Watch(each.item_prefix, state)]
        parts.append(Part(state, watches, teller_of(backend, watches, each.probe_prefix)))
    return NearSpace(parts)
