"""Answer reads of a dict from this process's memory, where its promise allows it.

All other calls of a dict go through drivers that drop the keys concerned from memory
(`redisdict.near.access`), so only reads are here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final, Generic, TypeVar, cast

from redisdict.connections.backend import Backend
from redisdict.connections.drivers import DriverPair
from redisdict.mapping.background import IN_TASKS, IN_THREADS
from redisdict.mapping.bound import ABSENT, Bound
from redisdict.mapping.bulk import next_batch
from redisdict.mapping.cache import CacheMethods
from redisdict.mapping.compute_options import ComputeOptions, parse_options
from redisdict.mapping.keys import Names, shard_of
from redisdict.mapping.layouts.base import BATCH, DEFAULT, FOREVER, Timeout
from redisdict.mapping.layouts.base import MISSING as NO_ITEM
from redisdict.mapping.protocol import MappingMethods
from redisdict.near.clock import clock
from redisdict.near.eviction import ENTRY_BYTES, Entry
from redisdict.near.eviction import FOREVER as NO_END
from redisdict.near.reader import RequestReader, track
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

#: In the place of a value that memory doesn't have: the server has to be asked.
UNKNOWN: Final = object()


class NearBound(Generic[K]):
    """The state that the reads of one handle work with, beside its `Bound`.

    Args:
        bound: the handle's `Bound`.
        space: the memory for the dict's items.
        near: the handle's `near` setting.
        drivers: the drivers that drop nothing from memory.
    """

    def __init__(
        self, bound: Bound[K], space: NearSpace, near: float | str, drivers: DriverPair
    ) -> None:
        self._bound = bound
        self._space = space  # which ends with the last handle
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

    def value_of(self, entry: Entry) -> Any:
        """Return the value of an entry, `ABSENT` for one that says that there is none."""
        make = entry.make
        if make is not None:
            return make(entry.value)
        return ABSENT if entry.value is MISSING else entry.value

    def is_due(self, field: bytes, options: ComputeOptions) -> bool:
        """Return whether a value that was just read has to be computed again, or may be."""
        if not options.needs_time:
            return False
        entry = self.find(field)
        due_s = (options.stale_ms + options.refresh_ms) / 1000
        return entry is None or entry.expires_at - clock() <= due_s

    def get(self, field: bytes, ping: Ping) -> Operation[Any]:
        """Get the value that memory or the server has, or `ABSENT`."""
        entry = self.find(field)
        if entry is None:
            yield from self.wait_for_pings([field], ping)
            entry = self.find(field)
        if entry is None or entry.owner is not self.codec:
            return (yield from self.read(field))
        return self.value_of(entry)

    def get_many(self, fields: Sequence[bytes], ping: Ping) -> Operation[list[Any]]:
        """Get the values that memory or the server has, `ABSENT` for those that there are none of.

        Those that aren't in memory come in one round trip.
        """
        find, codec = self.find, self.codec
        entries: list[Entry | None] = list(map(find, fields))
        if not all(entries):
            yield from self.wait_for_pings(
                [field for field, entry in _pairs(fields, entries) if entry is None], ping
            )
            entries = [entry or find(field) for field, entry in _pairs(fields, entries)]
        values = [
            UNKNOWN if entry is None or entry.owner is not codec else self.value_of(entry)
            for entry in entries
        ]
        unknown = [at for at, value in enumerate(values) if value is UNKNOWN]
        if unknown:
            read = yield from self.read_many([fields[at] for at in unknown])
            for at, value in _pairs(unknown, read):
                values[at] = value
        return values

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
            yield from self._track(fields)
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

    def _track(self, fields: Sequence[bytes]) -> Operation[None]:
        """Let the server track these keys, if it doesn't broadcast."""
        if not any(reader.listener.is_plain for reader in self._readers):
            return
        by_reader: dict[Reader, list[bytes]] = {}
        for field in fields:
            by_reader.setdefault(self.reader_of(field), []).append(field)
        for reader, own in by_reader.items():
            yield from track(reader.listener, reader.state, own)

    def _keep(
        self, state: NearState, token: FillToken, stored: bytes | None, left_ms: int, sent_at: float
    ) -> Any:
        """Keep the server's reply in memory, and return its value."""
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
    """The reads of a dict with `near`: `d[key]`, `get`, `in`, `get_many`, and others that read."""

    _near = _FirstUse()

    def _read_operation(self, key: K, ping: Ping) -> Operation[Any]:
        near = self._near
        return near.get(near.field_of(key), ping)

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
        near = self._near
        encode_many = self._bound.key_codec.encode_many
        found: dict[K, V] = {}
        iterator = iter(keys)
        some = list(islice(iterator, BATCH))
        while some:
            values = yield from near.get_many(encode_many(some), ping)
            found.update((key, value) for key, value in _pairs(some, values) if value is not ABSENT)
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

    def get_or_set(
        self,
        key: K,
        default: Any,
        timeout: Timeout = DEFAULT,
        *,
        stale: float = 0,
        soft_timeout: float | None = None,
        refresh_ahead: float = 0,
        fail_safe: bool | float = False,
        lock_timeout: float = 60,
    ) -> V:
        times = stale, soft_timeout, refresh_ahead, fail_safe, lock_timeout
        options = parse_options(self._bound.milliseconds(timeout), *times)
        value = self._read(key)
        if value is ABSENT or self._near.is_due(self._near.field_of(key), options):
            value = self._run(self._get_or_set_operation(key, default, options, IN_THREADS))
        return cast(V, value)

    async def aget_or_set(
        self,
        key: K,
        default: Any,
        timeout: Timeout = DEFAULT,
        *,
        stale: float = 0,
        soft_timeout: float | None = None,
        refresh_ahead: float = 0,
        fail_safe: bool | float = False,
        lock_timeout: float = 60,
    ) -> V:
        times = stale, soft_timeout, refresh_ahead, fail_safe, lock_timeout
        options = parse_options(self._bound.milliseconds(timeout), *times)
        value = await self._aread(key)
        if value is ABSENT or self._near.is_due(self._near.field_of(key), options):
            value = await self._arun(self._get_or_set_operation(key, default, options, IN_TASKS))
        return cast(V, value)


def _pairs(first: Sequence[K], second: Sequence[T]) -> Iterator[tuple[K, T]]:
    return zip(first, second, strict=True)


def make_space(backend: Backend, names: Sequence[Names], *, is_hash: bool) -> NearSpace:
    """Make the memory of a dict whose items are under these names: one, or one for each shard."""
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
