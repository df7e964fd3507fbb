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
from django.db import connection, transaction
from django.db.models import Count, Max
from django.db.models.signals import post_delete, post_save

from redisdict import CachedQuerySet, ComputedDict, ModelDict, cache_results_of
from redisdict.modelcache import heat
from redisdict.modelcache.invalidation import compilers, invalidate
from redisdict.modelcache.invalidation.interception import Watch
from redisdict.modelcache.slots import store
from redisdict.modelcache.slots.barrier import change_behind_barriers
from redisdict.modelcache.slots.results import ResultStore
from redisdict.near.listener import Listener
from redisdict.wire.requests import Call, Operation
from tests.stress.modelcache.models import (
    Leaf,
    Node,
    Office,
    Owner,
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


def keep_results() -> None:
    """Have changes of all models announced, and keep what is computed of them."""
    heat.BOUND = 2  # never to rest: here all tables change all the time
    cache_results_of(Row, Shown, Place, Shop, Office, Node, Part, Leaf, Owner, barrier_timeout=5)


class ResultsCache(OurCache):
    """`ComputedDict` and `cached()`: lists of rows of one table, of a join, of SQL."""

    def __init__(self) -> None:
        keep_results()

        def lists_of(name: str, model: Any, *depends_on: Any, **chosen: Any) -> ComputedDict[Any]:
            def compute(key: int) -> list[Any]:
                rows = model.objects.filter(pk__gte=key * PART, pk__lt=(key + 1) * PART)
                return list(rows.filter(**chosen).values(*FIELDS.get(model, ("pk", "version"))))

            return make(name, compute, model, *depends_on)

        def make(name: str, compute: Any, *depends_on: Any) -> ComputedDict[Any]:
            return ComputedDict(
                name,
                depends_on=depends_on,
                compute=compute,
                key_type=int,
                barrier_timeout=5,
                lease_timeout=1,
            )

        self.lists: dict[Subject, list[tuple[Any, ComputedDict[Any]]]] = {
            ROWS: [
                (Row, lists_of("rows", Row)),
                (Shown, lists_of("shown", Shown)),
                (Row, make("raw", _rows_by_sql, Row)),
            ],
            PLACES: [(Shop, lists_of("shops", Shop)), (Office, lists_of("offices", Office))],
            NODES: [(Node, lists_of("nodes", Node))],
            PARTS: [(Part, lists_of("parts", Part, Owner))],
            LEAVES: [(Leaf, lists_of("leaves", Leaf, Owner, owner__pk__gt=0))],
        }

    def read(self, subject: Subject, pks: Sequence[int]) -> dict[int, Any]:
        if random.random() < QUERYSETS:
            return _read_by_queryset(_kept, subject, pks)
        model, lists = random.choice(self.lists[subject])
        found = [model(**row) for part in {pk // PART for pk in pks} for row in lists[part]]
        return {row.pk: row for row in found if row.pk in pks}

    def counts(self) -> dict[str, int]:
        stats = [lists.stats() for several in self.lists.values() for _, lists in several]
        return {
            "hits": sum(one.hits for one in stats),
            "misses": sum(one.misses for one in stats),
            "fills": sum(one.fills for one in stats),
            "unkept": sum(one.unkept for one in stats),
        }


#: How many of the reads are of querysets.
QUERYSETS = 1 / 2


#: Gives all rows of a model, in the way that a cache has.
Querysets = Callable[[Any], Any]


def _kept(model: Any) -> Any:
    return CachedQuerySet(model).cached(lease_timeout=1)


def _read_by_queryset(rows_of: Querysets, subject: Subject, pks: Sequence[int]) -> dict[int, Any]:
    """The rows, with what is joined to them; and of some subjects by another way."""
    if subject is ROWS and random.random() < 1 / 3:
        return _read_by_aggregates(rows_of, pks)
    first = min(pks) // PART * PART
    model = {ROWS: Row, PLACES: Shop, NODES: Node, PARTS: Part, LEAVES: Leaf}[subject]
    rows = rows_of(model).filter(pk__gte=first, pk__lt=max(max(pks) + 1, first + PART))
    if model in (Part, Leaf):
        if random.random() < 1 / 2:
            return _read_by_prefetch(rows_of, model, pks)
        rows = rows.select_related("owner")
    if model is Row and random.random() < 1 / 2:
        shown = CachedQuerySet(Shown).filter(pk__in=list(pks))
        rows = rows_of(Row).filter(pk__in=shown.values("pk"))
    return {row.pk: row for row in rows if row.pk in pks}


def _read_by_prefetch(rows_of: Querysets, model: Any, pks: Sequence[int]) -> dict[int, Any]:
    """Rows as their owners have them, whose numbers are the same; and those without an owner."""
    name = "parts" if model is Part else "leaves"
    owners = rows_of(Owner).filter(pk__in=list(pks)).prefetch_related(name)
    found = {row.pk: row for owner in owners for row in getattr(owner, name).all()}
    others = [pk for pk in pks if pk not in found]
    return found | {row.pk: row for row in rows_of(model).filter(pk__in=others)}


def _read_by_aggregates(rows_of: Querysets, pks: Sequence[int]) -> dict[int, Any]:
    """What counts, sums and the like tell of each row."""
    found = {}
    for pk in pks:
        rows = rows_of(Row).filter(pk=pk)
        if random.random() < 1 / 2:
            told = rows.aggregate(version=Max("version"), number=Count("pk"))
        elif rows.exists() and rows.count():
            told = {"number": 1, "version": rows.values_list("version", flat=True).first()}
            if told["version"] is None:  # it went in between
                continue
        else:
            continue
        if told["number"]:
            found[pk] = Row(pk=pk, version=told["version"])
    return found


#: So many primary keys make one list.
PART = 10

#: What the lists have of rows of these models. The owner's is of another table.
FIELDS: dict[Any, tuple[str, ...]] = {
    Part: ("pk", "version", "owner_id"),
    Leaf: ("pk", "version", "owner_id"),
}


def _rows_by_sql(key: int) -> list[dict[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, version FROM modelcache_row WHERE id BETWEEN %s AND %s",
            [key * PART, key * PART + PART - 1],
        )
        return [{"pk": pk, "version": version} for pk, version in cursor.fetchall()]


class ResultsCacheWithoutVersions(ResultsCache):
    """The same without half of its protocol: a result counts whatever has become of its tables."""

    def __init__(self) -> None:
        super().__init__()

        def read(
            self: ResultStore, keys: Sequence[bytes], token: bytes, lease_ms: int
        ) -> Operation[list[store.Answer]]:
            cell = yield (b"GET", keys[0])
            if cell is not None and cell.startswith(b"V"):
                return [cell[store.HEAD :]]
            return (yield from read_all(self, keys, token, lease_ms))

        def body(_: ResultStore, found: Sequence[bytes | None] | None) -> bytes | None:
            cell = found[-1] if found else None
            return cell[store.HEAD :] if cell is not None and cell.startswith(b"V") else None

        read_all = ResultStore.read
        ResultStore.read = read  # type: ignore[method-assign]
        ResultStore.body = body  # type: ignore[method-assign]


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
        _leave_barriers_out()


class ResultsCacheWithoutBarriers(ResultsCache):
    """The same of results: the versions of tables are removed only after the commit."""

    def __init__(self) -> None:
        super().__init__()
        _leave_barriers_out()


def _leave_barriers_out() -> None:
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


class CachalotResults(CachalotCache):
    """The same of lists, joins and aggregates."""

    def read(self, subject: Subject, pks: Sequence[int]) -> dict[int, Any]:
        return _read_by_queryset(lambda model: model._default_manager.all(), subject, pks)


class CacheopsResults(CacheopsCache):
    """The same of lists, joins and aggregates, each of which it is asked to keep."""

    def read(self, subject: Subject, pks: Sequence[int]) -> dict[int, Any]:
        return _read_by_queryset(lambda model: model._default_manager.all().cache(), subject, pks)


CACHES: dict[str, Callable[[], Cache]] = {
    "modeldict": OurCache,
    "strict": OurStrictCache,
    "strict_no_wait": OurStrictCacheWithoutWait,
    "results": ResultsCache,
    "results_without_versions": ResultsCacheWithoutVersions,
    "results_without_barriers": ResultsCacheWithoutBarriers,
    "no_barriers": OurCacheWithoutBarriers,
    "no_net": OurCacheWithoutNet,
    "no_compilers": OurCacheWithoutCompilers,
    "post_save": HandWrittenCache,
    "memoize": MemoizeCache,
    "cachalot": CachalotCache,
    "cachalot_results": CachalotResults,
    "cacheops": CacheopsCache,
    "cacheops_results": CacheopsResults,
}
