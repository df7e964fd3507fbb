"""Scan the keys of a database page by page, with cursors that lead through several tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis.exceptions import ResponseError

from redisdict.wire.requests import Argument, Batch, Command, Operation

#: The highest COUNT of a SCAN that every server carries out in its turn.
SMALL_COUNT: Final = 99

#: A Cluster has so many.
SLOTS: Final = 16384


class ClusterCursor(NamedTuple):
    """The position of a SCAN of all nodes of a Cluster, one node after the other.

    Attributes:
        place: the cursor of the node; 0 where it begins.
        slot: the node's first slot, so that the cursor alone shows where to go on.
    """

    place: int
    slot: int

    @classmethod
    def parse(cls, cursor: Argument) -> ClusterCursor:
        """Read a cursor as a caller has it: one number, 0 at the beginning and at the end."""
        return cls(*divmod(int(cursor), SLOTS))

    def __bytes__(self) -> bytes:
        return b"%d" % (self.place * SLOTS + self.slot)


class ShardsCursor(NamedTuple):
    """The position of a scan of a dict's shards, some of them at once.

    Attributes:
        following: the number of the first shard that the walk hasn't begun.
        places: of each of those that it is in, the number, and the cursor there.
    """

    following: int
    places: Sequence[tuple[int, bytes]]

    @classmethod
    def parse(cls, cursor: bytes) -> ShardsCursor:
        """Read a cursor as a caller has it: `b"0"` at the beginning."""
        following, _, listed = cursor.partition(b":")
        places: list[Any] = [place.split(b"=") for place in listed.split(b",") if place]
        return cls(int(following), [(int(number), place) for number, place in places])

    def __bytes__(self) -> bytes:
        return b"%d:%s" % (self.following, b",".join(b"%d=%s" % place for place in self.places))


def table_bits(cursor: bytes) -> list[int]:
    """Return the length of a cursor in bits, or the lengths of those of a `ShardsCursor`.

    A cursor is the number of a bucket, so its highest bit gives a lower bound of the table's size.
    """
    places = cursor.rpartition(b":")[2].split(b",")
    return [int(place.rpartition(b"=")[2]).bit_length() for place in places]


def scan_keys(cursor: bytes, pattern: bytes, count: int) -> Operation[tuple[bytes, list[bytes]]]:
    """Read one page of the keys that match: the next cursor, and the keys. SCAN.

    One of more than `SMALL_COUNT` keys is asked for in a transaction (MULTI, EXEC), for outside of
    that KeyDB carries it out beside other commands, on a snapshot of the database. What follows on
    the connection then gets no reply until more is sent; and while a snapshot is in use, a SCAN of
    any client leaves out keys that have been stored since, and gives some that have been deleted.
    Where a transaction is refused, the page is a small one.
    """
    if count > SMALL_COUNT:
        command = _scan(cursor, pattern, count)
        try:
            # Each node of a Cluster may take its own pages out of one batch of several.
            [reply] = yield Batch([command], is_atomic=True, is_spread=True)
        except ResponseError as refusal:
            reply = refusal
        if not isinstance(reply, ResponseError):
            return reply[0], reply[1]
    reply = yield _scan(cursor, pattern, min(count, SMALL_COUNT))
    return reply[0], reply[1]


def _scan(cursor: bytes, pattern: bytes, count: int) -> Command:
    return (b"SCAN", cursor, b"MATCH", pattern, b"COUNT", count)
