"""Look rows up: by primary key or another unique field, in threads and in tasks.

What takes more than one request of the server, or the database, is a `Plan`: a generator that does
no input or output, so it exists once for both colours. It yields operations for the driver, and
`Call`s of the database; what fails is raised inside it. `run()` and `arun()` carry it out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from asgiref.sync import sync_to_async
from django.db import models

from redisdict.codec import messagepack
from redisdict.exceptions import DeserializationError, SerializationError
from redisdict.mapping.keys import Names
from redisdict.mapping.layouts.base import SCAN_COUNT, slices, to_milliseconds
from redisdict.mapping.near import Ping, ping_in_task, ping_in_thread
from redisdict.mapping.scanning import Pages
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.invalidation.transactions import has_changed
from redisdict.modelcache.keys import KeyForm
from redisdict.modelcache.loading import Matched, load_by_field, load_rows, may_keep
from redisdict.modelcache.near import NOT_NEAR, Kept, KeptBody, NearRows
from redisdict.modelcache.options import Options
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.slots.lease import NOT_ROWS, SHORTEST, Loaded, Reader
from redisdict.modelcache.slots.store import Answer, RowStore, new_token
from redisdict.modelcache.stats import MOST_HITS, Counters
from redisdict.near.space import Reader as NearReader
from redisdict.near.state import NEVER
from redisdict.wire.requests import Call, Operation, Step
from redisdict.wire.scan import scan_keys


class Scan:
    """One scan of the rows of a table that are on the server.

    SCAN goes over all keys of the server's database, so its cost grows with that.
    """

    def __init__(self, table: CachedTable) -> None:
        self._table = table
        #: Of each slot, the last one first.
        self._patterns = list(table.store.patterns)
        self._pages = Pages()
        self._cursor = b"0"
        self.is_over = False

    def next_page(self) -> Operation[list[Any]]:
        """The instances of one page that readers would get, too."""
        keys = yield from self.next_keys()
        answers = yield from self._table.store.read(keys, new_token(), 0, keeps=False)
        bodies = [body for body in answers if isinstance(body, bytes) and len(body) >= SHORTEST]
        rows = map(self._table.decode, bodies)
        return [row for row in rows if row is not None]

    def remove_page(self) -> Operation[None]:
        """Remove one page; the barriers of writers stay."""
        keys = yield from self.next_keys()
        yield from self._table.store.lift(keys, new_token())

    def next_keys(self) -> Operation[list[bytes]]:
        """The keys of the cells of one page, whatever they hold."""
        pattern = self._patterns[-1]
        self._cursor, keys = yield from scan_keys(self._cursor, pattern, SCAN_COUNT)
        found = list(self._pages.fresh(self._cursor, keys))
        if self._cursor == b"0":
            self._patterns.pop()
            self._pages = Pages()
        self.is_over = not self._patterns
        return found


M = TypeVar("M", bound=models.Model)
T = TypeVar("T")

#: Seconds within which hints that are kept are told of changes, which are none that matter.
HINTS_BOUND_S = 3600.0

#: Rows that are warmed at a time.
WARM_CHUNK = 1000

Plan: TypeAlias = Generator[Operation[Any] | Call, Any, T]


@dataclass(frozen=True, slots=True)
class Caller:
    """What a plan does otherwise in a task than in a thread.

    In which thread a task's queries will run isn't known before. So a transaction of any thread
    that has changed the table counts as the task's own, and a task whose row will turn out not to
    be kept for a transaction takes a lease all the same, and gives it back. That a standby's rows
    aren't kept is known to both.

    Attributes:
        adapt: makes of a function that asks the database what the driver can call: the function
            itself, or one that gives an awaitable.
        has_changed: whether the caller's transaction may have changed the table.
        may_keep: whether a row that is loaded now could be kept, as far as is known.
        ping: waits for a PING, where `near="request"` needs one.
    """

    adapt: Callable[[Callable[..., Any]], Callable[..., Any]]
    has_changed: Callable[[CachedTable], bool]
    may_keep: Callable[[CachedTable], bool]
    ping: Ping


THREAD = Caller(lambda function: function, has_changed, may_keep, ping_in_thread)
TASK = Caller(
    sync_to_async,
    lambda table: bool(table.changed_by),
    lambda table: not table.place.is_standby,
    ping_in_task,
)


def run(table: CachedTable, plan: Plan[T]) -> T:
    """Carry a plan out in the calling thread."""
    driver = table.backend.driver
    try:
        request = plan.send(None)
        while True:
            try:
                if isinstance(request, Call):
                    answer = request.function(*request.arguments)
                else:
                    answer = driver.run(request)
            except UNREACHED as error:
                request = plan.throw(error)
            else:
                request = plan.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def arun(table: CachedTable, plan: Plan[T]) -> T:
    """Carry a plan out in the running task; the database is asked in Django's thread for that."""
    driver = table.backend.async_driver
    try:
        request = plan.send(None)
        while True:
            try:
                if isinstance(request, Call):
                    answer = await sync_to_async(request.function)(*request.arguments)
                else:
                    answer = await driver.run(request)
            except UNREACHED as error:
                request = plan.throw(error)
            else:
                request = plan.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


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
        """Give the instance in the answer to `step()`; None when there is more to do."""
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
        """Do what follows when `step()` was no hit, or has failed."""
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
        """Give the row that is in memory, None for one that is absent; `NOT_NEAR` for neither."""
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
        near = self.near
        if near is None:
            return (yield from self.find(keys, caller))
        found: dict[Any, Any] = {}
        missing = self._take_near(keys, found, caller)
        pinging = {self._who_pings(near, key) for key in missing} - {None}
        if pinging:
            yield _wait_for_ping(pinging.pop(), caller)
            missing = self._take_near(missing, found, caller)
        if missing:
            found.update((yield from self.find(missing, caller)))
        return {key: row for key in keys if (row := found.get(key)) is not None}

    def _take_near(self, keys: Sequence[Any], found: dict[Any, Any], caller: Caller) -> list[Any]:
        """Put what is in memory into `found`; give the keys of the others."""
        missing = []
        for key in keys:
            row = self.near_hit(key, caller)
            if row is NOT_NEAR:
                missing.append(key)
            else:
                found[key] = row
        return missing

    def _who_pings(self, near: NearReader, key: Any) -> Any:
        """Tell who could wait for a PING that makes something servable of a key, or None."""
        return near.who_pings(self._encode_key(key))

    def _note_seen(self, cells: Iterable[bytes], rows: Iterable[models.Model]) -> None:
        """Rows were read from the database: what is kept of them may be older."""
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
        """Have rows on the server; how many there are."""
        lookup = self
        if isinstance(keys, models.QuerySet | models.Manager):
            lookup = self.by_pk
            keys = yield Call(list, (keys.using(self.table.database).values_list("pk", flat=True),))
        count = 0
        for chunk in slices(distinct_keys(keys), WARM_CHUNK):
            count += len((yield from lookup.find(chunk, caller)))
        return count

    def next_page(self, scan: Scan, caller: Caller) -> Plan[list[M]]:
        """Get the rows of the next page of what is on the server, as readers would get them."""
        rows: list[M] = yield scan.next_page()
        if not self.table.shows_all_alike or caller.has_changed(self.table):
            found: dict[Any, M] = yield Call(self.by_pk.ask_database, ([row.pk for row in rows],))
            rows = list(found.values())
        return rows

    def _may_use_server(self, caller: Caller) -> bool | None:
        """Tell whether the server's rows count; None when it has failed and should be tried."""
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
        load = caller.adapt(partial(self._load, asked))
        found = yield from self._reader.read(list(asked), load, token, answers, is_peek)
        return {key: found[cell] for key, cell in cell_of.items() if cell in found}

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


class FieldLookup(PkLookup[M]):
    """Looks up rows by another unique field.

    The server has, for a value of the field, the primary key of the row that had it when it was
    last looked for. That is a hint and no more: the row, which is never old, tells whether it has
    the value still. So hints need no invalidation.
    """

    def __init__(self, table: CachedTable, options: Options, field: models.Field[Any, Any]) -> None:
        super().__init__(table, options)
        self.by_pk = PkLookup(table, options)
        self._field = field
        self._form = KeyForm(field, table.database)
        names = Names(table.backend.config.key_prefix, (*table.names.path, field.attname))
        near = NearRows(table.backend, names)
        self._hints_kept = near
        self._near_hints = None if options.near is None else near.begin(HINTS_BOUND_S)
        self._hints: Reader[Any] = Reader(
            RowStore(names, table.store.fingerprint, near, _keep_hint),
            Counters(names.counts),
            _write_hint,
            _read_hint,
            options.lease_ms,
            self._timeout_ms,
            absent_ms=None,
        )
        self.store = self._hints.store
        self._cell_of = self._hint_for
        self._encode_key = self._form.encode

    def hit(self, answers: Sequence[Answer]) -> None:
        """None: the step reads a hint, and the row is another request."""

    def near_hit(self, key: Any, caller: Caller) -> Any:
        """Give the row that is in memory and has this value; `NOT_NEAR` if there is none."""
        value = self._encode_key(key)
        pk = self._near_pk(value)
        if pk is None:
            return NOT_NEAR
        row = self.by_pk.near_hit(pk, caller)
        if row is NOT_NEAR or row is None:
            return NOT_NEAR
        has = getattr(row, self._field.attname)
        return row if has is not None and self._encode_key(has) == value else NOT_NEAR

    def _near_pk(self, value: bytes) -> Any:
        """Give the primary key in the hint that is in memory, however old; None without one."""
        assert self._near_hints is not None  # it is asked of lookups with near
        entry = self._near_hints.state.lookup(value, NEVER, NEVER)
        return None if entry is None else entry.value

    def _who_pings(self, near: NearReader, key: Any) -> Any:
        value = self._encode_key(key)
        pk = self._near_pk(value)
        if pk is None and self._near_hints is not None:
            self._near_hints.who_pings(value)  # in a Cluster another node may have them
        # Without a hint nothing can be served; the reader is told that somebody reads.
        return near.who_pings(b"" if pk is None else self.table.key_form.encode(pk))

    def _find(
        self,
        keys: Sequence[Any],
        caller: Caller,
        is_peek: bool,
        token: bytes,
        answers: Sequence[Answer] | None = None,
    ) -> Operation[dict[Any, M]]:
        hint_of = {key: self._hint_for(key) for key in keys}
        asked = {hint: key for key, hint in hint_of.items()}
        found: dict[bytes, M] = {}
        load = caller.adapt(partial(self._load_hints, asked, found))
        hinted = yield from self._hints.read(list(asked), load, token, answers, is_peek)
        pks = list(set(hinted.values()))
        rows = yield from self.by_pk._find(pks, caller, is_peek, new_token())
        misled = []
        for hint, pk in hinted.items():
            row = rows.get(pk)
            if row is not None and self._hint_of(row) == hint:
                found[hint] = row
            else:
                misled.append(hint)
        if misled:
            yield from self.store.lift(misled, new_token())
            self._hints_kept.drop(misled)
            self.table.counters.misses += len(misled)
            loaded = yield Call(caller.adapt(partial(self._load, asked)), (misled,))
            found.update(loaded.found)
        return {key: found[hint] for key, hint in hint_of.items() if hint in found}

    def pks_of(self, keys: Sequence[Any]) -> Sequence[Any] | None:
        if not all(map(self._form.is_exact, keys)):
            return None
        # The row that had the value, if the server has a hint of it, and the one that has it now.
        asked = {self._hint_for(key): key for key in keys}
        operation = self.store.read(list(asked), new_token(), 0)
        answers: Sequence[Answer] = ()
        with contextlib.suppress(*UNREACHED):  # who removes the rows will notice
            answers = self.table.backend.driver.run(operation)
        had = [_read_hint(answer) for answer in answers if isinstance(answer, bytes) and answer]
        have = [row.pk for row in self._load(asked, list(asked)).found.values()]
        return list({*had, *have} - {None})

    def _hint_for(self, value: Any) -> bytes:
        """Name the cell of the hint for a value of the field."""
        return self.store.prefix + self._form.encode(value)

    def _match(self, asked: Mapping[bytes, Any], hints: Sequence[bytes]) -> Matched:
        wanted = {hint: asked[hint] for hint in hints}
        return load_by_field(self.table, self._field.attname, self._form, wanted, self._hint_of)

    def _load(self, asked: Mapping[bytes, Any], cells: Sequence[bytes]) -> Loaded[models.Model]:
        rows = self._match(asked, cells).rows()
        self._note_seen((), rows.values())
        return Loaded(rows, may_be_kept=False)

    def _load_hints(
        self, asked: Mapping[bytes, Any], others: dict[bytes, Any], hints: Sequence[bytes]
    ) -> Loaded[Any]:
        """Ask the database for hints. Rows that it spells otherwise have none: see `others`."""
        matched = self._match(asked, hints)
        others.update(matched.other)
        self._note_seen((), matched.other.values())
        self.table.counters.misses += len(matched.other)
        pks = {hint: row.pk for hint, row in matched.own.items()}
        return Loaded(pks, may_be_kept=True, unsure=matched.unsure)

    def _hint_of(self, row: models.Model) -> bytes | None:
        """The key of the hint that the row has; None when it has no value."""
        value = getattr(row, self._field.attname)
        return None if value is None else self._hint_for(value)


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


def _keep_hint(body: bytes) -> Kept | None:
    """Say what the process keeps of a hint."""
    pk = _read_hint(body) if len(body) >= SHORTEST or body not in NOT_ROWS else None
    return None if pk is None else Kept(pk, len(body))


def _write_hint(pk: Any) -> bytes | None:
    try:
        return messagepack.dumps(pk)
    except SerializationError:
        return None


def _read_hint(stored: bytes) -> Any:
    try:
        return messagepack.loads(stored)
    except DeserializationError:
        return None
