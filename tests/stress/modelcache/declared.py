"""Results for some values of declared columns under test, and all that there is in one run.

Rows move between the values by which they are asked for, as they do between `lists`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import Count, Max

from redisdict import CachedQuerySet
from redisdict.modelcache.members import Members
from redisdict.modelcache.options import Options
from redisdict.modelcache.registrations import register
from tests.stress.modelcache.caches import (
    OurCache,
    OurCacheWithoutBarriers,
    ResultsCache,
    keep_results,
)
from tests.stress.modelcache.lists import ListsCache, ListsCacheWithoutValues
from tests.stress.modelcache.models import Leaf, Node, Part, Place, Row, Shop, Shown, code_of
from tests.stress.modelcache.subjects import ROWS, Subject

__all__ = [
    "DeclaredCache",
    "DeclaredCacheWithoutBarriers",
    "DeclaredCacheWithoutValues",
    "EverythingCache",
    "EverythingCacheWithoutBarriers",
]

#: What the managers would declare; the models have none of the package's.
COLUMNS: dict[Any, tuple[str, ...]] = {
    Row: ("version", "code", "id"),
    Place: ("version", "id"),
    Node: ("version", "id"),
    Part: ("version", "owner_id", "id"),
    Leaf: ("version", "owner_id"),
}

#: How many of the reads of rows are by what stays the same, of which each change is one.
BY_CODE = 1 / 2


def _kept(model: Any) -> Any:
    return CachedQuerySet(model).cached(lease_timeout=1)


class DeclaredCache(ListsCache):
    """`cached()` for the rows of some values, by declared columns."""

    def __init__(self) -> None:
        super().__init__()
        keep_results()
        options = Options(barrier_timeout=5)
        for model, columns in COLUMNS.items():
            for column in columns:
                by = None if column == "id" else Members(column)
                register(model, "default", options, members=by, is_version=True)

    def read(self, subject: Subject, pks: Sequence[int]) -> dict[int, Any]:
        if subject is ROWS and random.random() < BY_CODE:
            return random.choice(BY_CODES)(pks)
        by_pk, _, key = random.choice(self.lists[subject])
        found: dict[int, Any] = by_pk.get_many(pks)
        rows: Any = _kept(by_pk.model)
        wanted = {getattr(row, key) for row in found.values()} - {None}
        if key == "version":
            # What no row has yet is kept before rows come to it.
            for value in {value + 1 for value in wanted} - wanted:
                rows.filter(version=value).exists()
        else:
            rows = rows.select_related("owner")
        listed = {value: list(rows.filter(**{key: value})) for value in wanted}
        return self._as_listed(by_pk, found, key, listed)

    def counts(self) -> dict[str, int]:
        stats = [rows.result_stats() for rows in _samples()]
        return {
            "hits": sum(one.hits for one in stats),
            "misses": sum(one.misses for one in stats),
            "fills": sum(one.fills for one in stats),
            "refused_fills": sum(one.refused for one in stats),
            "unkept": sum(one.unkept for one in stats),
        }


def _samples() -> list[Any]:
    """A query for each set of tables and columns that the results depend on."""
    return [
        _kept(Row).filter(code=code_of(1)),
        _kept(Row).filter(version=1),
        _kept(Row).filter(pk=1),
        _kept(Place).filter(version=1),
        _kept(Shop).filter(version=1),
        _kept(Node).filter(version=1),
        _kept(Part).filter(owner_id=1).select_related("owner"),
        _kept(Leaf).filter(owner_id=1).select_related("owner"),
    ]


def _rows_by_code(pks: Sequence[int]) -> dict[int, Any]:
    codes = [code_of(pk) for pk in pks]
    return {row.pk: row for row in _kept(Row).filter(code__in=codes)}


def _rows_by_pk(pks: Sequence[int]) -> dict[int, Any]:
    return {row.pk: row for row in _kept(random.choice([Row, Shown])).filter(pk__in=pks)}


def _row_by_row(pks: Sequence[int]) -> dict[int, Any]:
    rows = [_kept(Row).filter(code=code_of(pk)).first() for pk in pks]
    return {row.pk: row for row in rows if row is not None}


def _aggregates_by_code(pks: Sequence[int]) -> dict[int, Any]:
    found = {}
    for pk in pks:
        rows = _kept(Row).filter(code=code_of(pk))
        told = rows.aggregate(version=Max("version"), number=Count("pk"))
        if told["number"]:
            found[pk] = Row(pk=pk, version=told["version"])
    return found


def _values_by_code(pks: Sequence[int]) -> dict[int, Any]:
    found = {}
    for pk in pks:
        rows = _kept(Row).filter(code=code_of(pk), version__gt=0)
        if rows.exists() and rows.count():
            version = rows.values_list("version", flat=True).first()
            if version is not None:  # else it went in between
                found[pk] = Row(pk=pk, version=version)
    return found


BY_CODES: Sequence[Callable[[Sequence[int]], dict[int, Any]]] = (
    _rows_by_code,
    _rows_by_pk,
    _row_by_row,
    _aggregates_by_code,
    _values_by_code,
)


class DeclaredCacheWithoutValues(DeclaredCache, ListsCacheWithoutValues):
    """The same, whose writers don't bar the values that they know."""


class DeclaredCacheWithoutBarriers(DeclaredCache, OurCacheWithoutBarriers):
    """The same with half of its protocol: versions are removed only after the commit."""


class EverythingCache(OurCache):
    """Rows, lists, prefetches, results of tables and of values, and what is computed, in one."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[str, OurCache] = {
            "results": ResultsCache(),
            "lists": ListsCache(),
            "declared": DeclaredCache(),
        }

    def read(self, subject: Subject, pks: Sequence[int]) -> dict[int, Any]:
        part = random.choice([None, *self.parts.values()])
        return super().read(subject, pks) if part is None else part.read(subject, pks)

    def counts(self) -> dict[str, int]:
        found = super().counts()
        for name, part in self.parts.items():
            found |= {f"{what}_of_{name}": count for what, count in part.counts().items()}
        return found


class EverythingCacheWithoutBarriers(EverythingCache, OurCacheWithoutBarriers):
    """The same with half of its protocol."""
