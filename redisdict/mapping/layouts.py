"""The layout of a dict, from what was asked for."""

from __future__ import annotations

import dataclasses

from redisdict.mapping.hash_layout import HashLayout
from redisdict.mapping.keys_layout import KeysLayout
from redisdict.mapping.layout import Layout
from redisdict.mapping.names import Names
from redisdict.mapping.sharded_layout import ShardedLayout
from redisdict.mapping.shards import ShardCount
from redisdict.wire.server_state import Capabilities

__all__ = ["make_layout", "names_of_shards"]


def make_layout(
    names: Names,
    capabilities: Capabilities,
    *,
    is_hash: bool,
    shards: int | None = None,
    shown_name: str = "",
) -> Layout:
    """The layout of the dict with these names; `shown_name` is how an error calls it."""
    layouts: list[Layout] = [
        HashLayout(each, capabilities) if is_hash else KeysLayout(each)
        for each in names_of_shards(names, shards) or [names]
    ]
    if shards is None:
        return layouts[0]
    key = names.shard_count_of_hash if is_hash else names.shard_count_of_keys
    return ShardedLayout(layouts, ShardCount(key, shards, shown_name))


def names_of_shards(names: Names, shards: int | None) -> list[Names]:
    """Those of each shard; none of a dict without shards."""
    count = shards or 0
    return [dataclasses.replace(names, shard=(number, count)) for number in range(count)]
