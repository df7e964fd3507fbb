"""Every order in which readers of rows by value, and writers that move a row, can take their steps.

There is one row, and its value counts its commits: the next one takes it from its value to the one
after it. Each reader asks whether there is a row of one value; what it gets depends on the versions
of the column and of the value. A writer bars the values that it has found under the row's lock, or
all by the version of the column. The rest is as in `result_schedules`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from redisdict.mapping.keys import Names
from redisdict.modelcache.slots.lease import Loaded, Reader
from redisdict.modelcache.slots.results import ResultStore
from redisdict.modelcache.slots.store import RowStore
from redisdict.wire.requests import Call, Operation
from tests import schedules
from tests.modelcache.result_schedules import CELLS, NAMES, Database, Plan, Process, World
from tests.modelcache.schedules import NeverDue, StaleRead

COLUMN = RowStore(Names("test", ("column", "default")), b"8 bytes!")

#: One more than there are writers.
VALUES = range(3)


def cell_of(value: int) -> bytes:
    return COLUMN.cell(b"%d" % value)


def result_of(value: int) -> bytes:
    return Names("test", ("result", str(value))).cached_table


@dataclass
class OneRow(Database):
    """One row, at READ COMMITTED; how often it was changed is its value."""

    committed: tuple[int, ...] = (0,)

    def select_of(self, value: int) -> Callable[[Sequence[bytes]], Loaded[int]]:
        return lambda keys: Loaded(
            dict.fromkeys(keys, int(self.committed == (value,))), may_be_kept=True
        )


@dataclass(frozen=True)
class VersionPlan(Plan):
    """Who takes part.

    Attributes:
        reads: the values that the readers ask for, one each.
        barred: of the value under lock, the values whose versions a writer bars; None: all.
        looks_early: whether writers look at the value before they have the lock.
        depends_on: the versions that a result of a value depends on.
    """

    reads: tuple[int, ...] = ()
    barred: Callable[[int], Sequence[int] | None] = lambda value: (value, value + 1)
    looks_early: bool = False
    depends_on: Callable[[int], Sequence[RowStore]] = lambda value: (
        copy(COLUMN),
        COLUMN.version_in(cell_of(value)),
    )


class VersionWorld(World):
    versions = (COLUMN, *(COLUMN.version_in(cell_of(value)) for value in VALUES))
    results = tuple(map(result_of, VALUES))

    plan: VersionPlan
    database: OneRow

    def _make_database(self) -> OneRow:
        return OneRow(locks=[None])

    def _readers(self) -> dict[str, Process]:
        return {
            f"reader {n}": Process(
                f"reader {n}", f"reader of {value}", self._ask(f"reader {n}".encode(), value)
            )
            for n, value in enumerate(self.plan.reads)
        }

    def _ask(self, token: bytes, value: int) -> Operation[Any]:
        reader: Reader[int] = Reader(
            ResultStore(self.plan.depends_on(value), CELLS),
            NeverDue(NAMES.counts),
            encode=lambda has: b"%d," % has,
            decode=lambda body: int(body[:1]),
            lease_ms=10**9,
            timeout_ms=None,
            absent_ms=None,
        )
        return reader.read([result_of(value)], self.database.select_of(value), token)

    def _write(self, name: str, tables: Sequence[int]) -> Operation[None]:
        keys: list[list[bytes]] = [[]]
        seen: list[int] = []

        def look() -> int:
            seen.append(self.database.committed[0])
            return seen[-1]

        def lock() -> int:
            self.database.update(tables, name)
            if not self.plan.looks_early:
                look()
            values = self.plan.barred(seen[-1])
            keys[0] = [COLUMN.table_key] if values is None else list(map(cell_of, values))
            return seen[-1]

        if self.plan.looks_early:
            yield Call(look)
        yield Call(lock)
        yield from self.plan.change(
            keys, name.encode(), 60_000, lambda: self.database.commit(tables)
        )

    def _waits_for_lock(self, process: Process) -> bool:
        request = process.request
        if isinstance(request, Call) and getattr(request.function, "__name__", "") == "look":
            return False
        return super()._waits_for_lock(process)

    def check(self) -> None:
        [now] = self.database.committed
        for process in self.processes.values():
            if process.is_over and process.is_reader:
                assert process.committed_at_begin is not None
                [(result, has)] = process.result.items()
                value, [begin] = self.results.index(result), process.committed_at_begin
                could_be = {int(value == at) for at in range(begin, now + 1)}
                if has not in could_be:
                    raise StaleRead(f"{process.name} got {has} of {value}, {begin=}, {now=}")
        for value in VALUES:
            self._look_at(value, now)

    def _look_at(self, value: int, now: int) -> None:
        """Read as a hit is read, by one MGET at this moment."""
        store = ResultStore(self.plan.depends_on(value), CELLS)
        command: Any = store.look(result_of(value)).command
        body = store.body([*self.server.execute(command), self.server.incarnation])
        if body is not None and int(body[:1]) != (now == value):
            raise StaleRead(f"who looks now gets {body!r} of {value}, {now=}")


def explore_versions(plan: VersionPlan) -> int:
    """Try every schedule; how many states there are.

    Raises:
        StaleRead: with the moves that lead to it.
    """
    return schedules.explore(lambda: VersionWorld(plan))
