"""Reads of all items in all ways, each judged, by threads and tasks of one process."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

from redisdict import PersistentDict, near_barrier
from redisdict.exceptions import RedisDictError
from tests.stress.near.board import Board, Lane, now
from tests.stress.near.items import ALL, PLACES, Item, Place
from tests.stress.near.judge import Breach, Judge

#: Reads between two rests, and of one request.
AT_A_TIME: Final = 40

#: Reads with one call of `get_many()`.
MANY: Final = 8

_BY_PLACE: Final = {place: [item for item in ALL if item.place == place] for place in PLACES}

Dicts = dict[Place, PersistentDict[str, Any]]


class Reading:
    """One thread or task that reads under one promise.

    Args:
        process: of the item's owners, this process's number.
        lane: its own on the board.
        tell: is told of breaches.
    """

    def __init__(
        self,
        board: Board,
        judge: Judge,
        process: int,
        lane: int,
        near: float | str,
        dicts: Dicts,
        tell: Callable[[Item, str], None],
        rest_s: float,
    ) -> None:
        self._board = board
        self._judge = judge
        self._process = process
        self._lane = lane
        self._is_request = near == "request"
        self._bound = 0 if self._is_request else int(float(near) * 1e9)
        self._dicts = dicts
        self._tell = tell
        self._rest_s = rest_s
        self._chance = random.Random()
        self._begin_count()

    def _begin_count(self) -> None:
        self._reads = self._judged = self._oldest = self._missing = self._errors = 0

    def run(self) -> None:
        """Read until the board says stop."""
        while not self._board.is_stopped:
            with self._request() as start:
                for _ in range(AT_A_TIME):
                    items, in_which = self._choose()
                    began, seen = now(), [self._judge.seen(item.number) for item in items]
                    try:
                        found = self._read(items, in_which)
                    except RedisDictError:
                        self._errors += 1
                        break
                    self._take(items, found, began, start, seen)
            self._note()
            time.sleep(self._rest_s)

    async def arun(self) -> None:
        """As `run()`."""
        while not self._board.is_stopped:
            with self._request() as start:
                for _ in range(AT_A_TIME):
                    items, in_which = self._choose()
                    began, seen = now(), [self._judge.seen(item.number) for item in items]
                    try:
                        found = await self._aread(items, in_which)
                    except RedisDictError:
                        self._errors += 1
                        break
                    self._take(items, found, began, start, seen)
            self._note()
            await asyncio.sleep(self._rest_s)

    @contextmanager
    def _request(self) -> Iterator[int]:
        start = now()
        with near_barrier() if self._is_request else nullcontext():
            yield start

    def _choose(self) -> tuple[list[Item], Place]:
        item = self._chance.choice(ALL)
        if self._chance.random() > 0.02:
            return [item], item.place
        return self._chance.sample(_BY_PLACE[item.place], MANY), item.place

    def _read(self, items: list[Item], place: Place) -> list[Any]:
        mapping = self._dicts[place]
        if len(items) == 1:
            if items[0].number % 2:
                return [mapping.get(items[0].key)]
            try:
                return [mapping[items[0].key]]
            except KeyError:
                return [None]
        found = mapping.get_many([item.key for item in items])
        return [found.get(item.key) for item in items]

    async def _aread(self, items: list[Item], place: Place) -> list[Any]:
        mapping = self._dicts[place]
        if len(items) == 1:
            return [await mapping.aget(items[0].key)]
        found = await mapping.aget_many([item.key for item in items])
        return [found.get(item.key) for item in items]

    def _take(
        self, items: list[Item], found: list[Any], began: int, start: int, seen: list[int]
    ) -> None:
        """Judge what was read."""
        self._reads += len(items)
        if not self._board.is_judged(began):
            return
        self._judged += len(items)
        for item, value, seen_before in zip(items, found, seen, strict=True):
            version = item.version_of(value)
            self._missing += version is None
            since = start if self._is_request else began - self._bound
            own_since = began if item.owner == self._process else since
            try:
                age = self._judge.judge(item.number, version, began, since, own_since, seen_before)
            except Breach as breach:
                if self._board.is_judged(began):
                    self._tell(item, f"lane {self._lane}: {breach}")
                continue
            if age > self._oldest:
                self._oldest = age

    def _note(self) -> None:
        seen = Lane(
            self._reads,
            self._judged,
            self._oldest,
            self._missing,
            self._errors,
            self._judge.longest_after_end,
        )
        self._board.add_lane(self._process, self._lane, seen)
        self._begin_count()


class Breaches:
    """Where processes write down the breaches that they find."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def tell(self, process: int, near: float | str, item: Item, what: str) -> None:
        line = {
            "at": round(now() / 1e9, 3),
            "process": process,
            "near": near,
            "item": item.number,
            "place": item.place.name,
            "kind": item.kind,
            "is_own": item.owner == process,
            "what": what,
        }
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def all(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        lines = self._path.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]
