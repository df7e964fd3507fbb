"""Look rows up by primary key, in threads and in tasks.

A hit takes one command, a `Step`; everything else is a `Plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from django.db import models

from redisdict.mapping.layouts.base import slices, to_milliseconds
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.loading import load_rows
from redisdict.modelcache.near import NOT_NEAR, KeptBody
from redisdict.modelcache.options import Options
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.plans import Caller, Plan
from redisdict.modelcache.scan import Scan
from redisdict.modelcache.slots.lease import SHORTEST, Loaded, Reader
from redisdict.modelcache.slots.store import Answer, new_token
from redisdict.modelcache.stats import MOST_HITS
from redisdict.near.space import Reader as NearReader
from redisdict.wire.requests import Call, Operation, Step

M = TypeVar("M", bound=models.Model)
T = TypeVar("T")

#: What `Reader.read()` is given beside cells: the token, answers, and whether it is a peek.
Reading = tuple[bytes, Sequence[Answer] | None, bool]

#: Rows that are warmed at a time.
WARM_CHUNK = 1000


class PkLookup(Generic[M]):
    """Looks up rows of one cached table by their primary key."""

    def __init__(self, table: CachedTable, options: Options) -> None:
        self.table = table
        self.by_pk: PkLookup[M] = self
        self.store = table.store
        self._cell_of: Callable[[Any], bytes] = table.key
        self._encode_key = table.key_form.encode
        self.near: NearReader | None = (
            None if options.near is None else table.near.begin(options.near)
        )
        self._believes_absence = options.absent_ms is not None
        self.lease_ms = options.lease_ms
        self._serves_when_down = options.serve_when_down
        timeout = table.backend.config.timeout if options.timeout is None else options.timeout
        self._timeout_ms = to_milliseconds(timeout, None)
        self._reader: Reader[M] = Reader(
            table.store,
            table.counters,
            table.encode,
            _decode_once(table.decode),
            options.lease_ms,
            self._timeout_ms,
            options.absent_ms,
        )

    # The fast path: one command, which is all that a hit takes.

    def step(self, key: Any, caller: Caller) -> Step[Sequence[Answer]] | None:
        """Make the step that reads one cell; None where more than that has to be looked at."""
        if self.table.near.is_on or not self._may_use_server(caller):
            return None
        token = new_token()
        cells = (self._cell_of(key),)
        lease_ms = self.lease_ms if caller.may_keep(self.table) else 0
        command = self.store.read_command(cells, token, lease_ms)
        return Step(command, self.store.read, (cells, token, lease_ms))

    def hit(self, answers: Sequence[Answer]) -> M | None:
        """Return the instance in the answer to `step()`; None when there is more to do."""
        body, counters = answers[0], self.table.counters
        if type(body) is not bytes or len(body) < SHORTEST or counters.hits >= MOST_HITS - 1:
            return None
        instance: M | None = self.table.decode(body)
        if instance is not None:
            counters.hits += 1
        return instance

    def finish(
        self, key: Any, step: Step[Any], answers: Sequence[Answer] | Exception, caller: Caller
    ) -> Plan[M | None]:
        """Go on after `step()` was no hit, or has failed."""
        try:
            if isinstance(answers, Exception):
                raise answers
            found: M | None = yield self._finish(key, step, answers, caller)
        except UNREACHED as error:
            self._note_failure(error)
            rows: dict[Any, M] = yield Call(self.ask_database, ([key],))
            found = rows.get(key)
        return found

    def _finish(
        self, key: Any, step: Step[Any], answers: Sequence[Answer], caller: Caller
    ) -> Operation[M | None]:
        _, token, lease_ms = step.arguments
        found = yield from self._find([key], caller, not lease_ms, token, answers)
        if self.table.counters.hits >= MOST_HITS:
            yield from self.table.counters.push()
        return found.get(key)

    # What this process keeps.

    def near_hit(self, key: Any, caller: Caller) -> Any:
        """Return the row that is in memory, None for one that is absent; `NOT_NEAR` for neither."""
        table, near = self.table, self.near
        if (
            near is None
            or (table.changed_by and caller.has_changed(table))
            or not table.outages.is_calm
            or not table.shows_all_alike
        ):
            return NOT_NEAR
        entry = near.find(self._encode_key(key))
        if entry is None or entry.owner is not self.store:
            return NOT_NEAR
        make = entry.make
        if make is None:
            return None if self._believes_absence else NOT_NEAR
        row: M | None = make(entry.value)
        return NOT_NEAR if row is None else row

    def find_near(self, keys: Sequence[Any], caller: Caller) -> Plan[dict[Any, M]]:
        """Get those of the rows that are there, by key, as far as may be from memory."""
        if self.near is None:
            return (yield from self.find(keys, caller))
        found = yield from self._find_near(keys, caller)
        if missing := [key for key in keys if key not in found]:
            found.update((yield from self.find(missing, caller)))
        return {key: row for key in keys if (row := found.get(key)) is not None}

    def _find_near(self, keys: Sequence[Any], caller: Caller) -> Plan[dict[Any, Any]]:
        """Get the rows in memory, None for a row that is absent; it may take a PING."""
        found: dict[Any, Any] = {}
        near = self.near
        if near is None:
            return found
        missing = self._take_near(keys, found, caller)
        pinging = {self._who_pings(near, key) for key in missing} - {None}
        if pinging:
            yield _wait_for_ping(pinging.pop(), caller)
            self._take_near(missing, found, caller)
        return found

    def _take_near(self, keys: Sequence[Any], found: dict[Any, Any], caller: Caller) -> list[Any]:
        """Put the rows in memory into `found`; return the keys of the others."""
        missing = []
        for key in keys:
            row = self.near_hit(key, caller)
            if row is NOT_NEAR:
                missing.append(key)
            else:
                found[key] = row
        return missing

    def _who_pings(self, near: NearReader, key: Any) -> Any:
        """Return the reader that could wait for a PING that makes a key servable, or None."""
        return near.who_pings(self._encode_key(key))

    def _note_seen(self, cells: Iterable[bytes], rows: Iterable[models.Model]) -> None:
        """Note that rows were read from the database: those in memory may be older."""
        table = self.table
        if table.near.is_on:
            table.near.drop({*cells, *(table.key(row.pk) for row in rows)})

    # Plans.

    def find(self, keys: Sequence[Any], caller: Caller) -> Plan[dict[Any, M]]:
        """Get those of the rows that are there, by key."""
        found: dict[Any, M]
        may_use = self._may_use_server(caller)
        if may_use is None:
            may_use = yield from self._recover()
        if may_use:
            is_peek = not caller.may_keep(self.table)
            try:
                found = yield self._find(keys, caller, is_peek, new_token())
                return found
            except UNREACHED as error:
                self._note_failure(error)
        found = yield Call(self.ask_database, (keys,))
        return found

    def warm(self, keys: Iterable[Any], caller: Caller) -> Plan[int]:
        """Store rows on the server; return how many there are."""
        lookup = self
        if isinstance(keys, models.QuerySet | models.Manager):
            lookup = self.by_pk
            keys = yield Call(list, (keys.using(self.table.database).values_list("pk", flat=True),))
        count = 0
        for chunk in slices(distinct_keys(keys), WARM_CHUNK):
            count += len((yield from lookup.find(chunk, caller)))
        return count

    def next_page(self, scan: Scan, caller: Caller) -> Plan[list[M]]:
        """Get the next page of the rows on the server, as readers would get them."""
        rows: list[M] = yield scan.next_page()
        if not self.table.shows_all_alike or caller.has_changed(self.table):
            found: dict[Any, M] = yield Call(self.by_pk.ask_database, ([row.pk for row in rows],))
            rows = list(found.values())
        return rows

    def _may_use_server(self, caller: Caller) -> bool | None:
        """Return whether the server's rows count; None when it has failed and should be tried."""
        table = self.table
        if (table.changed_by and caller.has_changed(table)) or not table.shows_all_alike:
            return False
        if table.outages.is_calm:
            return True
        return False if table.outages.is_resting and self._serves_when_down else None

    def _recover(self) -> Plan[bool]:
        """Try the server that has failed: whether its rows count again."""
        recovered = False
        try:
            recovered = yield self.table.outages.recover()
        except UNREACHED as error:
            self._note_failure(error)
        return recovered

    def _note_failure(self, error: Exception) -> None:
        """The server has failed at a read. Raises `error` unless the database is to answer."""
        self.table.outages.note(error)
        if not self._serves_when_down:
            raise error

    # What the kind of key decides.

    def _find(
        self,
        keys: Sequence[Any],
        caller: Caller,
        is_peek: bool,
        token: bytes,
        answers: Sequence[Answer] | None = None,
    ) -> Operation[dict[Any, M]]:
        """Read those of the rows that are there, by key; the arguments are those of `Reader`."""
        cell_of = {key: self._cell_of(key) for key in keys}
        asked = {cell: key for key, cell in cell_of.items()}
        found = yield from self._read(asked, caller, (token, answers, is_peek))
        return {key: found[cell] for key, cell in cell_of.items() if cell in found}

    def _read(
        self, asked: Mapping[bytes, Any], caller: Caller, how: Reading
    ) -> Operation[Mapping[bytes, Any]]:
        """Read the rows of these cells, each of which stands for a key."""
        load = caller.adapt(partial(self._load, asked))
        return (yield from self._reader.read(list(asked), load, *how))

    def ask_database(self, keys: Sequence[Any]) -> dict[Any, M]:
        """Get the same from the database alone."""
        self.table.counters.misses += len(keys)
        cell_of = {key: self._cell_of(key) for key in keys}
        asked = {cell: key for key, cell in cell_of.items()}
        found: Mapping[bytes, Any] = self._load(asked, list(asked)).found
        return {key: found[cell] for key, cell in cell_of.items() if cell in found}

    def pks_of(self, keys: Sequence[Any]) -> Sequence[Any] | None:
        """Find the primary keys of rows, to remove them; None when only the database can tell."""
        return keys

    def _load(self, asked: Mapping[bytes, Any], cells: Sequence[bytes]) -> Loaded[models.Model]:
        """Ask the database for the rows of these cells."""
        loaded = load_rows(self.table, [asked[cell] for cell in cells])
        self._note_seen(cells, loaded.found.values())
        return loaded


def distinct_keys(keys: Iterable[Any]) -> list[Any]:
    """Each key once; without None, as a foreign key may be."""
    return [key for key in dict.fromkeys(keys) if key is not None]


def _wait_for_ping(near: Any, caller: Caller) -> Operation[None]:
    yield Call(caller.ping, (near,))


def _decode_once(decode: Callable[[bytes], M | None]) -> Callable[[bytes], M | None]:
    """Make the function that decodes a body, unless that was done to keep it in memory."""

    def decode_unless_kept(body: bytes) -> M | None:
        if type(body) is KeptBody:
            row: M | None = body.make()
            return row
        return decode(body)

    return decode_unless_kept
