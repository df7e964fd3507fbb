"""How one `ModelDict` sees a cached table: by which field, with which time limits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from django.db import models

from redisdict.codec import messagepack
from redisdict.exceptions import DeserializationError, SerializationError
from redisdict.mapping.keys import Names
from redisdict.modelcache.cells import Answer, Cells, new_token
from redisdict.modelcache.keys import KeyForm
from redisdict.modelcache.loading import load_by_field, load_rows
from redisdict.modelcache.matching import Matched
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.reading import SHORTEST, Loaded, Reader
from redisdict.modelcache.tables import CachedTable
from redisdict.modelcache.tally import Tally
from redisdict.wire.requests import Call, Operation, Step

__all__ = ["FieldView", "Limits", "View"]

M = TypeVar("M", bound=models.Model)

#: Makes of a function that asks the database what the driver can call: the function itself, or one
#: that gives an awaitable.
Adapt = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in milliseconds; None means for ever, or, of `absent_ms`, not at all."""

    timeout_ms: int | None
    absent_ms: int | None
    lease_ms: int


class View(Generic[M]):
    """Rows by their primary key."""

    def __init__(self, table: CachedTable, limits: Limits) -> None:
        self.table = table
        self.by_pk: View[M] = self
        self.cells = table.cells
        self.lease_ms = limits.lease_ms
        self.reader: Reader[M] = Reader(
            table.cells,
            table.tally,
            table.encode,
            table.decode,
            limits.lease_ms,
            limits.timeout_ms,
            limits.absent_ms,
        )

    def first_request(self, key: Any, lease_ms: int) -> Step[Sequence[Answer]]:
        """The step that reads one row: a hit needs no more than that."""
        token = new_token()
        rows = (self.table.key(key),)
        command = self.cells.read_command(rows, token, lease_ms)
        return Step(command, self.cells.read, rows, token, lease_ms)

    def hit(self, answers: Sequence[Answer]) -> M | None:
        """The instance in the answer to `first_request()`, if there is one."""
        body = answers[0]
        if type(body) is not bytes or len(body) < SHORTEST:
            return None
        instance: M | None = self.table.decode(body)
        if instance is not None:
            self.table.tally.hits += 1
        return instance

    def go_on(
        self, key: Any, adapt: Adapt, request: Step[Any], answers: Sequence[Answer]
    ) -> Operation[M | None]:
        """What follows when `first_request()` was no hit."""
        rows, token, lease_ms = request.arguments
        load = adapt(partial(_load, self.table, {rows[0]: key}))
        found = yield from self.reader.read(rows, load, token, answers, is_peek=not lease_ms)
        return found.get(rows[0])

    def find(
        self, keys: Sequence[Any], adapt: Adapt, *, is_peek: bool = False
    ) -> Operation[dict[Any, M]]:
        """Those of the rows that are there, by key."""
        row_of = {key: self.table.key(key) for key in keys}
        by_row = {row: key for key, row in row_of.items()}
        load = adapt(partial(_load, self.table, by_row))
        found = yield from self.reader.read(list(by_row), load, new_token(), is_peek=is_peek)
        return {key: found[row] for key, row in row_of.items() if row in found}

    def ask_database(self, keys: Sequence[Any]) -> dict[Any, M]:
        """The same from the database alone."""
        table = self.table
        table.tally.misses += len(keys)
        found: Mapping[bytes, Any] = load_rows(table, keys).found
        return {key: found[row] for key in keys if (row := table.key(key)) in found}

    def pks_of(self, keys: Sequence[Any]) -> Sequence[Any] | None:
        """The primary keys of rows, for removing them; None when only the database can tell."""
        return keys


class FieldView(View[M]):
    """Rows by another unique field.

    The server has, for a value of the field, the primary key of the row that had it when it was
    last looked for. That is a hint and no more: the row, which is never old, tells whether it has
    the value still. So hints need no invalidation.
    """

    def __init__(self, table: CachedTable, limits: Limits, field: models.Field[Any, Any]) -> None:
        super().__init__(table, limits)
        self.by_pk = View(table, limits)
        self._field = field
        self._form = KeyForm(field, table.database)
        names = Names(table.backend.config.key_prefix, (*table.names.path, field.attname))
        self._hints: Reader[Any] = Reader(
            Cells(names, table.cells.fingerprint),
            Tally(names.counts),
            _write_hint,
            _read_hint,
            limits.lease_ms,
            limits.timeout_ms,
            absent_ms=None,
        )

    def find(
        self, keys: Sequence[Any], adapt: Adapt, *, is_peek: bool = False
    ) -> Operation[dict[Any, M]]:
        hints = self._hints
        hint_of = self._hints_of(keys)
        asked = {hint: key for key, hint in hint_of.items()}
        found: dict[bytes, M] = {}
        load = adapt(partial(self._load_hints, asked, found))
        hinted = yield from hints.read(list(asked), load, new_token(), is_peek=is_peek)
        pks = list(set(hinted.values()))
        rows = yield from self.by_pk.find(pks, adapt, is_peek=is_peek)
        misled = []
        for hint, pk in hinted.items():
            row = rows.get(pk)
            if row is not None and self._hint_of(row) == hint:
                found[hint] = row
            else:
                misled.append(hint)
        if misled:
            yield from hints.cells.lift(misled, new_token())
            self.table.tally.misses += len(misled)
            ask = adapt(partial(self._load, asked))
            matched: Matched = yield Call(ask, (misled,))
            found.update(matched.rows())
        return {key: found[hint] for key, hint in hint_of.items() if hint in found}

    def ask_database(self, keys: Sequence[Any]) -> dict[Any, M]:
        self.table.tally.misses += len(keys)
        hint_of = self._hints_of(keys)
        asked = {hint: key for key, hint in hint_of.items()}
        found: dict[bytes, Any] = self._load(asked, list(asked)).rows()
        return {key: found[hint] for key, hint in hint_of.items() if hint in found}

    def pks_of(self, keys: Sequence[Any]) -> Sequence[Any] | None:
        if not all(map(self._form.is_exact, keys)):
            return None
        # The row that had the value, if the server has a hint of it, and the one that has it now.
        asked = {hint: key for key, hint in self._hints_of(keys).items()}
        operation = self._hints.cells.read(list(asked), new_token(), 0)
        answers: Sequence[Answer] = ()
        with contextlib.suppress(*UNREACHED):  # who removes the rows will notice
            answers = self.table.backend.driver.run(operation)
        had = [_read_hint(answer) for answer in answers if isinstance(answer, bytes) and answer]
        have = [row.pk for row in self._load(asked, list(asked)).rows().values()]
        return list({*had, *have} - {None})

    def _hints_of(self, keys: Sequence[Any]) -> dict[Any, bytes]:
        prefix = self._hints.cells.prefix
        return {key: prefix + self._form.encode(key) for key in keys}

    def _load(self, asked: Mapping[bytes, Any], hints: Sequence[bytes]) -> Matched:
        """Ask the database for the rows that have the values of these hints."""
        wanted = {hint: asked[hint] for hint in hints}
        return load_by_field(self.table, self._field.attname, self._form, wanted, self._hint_of)

    def _load_hints(
        self, asked: Mapping[bytes, Any], others: dict[bytes, Any], hints: Sequence[bytes]
    ) -> Loaded[Any]:
        """Ask the database for hints. Rows that it spells otherwise have none: see `others`."""
        matched = self._load(asked, hints)
        others.update(matched.other)
        self.table.tally.misses += len(matched.other)
        pks = {hint: row.pk for hint, row in matched.own.items()}
        return Loaded(pks, may_be_kept=True, unsure=matched.unsure)

    def _hint_of(self, row: models.Model) -> bytes | None:
        """The key of the hint that the row has; None when it has no value."""
        value = getattr(row, self._field.attname)
        return None if value is None else self._hints.cells.prefix + self._form.encode(value)


def _load(
    table: CachedTable, by_row: Mapping[bytes, Any], rows: Sequence[bytes]
) -> Loaded[models.Model]:
    return load_rows(table, [by_row[row] for row in rows])


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
