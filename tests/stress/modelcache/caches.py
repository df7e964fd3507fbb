"""The caches under test, behind one face."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from django.core.cache import cache
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from redisdict import ModelDict
from redisdict.connections.requests import Call, Operation
from redisdict.modelcache import announcing, cells
from redisdict.modelcache.committing import Changed, change_behind_barriers, lift
from tests.stress.modelcache.models import Row, code_of

#: The share of the reads of several rows that go by another field than the primary key.
BY_CODE = 0.2

#: Seconds that the other caches keep a row.
TIMEOUT_S = 900


def load(pk: int) -> Row | None:
    return Row.objects.filter(pk=pk).first()


class Cache:
    """Reads rows; is told of what Django sends no signal for."""

    def get(self, pk: int) -> Row | None:
        raise NotImplementedError

    def get_many(self, pks: Sequence[int]) -> dict[int, Row]:
        """Those of the rows that are there, in whatever ways the cache has."""
        found = {pk: self.get(pk) for pk in pks}
        return {pk: row for pk, row in found.items() if row is not None}

    def changed(self, pks: Iterable[int]) -> None:
        """Rows were changed by update() or bulk_update(), in the transaction under way."""


class OurCache(Cache):
    """`ModelDict`. Its barriers end soon, for many of its writers are killed."""

    def __init__(self) -> None:
        cells.MANY = 4  # rows of one read: so both ways to read many are tried
        self.rows = ModelDict(Row, barrier_timeout=10, lease_timeout=1)
        self.by_code = ModelDict(Row, "code", barrier_timeout=10, lease_timeout=1)

    def get(self, pk: int) -> Row | None:
        return self.rows.get(pk)

    def get_many(self, pks: Sequence[int]) -> dict[int, Row]:
        if random.random() < BY_CODE:
            found = self.by_code.get_many([code_of(pk) for pk in pks])
            return {row.pk: row for row in found.values()}
        return self.rows.get_many(pks)


class OurCacheWithoutBarriers(OurCache):
    """`ModelDict` with half of its protocol: rows are removed only after the commit."""

    def __init__(self) -> None:
        super().__init__()

        def change_then_remove(
            changed: Changed, token: bytes, _: int, change: Callable[[], Any]
        ) -> Operation[Any]:
            yield Call(change)
            yield from lift(changed, token)

        assert announcing.change_behind_barriers is change_behind_barriers
        announcing.change_behind_barriers = change_then_remove


class HandWrittenCache(Cache):
    """What everybody writes: fill at a miss, delete after the commit."""

    def __init__(self) -> None:
        post_save.connect(self._on_signal, sender=Row)
        post_delete.connect(self._on_signal, sender=Row)

    def get(self, pk: int) -> Row | None:
        return cache.get_or_set(f"row:{pk}", lambda: load(pk), TIMEOUT_S)

    def forget(self, pk: int) -> None:
        cache.delete(f"row:{pk}")

    def changed(self, pks: Iterable[int]) -> None:
        for pk in pks:
            transaction.on_commit(partial(self.forget, pk))

    def _on_signal(self, instance: Row, **_: Any) -> None:
        self.changed([instance.pk])


class MemoizeCache(HandWrittenCache):
    """cache-memoize, with the invalidation that its documentation shows, after the commit."""

    def __init__(self) -> None:
        super().__init__()
        from cache_memoize import cache_memoize

        self.remembered = cache_memoize(TIMEOUT_S)(load)

    def get(self, pk: int) -> Row | None:
        row: Row | None = self.remembered(pk)
        return row

    def forget(self, pk: int) -> None:
        self.remembered.invalidate(pk)


class CachalotCache(Cache):
    """django-cachalot, which stands in for the ORM and notices all of its changes."""

    def get(self, pk: int) -> Row | None:
        return load(pk)


class CacheopsCache(Cache):
    """cacheops, by the methods that its documentation tells one to use."""

    def get(self, pk: int) -> Row | None:
        rows: Any = Row.objects
        return rows.filter(pk=pk).cache(ops=["get", "fetch"]).first()

    def changed(self, pks: Iterable[int]) -> None:
        from cacheops import invalidate_obj

        for pk in pks:
            invalidate_obj(Row(pk=pk))


CACHES: dict[str, Callable[[], Cache]] = {
    "modeldict": OurCache,
    "no_barriers": OurCacheWithoutBarriers,
    "post_save": HandWrittenCache,
    "memoize": MemoizeCache,
    "cachalot": CachalotCache,
    "cacheops": CacheopsCache,
}
