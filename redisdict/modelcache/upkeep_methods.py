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
    """Fills and removes rows by hand, and tells what was counted."""

    def warm(self, rows: models.QuerySet[M] | Iterable[Any]) -> int:
        """Have rows on the server; how many there are.

        Costs what `get_many()` does, and for a queryset the query for its primary keys.

        Args:
            rows: a queryset, or keys.
        """
        return self._run("warm()", "await d.awarm(…)", lambda lookup, by: lookup.warm(rows, by))

    async def awarm(self, rows: models.QuerySet[M] | Iterable[Any]) -> int:
        """As `warm()`."""
        return await self._arun(lambda lookup, by: lookup.warm(rows, by))

    def invalidate(self, *keys: Any) -> None:
        """Have these rows read from the database again: something else has changed them.

        In a transaction, when it is committed. One EVALSHA.
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
        """Have all rows read from the database again. In a transaction, when it is committed.

        One EVALSHA. Outside a transaction what was stored is removed too: SCAN and EVALSHA.
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
        """What was counted, in all processes. HINCRBY and HMGET.

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
        """What this process keeps in memory of the table, whichever handle has read it.

        By another field than the primary key, it says nothing of the fields' values that are kept
        beside the rows. Asks the server nothing.
        """
        refuse_to_block("near_stats()", "await d.anear_stats()")
        return self._lookup().table.near.stats()

    async def anear_stats(self) -> NearStats:
        """As `near_stats()`."""
        return (await self._alookup()).table.near.stats()
