"""Which slot of a Cluster a request belongs to, and which node has which slots."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from redis.crc import key_slot

from redisdict.wire.requests import Batch, Command

__all__ = ["SLOTS", "Address", "has_all_nodes", "next_node", "nodes_by_slot", "slot_of"]

#: A Cluster has so many.
SLOTS = 16384

Address: TypeAlias = tuple[str, int]

#: Commands that name no key, and so can be sent to any node.
KEYLESS = frozenset(b"CLUSTER COMMAND CONFIG DBSIZE HELLO INFO PING WAIT WAITAOF".split())

#: Where the key stands in the commands that don't have it right behind their name.
POSITIONS = {b"EVAL": 3, b"EVALSHA": 3, b"MEMORY": 2, b"SCAN": 3}


def slot_of(request: Command | Batch) -> int | None:
    """The slot of a request's keys; None when it names no key.

    All keys of one dict lie in one slot, by their hash tag. A SCAN is for the items of one dict,
    whose tag stands in the pattern; so that node has all of them.
    """
    commands = request.commands if isinstance(request, Batch) else [request]
    for command in commands:
        name = command[0]
        if name in KEYLESS:
            continue
        key = command[POSITIONS.get(cast(bytes, name), 1)]
        key = key.encode() if isinstance(key, str) else cast(bytes, key)
        if name == b"SCAN":
            key = re.sub(rb"\\(.)", rb"\1", key, flags=re.DOTALL)
        return key_slot(key)
    return None


def has_all_nodes(request: Command | Batch) -> bool:
    """Whether it is a SCAN whose pattern has no hash tag, so that any node has what it is for."""
    commands = request.commands if isinstance(request, Batch) else [request]
    if len(commands) != 1 or commands[0][0] != b"SCAN":
        return False
    pattern = cast(bytes, commands[0][POSITIONS[b"SCAN"]])
    return re.search(rb"\{.+\}", pattern, re.DOTALL) is None


def next_node(by_slot: Mapping[int, Address], slot: int) -> int | None:
    """The first slot of the node that follows, nodes being in the order of their first slots."""
    first: dict[Address, int] = {}
    for each in sorted(by_slot):
        first.setdefault(by_slot[each], each)
    return min((each for each in first.values() if each > slot), default=None)


def nodes_by_slot(reply: Sequence[Any], asked: Address) -> dict[int, Address]:
    """The primary of each slot, from the reply to CLUSTER SLOTS of the node at `asked`."""
    nodes: dict[int, Address] = {}
    for first, last, primary, *_ in reply:
        host = primary[0].decode() if primary[0] else asked[0]
        nodes.update(dict.fromkeys(range(first, last + 1), (host, int(primary[1]))))
    return nodes
