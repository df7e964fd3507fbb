"""Two readers of lists, two writers that move a row, a crash, in every order: no old list.

And the search can find one: where a writer bars one of the two lists, or looks too early.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.modelcache.list_schedules import ListPlan, explore_lists
from tests.modelcache.schedules import StaleRead

MOVE, ALL = "transaction", "all rows"


@pytest.mark.parametrize("reads", [(0, 1), (1, 1), (1, 2)], ids=str)
@pytest.mark.parametrize("writers", [(MOVE, MOVE), (MOVE, ALL)], ids=str)
def test_two_readers_and_two_writers_of_kept_lists(
    reads: tuple[int, ...], writers: tuple[str, ...]
) -> None:
    plan = ListPlan(2, writers, crashes=1, reads=reads)
    assert explore_lists(plan) > 500


@pytest.mark.parametrize("reads", [(0, 1), (1, 1), (1, 2)], ids=str)
def test_two_readers_of_lists_that_are_not_kept(reads: tuple[int, ...]) -> None:
    plan = ListPlan(2, (MOVE,), crashes=1, expiries=1, is_warm=False, reads=reads)
    assert explore_lists(plan) > 500


@pytest.mark.parametrize("value", [0, 1, 2])
def test_a_reader_and_two_writers_of_lists_that_are_not_kept(value: int) -> None:
    plan = ListPlan(1, (MOVE, MOVE), crashes=1, expiries=1, is_warm=False, reads=(value,))
    assert explore_lists(plan) > 200


def test_the_server_starts_again_with_what_it_had_earlier() -> None:
    assert explore_lists(ListPlan(2, (MOVE,), restarts=1, reads=(0, 1))) > 500


@pytest.mark.parametrize(
    "fault",
    [
        {"barred": lambda value: (value,)},
        {"barred": lambda value: (value + 1,)},
        {"looks_early": True, "writers": (MOVE, MOVE)},
    ],
    ids=["only the old list", "only the new list", "looks early"],
)
def test_a_fault_is_found(fault: dict[str, Any]) -> None:
    with pytest.raises(StaleRead):
        explore_lists(ListPlan(**{"readers": 2, "writers": (MOVE,), "reads": (0, 1), **fault}))
