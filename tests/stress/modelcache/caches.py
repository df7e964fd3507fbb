"""The caches under test, behind one face."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from ctypes import c_long
from functools import partial
from multiprocessing.sharedctypes import RawArray
from typing import Any

from django.core.cache import cache
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from redisdict import ModelDict
from redisdict.modelcache.invalidation import compilers, invalidate
from redisdict.modelcache.invalidation.interception import Watch
from redisdict.modelcache.slots import store
from redisdict.modelcache.slots.barrier import change_behind_barriers
from redisdict.near.listener import Listener
from redisdict.wire.requests import Call, Operation
from tests.stress.modelcache.models import (
    Leaf,
    Node,
    Office,
    Part,
    Place,
    Row,
    Shop,
    Shown,
    code_of,
)
from tests.stress.modelcache.subjects import LEAVES, NODES, PARTS, PLACES, ROWS, Subject

#: Seconds by which some messages are late, and the share of these.
LATE_S = 0.02
SHARE_LATE = 0.05

#: Counts are kept by process, of which some may share a place.
PLACES_OF_COUNTS = 64

#: Seconds that the other caches keep a row.
TIMEOUT_S = 900


def load(pk: int) -> Row | None:
    return Row.objects.filter(pk=pk).first()


class Cache:
    """Reads rows; is told of what Django sends no signal for.

    Attributes:
        is_for_all_ways: whether it is to be right whichever way rows are changed, and for the rows
            of all tables; or for those of one, changed in ways that it can know of.
    """

    is_for_all_ways = False

    def get(self, pk: int) -> Row | None:
        raise NotImplementedError

    def read(self, subject: Subject, pks: Sequence[int]) -> dict[int, Any]:
        """Those of the rows that are there, in whatever ways the cache has."""
        assert subject is ROWS
        found = {pk: self.get(pk) for pk in pks}
        return {pk: row for pk, row in found.items() if row is not None}

    def changed(self, pks: Iterable[int]) -> None:
        """Rows were changed by update() or bulk_update(), in the transaction under way."""


class OurCache(Cache):
    """`ModelDict`. Its barriers end soon, for many of its writers are killed."""

    is_for_all_ways = True

    #: What its dicts promise of rows in memory.
    near: str | None = None

    def __init__(self) -> None:
        store.MANY = 4  # rows of one read: so both ways to read many are tried

        def rows_of(model: Any, **options: Any) -> ModelDict[Any]:
            return ModelDict(model, barrier_timeout=5, lease_timeout=1, near=self.near, **options)

        self.by_code: ModelDict[Any] = rows_of(Row, key="code")
        #: Each subject's rows can be read by any of these.
        self.dicts: dict[Subject, list[ModelDict[Any]]] = {
            ROWS: [rows_of(Row), rows_of(Shown, absent_timeout=60), self.by_code],
            PLACES: [rows_of(Place), rows_of(Shop), rows_of(Office)],
            NODES: [rows_of(Node)],
            PARTS: [rows_of(Part)],
            LEAVES: [rows_of(Leaf, absent_timeout=60)],
        }

    def read(self, subject: Subject, pks: Sequence[int]) -> dict[int, Any]:
        rows = random.choice(self.dicts[subject])
        keys: list[Any] = [code_of(pk) for pk in pks] if rows is self.by_code else list(pks)
        if len(keys) == 1:
            row = rows.get(keys[0])
            return {} if row is None else {row.pk: row}
        return {row.pk: row for row in rows.get_many(keys).values()}

    def counts(self) -> dict[str, int]:
        """What the dicts have counted, all together."""
        stats = [rows.stats() for several in self.dicts.values() for rows in several]
        return {
            # The dict by another field is of the same model, so it counts the same.
            "hits": sum(one.hits for one in stats[:2] + stats[3:]),
            "misses": sum(one.misses for one in stats[:2] + stats[3:]),
            "refused_fills": sum(one.refused for one in stats[:2] + stats[3:]),
        }


class OurStrictCache(OurCache):
    """`ModelDict` that answers from memory, and for which writers wait.

    Messages of changes are applied late, as in a process that is overloaded.
    """

    near = "strict"

    def __init__(self) -> None:
        super().__init__()
        apply = Listener._apply

        def apply_late(listener: Listener, keys: Sequence[bytes] | None) -> None:
            if random.random() < SHARE_LATE:
                time.sleep(LATE_S)
            apply(listener, keys)

        Listener._apply = apply_late  # type: ignore[method-assign]
        self.near_hits = RawArray(c_long, PLACES_OF_COUNTS)

    def read(self, subject: Subject, pks: Sequence[int]) -> dict[int, Any]:
        rows = self.dicts[subject][0]
        before = rows.near_stats().hits
        found = super().read(subject, pks)
        self.near_hits[os.getpid() % PLACES_OF_COUNTS] += max(0, rows.near_stats().hits - before)
        return found

    def counts(self) -> dict[str, int]:
        """What the dicts have counted, and about how many rows came from memory."""
        return {**super().counts(), "near_hits": sum(self.near_hits)}


class OurStrictCacheWithoutWait(OurStrictCache):
    """The same, but writers commit without waiting."""

    def __init__(self) -> None:
        super().__init__()
        invalidate._wait_for_readers = lambda _tables: None


class OurCacheWithoutNet(OurCache):
    """`ModelDict` that hears of what the ORM changes, and of no other statement."""

    def __init__(self) -> None:
        super().__init__()
        Watch._changed_by = lambda *_: []  # type: ignore[method-assign]


class OurCacheWithoutCompilers(OurCache):
    """`ModelDict` for which what the ORM changes is a statement like any other."""

    def __init__(self) -> None:
        super().__init__()
        compilers.cached_by_table = dict  # type: ignore[assignment]


class OurCacheWithoutBarriers(OurCache):
    """`ModelDict` with half of its protocol: rows are removed only after the commit."""

    def __init__(self) -> None:
        super().__init__()

        def change_then_remove(
            tables: Any, token: bytes, _: int, change: Callable[[], Any]
        ) -> Operation[Any]:
            yield Call(change)
            yield from store.put_barriers(tables, token, 0)

        assert invalidate.change_behind_barriers is change_behind_barriers
        invalidate.change_behind_barriers = change_then_remove


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
    "strict": OurStrictCache,
    "strict_no_wait": OurStrictCacheWithoutWait,
    "no_barriers": OurCacheWithoutBarriers,
    "no_net": OurCacheWithoutNet,
    "no_compilers": OurCacheWithoutCompilers,
    "post_save": HandWrittenCache,
    "memoize": MemoizeCache,
    "cachalot": CachalotCache,
    "cacheops": CacheopsCache,
}
