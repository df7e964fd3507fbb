"""Lists of rows under test: each change of a row takes it from one list and brings it to another.

A row's version is the value by which it is listed, so every way to write moves rows. Whether a list
lacks a row is told by the row itself, read before and after the list: if it has the same version
both times, it was in that version's list all the time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from redisdict import ModelDict
from redisdict.modelcache.invalidation.memberships import Lists
from tests.stress.modelcache.caches import OurCache, OurCacheWithoutBarriers
from tests.stress.modelcache.models import Leaf, Node, Office, Owner, Part, Place, Row, Shop, Shown
from tests.stress.modelcache.subjects import LEAVES, NODES, PARTS, PLACES, ROWS, Subject

__all__ = ["ListsCache", "ListsCacheWithoutBarriers", "ListsCacheWithoutValues"]

#: What is read of a row that its list lacks: it is older than any.
NO_VERSION = -1

#: How many of the reads go on to read lists; the others keep rows for them.
READS_OF_LISTS = 3 / 4

#: How many of the reads of what points at an owner are prefetches.
PREFETCHES = 1 / 2


class ListsCache(OurCache):
    """`ModelDict(…, many=True)`, by the version of a row, and by what it points at."""

    def __init__(self) -> None:
        super().__init__()

        def lists_of(model: Any, key: str) -> Any:
            return ModelDict(model, key, many=True, barrier_timeout=5, lease_timeout=1)

        self.owners: ModelDict[Any] = ModelDict(
            Owner, related=("parts", "leaves"), barrier_timeout=5, lease_timeout=1
        )
        #: Each subject's rows, by models that have lists, and the attribute by which.
        self.lists: dict[Subject, list[tuple[ModelDict[Any], Any, str]]] = {
            subject: [
                (ModelDict(model, barrier_timeout=5, lease_timeout=1), lists_of(model, key), key)
                for model, key in several
            ]
            for subject, several in {
                ROWS: [(Row, "version"), (Shown, "version")],
                PLACES: [(Place, "version"), (Shop, "version"), (Office, "version")],
                NODES: [(Node, "version")],
                PARTS: [(Part, "version"), (Part, "owner_id")],
                LEAVES: [(Leaf, "version"), (Leaf, "owner_id")],
            }.items()
        }

    def read(self, subject: Subject, pks: Sequence[int]) -> dict[int, Any]:
        if random.random() > READS_OF_LISTS:
            return super().read(subject, pks)
        by_pk, lists, key = random.choice(self.lists[subject])
        found: dict[int, Any] = by_pk.get_many(pks)
        wanted = {getattr(row, key) for row in found.values()} - {None}
        if key == "owner_id" and random.random() < PREFETCHES:
            return self._read_by_prefetch(by_pk, found, wanted)
        # Lists that rows are about to come to are kept before they do.
        coming = {value + 1 for value in wanted} if key == "version" else set()
        if len(wanted | coming) == 1:
            [value] = wanted
            listed = {value: lists[value]}
        else:
            listed = lists.get_many(wanted | coming)
        return self._as_listed(by_pk, found, key, listed)

    def _read_by_prefetch(
        self, by_pk: ModelDict[Any], found: dict[int, Any], wanted: set[int]
    ) -> dict[int, Any]:
        owners = [Owner(pk=pk) for pk in sorted(wanted)]
        for owner in owners:
            owner._state.db = "default"
        name = "parts" if by_pk.model is Part else "leaves"
        self.owners.prefetch(owners, name)
        listed = {owner.pk: list(getattr(owner, name).all()) for owner in owners}
        return self._as_listed(by_pk, found, "owner_id", listed)

    def _as_listed(
        self, by_pk: ModelDict[Any], found: dict[int, Any], key: str, listed: dict[Any, list[Any]]
    ) -> dict[int, Any]:
        """The rows as their lists have them; what a list lacks is looked at again."""
        read = {}
        for pk, row in found.items():
            value = getattr(row, key)
            if value is None:
                read[pk] = row
                continue
            member = next((one for one in listed[value] if one.pk == pk), None)
            read[pk] = member or self._moved(by_pk, pk, row)
        return {pk: row for pk, row in read.items() if row is not None}

    def _moved(self, by_pk: ModelDict[Any], pk: int, before: Any) -> Any:
        """The row as it is now, which its list has lacked; in no version if it is as before."""
        now = by_pk.get(pk)
        if now is not None and (now.version, getattr(now, "owner_id", 0)) == (
            before.version,
            getattr(before, "owner_id", 0),
        ):
            now.version = NO_VERSION
        return now

    def counts(self) -> dict[str, int]:
        stats = [lists.stats() for several in self.lists.values() for _, lists, _ in several]
        return {
            "hits": sum(one.hits for one in stats),
            "misses": sum(one.misses for one in stats),
            "refused_fills": sum(one.refused for one in stats),
            "all_lists_dropped": sum(one.dropped for one in stats),
        }


class ListsCacheWithoutValues(ListsCache):
    """The same, whose writers don't bar the lists of the values that they know."""

    def __init__(self) -> None:
        super().__init__()
        of = Lists.of
        Lists.of = lambda lists, _values: of(lists, ())  # type: ignore[method-assign]


class ListsCacheWithoutBarriers(ListsCache, OurCacheWithoutBarriers):
    """The same with half of its protocol: rows and lists are removed only after the commit."""
