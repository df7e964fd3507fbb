"""Look rows up by another unique field than the primary key."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from django.db import models

from redisdict.codec import messagepack
from redisdict.exceptions import DeserializationError, SerializationError
from redisdict.mapping.keys import Names
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.keys import KeyForm
from redisdict.modelcache.loading import Matched, load_by_field
from redisdict.modelcache.lookup import PkLookup, Reading
from redisdict.modelcache.near import NOT_NEAR, Kept, NearRows
from redisdict.modelcache.options import Options
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.plans import Caller
from redisdict.modelcache.slots.lease import NOT_ROWS, SHORTEST, Loaded, Reader
from redisdict.modelcache.slots.store import Answer, RowStore, new_token
from redisdict.modelcache.stats import Counters
from redisdict.near.space import Reader as NearReader
from redisdict.near.state import NEVER
from redisdict.wire.requests import Call, Operation

M = TypeVar("M", bound=models.Model)

#: The bound in seconds for changes of hints in memory; such changes don't matter.
HINTS_BOUND_S = 3600.0


class FieldLookup(PkLookup[M]):
    """Looks up rows by another unique field.

    For a value of the field, the server has the primary key of the row that had it at the last
    lookup. That is only a hint: the row, which is never old, shows whether it still has the value.
    So hints need no invalidation.
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
        self.store = RowStore(names, table.store.fingerprint, near, _keep_hint)
        self._hints: Reader[Any] = Reader(
            self.store,
            Counters(names.counts),
            _write_hint,
            _read_hint,
            options.lease_ms,
            self._timeout_ms,
            absent_ms=None,
        )
        self._cell_of = self._hint_for
        self._encode_key = self._form.encode

    def hit(self, answers: Sequence[Answer]) -> None:
        """None: the step reads a hint, and the row is another request."""

    def near_hit(self, key: Any, caller: Caller) -> Any:
        """Return the row that is in memory and has this value; `NOT_NEAR` if there is none."""
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
        """Return the primary key in the hint that is in memory, however old; None without one."""
        assert self._near_hints is not None  # it is asked of lookups with near
        entry = self._near_hints.state.lookup(value, NEVER, NEVER)
        return None if entry is None else entry.value

    def _who_pings(self, near: NearReader, key: Any) -> Any:
        value = self._encode_key(key)
        pk = self._near_pk(value)
        if pk is None and self._near_hints is not None:
            self._near_hints.who_pings(value)  # in a Cluster another node may have them
        # Without a hint nothing can be served; the reader learns that there are reads.
        return near.who_pings(b"" if pk is None else self.table.key_form.encode(pk))

    def _read(
        self, asked: Mapping[bytes, Any], caller: Caller, how: Reading
    ) -> Operation[Mapping[bytes, Any]]:
        """Read hints, and the rows that they lead to."""
        found: dict[bytes, M] = {}
        load = caller.adapt(partial(self._load_hints, asked, found))
        hinted = yield from self._hints.read(list(asked), load, *how)
        pks = list(set(hinted.values()))
        _, _, is_peek = how
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
        return found

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


def _keep_hint(body: bytes) -> Kept | None:
    """Make the entry in memory for a hint."""
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
