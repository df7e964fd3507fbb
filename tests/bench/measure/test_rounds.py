"""Rounds with an injected clock: every figure is exact."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable

import pytest

from redisdict.bench.choices import Table
from redisdict.bench.errors import WrongReply
from redisdict.bench.measure.rounds import (
    MOVED,
    WARM_UP_ROUNDS,
    Block,
    Clock,
    OpenCell,
    Rounds,
    frozen_heap,
    quiet_collector,
    ratio_between,
)
from redisdict.bench.measure.statistics import LEAST_ROUNDS
from redisdict.bench.spec import Cell, Precision
from redisdict.exceptions import BackendUnavailable


class World:
    """A clock that moves only when a cell works."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.visits: list[str] = []

    def clock(self) -> int:
        return self.now_ns


class FakeCell:
    """Ten operations a block, each of which takes what `cost_ns` says for that visit."""

    def __init__(self, world: World, name: str, cost_ns: Callable[[int], int]) -> None:
        self.cell = Cell(table=Table.POOLS, service=name, mode="SYNC", operation="GET")
        self._world = world
        self._cost_ns = cost_ns
        self.visits = 0
        self.error: Exception | None = None
        self.places = ["same"]

    def prepare(self) -> None:
        self._world.now_ns += 777_777  # outside the timed part: must show nowhere

    def run(self, clock: Clock) -> Block:
        started = clock()
        self._world.visits.append(self.cell.service)
        self._world.now_ns += 10 * self._cost_ns(self.visits)
        self.visits += 1
        if self.error is not None and self.visits > WARM_UP_ROUNDS + 3:
            raise self.error
        return Block(clock() - started, 10)

    def check(self) -> None:
        self._world.now_ns += 333_333

    def placement(self) -> str:
        self.places = self.places[1:] + self.places[:1]
        return self.places[-1]


def rounds(world: World, cells: list[FakeCell], *, count: int = 60, seconds: float = 1e9) -> Rounds:
    open_cells: list[OpenCell] = list(cells)
    references = {cell.cell: cells[0].cell for cell in cells}
    return Rounds(
        open_cells,
        references,
        Precision(min_rounds=count, max_rounds=count, seconds=seconds),
        rng=random.Random(5),
        clock=world.clock,
    )


def test_ratio_is_exact_and_only_the_block_is_timed() -> None:
    world = World()
    reference = FakeCell(world, "reference", lambda visit: 1000 + visit)
    slower = FakeCell(world, "slower", lambda visit: 2 * (1000 + visit))
    series = rounds(world, [reference, slower]).run()
    ratio = ratio_between(series[slower.cell], series[reference.cell])
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5))
    own = series[reference.cell]
    assert own.times[:2] == [1000 + WARM_UP_ROUNDS, 1001 + WARM_UP_ROUNDS]
    assert own.operations == 600
    assert own.duration_ns == sum(10 * (1000 + WARM_UP_ROUNDS + n) for n in range(60))


def test_every_round_visits_every_cell_once_in_an_order_of_its_own() -> None:
    world = World()
    cells = [FakeCell(world, name, lambda _visit: 10) for name in "abcdef"]
    rounds(world, cells).run()
    orders = [tuple(world.visits[n : n + 6]) for n in range(0, len(world.visits), 6)]
    assert len(orders) == 60 + WARM_UP_ROUNDS
    assert all(sorted(order) == list("abcdef") for order in orders)
    assert len(set(orders)) > 50


def test_the_seed_decides_the_order() -> None:
    visits = []
    for _ in range(2):
        world = World()
        rounds(world, [FakeCell(world, name, lambda _visit: 10) for name in "abcdef"]).run()
        visits.append(world.visits)
    assert visits[0] == visits[1]


@pytest.mark.parametrize(
    ("error", "is_wrong_reply"),
    [
        (BackendUnavailable("no answer\nfrom it"), False),
        (OSError("reset"), False),
        (WrongReply("7 of 10 GETs were misses"), True),
    ],
)
def test_a_failing_cell_leaves_and_the_others_go_on(error: Exception, is_wrong_reply: bool) -> None:
    world = World()
    good = FakeCell(world, "good", lambda _visit: 10)
    bad = FakeCell(world, "bad", lambda _visit: 10)
    bad.error = error
    series = rounds(world, [good, bad]).run()
    failure = series[bad.cell].failure
    assert failure is not None
    assert failure.reason == " ".join(str(error).split())
    assert failure.is_wrong_reply is is_wrong_reply
    assert series[good.cell].failure is None
    assert len(series[good.cell].times) == len(series[bad.cell].times) == 60
    assert series[bad.cell].times[:4] == [10, 10, 10, None]


def test_an_error_of_the_benchmark_itself_is_not_hidden_as_a_failed_cell() -> None:
    world = World()
    bad = FakeCell(world, "bad", lambda _visit: 10)
    bad.error = KeyError("a fault in this code")
    with pytest.raises(KeyError):
        rounds(world, [bad]).run()
    assert gc.isenabled()


def test_stops_when_every_interval_is_narrow_enough() -> None:
    world = World()
    cells = [FakeCell(world, name, lambda _visit: 10) for name in "ab"]
    open_cells: list[OpenCell] = list(cells)
    series = Rounds(
        open_cells,
        {cells[1].cell: cells[0].cell},
        Precision(min_rounds=70, max_rounds=5000, seconds=1e9),
        rng=random.Random(1),
        clock=world.clock,
    ).run()
    assert len(series[cells[0].cell].times) == 100


def test_stops_when_the_time_is_up_but_not_before_the_least_rounds() -> None:
    world = World()
    cell = FakeCell(world, "a", lambda _visit: 10_000_000)  # 0.1 s a block
    open_cells: list[OpenCell] = [cell]
    series = Rounds(
        open_cells,
        {},
        Precision(min_rounds=15, max_rounds=5000, seconds=1),
        rng=random.Random(1),
        clock=world.clock,
    ).run()
    assert len(series[cell.cell].times) == 15


def test_twice_its_share_is_the_end_even_before_the_least_rounds() -> None:
    world = World()
    cell = FakeCell(world, "a", lambda _visit: 100_000_000)  # 1 s a block
    open_cells: list[OpenCell] = [cell]
    series = Rounds(
        open_cells,
        {},
        Precision(min_rounds=50, max_rounds=5000, seconds=6),
        rng=random.Random(1),
        clock=world.clock,
    ).run()
    # 5 s of warming up and 7 rounds make 12 s.
    assert len(series[cell.cell].times) == 7


def test_no_time_is_too_short_for_a_figure() -> None:
    world = World()
    cell = FakeCell(world, "a", lambda _visit: 100_000_000)  # 1 s a block
    open_cells: list[OpenCell] = [cell]
    series = Rounds(
        open_cells,
        {},
        Precision(min_rounds=50, max_rounds=5000, seconds=1),
        rng=random.Random(1),
        clock=world.clock,
    ).run()
    assert len(series[cell.cell].times) == LEAST_ROUNDS


def test_stopping_keeps_what_was_measured() -> None:
    world = World()
    cells = [FakeCell(world, name, lambda _visit: 10) for name in "ab"]
    open_cells: list[OpenCell] = list(cells)
    runner = Rounds(
        open_cells,
        {},
        Precision(min_rounds=100, max_rounds=100, seconds=1e9),
        rng=random.Random(1),
        clock=world.clock,
        should_stop=lambda: len(world.visits) >= 2 * WARM_UP_ROUNDS + 21,
    )
    series = runner.run()
    assert runner.was_stopped
    measured = [sum(time is not None for time in series[c.cell].times) for c in cells]
    assert sorted(measured) == [10, 11]


def test_only_rounds_placed_alike_are_compared() -> None:
    world = World()
    reference = FakeCell(world, "reference", lambda visit: 100 if visit % 2 else 400)
    reference.places = ["same", "same", "split", "split"]
    other = FakeCell(world, "other", lambda _visit: 100)
    series = rounds(world, [reference, other]).run()
    ratio = ratio_between(series[other.cell], series[reference.cell])
    assert ratio is not None
    assert ratio.rounds == 30
    assert ratio.value in (pytest.approx(1), pytest.approx(4))
    assert series[other.cell].placement == "same"


def test_a_block_in_which_somebody_moved_is_compared_with_nothing() -> None:
    world = World()
    cells = [FakeCell(world, name, lambda _visit: 10) for name in "ab"]
    cells[0].places = ["same", "split"]
    cells[1].places = ["same", "split"]
    series = rounds(world, cells).run()
    assert set(series[cells[0].cell].placements) == {MOVED}
    assert ratio_between(series[cells[0].cell], series[cells[1].cell]) is None


def is_frozen(container: object) -> bool:
    """Whether collections pass an object over. A count of all would fall as others free theirs."""
    return all(each is not container for each in gc.get_objects())


@pytest.mark.parametrize("was_enabled", [True, False])
@pytest.mark.parametrize("had_frozen", [True, False])
def test_the_collector_is_put_back_as_it_was(was_enabled: bool, had_frozen: bool) -> None:
    here = [object()]

    def measure() -> None:
        with quiet_collector():
            assert not gc.isenabled()
            assert is_frozen(here)
            raise RuntimeError("whatever ends the block")

    gc.unfreeze()
    try:
        if had_frozen:
            gc.freeze()
        if not was_enabled:
            gc.disable()
        with pytest.raises(RuntimeError):
            measure()
        assert gc.isenabled() is was_enabled
        assert is_frozen(here) is had_frozen
    finally:
        gc.freeze()  # as it is during all tests
        gc.enable()


def test_what_a_run_has_frozen_stays_so_between_its_cells() -> None:
    here = [object()]
    gc.unfreeze()
    try:
        with frozen_heap():
            with quiet_collector():
                pass
            assert is_frozen(here)
        assert not is_frozen(here)
    finally:
        gc.freeze()  # as it is during all tests
