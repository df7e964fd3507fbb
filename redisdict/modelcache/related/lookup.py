"""Look up lists of rows by the value of a field: first the keys of the rows, then the rows.

A list's cell has the keys of its rows, and gets a barrier by every change of the list; the rows
come from their own cells. Between the two reads a row may have moved or gone. The row itself shows
that, because it is never old, and then the database is asked for the list in one query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from django.db import models

from redisdict.mapping.layouts.base import slices
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.lookup import WARM_CHUNK, PkLookup, distinct_keys
from redisdict.modelcache.members import read_members, write_members
from redisdict.modelcache.options import Options
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.plans import Caller, Plan
from redisdict.modelcache.related.loading import UNLISTED, load_listed_rows, load_lists
from redisdict.modelcache.scan import Scan
from redisdict.modelcache.slots.lease import Loaded, Reader
from redisdict.modelcache.slots.store import Answer, new_token
from redisdict.wire.requests import Call, Step

M = TypeVar("M", bound=models.Model)


class ListLookup(PkLookup[Any]):
    """Looks up the keys of the rows with a value, most often their primary keys.

    Args:
        table: of lists.
    """

    def __init__(self, table: CachedTable, options: Options) -> None:
        super().__init__(table, options)
        self._reader = Reader(
            table.store,
            table.counters,
            write_members,
            read_members,
            options.lease_ms,
            self._timeout_ms,
            absent_ms=None,
        )

    def find_lists(self, keys: Sequence[Any], caller: Caller) -> Plan[dict[Any, Any] | None]:
        """Get the list of each value, or `UNLISTED`; None if the server's lists don't count now.

        One EVALSHA. On a miss a query and an EVALSHA more.

        Raises:
            TypeError: the field can't have one of the values.
        """
        may_use = self._may_use_server(caller)
        if may_use is None:
            may_use = yield from self._recover()
        if not may_use:
            return None
        try:
            found: dict[Any, Any] = yield self._find(
                keys, caller, not caller.may_keep(self.table), new_token()
            )
        except UNREACHED as error:
            self._note_failure(error)
            return None
        return found

    def find_lists_near(self, keys: Sequence[Any], caller: Caller) -> Plan[dict[Any, Any] | None]:
        """Get the same, as far as may be from memory."""
        found = yield from self._find_near(keys, caller)
        if missing := [key for key in keys if key not in found]:
            others = yield from self.find_lists(missing, caller)
            if others is None:
                return None
            found.update(others)
        return found

    def ask_lists(self, keys: Sequence[Any]) -> dict[Any, list[Any]]:
        """Get the lists of values that are exact from the database alone. One query."""
        self.table.counters.misses += len(keys)
        asked = {self._cell_of(key): key for key in keys}
        found = self._load(asked, list(asked)).found
        return {key: found[cell] for cell, key in asked.items()}

    def _load(self, asked: Mapping[bytes, Any], cells: Sequence[bytes]) -> Loaded[Any]:
        loaded = load_lists(self.table, {cell: asked[cell] for cell in cells})
        self._note_seen(cells, ())
        return loaded


class RowsLookup(ListLookup):
    """Looks up the rows themselves: as lists by key, where `PkLookup` has one row for each.

    Args:
        rows: looks them up by their primary keys.
        field: by whose values the lists are kept.
    """

    def __init__(
        self,
        table: CachedTable,
        rows: PkLookup[Any],
        options: Options,
        field: models.Field[Any, Any],
    ) -> None:
        super().__init__(table, options)
        self.by_pk = rows
        self._field = field

    def step(self, key: Any, caller: Caller) -> Step[Sequence[Answer]] | None:
        """None: a list and its rows are two requests."""
        return None

    def find(self, keys: Sequence[Any], caller: Caller) -> Plan[dict[Any, Any]]:
        """Get the rows that have each of these values, in the order of their primary keys."""
        for key in keys:
            self._encode_key(key)  # raises TypeError, whoever is asked then
        lists = yield from self.find_lists_near(keys, caller)
        if lists is None:
            asked: dict[Any, Any] = yield Call(self.ask_database, (keys,))
            return asked
        listed = {key: pks for key, pks in lists.items() if pks is not UNLISTED}
        pks = list({pk: None for pks in listed.values() for pk in pks})
        rows: dict[Any, models.Model] = {}
        if pks:
            rows = yield from self.by_pk.find_near(pks, caller)
        found = {}
        for key, pks in listed.items():
            cell = self._encode_key(key)
            members = [row for pk in pks if (row := rows.get(pk)) is not None]
            if len(members) == len(pks) and all(self._is_in(cell, row) for row in members):
                found[key] = members
        others = [key for key in keys if key not in found]
        if others:
            found.update((yield Call(self.ask_database, (others,))))
        return {key: found[key] for key in keys}

    find_near = find

    def _is_in(self, cell: bytes, row: models.Model) -> bool:
        value = getattr(row, self._field.attname)
        return value is not None and self._encode_key(value) == cell

    def ask_database(self, keys: Sequence[Any]) -> dict[Any, Any]:
        """Get the same from the database alone. One query, for values that are exact."""
        self.table.counters.misses += len(keys)
        rows = load_listed_rows(self.by_pk.table, self._field, self.table.key_form, keys)
        self._note_seen([self._cell_of(key) for key in keys], ())
        self.by_pk._note_seen((), (row for some in rows.values() for row in some))
        return rows

    def next_page(self, scan: Scan, caller: Caller) -> Plan[list[Any]]:
        """Get the next page of the lists on the server, as `(value, rows)`.

        The server doesn't have the value of a list without rows.
        """
        lists: list[Any] = yield scan.next_page()
        firsts = [pks[0] for pks in lists if pks]
        if not firsts:
            return []
        rows = yield from self.by_pk.find(firsts, caller)
        values = [getattr(row, self._field.attname) for row in rows.values()]
        found = yield from self.find(distinct_keys(values), caller)
        given = scan.__dict__.setdefault("given", set())
        pairs = [(key, some) for key, some in found.items() if some and key not in given]
        given.update(key for key, _ in pairs)
        return pairs

    def warm(self, keys: Any, caller: Caller) -> Plan[int]:
        """Store lists and their rows on the server; return how many rows there are.

        Args:
            keys: values, or a queryset, which means the values that its rows have.
        """
        if isinstance(keys, models.QuerySet | models.Manager):
            rows = keys.using(self.table.database).order_by()
            keys = yield Call(list, (rows.values_list(self._field.attname, flat=True).distinct(),))
        count = 0
        for chunk in slices(distinct_keys(keys), WARM_CHUNK):
            found = yield from self.find(chunk, caller)
            count += sum(map(len, found.values()))
        return count

    def pks_of(self, keys: Sequence[Any]) -> Sequence[Any] | None:
        """Find the rows that are in these lists, or were; None when only the database can tell."""
        form = self.table.key_form
        if not all(map(form.is_exact, keys)):
            return None
        rows = load_listed_rows(self.by_pk.table, self._field, form, keys)
        now = [row.pk for some in rows.values() for row in some]
        return list(dict.fromkeys([*now, *self._listed_pks(keys)]))

    def _listed_pks(self, keys: Sequence[Any]) -> list[Any]:
        cells = [self._cell_of(key) for key in keys]
        try:
            answers: Sequence[Answer] = self.table.backend.driver.run(
                self.store.read(cells, new_token(), 0)
            )
        except UNREACHED:  # who removes the rows will notice
            return []
        bodies = [one for one in answers if isinstance(one, bytes)]
        return [pk for body in bodies for pk in read_members(body) or ()]
