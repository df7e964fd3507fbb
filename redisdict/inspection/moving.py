"""Move the items of one dict into another, so that each is in one of them at every moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from redisdict.inspection.json_lines import pages_of
from redisdict.mapping.dict import PersistentDict
from redisdict.mapping.layouts.base import Record
from redisdict.wire.combinators import run_concurrently

#: An item that is stored while the walk goes on may be missed, so the walk is repeated.
MOST_WALKS = 3


def move(source: PersistentDict[bytes, Any], target: PersistentDict[bytes, Any]) -> Iterator[int]:
    """Store a page of items in the target, remove it from the source, and return its length.

    If this is stopped or killed, each item is in one of the dicts or in both. A change that others
    make in the source after an item was stored in the target is repeated there when the item is
    removed: a new value is stored, with the old one's time to live, and a deleted item is deleted.
    A kill in the round trip between can leave the earlier value, so stop the writers if you can.
    """
    for _ in range(MOST_WALKS):
        count = 0
        for page in pages_of(source):
            _store(source, target, page)
            _remove(source, target, page)
            count += len(page)
            yield len(page)
        if not count or not len(source):
            return


def _store(
    source: PersistentDict[bytes, Any], target: PersistentDict[bytes, Any], page: Sequence[Record]
) -> None:
    if page:
        target._run(target._bound.layout.set_records(source._rewritten(page, target._bound)))


def _remove(
    source: PersistentDict[bytes, Any], target: PersistentDict[bytes, Any], page: Sequence[Record]
) -> None:
    layout = source._bound.layout
    removed = source._run(run_concurrently(layout.pop(record[0]) for record in page))
    pairs = list(zip(page, removed, strict=True))
    _store(source, target, [
        (field, value, left_ms)
        for (field, stored, left_ms), value in pairs
        if value is not None and value != stored
    ])  # fmt: skip
    gone = [record[0] for record, value in pairs if value is None]
    if gone:
        target.delete_many(gone)
