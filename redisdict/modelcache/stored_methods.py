"""Iterate over the rows of a `ModelDict` that are on the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, TypeVar

from django.db import models

from redisdict.modelcache.handle import Handle, refuse_to_block
from redisdict.modelcache.plans import TASK, THREAD, arun, run
from redisdict.modelcache.scan import Scan

M = TypeVar("M", bound=models.Model)


class StoredMethods(Handle[M]):
    """Methods for the rows that are on the server: iteration, keys, values, items, length."""

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self._scan("iteration", "async for key in d"))

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for key, _ in self.aitems():
            yield key

    def __len__(self) -> int:
        """Count the rows that `items()` gives, at its cost.

        `list(d)` and `sorted(d)` ask for it first, so they cost twice as much as `list(d.keys())`.
        """
        return sum(1 for _ in self._scan("len()", "await d.alen()"))

    async def alen(self) -> int:
        """As `len(d)`."""
        return len([None async for _ in self.aitems()])

    def keys(self) -> Iterator[Any]:
        """Iterate over the keys of the rows on the server, in any order. As `items()`."""
        return (key for key, _ in self._scan("keys()", "async for key in d.akeys()"))

    async def akeys(self) -> AsyncIterator[Any]:
        """As `keys()`."""
        async for key, _ in self.aitems():
            yield key

    def values(self) -> Iterator[M]:
        """Iterate over the rows on the server, in any order. As `items()`."""
        return (row for _, row in self._scan("values()", "async for row in d.avalues()"))

    async def avalues(self) -> AsyncIterator[M]:
        """As `values()`."""
        async for _, row in self.aitems():
            yield row

    def items(self) -> Iterator[tuple[Any, M]]:
        """Iterate over the rows on the server, with their keys, in any order. SCAN and EVALSHA.

        Raises:
            BackendUnavailable: the server can't be reached.
        """
        return self._scan("items()", "async for key, row in d.aitems()")

    async def aitems(self) -> AsyncIterator[tuple[Any, M]]:
        """As `items()`."""
        lookup = await self._alookup()
        scan = Scan(lookup.table)
        while not scan.is_over:
            for pair in self._with_keys(await arun(lookup.table, lookup.next_page(scan, TASK))):
                yield pair

    def _scan(self, called: str, twin: str) -> Iterator[tuple[Any, M]]:
        refuse_to_block(called, twin)
        return self._pairs(called, twin)

    def _pairs(self, called: str, twin: str) -> Iterator[tuple[Any, M]]:
        refuse_to_block(called, twin)  # it may have been made elsewhere
        lookup = self._lookup()
        scan = Scan(lookup.table)
        while not scan.is_over:
            refuse_to_block(called, twin)
            yield from self._with_keys(run(lookup.table, lookup.next_page(scan, THREAD)))

    def _with_keys(self, rows: Iterable[M]) -> Iterator[tuple[Any, M]]:
        """Yield rows with the keys of the dict; rows without a value of the field are left out."""
        name = "pk" if self._field is None else self._field.attname
        return ((key, row) for row in rows if (key := getattr(row, name)) is not None)
