"""List the dicts on a server, with the size of each, by commands that don't block the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from redisdict.mapping.keys import Names, escape_glob
from redisdict.mapping.layouts.base import FOREVER, MISSING, bytes_of
from redisdict.mapping.layouts.hash import HashLayout
from redisdict.wire.combinators import run_concurrently
from redisdict.wire.requests import Batch, Command, Operation
from redisdict.wire.scan import scan_keys
from redisdict.wire.server_state import Capabilities

#: Keys of the database looked at in one SCAN, and so the most dicts that a page can have.
SCAN_COUNT = 200

#: So many items of a dict stand for all of them.
SAMPLE = 10


@dataclass(frozen=True, slots=True)
class FoundDict:
    """A dict that has at least one key on the server."""

    path: tuple[str, ...]
    is_hash: bool
    shards: int | None = None


@dataclass(slots=True)
class CatalogPage:
    """The dicts of one SCAN, each with the keys of its items where these are keys."""

    cursor: bytes
    dicts: dict[FoundDict, list[bytes]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DictFacts:
    """The known facts of one dict.

    Memory in bytes and the times to live in milliseconds are those of up to `SAMPLE` items. A
    time to live is None for an item without an end, and memory is None where the server doesn't
    show it.
    """

    item_count: int
    memory_bytes: int | None
    shortest_ms: int | None
    longest_ms: int | None


def find_dicts(prefix: str, cursor: bytes) -> Operation[CatalogPage]:
    """Find a page of the dicts whose alias has this KEY_PREFIX; the cursor `b"0"` begins and ends.

    One SCAN. A dict of single keys is on every page that holds items of it, and a key may be on
    two pages when the database shrinks meanwhile.
    """
    start = Names(prefix, ("",)).hash.partition(b"h:{")[0]
    pattern = escape_glob(start) + b"[hk]:{*"
    cursor, keys = yield from scan_keys(cursor, pattern, SCAN_COUNT)
    page = CatalogPage(cursor)
    for key in keys:
        found = _dict_of(prefix, key, start)
        if found is not None:
            page.dicts.setdefault(found, []).append(key)
    return page


def hash_facts(
    names: Names, capabilities: Capabilities, shards: int | None = None
) -> Operation[DictFacts]:
    """Return the facts of a dict that is one hash, or one a shard.

    HLEN, PTTL, MEMORY USAGE and HRANDFIELD, all O(1).
    """
    if shards is None:
        return (yield from _facts_of_hash(names, capabilities))
    parts = yield from run_concurrently(
        _facts_of_hash(each, capabilities) for each in names.of_shards(shards)
    )
    parts = [part for part in parts if part.item_count]
    shortest = [part.shortest_ms for part in parts if part.shortest_ms is not None]
    longest = [part.longest_ms for part in parts if part.longest_ms is not None]
    return DictFacts(
        item_count=sum(part.item_count for part in parts),
        memory_bytes=sum(part.memory_bytes or 0 for part in parts) or None,
        shortest_ms=min(shortest, default=None),
        longest_ms=max(longest, default=None) if len(longest) == len(parts) else None,
    )


def _facts_of_hash(names: Names, capabilities: Capabilities) -> Operation[DictFacts]:
    layout = HashLayout(names, capabilities)
    item_count = yield from layout.length().begin()
    keys = (names.hash, names.relocated, names.deadlines)
    replies = yield Batch(
        [
            *((b"MEMORY", b"USAGE", key, b"SAMPLES", SAMPLE) for key in keys),
            *((b"HRANDFIELD", key, SAMPLE) for key in keys[:2]),
        ]
    )
    fields = [name for names_ in replies[3:] if isinstance(names_, list) for name in names_]
    times = []
    for name in fields[:SAMPLE]:
        left_ms = yield from layout.ttl(name)
        times.append(left_ms)
    return _facts(item_count, bytes_of(_numbers(replies[:3])) or None, times)


def keys_facts(keys: Sequence[bytes]) -> Operation[DictFacts]:
    """Return the facts of a dict of single keys, by its known keys. PTTL and MEMORY USAGE."""
    sample = keys[:SAMPLE]
    commands: list[Command] = [(b"PTTL", key) for key in sample]
    commands += [(b"MEMORY", b"USAGE", key) for key in sample]
    replies = yield Batch(commands, is_spread=True)
    sizes = _numbers(replies[len(sample) :])
    memory = round(bytes_of(sizes) / len(sizes) * len(keys)) if sizes else None
    return _facts(len(keys), memory, _numbers(replies[: len(sample)]))


def _dict_of(prefix: str, key: bytes, start: bytes) -> FoundDict | None:
    """Find the dict that a key belongs to; None for a key that another program has put there."""
    kind, _, rest = key[len(start) :].partition(b":{")
    try:
        name = rest.partition(b"}")[0].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    name, _, shard_text = name.partition("%:")
    shard = None
    if shard_text:
        try:
            number, count = map(int, shard_text.split(":"))
        except ValueError:
            return None
        shard = number, count
    path = tuple("" if part == "%" else unquote(part) for part in name.split("/"))
    names = Names(prefix, path, shard)
    shards = shard[1] if shard else None
    if kind == b"h" and key == names.hash:
        return FoundDict(path, True, shards)
    if kind == b"k" and key.startswith(names.item_prefix):
        return FoundDict(path, False, shards)
    return None


def _numbers(replies: Sequence[Any]) -> list[int]:
    """Choose the replies that are numbers: no error of a command that server or user lacks."""
    return [reply for reply in replies if isinstance(reply, int)]


def _facts(item_count: int, memory_bytes: int | None, times_ms: Sequence[int]) -> DictFacts:
    alive = [time_ms for time_ms in times_ms if time_ms != MISSING]
    limited = [time_ms for time_ms in alive if time_ms != FOREVER]
    return DictFacts(
        item_count=item_count,
        memory_bytes=memory_bytes,
        shortest_ms=min(limited, default=None),
        longest_ms=max(limited, default=None) if len(limited) == len(alive) else None,
    )
