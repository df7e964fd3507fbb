"""Define the methods of `ModelLists`, the mapping of a field's values to lists of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from django.db import models
from django.http import Http404

from redisdict.modelcache.cached_models import CachedModel, CachedTable
from redisdict.modelcache.handle import Handle, refuse_to_block
from redisdict.modelcache.invalidation.transactions import note_or_remove, note_or_remove_rows
from redisdict.modelcache.lookup import PkLookup, distinct_keys
from redisdict.modelcache.members import Members
from redisdict.modelcache.options import Options, listed_field
from redisdict.modelcache.plans import TASK, THREAD, arun, run
from redisdict.modelcache.registrations import register
from redisdict.modelcache.related.lookup import RowsLookup

M = TypeVar("M", bound=models.Model)


class ListMethods(Handle[M]):
    """The methods of a `ModelLists` that differ from those of a `ModelDict`."""

    _members: CachedModel

    def __repr__(self) -> str:
        field = self._field
        assert field is not None
        label = self.model._meta.label
        return f"<ModelLists of {label} by {field.name} on {self._cached.alias!r}>"

    def _bind(self) -> None:
        super()._bind()
        field = self._field
        assert field is not None
        self._members = register(
            self.model, self._using, self._options, members=Members(field.attname)
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_members"}

    def _find_field(self) -> models.Field[Any, Any]:
        return listed_field(self.model, self._key)

    def _make_lookup(self, table: CachedTable) -> PkLookup[M]:
        return lookup_of(self._members, table, self._options, self._field)

    # One list.

    def __getitem__(self, key: Any) -> list[M]:
        return self._list(key, "d[key]", "await d.agetitem(key)")

    async def agetitem(self, key: Any) -> list[M]:
        """As `d[key]`."""
        return await self._alist(key)

    def __contains__(self, key: object) -> bool:
        """Return whether any row has the value. Costs the same as `d[key]`."""
        return bool(self._list(key, "`key in d`", "await d.acontains(key)"))

    async def acontains(self, key: object) -> bool:
        """As `key in d`."""
        return bool(await self._alist(key))

    def get(self, key: Any, default: Any = ()) -> list[M]:
        """As `d[key]`; `list(default)` for a value that no row has.

        Two round trips: EVALSHA for the list, and EVALSHA for its rows. On a miss also a query and
        an EVALSHA for each.
        """
        return self._list(key, "get()", "await d.aget(…)") or list(default or ())

    async def aget(self, key: Any, default: Any = ()) -> list[M]:
        """As `get()`."""
        return await self._alist(key) or list(default or ())

    def get_or_404(self, key: Any) -> list[M]:
        """Get the list, for a view. Costs the same as `get()`.

        Raises:
            Http404: no row has the value; with the message of `get_list_or_404()`.
        """
        found = self._list(key, "get_or_404()", "await d.aget_or_404(…)")
        self._refuse_empty(found)
        return found

    async def aget_or_404(self, key: Any) -> list[M]:
        """As `get_or_404()`."""
        found = await self._alist(key)
        self._refuse_empty(found)
        return found

    def _refuse_empty(self, found: list[M]) -> None:
        if not found:
            raise Http404(f"No {self.model._meta.object_name} matches the given query.")

    def _list(self, key: Any, called: str, twin: str) -> list[M]:
        refuse_to_block(called, twin)
        if key is None:
            return []
        lookup: Any = self._lookup()
        found: list[M] = run(lookup.table, lookup.find([key], THREAD))[key]
        return found

    async def _alist(self, key: Any) -> list[M]:
        if key is None:
            return []
        lookup: Any = await self._alookup()
        found: list[M] = (await arun(lookup.table, lookup.find([key], TASK)))[key]
        return found

    # Several lists.

    def get_many(self, keys: Iterable[Any]) -> dict[Any, list[M]]:
        """Get the list of each value, empty ones too; None is left out.

        For each 1,000 lists or rows one EVALSHA, from 50 on together with an MGET in a transaction.
        On a miss also a query and an EVALSHA for each.
        """
        refuse_to_block("get_many()", "await d.aget_many(…)")
        lookup: Any = self._lookup()
        found: dict[Any, list[M]] = run(lookup.table, lookup.find(distinct_keys(keys), THREAD))
        return found

    async def aget_many(self, keys: Iterable[Any]) -> dict[Any, list[M]]:
        """As `get_many()`."""
        lookup: Any = await self._alookup()
        found: dict[Any, list[M]] = await arun(lookup.table, lookup.find(distinct_keys(keys), TASK))
        return found

    def _with_keys(self, rows: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        return iter(rows)  # they have them

    # By hand.

    def invalidate(self, *keys: Any) -> None:
        """Invalidate these lists, and the rows in them.

        After a change by another program, name the old and the new value of a row that has moved.
        In a transaction it takes effect at the commit. A query and two EVALSHA.
        """
        refuse_to_block("invalidate()", "await d.ainvalidate(…)")
        lookup: Any = self._lookup()
        wanted = distinct_keys(keys)
        pks = lookup.pks_of(wanted)
        database = lookup.table.database
        if pks is None:
            note_or_remove_rows([lookup.table.all_rows, lookup.by_pk.table.all_rows], database)
            return
        note_or_remove(self.model, pks, database, has_moved=False)
        note_or_remove_rows([(lookup.table, lookup.table.keys(wanted))], database)


def lookup_of(members: CachedModel, rows: CachedTable, options: Options, field: Any) -> RowsLookup:
    """Get the lookup of lists for a table of rows, in the scope of its readers."""
    table = members.table_at(rows.database, rows.place)
    if rows.is_scoped:
        table = table.in_scope(rows.scope_name)
    return RowsLookup(table, PkLookup(rows, options), options, field)
