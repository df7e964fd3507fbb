"""Find dicts on a server: all of them, or the one with a name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from redisdict.connections.backend import Backend
from redisdict.inspection.names import shown_path
from redisdict.mapping.catalog import (
    SAMPLE,
    DictFacts,
    FoundDict,
    find_dicts,
    hash_facts,
    keys_facts,
)
from redisdict.mapping.dict import PersistentDict
from redisdict.mapping.keys import Names, shard_of
from redisdict.mapping.layouts.base import Layout
from redisdict.mapping.layouts.sharded import make_layout
from redisdict.wire.requests import Batch, Operation

#: How many names of dicts are looked through for one that may have been meant.
MOST_SUGGESTED = 10_000


@dataclass(slots=True)
class _Keys:
    """The keys found of a dict of single keys: their number, and some of them."""

    count: int
    sample: list[bytes]


def open_dict(backend: Backend, found: FoundDict) -> PersistentDict[bytes, Any]:
    """Make a handle whose keys are the bytes on the server, so that it takes those of any dict."""
    first, *rest = found.path
    mapping: PersistentDict[bytes, Any] = PersistentDict(
        first, using=backend, hset_enabled=found.is_hash, shards=found.shards, key_type=bytes
    )
    for name in rest:
        mapping = mapping.child(name)
    return mapping


def all_dicts(backend: Backend) -> Iterator[tuple[FoundDict, DictFacts]]:
    """Find all dicts of an alias, in the order of their names, with the size of each.

    SCAN over the whole database; for each dict what `DictFacts` says. Memory has a line for each
    dict, whatever the number of items.
    """
    found: dict[FoundDict, _Keys] = {}
    for page in _pages(backend):
        for one, keys in page.items():
            so_far = found.setdefault(one, _Keys(0, []))
            so_far.count += len(keys)
            so_far.sample += keys[: SAMPLE - len(so_far.sample)]
    for one in sorted(found, key=lambda one: (one.path, not one.is_hash, one.shards or 0)):
        yield one, _facts(backend, one, found[one])


def facts_of(backend: Backend, found: FoundDict) -> DictFacts:
    """Return the size of one dict: by `hash_facts()`, or by a scan of its keys."""
    if found.is_hash:
        return _facts(backend, found, _Keys(0, []))
    layout = layout_of(backend, found)
    count = backend.driver.run(layout.length().begin())
    names = Names(backend.config.key_prefix, found.path)
    sample: list[bytes] = []
    cursor = b"0"
    while count and len(sample) < SAMPLE:
        cursor, fields = backend.driver.run(layout.scan_fields(cursor))
        sample += [_item_key(names, field, found.shards) for field in fields]
        if cursor == b"0":
            break
    return _facts(backend, found, _Keys(count, sample[:SAMPLE]))


def layout_of(backend: Backend, found: FoundDict) -> Layout:
    return make_layout(
        Names(backend.config.key_prefix, found.path),
        backend.capabilities,
        is_hash=found.is_hash,
        shards=found.shards,
        shown_name=shown_path(found.path),
    )


def find_dict(backend: Backend, path: tuple[str, ...], field: bytes = b"") -> FoundDict | None:
    """Find the dict of a name, of whichever layout; None when nothing of it is on the server.

    A hash comes before a dict in shards, and that before one of single keys. EXISTS and GET; for
    single keys SCAN over the database until one of them is met.

    Args:
        field: the key of an item. If the dict is one of single keys that has it, nothing is
            scanned.
    """
    names = Names(backend.config.key_prefix, path)
    found, is_kept_in_keys = backend.driver.run(_ask(names, path, field))
    if found is None and not is_kept_in_keys:
        keys = FoundDict(path, is_hash=False)
        layout, cursor = layout_of(backend, keys), b"0"
        while not is_kept_in_keys:
            cursor, fields = backend.driver.run(layout.scan_fields(cursor))
            is_kept_in_keys = bool(fields)
            if cursor == b"0":
                break
    return found or (FoundDict(path, is_hash=False) if is_kept_in_keys else None)


def known_names(backend: Backend) -> list[str]:
    """List the names of dicts of the alias, to find out which may have been meant. SCAN."""
    found = (one for page in _pages(backend) for one in page)
    return [shown_path(one.path) for one in islice(dict.fromkeys(found), MOST_SUGGESTED)]


def _ask(
    names: Names, path: tuple[str, ...], field: bytes
) -> Operation[tuple[FoundDict | None, bool]]:
    """Ask for the dict, and for the item of one of single keys. The names are all in one slot."""
    is_hash, shards_of_hash, shards_of_keys, has_item = yield Batch(
        [
            (b"EXISTS", names.hash),
            (b"GET", names.shard_count_of_hash),
            (b"GET", names.shard_count_of_keys),
            (b"EXISTS", names.item_prefix + field),
        ]
    )
    for reply in (is_hash, shards_of_hash, shards_of_keys, has_item):
        if isinstance(reply, Exception):
            raise reply
    if is_hash:
        return FoundDict(path, is_hash=True), False
    if shards_of_hash is not None:
        return FoundDict(path, is_hash=True, shards=int(shards_of_hash)), False
    if shards_of_keys is not None:
        return FoundDict(path, is_hash=False, shards=int(shards_of_keys)), False
    return None, bool(has_item)


def _pages(backend: Backend) -> Iterator[dict[FoundDict, list[bytes]]]:
    cursor = b"0"
    while True:
        page = backend.driver.run(find_dicts(backend.config.key_prefix, cursor))
        yield page.dicts
        cursor = page.cursor
        if cursor == b"0":
            return


def _facts(backend: Backend, found: FoundDict, keys: _Keys) -> DictFacts:
    """Return the facts of a dict; those of single keys from a sample."""
    if found.is_hash:
        names = Names(backend.config.key_prefix, found.path)
        return backend.driver.run(hash_facts(names, backend.capabilities, found.shards))
    facts = backend.driver.run(keys_facts(keys.sample))
    memory = facts.memory_bytes
    if memory is not None and keys.sample:
        memory = round(memory * keys.count / len(keys.sample))
    return replace(facts, item_count=keys.count, memory_bytes=memory)


def _item_key(names: Names, field: bytes, shards: int | None) -> bytes:
    if shards is not None:
        names = replace(names, shard=(shard_of(field, shards), shards))
    return names.item_prefix + field
