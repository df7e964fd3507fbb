"""Ask the database what a cell should hold, and decide whether it does.

A cell holds a row or a list. The values of a row's fields are compared as a hit and a miss would
give them. Different bytes prove nothing, because a field may write equal values in several ways and
may give another value each time it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

from django.db import models

from redisdict.exceptions import SerializationError
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.keys import EPOCH, KeyForm
from redisdict.modelcache.loading import load_rows
from redisdict.modelcache.members import read_members
from redisdict.modelcache.related.loading import UNLISTED, load_lists
from redisdict.modelcache.sameness import MISSING, is_same
from redisdict.modelcache.slots.lease import ABSENT


class Asked(NamedTuple):
    """The database's content for some cells.

    Attributes:
        found: the content by cell; a cell whose row or list isn't known is left out.
        is_committed: whether this is the committed state, not that of a snapshot or a standby.
    """

    found: Mapping[bytes, Any]
    is_committed: bool


class Truth(Protocol):
    """The correct content of one table's cells."""

    def ask(self, bodies: Mapping[bytes, bytes]) -> Asked:
        """Read the correct content of these cells from the database. One query, or `in_bulk()`.

        Args:
            bodies: the cells' content, by cell.
        """

    def differences(self, body: bytes, found: Any) -> list[str] | None:
        """Name the differences between a cell's body and the database; None if that is unknown."""


def truth_of(table: CachedTable) -> Truth:
    """Return the comparer for the cells of a table."""
    return RowTruth(table) if table.cached.members is None else ListTruth(table)


class RowTruth:
    """Compares cells of rows."""

    def __init__(self, table: CachedTable) -> None:
        self._table = table
        cached = table.cached
        self._attnames = [
            field.attname
            for field in cached.model._meta.concrete_fields
            if field.name not in cached.exclude
        ]

    def ask(self, bodies: Mapping[bytes, bytes]) -> Asked:
        pks = {}
        for cell, body in bodies.items():
            pk = self._pk(cell, body)
            if pk is not None:
                pks[cell] = pk
        if not pks:
            return Asked({}, True)
        loaded = load_rows(self._table, pks.values())
        unsure = {*loaded.unsure}
        found = {cell: loaded.found.get(cell) for cell in pks if cell not in unsure}
        return Asked(found, loaded.may_be_kept)

    def _pk(self, cell: bytes, body: bytes) -> Any:
        if body == ABSENT:
            return value_of(self._table.key_form, cell)
        row = self._table.decode(body)
        if row is None or row.pk is None or self._table.key(row.pk) != cell:
            return None
        return row.pk

    def differences(self, body: bytes, found: models.Model | None) -> list[str] | None:
        if body == ABSENT or found is None:
            is_alike = body == ABSENT and found is None
            return [] if is_alike else ["the row is there" if found else "the row isn't there"]
        try:
            written = self._table.codec.encode(found)
        except SerializationError:
            written = b""  # the values are compared one by one
        if written == body:
            return []
        cached = self._table.decode(body)
        if cached is None:
            return None
        return self.compare(cached, found)

    def compare(self, one: models.Model, other: models.Model) -> list[str] | None:
        """Name the fields whose values differ between two instances; None if that is unknown."""
        mine, others = vars(one), vars(other)
        try:
            return [
                name
                for name in self._attnames
                if not is_same(mine.get(name, MISSING), others.get(name, MISSING))
            ]
        except Exception:  # noqa: BLE001  # a value's __eq__ may raise anything
            return None


class ListTruth:
    """Compares cells of lists, which have the keys of the rows with a value."""

    def __init__(self, table: CachedTable) -> None:
        self._table = table

    def ask(self, bodies: Mapping[bytes, bytes]) -> Asked:
        values = {cell: value_of(self._table.key_form, cell) for cell in bodies}
        asked = {cell: value for cell, value in values.items() if value is not None}
        if not asked:
            return Asked({}, True)
        loaded = load_lists(self._table, asked)
        found = {cell: some for cell, some in loaded.found.items() if some is not UNLISTED}
        return Asked(found, loaded.may_be_kept)

    def differences(self, body: bytes, found: Sequence[Any]) -> list[str] | None:
        cached = read_members(body)
        if cached is None:
            return None
        try:
            is_alike = cached == list(found)
        except Exception:  # noqa: BLE001  # a value's __eq__ may raise anything
            return None
        return [] if is_alike else ["the list"]


def value_of(form: KeyForm, cell: bytes) -> Any:
    """Find the value by which a cell is named; None if it is unknown.

    A key says nothing of types, so values that could be written so are tried: the right one has
    this very key.
    """
    # A name is escaped such that the first `}:` ends it.
    encoded = cell.partition(b"}:")[2]
    for read in (_as_text, _as_bytes, _as_instant):
        try:
            value = form.to_python(read(encoded))
            if form.encode(value) == encoded and form.is_exact(value):
                return value
        except (TypeError, ValueError, OverflowError):
            continue
    return None


def _as_text(encoded: bytes) -> Any:
    return encoded.decode("utf-8", "surrogatepass")


def _as_bytes(encoded: bytes) -> Any:
    return bytes.fromhex(encoded.decode("ascii"))


def _as_instant(encoded: bytes) -> Any:
    return EPOCH + timedelta(microseconds=int(encoded))
