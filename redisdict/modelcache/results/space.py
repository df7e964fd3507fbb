"""Name, write and read the results that are computed from the same tables."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from redisdict.codec import Codec
from redisdict.codec.codec import codec_of
from redisdict.exceptions import RedisDictError
from redisdict.mapping.keys import Names
from redisdict.mapping.layouts.base import to_milliseconds
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.heat import Heat
from redisdict.modelcache.options import Options
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.plans import TASK, THREAD
from redisdict.modelcache.results.computation import Refusals
from redisdict.modelcache.results.in_tasks import answers, ask
from redisdict.modelcache.results.lookup import ResultLookup
from redisdict.modelcache.results.near import NearResults
from redisdict.modelcache.sameness import is_same
from redisdict.modelcache.slots.lease import SHORTEST, Reader
from redisdict.modelcache.slots.results import ResultStore
from redisdict.modelcache.slots.store import RowStore
from redisdict.modelcache.stats import MOST_HITS, Counters

#: Increased when the bytes of a result get another form.
FORMAT = 1

#: Stands for a name.
ANY_NAME = "0" * 32

#: Stands before the body of a result, so that every result is longer than the other contents of a
#: cell.
MARK = b"R"


class ResultSpace:
    """Results of the same tables, in one place: those of one tenant, say.

    Args:
        path: names the results, beside their tables.
        tables: the tables, all kept on one server.
        version: any text; results of another one are misses.
    """

    def __init__(
        self,
        path: tuple[str, ...],
        tables: Sequence[CachedTable],
        options: Options,
        refusals: Refusals,
        version: str = "",
    ) -> None:
        self.tables = tables
        #: Any of them: they are all on one server.
        self.table = tables[0]
        config = self.table.backend.config
        self._prefix = config.key_prefix
        self._codec: Codec = codec_of(config)
        self.refusals = refusals
        of_tables = blake2b(digest_size=8)
        form = blake2b(f"{FORMAT}/{len(version)}/{version}".encode(), digest_size=8)
        for table in tables:
            of_tables.update(b"%s\n" % table.store.table_key)
            form.update(table.store.fingerprint)
        self._path = (*path, of_tables.hexdigest())
        cells = RowStore(Names(self._prefix, self._path), form.digest())
        heats = [table.heat for table in tables]
        self.store = ResultStore([table.store for table in tables], cells, heats)
        timeout = config.timeout if options.timeout is None else options.timeout
        reader: Reader[list[Any]] = Reader(
            self.store,
            Counters(Names(self._prefix, self._path).counts),
            self._encode,
            self._decode,
            options.lease_ms,
            to_milliseconds(timeout, None),
            absent_ms=None,
        )
        self._counters = reader.counters
        self._can_peek = self.table.backend.cluster is None
        self._before, self._after = self.cell(ANY_NAME).split(ANY_NAME.encode())
        self.near: NearResults | None = None
        if options.near is not None:
            names = Names(self._prefix, self._path)
            self.near = NearResults(names, self._before, tables, self.store, options.near)
        self.lookup = ResultLookup(tables, reader, options.serve_when_down, self.near)
        #: Those that depend on some values of columns, by these; see `versions`.
        self.by_choice: dict[Any, ResultSpace | None] = {}

    def depending_on(self, versions: Sequence[RowStore], heats: Sequence[Heat]) -> ResultSpace:
        """Make the results that depend on further versions; they are counted with these.

        Args:
            heats: one for each version.
        """
        space = copy.copy(self)
        space.store = self.store.depending_on(versions, heats)
        reader = replace(self.lookup.reader, store=space.store)
        space.lookup = replace(self.lookup, reader=reader)
        return space

    def cell(self, name: str) -> bytes:
        """The key of a result: in a Cluster each is in a slot of its own."""
        return Names(self._prefix, (*self._path, name)).cached_table

    def peek_at(self, name: str) -> list[Any] | None:
        """As `peek()`, by a name of letters and digits alone."""
        return self.peek(self._before + name.encode() + self._after)

    def peek(self, key: bytes) -> list[Any] | None:
        """Return the result in this cell, in a list, if reading it is enough."""
        counters = self._counters
        caller = THREAD if answers.get() is None else TASK
        if (
            not self._can_peek
            or counters.hits >= MOST_HITS - 1
            or not self.lookup.may_use_server(caller)
        ):
            return None
        try:
            if self.near is not None:
                body = self.near.body(key)
            else:
                step = self.store.look(key) if caller is THREAD else self.store.peek(key)
                body = self.store.body(ask(self.table.backend, key, step))
        except UNREACHED:
            return None  # who asks again will note it
        if body is None or len(body) < SHORTEST:
            return None
        found = self._decode(body)
        if found is None:
            return None
        counters.hits += 1
        return found

    def _encode(self, outcome: list[Any]) -> bytes | None:
        [value] = outcome
        try:
            body = self._codec.encode(value)
            if is_same(value, self._codec.decode(body)):
                return MARK + body
            reason = "it would come back from the server as another one."
        except Exception as error:  # noqa: BLE001  # a value's __eq__ may raise anything
            reason = f"{type(error).__name__}: {error}"
        self.refusals.tell(f"of {type(value).__qualname__}: {reason}")
        return None

    def _decode(self, body: bytes) -> list[Any] | None:
        try:
            return [self._codec.decode(body[len(MARK) :])]
        except RedisDictError as error:
            self.refusals.tell(str(error))
            return None
