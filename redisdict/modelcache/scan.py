"""Scan the rows of a table that are on the server."""

from __future__ import annotations

from typing import Any

from redisdict.mapping.layouts.base import SCAN_COUNT
from redisdict.mapping.scanning import Pages
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.slots.lease import SHORTEST
from redisdict.modelcache.slots.store import new_token
from redisdict.wire.requests import Operation
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
