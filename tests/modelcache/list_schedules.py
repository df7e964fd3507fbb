"""Every order in which readers of lists and writers that move a row can take their steps.

There is one row, and its value counts its commits: the next one takes it from the list of its value
to that of the one after it. The rest is as in `schedules`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from redisdict.modelcache.slots.barrier import change_behind_barriers
from redisdict.modelcache.slots.lease import Loaded, Reader
from redisdict.wire.requests import Call, Operation
from redisdict.wire.server_state import named
from tests.modelcache.schedules import (
    FIRST_GENERATION,
    NAMES,
    STORE,
    Database,
    NeverDue,
    Plan,
    Process,
    StaleRead,
    World,
    explore,
)
from tests.modelcache.server_model import Value

#: More than there are writers.
LISTS = tuple(STORE.prefix + b"%d" % value for value in range(4))


def value_of(cell: bytes) -> int:
    return int(cell[len(STORE.prefix) :])


class Lists(Database):
    """What is listed by value is the row, or nothing."""

    def select(self, keys: Sequence[bytes]) -> Loaded[int]:
        has = {key: int(self.committed == value_of(key)) for key in keys}
        return Loaded(has, may_be_kept=True)


@dataclass(frozen=True)
class ListPlan(Plan):
    """Who takes part.

    Attributes:
        reads: the values whose lists the readers read, one each.
        barred: of the value under lock, the values whose lists a writer bars.
        looks_early: whether writers look at the value before they have the lock.
    """

    reads: tuple[int, ...] = ()
    barred: Callable[[int], Sequence[int]] = lambda value: (value, value + 1)
    looks_early: bool = False


class ListWorld(World):
    cells = LISTS

    def __init__(self, plan: ListPlan) -> None:
        self.lists = plan
        super().__init__(plan)
        self.server.cells.pop(LISTS[1], None)
        if plan.is_warm:
            for cell in LISTS:
                body = b"1" if value_of(cell) == 0 else b"0"
                self.server.cells[cell] = Value(FIRST_GENERATION, STORE.fingerprint + body)
        self.database = Lists()
        self.saved = [dict(self.server.cells)]
        self.processes = {
            **{f"reader {n}": self._list_reader(n, value) for n, value in enumerate(plan.reads)},
            **{
                f"writer {n}": self._mover(f"writer {n}", how) for n, how in enumerate(plan.writers)
            },
        }
        for process in self.processes.values():
            process.request = process.operation.send(None)

    def _list_reader(self, number: int, value: int) -> Process:
        reader: Reader[int] = Reader(
            copy(STORE),
            NeverDue(NAMES.counts),
            encode=lambda has: b"%d," % has,
            decode=lambda body: int(body[:1]),
            lease_ms=10**9,
            timeout_ms=None,
            absent_ms=None,
        )
        name, database = f"reader {number}", self.database
        reading = reader.read([LISTS[value]], database.select, name.encode())
        return Process(name, f"reader of {value}", reading)

    def _mover(self, name: str, how: str) -> Process:
        plan, database = self.lists, self.database
        keys: list[list[bytes]] = [[]]
        seen: list[int] = []

        def look() -> int:
            seen.append(database.committed)
            return database.committed

        def lock() -> int:
            database.update(name)
            if not plan.looks_early:
                look()
            values = plan.barred(seen[-1])
            keys[0] = [STORE.table_key] if how == "all rows" else [LISTS[one] for one in values]
            return seen[-1]

        def write() -> Operation[None]:
            if plan.looks_early:
                yield Call(look)
            yield Call(lock)
            yield from change_behind_barriers(keys, name.encode(), 60_000, database.commit)

        return Process(name, how, write())

    def _waits_for_lock(self, process: Process) -> bool:
        request = process.request
        if isinstance(request, Call) and getattr(request.function, "__name__", "") == "look":
            return False
        return super()._waits_for_lock(process)

    def check(self) -> None:
        now = self.database.committed
        for process in self.processes.values():
            if process.is_over and not process.is_writer:
                [(cell, has)] = process.result.items()
                value, begin = value_of(cell), process.committed_at_begin
                assert begin is not None
                could_be = {int(value == at) for at in range(begin, now + 1)}
                if has not in could_be:
                    raise StaleRead(f"{process.name} got {has} of {value}, {begin=}, {now=}")
        probe = copy(self.server)  # with its faults, if any
        for cell in LISTS:
            probe.cells = dict(self.server.cells)
            try:
                command = named(STORE.read_command([cell], b"probe", 0), probe.incarnation)
                answer: Any = probe.execute(command)[0]
            except ResponseError:
                return
            if isinstance(answer, bytes) and int(answer[:1]) != (now == value_of(cell)):
                raise StaleRead(f"the server has {answer!r} of {value_of(cell)}, {now=}")


def explore_lists(plan: ListPlan) -> int:
    """Try every schedule; how many states there are.

    Raises:
        StaleRead: with the moves that lead to it.
    """
    return explore(plan, ListWorld)
