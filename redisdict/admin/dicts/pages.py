"""List the dicts of an alias, and the items of one, a page at a time."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

from django.template.defaultfilters import filesizeformat

from redisdict.connections.backend import Backend
from redisdict.inspection import finding
from redisdict.inspection.json_lines import matches
from redisdict.inspection.names import shown_path
from redisdict.inspection.values import (
    ShownKey,
    ShownValue,
    lifetime_text,
    show_key,
    show_value,
)
from redisdict.mapping.catalog import DictFacts, FoundDict, find_dicts, hash_facts, keys_facts
from redisdict.mapping.globs import Glob
from redisdict.mapping.keys import Names
from redisdict.mapping.layouts.base import Layout
from redisdict.models import StoredDict
from redisdict.templatetags.redisdict_figures import NOTHING, whole

#: Dicts, and items, on one page.
PAGE_SIZE = 50

#: The most that the server is asked to look through in one command.
SCAN_COUNT = 1000

#: How long a page may take to look through the keys of a server before it offers to go on.
SECONDS = 1.0

BEGINNING = "0"


@dataclass(frozen=True)
class ListedDict:
    """A dict that was found."""

    stored: StoredDict
    facts: DictFacts
    is_complete: bool

    @property
    def name(self) -> str:
        return shown_name(self.stored)

    @property
    def item_count(self) -> str:
        at_least = "" if self.is_complete else "≥ "
        return f"{at_least}{whole(self.facts.item_count)}"

    @property
    def memory(self) -> str:
        size = self.facts.memory_bytes
        return NOTHING if size is None else filesizeformat(size)

    @property
    def lifetimes(self) -> str:
        shortest, longest = (
            lifetime_text(self.facts.shortest_ms),
            lifetime_text(self.facts.longest_ms),
        )
        return shortest if shortest == longest else f"{shortest} \N{EN DASH} {longest}"


@dataclass(frozen=True)
class Item:
    """One item of a dict, fit to be shown."""

    key: ShownKey
    value: ShownValue
    lifetime: str


Row = TypeVar("Row")


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some of the dicts of an alias, or items of a dict; the last has an empty `next_cursor`."""

    rows: list[Row]
    next_cursor: str


def list_dicts(backend: Backend, cursor: str) -> Page[ListedDict]:
    """List dicts from `cursor` on, up to `PAGE_SIZE`, for at most `SECONDS`. SCAN."""
    prefix = backend.config.key_prefix
    found: dict[StoredDict, list[bytes]] = {}
    place = cursor.encode()
    deadline = time.monotonic() + SECONDS
    while True:
        page = backend.driver.run(find_dicts(prefix, place))
        for one, keys in page.dicts.items():
            stored = StoredDict.of(
                backend.config.alias, one.path, is_hash=one.is_hash, shards=one.shards
            )
            found.setdefault(stored, []).extend(keys)
        place = page.cursor
        if place == b"0" or len(found) >= PAGE_SIZE or time.monotonic() > deadline:
            break
    is_all = cursor == BEGINNING and place == b"0"
    listed = [
        ListedDict(stored, _facts(backend, stored, keys), stored.is_hash or is_all)
        for stored, keys in found.items()
    ]
    listed.sort(key=lambda one: (one.stored.path, one.stored.is_hash, one.stored.shards or 0))
    return Page(listed, "" if place == b"0" else place.decode())


def list_items(backend: Backend, stored: StoredDict, pattern: str, cursor: str) -> Page[Item]:
    """List items from `cursor` on, `PAGE_SIZE` or what the server gives at once. HSCAN or SCAN.

    Args:
        pattern: what `glob_of()` takes.

    Raises:
        ValueError: the pattern has a `[` without a `]`.
    """
    layout = layout_of(backend, stored)
    fields, next_cursor = _find_fields(backend, layout, glob_of(pattern), cursor.encode())
    run = backend.driver.run
    values = chain.from_iterable(run(layout.get_many(fields)) if fields else [])
    items = [
        Item(show_key(field), show_value(value), lifetime_text(run(layout.ttl(field))))
        for field, value in zip(fields, values, strict=True)
        if value is not None
    ]
    return Page(items, next_cursor)


def _find_fields(
    backend: Backend, layout: Layout, glob: Glob | None, cursor: bytes
) -> tuple[list[bytes], str]:
    """Find the fields of one page, and the cursor of the next.

    A page ends only where one of the server's own pages does: while the server's table grows, its
    page for the same cursor changes, so a position inside such a page would lose items.
    """
    found: dict[bytes, None] = {}
    count = PAGE_SIZE
    deadline = time.monotonic() + SECONDS
    while True:
        superset = glob.superset if glob is not None else None
        cursor, fields = backend.driver.run(layout.scan_fields(cursor, superset, count))
        matching = [field for field in fields if matches(glob, field)]
        found |= dict.fromkeys(matching)
        if cursor == b"0" or len(found) >= PAGE_SIZE or time.monotonic() > deadline:
            return sorted(found), "" if cursor == b"0" else cursor.decode()
        if not matching:
            count = min(2 * count, SCAN_COUNT)


def layout_of(backend: Backend, stored: StoredDict) -> Layout:
    return finding.layout_of(backend, found_of(stored))


def found_of(stored: StoredDict) -> FoundDict:
    return FoundDict(stored.path, stored.is_hash, stored.shards)


def shown_name(stored: StoredDict) -> str:
    """Name a dict as a reader may see it, and as `parse_path()` reads it."""
    return shown_path(stored.path)


def _facts(backend: Backend, stored: StoredDict, keys: list[bytes]) -> DictFacts:
    if not stored.is_hash:
        return backend.driver.run(keys_facts(keys))
    names = Names(backend.config.key_prefix, stored.path)
    return backend.driver.run(hash_facts(names, backend.capabilities, stored.shards))


def glob_of(pattern: str) -> Glob | None:
    """Parse the search text: nothing, a part of a key, or a pattern for a whole key.

    A text without `*`, `?` and `[` is a part. Patterns mean what they do in `keys_matching()`.

    Raises:
        ValueError: the pattern has a `[` without a `]`.
    """
    if not pattern:
        return None
    if any(special in pattern for special in "*?["):
        return Glob(pattern)
    return Glob("*" + re.sub(r"([\\\]])", r"\\\1", pattern) + "*")
