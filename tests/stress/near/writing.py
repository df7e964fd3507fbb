"""Writes of a process's own items in all ways, each noted on the board before and after."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final

import redis

from redisdict import PersistentDict
from redisdict.exceptions import RedisDictError
from tests.stress.near.board import DELETED, FOR_EVER, Board, now
from tests.stress.near.items import ALL, CHANGEABLE, COUNT, Item, Place

#: Commands that are answered one after the other, after which a server has carried out whatever had
#: reached it before: it turns to all connections that have something before it does so again.
TURNS: Final = 4

_SHORTEST_S: Final = 0.05
_LONGEST_S: Final = 0.4

Dicts = dict[Place, PersistentDict[str, Any]]


class OutOfDate(AssertionError):
    """A write has given back what it can't have found."""


class Writing:
    """Changes one process's own items, in bursts.

    Args:
        ask: sends a PING over a connection of its own, to each server.
        tell: is told of breaches.
        pause_s: seconds between two bursts, on average.
    """

    def __init__(
        self,
        board: Board,
        process: int,
        dicts: Dicts,
        ask: Callable[[], None],
        tell: Callable[[Item, str], None],
        pause_s: float,
    ) -> None:
        self._board = board
        self._dicts = dicts
        self._ask = ask
        self._tell = tell
        self._pause_s = pause_s
        self._own = [item for item in ALL if item.owner == process]
        # A change of a hash drops all that is kept of it.
        self._weights = [0.3 if item.place.is_hash else 1 for item in self._own]

    def run(self) -> None:
        """Write until the board says stop."""
        self._wait_for_order()  # the process before this one may have been killed in a write
        for item in self._own:
            self._try(self._set, item)
        while not self._board.is_stopped:
            [item] = random.choices(self._own, self._weights)
            for _ in range(random.choice((1, 1, 2, 5))):
                self._try(random.choice(self._ways(item)), item)
            time.sleep(random.expovariate(1 / self._pause_s))

    def _ways(self, item: Item) -> list[Callable[[Item], None]]:
        ways = [
            self._set,
            self._set,
            self._set,
            self._set,
            self._set_many,
            self._set_many,
            self._delete,
            self._delete_and_compute,
        ]
        if item.kind == CHANGEABLE:
            ways += [self._set_with_end, self._set_with_end]
        if item.kind == COUNT:
            ways += [self._count, self._count]
        return ways

    def _try(self, way: Callable[[Item], None], item: Item) -> None:
        try:
            way(item)
        except OutOfDate as error:
            self._tell(item, str(error))
        except RedisDictError:
            self._wait_for_order()

    def _wait_for_order(self) -> None:
        """Wait until no write that was sent before can be carried out any more."""
        turns = 0
        while turns < TURNS and not self._board.is_stopped:
            try:
                self._ask()
                turns += 1
            except (redis.RedisError, OSError):
                turns = 0
                time.sleep(0.05)

    # The ways

    def _set(self, item: Item) -> None:
        version = self._board.begin(item.number)
        self._dicts[item.place][item.key] = item.store(version)
        self._board.answer(item.number, version)

    def _set_with_end(self, item: Item) -> None:
        lives_s = random.uniform(_SHORTEST_S, _LONGEST_S)
        version = self._board.begin(item.number, int(lives_s * 1e9))
        self._dicts[item.place].set(item.key, item.store(version), timeout=lives_s)
        self._board.answer(item.number, version)

    def _set_many(self, item: Item) -> None:
        items = [each for each in self._own if each.place == item.place]
        versions = [self._board.begin(each.number) for each in items]
        pairs = list(zip(items, versions, strict=True))
        self._dicts[item.place].set_many({each.key: each.store(number) for each, number in pairs})
        for each, number in pairs:
            self._board.answer(each.number, number)

    def _delete(self, item: Item) -> None:
        version = self._board.begin(item.number, DELETED)
        mapping = self._dicts[item.place]
        if version % 2:
            mapping.delete_many([item.key])
        else:
            mapping.pop(item.key, None)
        self._board.answer(item.number, version)

    def _delete_and_compute(self, item: Item) -> None:
        began = now()
        self._delete(item)
        version = self._board.begin(item.number)
        value = item.store(version)
        found = self._dicts[item.place].get_or_set(item.key, lambda: value)
        if found == value:
            self._board.answer(item.number, version)
        elif self._board.is_judged(began):
            raise OutOfDate(f"get_or_set() gave {found} after the item was deleted")
        else:
            self._set(item)  # a failover has lost that it was deleted

    def _count(self, item: Item) -> None:
        version = self._board.begin(item.number, FOR_EVER)
        if self._dicts[item.place].incr(item.key) == version:
            self._board.answer(item.number, version)
        else:
            self._set(item)  # it was deleted, flushed, or a write before hasn't come
