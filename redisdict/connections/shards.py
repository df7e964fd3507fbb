"""Read from CLUSTER SLOTS which nodes have which slots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from redisdict.connections.announced import AddressBook
from redisdict.connections.locations import Address
from redisdict.wire.requests import Reply


class Shard(NamedTuple):
    """A range of slots, and the nodes that have it."""

    slots: range
    primary: Address
    replicas: Sequence[Address]


def read_shards(
    reply: Sequence[Reply],
    asked: Address,
    book: AddressBook | None = None,
    *,
    with_replicas: bool = False,
) -> list[Shard]:
    """Read the reply to CLUSTER SLOTS of the node at `asked`.

    Args:
        book: translates the addresses that nodes announce.
        with_replicas: whether to read the replicas' addresses too; else there are none.
    """
    book = book or AddressBook()
    shards = []
    for first, last, *nodes in reply:
        wanted = nodes if with_replicas else nodes[:1]
        primary, *replicas = (book.read_node(node, asked) for node in wanted)
        shards.append(Shard(range(first, last + 1), primary, replicas))
    return shards


def nodes_by_slot(
    shards: Iterable[Shard], choose: Callable[[Shard], Address]
) -> dict[int, Address]:
    """Map each slot to the node that `choose` gives for its shard."""
    nodes: dict[int, Address] = {}
    for shard in shards:
        nodes.update(dict.fromkeys(shard.slots, choose(shard)))
    return nodes


def choices(shards: Iterable[Shard]) -> list[Address]:
    """List the nodes of those shards that have replicas to choose from."""
    return [
        address
        for shard in shards
        if shard.replicas
        for address in (shard.primary, *shard.replicas)
    ]
