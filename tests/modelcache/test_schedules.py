"""Readers, writers and crashes in every order: nobody ever reads an old row.

And the search can find one: with any part of the protocol left out, it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from redisdict.modelcache.slots.store import put_barriers
from redisdict.wire.requests import Call, Operation
from redisdict.wire.server_state import UNKNOWN
from tests.modelcache import schedules
from tests.modelcache.schedules import Plan, StaleRead, explore
from tests.modelcache.server_model import Barriers, Cell, Generation, Lease, ServerModel, Value

pytestmark = pytest.mark.deep

WAYS_TO_WRITE = pytest.mark.parametrize(
    "writers",
    [
        ("transaction", "transaction"),
        ("transaction", "autocommit"),
        ("autocommit", "autocommit"),
        ("transaction", "all rows"),
        ("transaction", "all rows in autocommit"),
        ("autocommit", "all rows"),
        ("autocommit", "all rows in autocommit"),
    ],
    ids=" and ".join,
)


@WAYS_TO_WRITE
def test_two_readers_and_two_writers_of_a_cached_row(writers: tuple[str, ...]) -> None:
    assert explore(Plan(2, writers, crashes=1, expiries=1)) > 1000


@WAYS_TO_WRITE
def test_a_reader_and_two_writers_of_a_row_not_cached(writers: tuple[str, ...]) -> None:
    assert explore(Plan(1, writers, crashes=1, expiries=1, is_warm=False)) > 500


def test_two_readers_of_a_row_not_cached_and_writers_of_the_row_and_of_all() -> None:
    writers = ("transaction", "all rows in autocommit")
    assert explore(Plan(2, writers, expiries=1, is_warm=False)) > 1000


@pytest.mark.parametrize("way", ["transaction", "autocommit"])
def test_two_readers_and_two_writers_of_a_row_not_cached(way: str) -> None:
    assert explore(Plan(2, (way, way), crashes=1, is_warm=False)) > 1000


class KeepsScripts(ServerModel):
    """As Dragonfly always does, and Redis 6.2 and KeyDB once they have had a replica."""

    def restart(self, cells: dict[bytes, Cell]) -> None:
        knew = self.knows_read_script
        super().restart(cells)
        self.knows_read_script = knew


class TellsNothing(ServerModel):
    """Its user may not call INFO."""

    @property
    def incarnation(self) -> bytes:
        return UNKNOWN


class KeepsScriptsAndTellsNothing(KeepsScripts, TellsNothing):
    pass


@pytest.mark.parametrize("make_server", [ServerModel, KeepsScripts, TellsNothing])
def test_the_server_starts_again_with_what_it_had_earlier(
    make_server: type[ServerModel],
) -> None:
    plan = Plan(2, ("transaction",), crashes=1, restarts=1, make_server=make_server)
    assert explore(plan) > 1000


def test_the_server_starts_again_and_once_more() -> None:
    plan = Plan(1, ("transaction",), restarts=2, make_server=KeepsScripts)
    assert explore(plan) > 500


def test_connections_that_outlive_the_server_would_be_found() -> None:
    """Why a proxy must not keep them, nor a primary that becomes a replica for a while."""
    plan = Plan(1, ("transaction",), restarts=1, keeps_connections=True, make_server=KeepsScripts)
    with pytest.raises(StaleRead):
        explore(plan)


@pytest.fixture
def _many(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row is read as many are: values by MGET, the others by the script."""
    monkeypatch.setattr("redisdict.modelcache.slots.store.MANY", 1)


@pytest.mark.usefixtures("_many")
@pytest.mark.parametrize(
    "plan",
    [
        Plan(2, ("transaction",), crashes=1, expiries=1),
        Plan(2, ("all rows",), crashes=1, expiries=1),
        Plan(1, ("all rows in autocommit", "transaction"), crashes=1, expiries=1),
        Plan(1, ("transaction", "autocommit"), crashes=1, expiries=1),
        Plan(1, ("transaction",), crashes=1, restarts=1),
        Plan(1, ("transaction",), crashes=1, restarts=1, make_server=KeepsScripts),
        Plan(1, ("transaction",), crashes=1, restarts=1, make_server=TellsNothing),
    ],
)
def test_readers_of_many_rows(plan: Plan) -> None:
    assert explore(plan) > 100


@pytest.mark.usefixtures("_many")
def test_values_of_a_server_that_has_started_again_would_be_found() -> None:
    plan = Plan(1, ("transaction",), crashes=1, restarts=1, make_server=KeepsScriptsAndTellsNothing)
    with pytest.raises(StaleRead):
        explore(plan)


class FillsWithoutLease(ServerModel):
    def fill(self, keys: list[bytes], token: bytes, timeout_ms: int, *values: bytes) -> int:
        generation = self.cells.get(schedules.STORE.table_key)
        for key, value in zip(keys, values, strict=True):
            if value and isinstance(generation, Generation):
                self.cells[key] = Value(generation.name, value)
        return len(keys)


class TakesAnyLease(ServerModel):
    def is_of(self, lease: Lease, token: bytes) -> bool:
        return True


class RemovesWithoutBarrier(ServerModel):
    def barrier(self, keys: list[bytes], token: bytes, duration_ms: int) -> None:
        super().barrier(keys, token, 0)


class LiftsTheBarriersOfOthers(ServerModel):
    def others(self, cell: Cell | None, token: bytes) -> tuple[bytes, ...]:
        return ()


class LeasesBehindBarriers(ServerModel):
    def answer(self, key: bytes, generation: bytes, token: bytes, *rest: Any) -> Any:
        if isinstance(self.cells.get(key), Barriers):
            del self.cells[key]
        return super().answer(key, generation, token, *rest)


class GivesTheOldGenerationBack(ServerModel):
    old: Cell | None = None

    def barrier(self, keys: list[bytes], token: bytes, duration_ms: int) -> None:
        table = schedules.STORE.table_key
        before = self.cells.get(table)
        self.old = before if isinstance(before, Generation) else self.old
        super().barrier(keys, token, duration_ms)
        if table not in self.cells and self.old is not None:
            self.cells[table] = self.old


class AsksNoTable(ServerModel):
    """A barrier of all rows doesn't keep anybody from reading one."""

    def read(self, keys: list[bytes], *arguments: Any) -> list[Any]:
        table = self.cells.get(keys[0])
        if isinstance(table, Barriers):
            self.cells[keys[0]] = Generation(b"made by who read")
        return super().read(keys, *arguments)


class BelievesWhatItHadBefore(ServerModel):
    def read(self, keys: list[bytes], *arguments: Any) -> list[Any]:
        return super().read(keys, *arguments[:3], UNKNOWN)


class BelievesOtherIncarnations(KeepsScripts):
    def read(self, keys: list[bytes], *arguments: Any) -> list[Any]:
        *others, _ = arguments
        return super().read(keys, *others, UNKNOWN)


@pytest.mark.parametrize(
    ("make_server", "plan"),
    [
        (FillsWithoutLease, {"readers": 1, "writers": ("transaction",), "is_warm": False}),
        (TakesAnyLease, {"readers": 2, "writers": ("autocommit",), "is_warm": False}),
        (RemovesWithoutBarrier, {"readers": 1, "writers": ("transaction",)}),
        (LiftsTheBarriersOfOthers, {"readers": 1, "writers": ("autocommit", "autocommit")}),
        (LeasesBehindBarriers, {"readers": 1, "writers": ("autocommit",)}),
        (GivesTheOldGenerationBack, {"readers": 1, "writers": ("all rows in autocommit",)}),
        (AsksNoTable, {"readers": 1, "writers": ("all rows in autocommit",), "is_warm": False}),
        (BelievesWhatItHadBefore, {"readers": 1, "writers": ("transaction",), "restarts": 1}),
        (BelievesOtherIncarnations, {"readers": 1, "writers": ("transaction",), "restarts": 1}),
        (KeepsScriptsAndTellsNothing, {"readers": 1, "writers": ("transaction",), "restarts": 1}),
    ],
)
def test_a_fault_of_the_server_side_is_found(
    make_server: type[ServerModel], plan: dict[str, Any]
) -> None:
    with pytest.raises(StaleRead):
        explore(Plan(**plan, crashes=1, make_server=make_server))


def test_removing_the_row_only_after_the_commit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def change_then_remove(
        tables: Any, token: bytes, _duration_ms: int, change: Callable[[], Any]
    ) -> Operation[Any]:
        yield Call(change)
        yield from put_barriers(tables, token, 0)

    monkeypatch.setattr(schedules, "change_behind_barriers", change_then_remove)
    with pytest.raises(StaleRead):
        explore(Plan(readers=1, writers=("transaction",), crashes=1))
