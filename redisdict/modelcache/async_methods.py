"""The methods of `ModelDict` for tasks: the same operations, run by the async driver.

Each does what the method without the `a` does. The database is asked in Django's thread for
synchronous code, where its connections are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Generic, TypeVar

from asgiref.sync import sync_to_async
from django.db import models

from redisdict.mapping.layouts.base import slices
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.sync_methods import WARM_CHUNK, SyncMethods, distinct_keys
from redisdict.modelcache.tally import MOST_HITS, CacheStats
from redisdict.modelcache.views import View
from redisdict.modelcache.walking import Walk

__all__ = ["AsyncMethods"]

M = TypeVar("M", bound=models.Model)


class AsyncMethods(SyncMethods[M], Generic[M]):
    """The async twins, under the same names with an `a` before them.

    In which thread a task's queries will run isn't known here. So a transaction of any thread that
    has changed the table counts as the task's own, and a reader whose row will turn out not to be
    kept takes a lease all the same, and gives it back.
    """

    async def agetitem(self, key: Any) -> M:
        """As `d[key]`, with its KeyError."""
        found = await self._afind(key)
        if found is None:
            raise KeyError(key)
        return found

    async def acontains(self, key: object) -> bool:
        """As `key in d`."""
        return await self._afind(key) is not None

    async def aget(self, key: Any, default: Any = None) -> Any:
        """As `get()`."""
        found = await self._afind(key)
        return default if found is None else found

    async def aget_or_404(self, key: Any) -> M:
        """As `get_or_404()`."""
        return self._or_404(await self._afind(key))

    async def aget_many(self, keys: Iterable[Any]) -> dict[Any, M]:
        """As `get_many()`."""
        return await self._aread(await self._aview(), distinct_keys(keys))

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for key, _ in self.aitems():
            yield key

    async def alen(self) -> int:
        """As `len(d)`."""
        return len([None async for _ in self.aitems()])

    async def akeys(self) -> AsyncIterator[Any]:
        """As `keys()`."""
        async for key, _ in self.aitems():
            yield key

    async def avalues(self) -> AsyncIterator[M]:
        """As `values()`."""
        async for _, row in self.aitems():
            yield row

    async def aitems(self) -> AsyncIterator[tuple[Any, M]]:
        """As `items()`."""
        view = await self._aview()
        walk = Walk(view.table)
        while not walk.is_over:
            rows = await view.table.backend.async_driver.run(walk.next_page())
            if not view.table.shows_all_alike or view.table.changed_by:
                pks = [row.pk for row in rows]
                rows = list((await sync_to_async(view.by_pk.ask_database)(pks)).values())
            for pair in self._with_keys(rows):
                yield pair

    async def awarm(self, rows: models.QuerySet[M] | Iterable[Any]) -> int:
        """As `warm()`."""
        view = await self._aview()
        if isinstance(rows, models.QuerySet | models.Manager):
            view = view.by_pk
            chosen = rows.using(view.table.database).values_list("pk", flat=True)
            keys = [pk async for pk in chosen]
        else:
            keys = distinct_keys(rows)
        found = [await self._aread(view, chunk) for chunk in slices(keys, WARM_CHUNK)]
        return sum(map(len, found))

    async def ainvalidate(self, *keys: Any) -> None:
        """As `invalidate()`."""
        await sync_to_async(self.invalidate)(*keys)

    async def aclear(self) -> None:
        """As `clear()`."""
        await sync_to_async(self.clear)()

    async def astats(self) -> CacheStats:
        """As `stats()`."""
        table = (await self._aview()).table
        return await table.backend.async_driver.run(table.tally.total())

    async def _afind(self, key: Any) -> M | None:
        if key is None:
            return None
        view = await self._aview()
        if view.by_pk is not view or not await self._amay_use_server(view):
            return (await self._aread(view, [key])).get(key)
        driver = view.table.backend.async_driver
        request = view.first_request(key, view.lease_ms)
        try:
            answers = await driver.do(request)
            found = view.hit(answers)
            if found is None:
                found = await driver.run(view.go_on(key, sync_to_async, request, answers))
            elif view.table.tally.hits >= MOST_HITS:
                await driver.run(view.table.tally.push())
        except UNREACHED as error:
            self._note_failure(view, error)
            found = (await sync_to_async(view.ask_database)([key])).get(key)
        return found

    async def _aread(self, view: View[M], keys: Sequence[Any]) -> dict[Any, M]:
        if await self._amay_use_server(view):
            try:
                return await view.table.backend.async_driver.run(view.find(keys, sync_to_async))
            except UNREACHED as error:
                self._note_failure(view, error)
        return await sync_to_async(view.ask_database)(keys)

    async def _amay_use_server(self, view: View[M]) -> bool:
        table = view.table
        if table.changed_by:
            return False
        may_use = self._trusts_server(table)
        if may_use is None:
            try:
                may_use = await table.backend.async_driver.run(table.outages.recover())
            except UNREACHED as error:
                self._note_failure(view, error)
                may_use = False
        return may_use
