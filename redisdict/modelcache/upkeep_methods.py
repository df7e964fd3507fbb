"""Fill a `ModelDict` by hand, invalidate rows, and read the counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections, models

from redisdict.modelcache.connection_state import is_in_transaction
from redisdict.modelcache.handle import Handle, refuse_to_block
from redisdict.modelcache.invalidation.transactions import note_or_remove, note_or_remove_all
from redisdict.modelcache.lookup import distinct_keys
from redisdict.modelcache.scan import Scan
from redisdict.modelcache.stats import CacheStats
from redisdict.near.space import NearStats

M = TypeVar("M", bound=models.Model)


class UpkeepMethods(Handle[M]):
    """Methods that fill and invalidate rows by hand, and read the counts."""

    def warm(self, rows: models.QuerySet[M] | Iterable[Any]) -> int:
        """Store rows on the server; return how many there are.

        Costs the same as `get_many()`, and for a queryset the query for its primary keys.

        Args:
            rows: a queryset, or keys.
        """
        return self._run("warm()", "await d.awarm(…)", lambda lookup, by: lookup.warm(rows, by))

    async def awarm(self, rows: models.QuerySet[M] | Iterable[Any]) -> int:
        """As `warm()`."""
        return await self._arun(lambda lookup, by: lookup.warm(rows, by))

    def invalidate(self, *keys: Any) -> None:
        """Invalidate these rows, for example after a change by another program.

        In a transaction it takes effect at the commit. One EVALSHA.
        """
        refuse_to_block("invalidate()", "await d.ainvalidate(…)")
        lookup = self._lookup()
        pks = lookup.pks_of(distinct_keys(keys))
        if pks is None:
            note_or_remove_all(self.model, lookup.table.database)
        else:
            note_or_remove(self.model, pks, lookup.table.database)

    async def ainvalidate(self, *keys: Any) -> None:
        """As `invalidate()`."""
        await sync_to_async(self.invalidate)(*keys)

    def clear(self) -> None:
        """Invalidate all rows. In a transaction it takes effect at the commit.

        One EVALSHA. Outside a transaction the stored rows are removed too: SCAN and EVALSHA.
        """
        refuse_to_block("clear()", "await d.aclear()")
        table = self._lookup().table
        note_or_remove_all(self.model, table.database)
        if not is_in_transaction(connections[table.database]):
            scan = Scan(table)
            while not scan.is_over:
                table.backend.driver.run(scan.remove_page())

    async def aclear(self) -> None:
        """As `clear()`."""
        await sync_to_async(self.clear)()

    def stats(self) -> CacheStats:
        """Get the counts of all processes. HINCRBY and HMGET.

        Raises:
            BackendUnavailable: the server can't be reached.
        """
        refuse_to_block("stats()", "await d.astats()")
        table = self._lookup().table
        return table.backend.driver.run(table.counters.total())

    async def astats(self) -> CacheStats:
        """As `stats()`."""
        table = (await self._alookup()).table
        return await table.backend.async_driver.run(table.counters.total())

    def near_stats(self) -> NearStats:
        """Get the counts of this process's memory for the table, over all its handles.

        For a dict by another field than the primary key, the index of field values that is kept
        beside the rows isn't counted. Sends nothing to the server.
        """
        refuse_to_block("near_stats()", "await d.anear_stats()")
        return self._lookup().table.near.stats()

    async def anear_stats(self) -> NearStats:
        """As `near_stats()`."""
        return (await self._alookup()).table.near.stats()
