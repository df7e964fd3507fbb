"""Which shard of a dict an item belongs to, and how many shards the dict has."""

from __future__ import annotations

from zlib import crc32

from redis.exceptions import ResponseError

from redisdict.exceptions import ConfigurationError
from redisdict.wire.requests import Batch, Operation

__all__ = ["MOST_SHARDS", "ShardCount", "check_shards", "shard_of"]

#: A slot has room for a good many items, and whatever concerns all items visits every shard.
MOST_SHARDS = 1024


def shard_of(field: bytes, count: int) -> int:
    """The number of the shard, from 0: the CRC-32 of the key's bytes (as zlib has it), modulo the
    number of shards.
    """
    return crc32(field) % count


def check_shards(shards: object) -> None:
    """See that a number of shards can be used; None is a dict without any.

    Raises:
        TypeError: it isn't an int.
        ValueError: it is below 2 or above `MOST_SHARDS`.
    """
    if shards is None:
        return
    if isinstance(shards, bool) or not isinstance(shards, int):
        raise TypeError(
            f"shards is {type(shards).__name__}; an int from 2 to {MOST_SHARDS} is expected, or"
            " None for a dict in one slot."
        )
    if not 2 <= shards <= MOST_SHARDS:
        raise ValueError(
            f"shards is {shards}; from 2 to {MOST_SHARDS} are possible. Leave it out for a dict in"
            " one slot."
        )


class ShardCount:
    """The number of shards that the server knows of a dict, in a key beside its items.

    It is stored before the first item and stays when the dict is cleared, for other clients may go
    on using it. It is asked for once by each handle of the dict; one of a dict that has never had
    an item asks again the next time.

    Args:
        key: where it is stored.
        count: what the handle has been told.
        shown_name: how the dict is called in an error.
    """

    def __init__(self, key: bytes, count: int, shown_name: str) -> None:
        self._key = key
        self._count = count
        self._shown_name = shown_name
        self.is_known = False

    def before_reading(self) -> Operation[None]:
        """GET, once.

        Raises:
            ConfigurationError: the dict has another number of shards.
        """
        if not self.is_known:
            stored = yield (b"GET", self._key)
            self._compare(stored)

    def before_writing(self) -> Operation[None]:
        """SET NX and GET, once.

        Raises:
            ConfigurationError: the dict has another number of shards; nothing was written.
        """
        if self.is_known:
            return
        replies = yield Batch([(b"SET", self._key, self._count, b"NX"), (b"GET", self._key)])
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        self._compare(replies[1])

    def _compare(self, stored: bytes | None) -> None:
        if stored is None:
            return  # nothing was ever stored, so any number is right
        if stored != b"%d" % self._count:
            raise ConfigurationError(
                f"{self._shown_name} has {stored.decode(errors='replace')} shards on the server,"
                f" and was opened with shards={self._count}; nothing was read or written. Open it"
                " with the number that it has. For another number, copy it to a dict of another"
                " name with clone_to()."
            )
        self.is_known = True
