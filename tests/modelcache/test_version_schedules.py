"""Readers of some values' rows, writers that move a row, a crash, in every order: no old result.

And the search can find one: with any part of the protocol left out, it does.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.modelcache.schedules import StaleRead
from tests.modelcache.test_result_schedules import _change_without_barriers, _remove_before
from tests.modelcache.version_schedules import COLUMN, VersionPlan, cell_of, explore_versions

pytestmark = pytest.mark.deep

ONE, TWO = ((0,),), ((0,), (0,))


@pytest.mark.parametrize("reads", [(0, 0), (0, 1), (1, 1)])
def test_two_readers_and_a_writer(reads: tuple[int, ...]) -> None:
    assert explore_versions(VersionPlan(2, ONE, crashes=1, reads=reads)) > 1000


@pytest.mark.parametrize("value", [0, 1, 2])
@pytest.mark.parametrize("is_warm", [True, False], ids=["kept", "not kept"])
def test_a_reader_and_two_writers(value: int, is_warm: bool) -> None:
    plan = VersionPlan(1, TWO, crashes=1, expiries=1, is_warm=is_warm, reads=(value,))
    assert explore_versions(plan) > 500


@pytest.mark.parametrize("reads", [(0, 1), (1, 1)])
def test_a_writer_that_knows_no_values(reads: tuple[int, ...]) -> None:
    plan = VersionPlan(2, ONE, crashes=1, reads=reads, barred=lambda _: None)
    assert explore_versions(plan) > 500


def test_one_writer_knows_the_values_and_another_one_does_not() -> None:
    plan = VersionPlan(
        1, TWO, crashes=1, reads=(1,), barred=lambda value: None if value else (0, 1)
    )
    assert explore_versions(plan) > 500


@pytest.mark.parametrize("value", [0, 1])
def test_the_server_starts_again_with_what_it_had_earlier(value: int) -> None:
    assert explore_versions(VersionPlan(1, ONE, restarts=1, reads=(value,))) > 200


FAULTS: list[dict[str, Any]] = [
    {"change": _change_without_barriers, "reads": (0, 0)},
    {"change": _remove_before, "reads": (0, 0)},
    {"barred": lambda value: (value,), "reads": (1, 1)},  # the new one alone is forgotten
    {"barred": lambda value: (value + 1,), "reads": (0, 0)},
    {"looks_early": True, "writers": TWO, "reads": (2, 2)},  # what the second one sets
    {
        "depends_on": lambda value: [COLUMN.version_in(cell_of(value))],
        "barred": lambda _: None,
        "reads": (0, 0),
    },
    {"depends_on": lambda _: [COLUMN], "reads": (0, 0)},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: " ".join(fault))
def test_a_fault_is_found(fault: dict[str, Any]) -> None:
    with pytest.raises(StaleRead):
        explore_versions(VersionPlan(**{"readers": 2, "writers": ONE, "crashes": 1, **fault}))
